//! A provider in this process that answers as a test scripts it: real libp2p, no cluster.
#![allow(dead_code, unused_imports, reason = "each test program uses a part")]

mod inbound;
mod replies;

use std::sync::{Arc, Mutex};

use apocryph_proto::{
    binding,
    codec::Codec,
    limits, protocol, signing,
    v0::{
        attest::{self, AttestReply, AttestRequest, AttestResponse, ProviderClaims},
        provision_pod::PodReply,
        provisioning_capacity::{self, CapacityReply, CapacityRequest, CapacityResponse},
        signing::Envelope,
    },
};
use apocryph_publisher::Provider;
use asynchronous_codec::Framed;
use futures::{SinkExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise,
    swarm::{ConnectionId, SwarmEvent},
    tcp, yamux,
};
use prost::Message;
use tokio::{sync::mpsc, task::JoinHandle};

use inbound::{Accepting, Inbound};
pub use replies::*;

/// What the provider does next on a stream of provision-pod or manage-pod.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a handful of them per test")]
pub enum Act {
    Send(PodReply),
    /// Ends the connection.
    Cut,
    /// Closes the stream politely; what follows is not done.
    Close,
    /// Says nothing more and keeps the stream open.
    Hang,
}

/// One request of provision-pod or manage-pod, as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub protocol: String,
    pub peer: PeerId,
    pub envelope: Envelope,
}

impl Call {
    /// Who signed, when every field is what it claims to be.
    pub fn signer(&self, provider: PeerId) -> Option<[u8; 20]> {
        let e = &self.envelope;
        let request = signing::Request {
            operation: e.operation.clone(),
            podId: <[u8; 32]>::try_from(e.pod_id.as_slice()).ok()?.into(),
            requestHash: signing::request_hash(&e.request).into(),
            provider: provider.to_base58(),
            requester: self.peer.to_base58(),
            issuedAt: e.issued_at,
            expiresAt: e.expires_at,
            afterGeneration: e.after_generation,
        };
        signing::recover(signing::digest(&request, e.chain_id), &e.signature).ok()
    }
}

type Script = Arc<dyn Fn(usize, &Call) -> Vec<Act> + Send + Sync>;

/// How the provider attests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attesting {
    Honest,
    /// Passes on an answer that was made for somebody else.
    Relayed,
}

pub struct FakeProvider {
    pub provider: Provider,
    calls: Arc<Mutex<Vec<Call>>>,
    task: JoinHandle<()>,
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeProvider {
    /// Answers the n-th call (from 0) as `script` says.
    pub async fn start(script: impl Fn(usize, &Call) -> Vec<Act> + Send + Sync + 'static) -> FakeProvider {
        FakeProvider::start_with(Attesting::Honest, &protocol::ALL, script).await
    }

    pub async fn start_with(
        attesting: Attesting,
        protocols: &[&'static str],
        script: impl Fn(usize, &Call) -> Vec<Act> + Send + Sync + 'static,
    ) -> FakeProvider {
        let (inbox, mut streams) = mpsc::channel(64);
        let protocols: Vec<_> = protocols.iter().map(|p| StreamProtocol::new(p)).collect();
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                noise::Config::new,
                yamux::Config::default,
            )
            .unwrap()
            .with_quic()
            .with_behaviour(|_| Accepting { protocols, inbox })
            .unwrap()
            .with_swarm_config(|c| c.with_idle_connection_timeout(std::time::Duration::from_secs(60)))
            .build();
        let peer = *swarm.local_peer_id();
        let tcp = listen(&mut swarm, "/ip4/127.0.0.1/tcp/0").await;
        let quic = listen(&mut swarm, "/ip4/127.0.0.1/udp/0/quic-v1").await;
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let script: Script = Arc::new(script);
        let noted = calls.clone();
        let task = tokio::spawn(async move {
            let (cut, mut cuts) = mpsc::channel::<ConnectionId>(8);
            loop {
                tokio::select! {
                    _ = swarm.select_next_some() => {}
                    Some(connection) = cuts.recv() => { swarm.close_connection(connection); }
                    Some(inbound) = streams.recv() => {
                        let server = Server { provider: peer, attesting, script: script.clone(), calls: noted.clone(), cut: cut.clone() };
                        tokio::spawn(server.serve(inbound));
                    }
                }
            }
        });
        FakeProvider {
            provider: Provider::new(peer, [tcp, quic]).unwrap(),
            calls,
            task,
        }
    }

    pub fn peer(&self) -> PeerId {
        self.provider.peer()
    }

    /// Requests of provision-pod and manage-pod so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn operations(&self) -> Vec<String> {
        self.calls().into_iter().map(|c| c.envelope.operation).collect()
    }
}

async fn listen(swarm: &mut Swarm<Accepting>, address: &str) -> Multiaddr {
    swarm.listen_on(address.parse().unwrap()).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

struct Server {
    provider: PeerId,
    attesting: Attesting,
    script: Script,
    calls: Arc<Mutex<Vec<Call>>>,
    cut: mpsc::Sender<ConnectionId>,
}

impl Server {
    async fn serve(self, inbound: Inbound) {
        match inbound.protocol.as_ref() {
            protocol::ATTEST => self.attest(inbound).await,
            protocol::PROVISIONING_CAPACITY => capacity(inbound).await,
            _ => self.pod(inbound).await,
        }
    }

    async fn pod(self, inbound: Inbound) {
        let mut framed = Framed::new(inbound.stream, Codec::<PodReply, Envelope>::new(limits::MESSAGE_MAX));
        let Some(Ok(envelope)) = framed.next().await else {
            return;
        };
        let call = Call {
            protocol: inbound.protocol.to_string(),
            peer: inbound.peer,
            envelope,
        };
        let index = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(call.clone());
            calls.len() - 1
        };
        for act in (self.script)(index, &call) {
            match act {
                Act::Send(reply) => {
                    if framed.send(reply).await.is_err() {
                        return;
                    }
                }
                Act::Cut => return self.cut.send(inbound.connection).await.unwrap(),
                Act::Close => break,
                Act::Hang => return std::future::pending().await,
            }
        }
        let _ = framed.close().await;
    }

    async fn attest(self, inbound: Inbound) {
        let mut framed = Framed::new(
            inbound.stream,
            Codec::<AttestReply, AttestRequest>::new(limits::SMALL_REQUEST_MAX),
        );
        let Some(Ok(request)) = framed.next().await else { return };
        let asked_by = match self.attesting {
            Attesting::Honest => inbound.peer,
            Attesting::Relayed => PeerId::random(),
        };
        let _ = framed.send(attestation(&request.nonce, self.provider, asked_by)).await;
        let _ = framed.close().await;
    }
}

pub fn attestation(nonce: &[u8], provider: PeerId, requester: PeerId) -> AttestReply {
    let claims = ProviderClaims {
        sealing_key: vec![7; 32],
        policies_hash: vec![9; 32],
        secrets_visible_to: "cluster-admins".into(),
        ..ProviderClaims::default()
    }
    .encode_to_vec();
    let leaf = binding::leaf(&binding::Question {
        protocol: protocol::ATTEST,
        nonce,
        provider: &provider.to_bytes(),
        requester: &requester.to_bytes(),
        claims: &claims,
    });
    let response = AttestResponse {
        claims,
        leaf: leaf.to_vec(),
        leaf_index: 0,
        tree_size: 1,
        path: Vec::new(),
        evidence: vec![attest::Evidence {
            subject: "operator".into(),
            kind: attest::evidence::Kind::None.into(),
            reason: "no evidence source is configured".into(),
            report_data: binding::report_data("operator", &leaf).to_vec(),
            ..attest::Evidence::default()
        }],
        not_proven: vec!["operator-code".into(), "control-plane".into()],
        capacity: None,
    };
    AttestReply {
        message: Some(attest::attest_reply::Message::Attestation(response)),
    }
}

/// One core is free.
async fn capacity(inbound: Inbound) {
    let mut framed = Framed::new(
        inbound.stream,
        Codec::<CapacityReply, CapacityRequest>::new(limits::SMALL_REQUEST_MAX),
    );
    let Some(Ok(request)) = framed.next().await else { return };
    use apocryph_proto::v0::pod::{Resource, resource::Quantity};
    const FREE: u64 = 1_000;
    let more = |r: &Resource| r.resource == "cpu" && matches!(r.quantity, Some(Quantity::AmountMillis(n)) if n > FREE);
    let too_much = request.resources.iter().any(more);
    let response = CapacityResponse {
        available_resources: vec![Resource {
            resource: "cpu".into(),
            quantity: Some(Quantity::AmountMillis(FREE)),
        }],
        fits: !too_much,
        blocking_resource: if too_much { "cpu".into() } else { String::new() },
        images_may_run_as_root: true,
        tables: vec![provisioning_capacity::PriceTable {
            name: "free\u{1b}[31m".into(),
            payment: Some(provisioning_capacity::price_table::Payment::Free(
                provisioning_capacity::Free {
                    everyone: true,
                    listed: 0,
                },
            )),
            ..provisioning_capacity::PriceTable::default()
        }],
        ..CapacityResponse::default()
    };
    let reply = CapacityReply {
        message: Some(provisioning_capacity::capacity_reply::Message::Capacity(response)),
    };
    let _ = framed.send(reply).await;
    let _ = framed.close().await;
}

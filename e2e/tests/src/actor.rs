//! A publisher as the tests need one: every message in hand, every stream cut where a test wants it cut.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use apocryph_proto::{
    json,
    outcome::Code,
    protocol,
    v0::{
        manage_pod::{self, ManagePodRequest},
        pod::{Pod, resource::Quantity},
        provision_pod::{PaymentChannel, ProvisionPodRequest},
        provisioning_capacity::CapacityResponse,
        signing::Envelope,
    },
};
use apocryph_publisher::{
    Client, Connection, PodId, Provider, PublisherKey,
    attest::Attested,
    credential::{self, Parties, Request},
    reply::{Phase, Refusal, Status},
    session::{Body, Session},
};
use prost::Message;

use crate::{existing::with_images, wait::within};

/// One peer with one Ethereum key.
pub struct Actor {
    pub key: PublisherKey,
    pub client: Client,
    pub connection: Connection,
}

/// What one provision asks for.
#[derive(Clone)]
pub struct Order {
    pub pod: Pod,
    pub pod_id: PodId,
    pub after_life: u64,
    pub detach: bool,
    pub dry_run: bool,
}

impl Order {
    /// A manifest in YAML under a fresh pod id.
    pub fn of(manifest: &str) -> Result<Order> {
        let pod = with_images(json::pod_from_yaml(manifest)?);
        Ok(Order {
            pod,
            pod_id: PodId::random(),
            after_life: 0,
            detach: false,
            dry_run: false,
        })
    }

    /// The encoded request for a publisher.
    pub fn bytes(&self, key: &PublisherKey) -> Vec<u8> {
        ProvisionPodRequest {
            pod: Some(self.pod.clone()),
            payment: Some(PaymentChannel {
                publisher_address: key.address().to_vec(),
                pod_id: self.pod_id.0.to_vec(),
                ..PaymentChannel::default()
            }),
            detach: self.detach,
            dry_run: self.dry_run,
            after_life: self.after_life,
        }
        .encode_to_vec()
    }
}

/// How a stream ended, or where it stands.
#[derive(Debug)]
pub enum Answer {
    Status(Status),
    Refusal(Refusal),
    /// Lines of a log, a page of a list, a description, what a dry run came to, what was revoked.
    Told(Body),
}

impl Answer {
    /// The status, or an error that says what was refused.
    pub fn status(self) -> Result<Status> {
        match self {
            Answer::Status(status) => Ok(status),
            Answer::Refusal(refusal) => bail!("refused: {refusal:?}"),
            Answer::Told(body) => bail!("no status: {body:?}"),
        }
    }

    /// The refusal, or an error that says what came instead.
    pub fn refusal(self) -> Result<Refusal> {
        match self {
            Answer::Refusal(refusal) => Ok(refusal),
            Answer::Status(status) => bail!("not refused: {status:?}"),
            Answer::Told(body) => bail!("not refused: {body:?}"),
        }
    }
}

impl Actor {
    pub async fn connect(provider: &Provider) -> Result<Actor> {
        Actor::with_key(provider, PublisherKey::random()).await
    }

    pub async fn with_key(provider: &Provider, key: PublisherKey) -> Result<Actor> {
        let client = Client::of(&key)?;
        let connection = client.connect(provider).await?;
        Ok(Actor {
            key,
            client,
            connection,
        })
    }

    /// What is free and what it costs.
    pub async fn capacity(&self) -> Result<CapacityResponse> {
        Ok(apocryph_publisher::capacity::capacity(&self.connection, Vec::new()).await?)
    }

    /// Thousandths of a core that are free in all.
    pub async fn free_cpu_millis(&self) -> Result<u64> {
        let capacity = self.capacity().await?;
        let cpu = capacity
            .available_resources
            .iter()
            .find(|resource| resource.resource == "cpu")
            .context("cpu")?;
        match cpu.quantity {
            Some(Quantity::AmountMillis(millis)) => Ok(millis),
            other => bail!("cpu in thousandths, not {other:?}"),
        }
    }

    /// Attestation with the capacity in it.
    pub async fn attest(&self) -> Result<Attested> {
        Ok(apocryph_publisher::attest::attest(&self.connection, true).await?)
    }

    pub fn parties(&self) -> Parties {
        Parties {
            provider: self.connection.provider(),
            requester: self.connection.requester(),
        }
    }

    /// A signed envelope for any operation.
    pub fn envelope(&self, operation: &str, pod_id: PodId, bytes: &[u8]) -> Result<Envelope> {
        let request = Request {
            operation,
            pod_id,
            bytes,
            chain_id: 0,
        };
        Ok(credential::envelope(
            &self.key,
            request,
            self.parties(),
            credential::now(),
        )?)
    }

    /// Sends a provision; the stream is in the caller's hand.
    pub async fn provision(&self, order: &Order) -> Result<Stream> {
        let envelope = self.envelope("provision", order.pod_id, &order.bytes(&self.key))?;
        self.send(protocol::PROVISION_POD, envelope).await
    }

    pub async fn watch(&self, pod_id: PodId) -> Result<Stream> {
        self.manage(
            "watch",
            pod_id,
            manage_pod::manage_pod_request::Operation::Watch(manage_pod::Watch {}),
        )
        .await
    }

    pub async fn delete(&self, pod_id: PodId) -> Result<Stream> {
        self.manage(
            "delete",
            pod_id,
            manage_pod::manage_pod_request::Operation::Delete(manage_pod::Delete { life: 0 }),
        )
        .await
    }

    pub async fn manage(
        &self,
        operation: &str,
        pod_id: PodId,
        request: manage_pod::manage_pod_request::Operation,
    ) -> Result<Stream> {
        let bytes = ManagePodRequest {
            operation: Some(request),
        }
        .encode_to_vec();
        self.send(protocol::MANAGE_POD, self.envelope(operation, pod_id, &bytes)?)
            .await
    }

    pub async fn send(&self, protocol: &'static str, envelope: Envelope) -> Result<Stream> {
        let session = Session::open(&self.connection, protocol, envelope, Duration::from_secs(90)).await?;
        Ok(Stream {
            session,
            seen: Vec::new(),
        })
    }

    /// Provisions and awaits running.
    pub async fn run(&self, order: &Order) -> Result<Status> {
        self.provision(order).await?.until_phase(Phase::Running).await
    }

    /// Deletes and awaits the end.
    pub async fn end(&self, pod_id: PodId) -> Result<Status> {
        self.delete(pod_id).await?.until_phase(Phase::Ended).await
    }
}

/// One exchange under way.
pub struct Stream {
    session: Session,
    /// Codes so far, for messages of failed tests.
    seen: Vec<String>,
}

impl Stream {
    pub async fn next(&mut self) -> Result<Answer> {
        let reply = self
            .session
            .next()
            .await
            .with_context(|| format!("after {:?}", self.seen))?;
        Ok(match reply.body {
            Body::Status(status) => {
                self.seen.push(status.code.text.clone());
                Answer::Status(status)
            }
            Body::Refusal(refusal) => {
                self.seen.push(refusal.code.text.clone());
                Answer::Refusal(refusal)
            }
            told => Answer::Told(told),
        })
    }

    /// Reads on until `wanted`; a refusal before that is an error.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Result<Status> {
        within(what, async {
            loop {
                let status = self
                    .next()
                    .await?
                    .status()
                    .with_context(|| format!("waiting for {what}"))?;
                if wanted(&status) {
                    return Ok(status);
                }
                if status.phase == Phase::Ended {
                    bail!("ended while waiting for {what}: {status:?}; before: {:?}", self.seen);
                }
            }
        })
        .await
        .with_context(|| format!("seen so far: {:?}", self.seen))
    }

    pub async fn until_phase(&mut self, phase: Phase) -> Result<Status> {
        self.until(&format!("{phase:?}"), |status| status.phase == phase).await
    }

    pub async fn until_code(&mut self, code: Code) -> Result<Status> {
        self.until(code.as_str(), |status| status.code.is(code)).await
    }

    /// The refusal that ends the stream, after any number of statuses.
    pub async fn final_refusal(&mut self) -> Result<Refusal> {
        within("the stream's final refusal", async {
            loop {
                if let Answer::Refusal(refusal) = self.next().await? {
                    return Ok(refusal);
                }
            }
        })
        .await
    }

    /// The one answer that is neither status nor refusal.
    pub async fn told(&mut self) -> Result<Body> {
        within("the answer", async {
            match self.next().await? {
                Answer::Told(body) => Ok(body),
                other => bail!("another answer: {other:?}"),
            }
        })
        .await
    }

    /// The first answer when it is a refusal.
    pub async fn refused(&mut self) -> Result<Refusal> {
        within("a refusal", async { self.next().await?.refusal() }).await
    }
}

/// The same publisher in another process.
pub fn same_key(key: &PublisherKey) -> Result<PublisherKey> {
    Ok(PublisherKey::from_hex(
        &data_encoding::HEXLOWER.encode(&key.signing_key().to_bytes()),
        "the test's key",
    )?)
}

//! A world of fakes that writes down who was asked, a publisher who signs, and a client on the other end of a stream.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use apocryph_proto::{
    codec::Codec,
    outcome::Code,
    signing,
    v0::{
        manage_pod::{ManagePodRequest, manage_pod_request},
        pod::{Container, Image, Pod},
        provision_pod::{
            PaymentChannel, PodReply, PodStatus as WireStatus, ProvisionPodRequest, Refusal as WireRefusal, pod_reply,
        },
        signing::{Delegation, Envelope},
    },
};
use apocryph_provider::{
    admission::{Admission, Admitted, Services, checks::TagKey},
    model::{
        description::Description,
        key::{PodId, PodKey, PodName, Publisher},
        logs::{Logged, LogsWanted},
        manifest::{Defaults, Demand, Resources},
        pod::{End, EndedBy, LifeState, Listed, Offer, PodRecord, Tag, Terms},
        refusal::Refusal,
        services::{
            Capacity, CapacityAnswer, CapacityReport, Door, Held, Hold, HoldEnd, NodeShape, Payments, Planned, Pods,
            Preview, Prices, Submitted, Tables, Verdict,
        },
        status::{Phase, PodStatus},
    },
    protocols::{
        manage::ManagePod,
        provision::ProvisionPod,
        session::{Caller, Environment, Exchange, Session, Settings},
    },
    telemetry::metrics::Metrics,
};
use asynchronous_codec::Framed;
use futures::{FutureExt, SinkExt, StreamExt, future::BoxFuture, stream::BoxStream};
use k256::ecdsa::SigningKey;
use prost::Message;
use tokio::{
    io::DuplexStream,
    sync::{mpsc, watch},
};
use tokio_util::{
    compat::{Compat, TokioAsyncReadCompatExt},
    sync::CancellationToken,
};

pub const PROVIDER: &str = "12D3KooWProviderProviderProviderProviderProviderProv";
/// Of every stream.
pub const REQUEST_ID: &str = "0123";
pub const REQUESTER: &str = "12D3KooWRequesterRequesterRequesterRequesterRequest";
/// More than a whole exchange of a test writes.
pub const PIPE: usize = 4 << 20;

pub const DEFAULTS: Defaults = Defaults {
    requests: Resources {
        cpu_millis: 100,
        memory: 64 << 20,
        ephemeral_storage: 128 << 20,
    },
    empty_volume: 32 << 20,
};

/// What a pod writes.
type Lines = BoxStream<'static, Result<Logged, Refusal>>;

// ---- the services

/// What a hold meets.
pub enum HoldAnswer {
    Hold,
    LookAgain,
    Refuse(Refusal),
}

/// What a submit meets.
pub enum SubmitAnswer {
    Created,
    /// Another request's object is there now.
    Raced(PodRecord),
    Refuse(Refusal),
    /// Created when the token is cancelled.
    After(CancellationToken),
    Panic,
}

/// Implements every service.
pub struct World {
    calls: Mutex<Vec<&'static str>>,
    pub record: Mutex<Result<Option<PodRecord>, Refusal>>,
    pub door: Mutex<Result<(), Refusal>>,
    /// `None`: no answer, ever.
    pub verdict: Mutex<Option<Verdict>>,
    /// Default: a hold.
    pub holds: Mutex<VecDeque<HoldAnswer>>,
    /// Default: created.
    pub submits: Mutex<VecDeque<SubmitAnswer>>,
    pub fits: Mutex<Result<(), Refusal>>,
    pub tables: Mutex<Option<Arc<Tables>>>,
    pub demands: Mutex<Vec<Demand>>,
    pub listed: Mutex<Vec<Listed>>,
    pub described: Mutex<Result<Option<Description>, Refusal>>,
    /// Of one read.
    pub logged: Mutex<Option<Result<Lines, Refusal>>>,
    pub logs_wanted: Mutex<Vec<LogsWanted>>,
    /// Of the objects that would be made.
    pub digest: Mutex<Result<[u8; 32], Refusal>>,
    /// `delegationsNotBefore` as the watch shows it.
    pub not_before: watch::Sender<u64>,
    /// How each hold ended.
    pub hold_ends: watch::Sender<Vec<HoldEnd>>,
    statuses: Mutex<Option<mpsc::Receiver<PodStatus>>>,
    publish: Mutex<Option<mpsc::Sender<PodStatus>>>,
}

impl World {
    pub fn new() -> Arc<World> {
        let (publish, statuses) = mpsc::channel(16);
        Arc::new(World {
            calls: Mutex::default(),
            record: Mutex::new(Ok(None)),
            door: Mutex::new(Ok(())),
            verdict: Mutex::new(Some(Verdict::Enough(terms()))),
            holds: Mutex::default(),
            submits: Mutex::default(),
            fits: Mutex::new(Ok(())),
            tables: Mutex::new(None),
            demands: Mutex::default(),
            listed: Mutex::default(),
            described: Mutex::new(Ok(None)),
            logged: Mutex::default(),
            logs_wanted: Mutex::default(),
            digest: Mutex::new(Ok([0xd1; 32])),
            not_before: watch::Sender::new(0),
            hold_ends: watch::Sender::new(Vec::new()),
            statuses: Mutex::new(Some(statuses)),
            publish: Mutex::new(Some(publish)),
        })
    }

    pub fn with_record(record: PodRecord) -> Arc<World> {
        let world = World::new();
        *world.record.lock().unwrap() = Ok(Some(record));
        world
    }

    fn called(&self, what: &'static str) {
        self.calls.lock().unwrap().push(what);
    }

    /// Who was asked, in order.
    pub fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    pub async fn publish(&self, status: PodStatus) {
        let publish = self.publish.lock().unwrap().clone().expect("the pod is there");
        publish.send(status).await.expect("somebody watches");
    }

    /// The object is gone.
    pub fn gone(&self) {
        *self.record.lock().unwrap() = Ok(None);
        *self.publish.lock().unwrap() = None;
    }

    /// The watch ends, the object does not.
    pub fn lost_sight(&self) {
        *self.publish.lock().unwrap() = None;
    }
}

impl Pods for World {
    fn find<'a>(&'a self, _name: &'a PodName) -> BoxFuture<'a, Result<Option<PodRecord>, Refusal>> {
        self.called("find");
        let record = self.record.lock().unwrap().clone();
        async move { record }.boxed()
    }

    fn submit(&self, admitted: Admitted) -> BoxFuture<'_, Result<Submitted, Refusal>> {
        self.called("submit");
        let answer = self
            .submits
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(SubmitAnswer::Created);
        async move {
            let (request, hold) = admitted.into_parts();
            let record = PodRecord {
                key: request.key,
                name: request.key.name(),
                life: request.life,
                tag: Some(request.tag),
                terms: request.terms,
                state: LifeState::Alive,
                generation: 1,
                delegations_not_before: 0,
                version: request.replaces.unwrap_or_else(|| "1".to_owned()),
            };
            match answer {
                SubmitAnswer::Created => {}
                SubmitAnswer::After(token) => token.cancelled().await,
                SubmitAnswer::Raced(other) => {
                    *self.record.lock().unwrap() = Ok(Some(other));
                    return Ok(Submitted::Raced);
                }
                SubmitAnswer::Refuse(refusal) => return Err(refusal),
                SubmitAnswer::Panic => panic!("a bug in the gateway"),
            }
            *self.record.lock().unwrap() = Ok(Some(record.clone()));
            hold.commit();
            Ok(Submitted::Created(record))
        }
        .boxed()
    }

    fn watch(&self, _name: &PodName) -> BoxStream<'static, PodStatus> {
        self.called("watch");
        let statuses = self.statuses.lock().unwrap().take().expect("one watch per test");
        futures::stream::unfold(statuses, |mut statuses| async move {
            statuses.recv().await.map(|status| (status, statuses))
        })
        .boxed()
    }

    fn end<'a>(&'a self, _name: &'a PodName, life: u64) -> BoxFuture<'a, Result<(), Refusal>> {
        self.called("end");
        let record = self.record.lock().unwrap().clone();
        async move {
            match record? {
                None => Err(Refusal::new(Code::NotFound, "no such pod")),
                Some(record) if record.life != life => Err(Refusal::new(Code::OtherLife, "another life")),
                Some(_) => Ok(()),
            }
        }
        .boxed()
    }

    fn list(&self, publisher: &Publisher) -> BoxStream<'static, Listed> {
        self.called("list");
        let mut listed = self.listed.lock().unwrap().clone();
        listed.retain(|listed| listed.key.publisher == *publisher);
        futures::stream::iter(listed).boxed()
    }

    fn describe<'a>(&'a self, _name: &'a PodName) -> BoxFuture<'a, Result<Option<Description>, Refusal>> {
        self.called("describe");
        let described = self.described.lock().unwrap().clone();
        async move { described }.boxed()
    }

    fn logs<'a>(
        &'a self,
        _name: &'a PodName,
        wanted: LogsWanted,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Logged, Refusal>>, Refusal>> {
        self.called("logs");
        self.logs_wanted.lock().unwrap().push(wanted);
        let logged = self.logged.lock().unwrap().take();
        async move { logged.unwrap_or_else(|| Err(Refusal::new(Code::NotFound, "no such pod"))) }.boxed()
    }

    fn revoke<'a>(&'a self, _name: &'a PodName, not_before: u64) -> BoxFuture<'a, Result<u64, Refusal>> {
        self.called("revoke");
        let record = self.record.lock().unwrap().clone();
        async move {
            let mut record = record?.ok_or_else(|| Refusal::new(Code::NotFound, "no such pod"))?;
            record.delegations_not_before = record.delegations_not_before.max(not_before);
            let in_force = record.delegations_not_before;
            *self.record.lock().unwrap() = Ok(Some(record));
            self.not_before.send_replace(in_force);
            Ok(in_force)
        }
        .boxed()
    }

    fn revoked(&self, _name: &PodName, expires_at: u64) -> BoxFuture<'static, u64> {
        let mut not_before = self.not_before.subscribe();
        async move {
            let revoked = not_before.wait_for(|not_before| *not_before >= expires_at).await;
            let revoked = revoked.map(|not_before| *not_before).ok();
            match revoked {
                Some(not_before) => not_before,
                None => futures::future::pending().await,
            }
        }
        .boxed()
    }
}

impl Preview for World {
    fn digest(&self, _planned: Planned) -> Result<[u8; 32], Refusal> {
        self.called("digest");
        self.digest.lock().unwrap().clone()
    }
}

impl Capacity for World {
    fn report(&self) -> CapacityReport {
        CapacityReport {
            free: Resources {
                cpu_millis: 4000,
                memory: 8 << 30,
                ephemeral_storage: 50 << 30,
            },
            storage: Some(100 << 30),
            shapes: vec![NodeShape {
                count: 2,
                free: Resources {
                    cpu_millis: 2000,
                    memory: 4 << 30,
                    ephemeral_storage: 25 << 30,
                },
            }],
            images_may_run_as_root: true,
            ..CapacityReport::default()
        }
    }

    fn answer(&self, demand: &Demand) -> CapacityAnswer {
        self.called("capacity");
        self.demands.lock().unwrap().push(*demand);
        CapacityAnswer {
            report: self.report(),
            fits: self.fits.lock().unwrap().clone(),
        }
    }

    fn hold<'a>(&'a self, _name: &'a PodName, demand: &'a Demand) -> BoxFuture<'a, Result<Held, Refusal>> {
        self.called("hold");
        self.demands.lock().unwrap().push(*demand);
        let answer = self.holds.lock().unwrap().pop_front().unwrap_or(HoldAnswer::Hold);
        let ends = self.hold_ends.clone();
        async move {
            match answer {
                HoldAnswer::Hold => Ok(Held::Hold(Hold::new(move |end| {
                    ends.send_modify(|ends| ends.push(end))
                }))),
                HoldAnswer::LookAgain => Ok(Held::LookAgain),
                HoldAnswer::Refuse(refusal) => Err(refusal),
            }
        }
        .boxed()
    }
}

impl Payments for World {
    fn check<'a>(&'a self, _key: &'a PodKey, _offer: &'a Offer) -> BoxFuture<'a, Verdict> {
        self.called("payment");
        match self.verdict.lock().unwrap().clone() {
            Some(verdict) => async move { verdict }.boxed(),
            None => futures::future::pending().boxed(),
        }
    }
}

impl Door for World {
    fn accepting(&self) -> Result<(), Refusal> {
        self.called("door");
        self.door.lock().unwrap().clone()
    }

    fn admits(&self, _publisher: &Publisher) -> Result<(), Refusal> {
        self.accepting()
    }
}

impl Prices for World {
    fn tables(&self) -> Option<Arc<Tables>> {
        self.called("tables");
        self.tables.lock().unwrap().clone()
    }
}

// ---- what there is

pub fn terms() -> Terms {
    Terms::Free {
        table: "open".to_owned(),
    }
}

/// The record of the pod that [`Ask::provision`] asks for.
pub fn record(life: u64, state: LifeState) -> PodRecord {
    let key = publisher().key();
    PodRecord {
        key,
        name: key.name(),
        life,
        tag: Some(TagKey::new([3; 32]).tag(&pod().encode_to_vec())),
        terms: terms(),
        state,
        generation: 4,
        delegations_not_before: 0,
        version: "77".to_owned(),
    }
}

pub fn other_tag() -> Option<Tag> {
    Some(Tag("ffffffffffffffff".to_owned()))
}

pub fn end() -> End {
    End {
        at: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        reason: Code::DeletedByPublisher,
        by: EndedBy::Publisher,
    }
}

pub fn status(life: u64, phase: Phase, code: Code) -> PodStatus {
    PodStatus {
        name: publisher().key().name(),
        life,
        generation: 4,
        phase,
        code,
        message: "as it is".to_owned(),
        remedy: String::new(),
        addresses: Vec::new(),
        replicas: 1,
        replicas_ready: 0,
        since: UNIX_EPOCH,
        ends_at: None,
    }
}

// ---- who asks

pub struct Wallet(SigningKey);

pub fn publisher() -> Wallet {
    Wallet(SigningKey::from_slice(&[7; 32]).unwrap())
}

pub fn stranger() -> Wallet {
    Wallet(SigningKey::from_slice(&[8; 32]).unwrap())
}

pub const POD_ID: [u8; 32] = [5; 32];

impl Wallet {
    pub fn address(&self) -> [u8; 20] {
        signing::address(&self.0)
    }

    pub fn key(&self) -> PodKey {
        PodKey {
            publisher: Publisher(self.address()),
            pod_id: PodId(POD_ID),
        }
    }

    /// Signs what the delegation says.
    pub fn delegate(&self, mut delegation: Delegation) -> Delegation {
        let message = signing::Delegation {
            publisher: <[u8; 20]>::try_from(delegation.publisher.as_slice()).unwrap().into(),
            delegate: delegation.delegate.clone(),
            operations: delegation.operations.clone(),
            podId: <[u8; 32]>::try_from(delegation.pod_id.as_slice()).unwrap().into(),
            anyPod: delegation.any_pod,
            expiresAt: delegation.expires_at,
        };
        delegation.signature = signing::sign(signing::digest(&message, delegation.chain_id), &self.0)
            .unwrap()
            .to_vec();
        delegation
    }

    /// Signs what the envelope says.
    pub fn sign(&self, envelope: &mut Envelope) {
        let message = signing::Request {
            operation: envelope.operation.clone(),
            podId: <[u8; 32]>::try_from(envelope.pod_id.as_slice()).unwrap().into(),
            requestHash: <[u8; 32]>::try_from(envelope.request_hash.as_slice()).unwrap().into(),
            provider: envelope.provider.clone(),
            requester: envelope.requester.clone(),
            issuedAt: envelope.issued_at,
            expiresAt: envelope.expires_at,
            afterGeneration: envelope.after_generation,
        };
        envelope.signature = signing::sign(signing::digest(&message, envelope.chain_id), &self.0)
            .unwrap()
            .to_vec();
    }
}

pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn pod() -> Pod {
    Pod {
        containers: vec![Container {
            name: "web".to_owned(),
            image: Some(Image {
                url: "docker.io/library/nginx:1.29".to_owned(),
                ..Default::default()
            }),
            env: [("TOKEN".to_owned(), "hunter2".to_owned())].into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub fn provision() -> ProvisionPodRequest {
    ProvisionPodRequest {
        pod: Some(pod()),
        payment: Some(PaymentChannel {
            publisher_address: publisher().address().to_vec(),
            pod_id: POD_ID.to_vec(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// An envelope without a fault, unsigned.
pub fn envelope(operation: &str, request: Vec<u8>) -> Envelope {
    Envelope {
        operation: operation.to_owned(),
        pod_id: POD_ID.to_vec(),
        request_hash: signing::request_hash(&request).to_vec(),
        provider: PROVIDER.to_owned(),
        requester: REQUESTER.to_owned(),
        request,
        publisher: publisher().address().to_vec(),
        issued_at: unix_now(),
        expires_at: unix_now() + 300,
        ..Default::default()
    }
}

pub fn signed(operation: &str, request: Vec<u8>) -> Envelope {
    let mut envelope = envelope(operation, request);
    publisher().sign(&mut envelope);
    envelope
}

/// What the publisher lets [`REQUESTER`] do for a day, unsigned.
pub fn delegation(operations: &[&str]) -> Delegation {
    Delegation {
        publisher: publisher().address().to_vec(),
        delegate: REQUESTER.to_owned(),
        operations: operations.iter().map(|operation| (*operation).to_owned()).collect(),
        pod_id: POD_ID.to_vec(),
        expires_at: unix_now() + 86_400,
        ..Default::default()
    }
}

/// The envelope under a delegation instead of a signature.
pub fn under(delegation: Delegation, envelope: Envelope) -> Envelope {
    Envelope {
        signature: Vec::new(),
        delegation: Some(delegation),
        ..envelope
    }
}

pub fn signed_provision(request: &ProvisionPodRequest) -> Envelope {
    signed("provision", request.encode_to_vec())
}

pub fn signed_manage(operation: manage_pod_request::Operation) -> Envelope {
    use manage_pod_request::Operation::{Delete, Describe, List, Logs, Revoke, Update, Watch};
    let name = match operation {
        Watch(_) => "watch",
        List(_) => "list",
        Describe(_) => "describe",
        Update(_) => "update",
        Logs(_) => "logs",
        Delete(_) => "delete",
        Revoke(_) => "revoke",
    };
    signed(
        name,
        ManagePodRequest {
            operation: Some(operation),
        }
        .encode_to_vec(),
    )
}

// ---- the two ends

pub fn provision_pod(world: &Arc<World>) -> ProvisionPod {
    ProvisionPod {
        admission: Arc::new(admission(world)),
        pods: world.clone(),
        provider: PROVIDER.to_owned(),
    }
}

pub fn admission(world: &Arc<World>) -> Admission {
    let services = Services {
        pods: world.clone(),
        capacity: world.clone(),
        payments: world.clone(),
        door: world.clone(),
        prices: world.clone(),
        preview: world.clone(),
    };
    Admission::new(services, TagKey::new([3; 32]), DEFAULTS)
}

pub fn manage_pod(world: &Arc<World>) -> ManagePod {
    ManagePod {
        pods: world.clone(),
        provider: PROVIDER.to_owned(),
    }
}

/// The client's end of one exchange.
pub struct Client<Request, Reply> {
    pub stream: Framed<Compat<DuplexStream>, Codec<Request, Reply>>,
    pub drain: CancellationToken,
    pub metrics: Metrics,
}

/// Serves one stream; the request is sent.
pub async fn open<E: Exchange, Request: Message>(
    exchange: E,
    request: Request,
) -> Client<Request, <E::Replies as apocryph_provider::protocols::session::Replies>::Message>
where
    <E::Replies as apocryph_provider::protocols::session::Replies>::Message: Default,
{
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let (drain, metrics) = (CancellationToken::new(), Metrics::unregistered());
    let environment = Environment::new(Settings::default(), metrics.clone(), drain.clone());
    let caller = Caller {
        request_id: REQUEST_ID.into(),
        peer: REQUESTER.to_owned(),
        peer_bytes: vec![0, 1, 2],
    };
    let session = Session::new(
        theirs.compat(),
        E::PROTOCOL,
        caller,
        environment,
        CancellationToken::new(),
        (),
    );
    tokio::spawn(async move {
        let Err(_ended) = exchange.serve(session).await;
    });
    let mut stream = Framed::new(ours.compat(), Codec::new(apocryph_proto::limits::MESSAGE_MAX));
    stream
        .send(request)
        .await
        .unwrap_or_else(|error| panic!("the request is taken: {error}"));
    Client { stream, drain, metrics }
}

impl<Request: Message> Client<Request, PodReply> {
    /// The next message; `None`: the stream closed.
    pub async fn next(&mut self) -> Option<PodReply> {
        self.stream.next().await.map(|reply| reply.expect("a message"))
    }

    pub async fn status(&mut self) -> WireStatus {
        let reply = self.next().await.expect("a message");
        assert!(!reply.r#final, "not the last: {reply:?}");
        match reply.message {
            Some(pod_reply::Message::Status(status)) => status,
            other => panic!("no status: {other:?}"),
        }
    }

    /// The final status; nothing follows.
    pub async fn last_status(mut self) -> WireStatus {
        let reply = self.next().await.expect("a message");
        assert!(reply.r#final);
        assert_eq!(self.next().await, None);
        match reply.message {
            Some(pod_reply::Message::Status(status)) => status,
            other => panic!("no status: {other:?}"),
        }
    }

    /// The final refusal; nothing follows.
    pub async fn refusal(mut self) -> WireRefusal {
        let reply = self.next().await.expect("a message");
        assert!(reply.r#final);
        assert_eq!(self.next().await, None);
        match reply.message {
            Some(pod_reply::Message::Refusal(refusal)) => refusal,
            other => panic!("no refusal: {other:?}"),
        }
    }
}

/// The final refusal of a provision.
pub async fn refused(world: &Arc<World>, envelope: Envelope) -> WireRefusal {
    open(provision_pod(world), envelope).await.refusal().await
}

//! The seams: what protocols and admission need of the rest, as traits. Each has one implementation in the program and
//! fakes in tests; later issues add implementations, not seams.

use std::sync::Arc;

use futures::{future::BoxFuture, stream::BoxStream};

use super::{
    description::Description,
    key::{PodKey, PodName, Publisher},
    logs::{Logged, LogsWanted},
    manifest::{Complete, Demand, Resources},
    pod::{Listed, Offer, PodRecord, Tag, Terms},
    refusal::Refusal,
    status::PodStatus,
};
use crate::admission::Admitted;

/// The one door to pods in the API (implemented by pods::gateway).
pub trait Pods: Send + Sync {
    /// A fresh read. `Err`: could not find out (`api_unavailable`).
    fn find<'a>(&'a self, name: &'a PodName) -> BoxFuture<'a, Result<Option<PodRecord>, Refusal>>;

    /// Steps 5 and 6 of the order of writes; returns when the commit is known. Dropped in between it may leave half of them:
    /// admission runs it in a task of its own.
    fn submit(&self, admitted: Admitted) -> BoxFuture<'_, Result<Submitted, Refusal>>;

    /// The status now and each change after it; ends when the object is gone. Slow readers miss steps, never the last.
    fn watch(&self, name: &PodName) -> BoxStream<'static, PodStatus>;

    /// Orders the end of that life (by its publisher). Ok when it is ordered, was before, or has ended;
    /// `not_found` and `other_life` otherwise.
    fn end<'a>(&'a self, name: &'a PodName, life: u64) -> BoxFuture<'a, Result<(), Refusal>>;

    /// The publisher's pods, ended ones included, by name. From the cache, each as it is when it is asked for.
    fn list(&self, publisher: &Publisher) -> BoxStream<'static, Listed>;

    /// Everything that is known of the pod: a fresh read. `None`: there is no such pod.
    fn describe<'a>(&'a self, name: &'a PodName) -> BoxFuture<'a, Result<Option<Description>, Refusal>>;

    /// What a container wrote, of every replica. Nothing is read ahead of the stream's reader but bounded buffers.
    /// `not_found`, `invalid_request` (no such container), `busy` (too many logs are being read) at once; as an item of the
    /// stream, its last: what kept it from going on.
    fn logs<'a>(
        &'a self,
        name: &'a PodName,
        wanted: LogsWanted,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Logged, Refusal>>, Refusal>>;

    /// Makes delegations void that expire at or before `not_before` (Unix seconds); gives what is in force then, never less.
    /// `not_found` when there is no such pod.
    fn revoke<'a>(&'a self, name: &'a PodName, not_before: u64) -> BoxFuture<'a, Result<u64, Refusal>>;

    /// Resolves when what expires at `expires_at` has been made void, by the instant that is in force then. As long as it is
    /// not, or the pod is not there, it waits.
    fn revoked(&self, name: &PodName, expires_at: u64) -> BoxFuture<'static, u64>;
}

/// What would be made of a pod (implemented by pods::preview).
pub trait Preview: Send + Sync {
    /// SHA-256 over the RFC 8785 JSON of the list of its objects, as nodes and settings are now. `Err`: they cannot be built.
    fn digest(&self, planned: Planned) -> Result<[u8; 32], Refusal>;
}

/// A life of a pod that nobody has asked to begin yet.
#[derive(Clone)]
pub struct Planned {
    pub key: PodKey,
    pub life: u64,
    pub tag: Tag,
    pub terms: Terms,
    pub pod: Complete,
}

/// Outcome of a submit that was answered.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one a request, and the large one is the usual one"
)]
pub enum Submitted {
    /// This write is the commit.
    Created(PodRecord),
    /// Somebody else's write came first: read it and decide anew.
    Raced,
}

/// What is free (implemented by capacity).
pub trait Capacity: Send + Sync {
    /// Cheap to ask: may be a tenth of a second old.
    fn report(&self) -> CapacityReport;

    /// The report, and whether such a pod would be admitted: both of one instant. Changes nothing.
    fn answer(&self, demand: &Demand) -> CapacityAnswer;

    /// One critical section: fits, then holds. One hold per name: a second caller waits for the first one's outcome and is
    /// then told to look again.
    fn hold<'a>(&'a self, name: &'a PodName, demand: &'a Demand) -> BoxFuture<'a, Result<Held, Refusal>>;
}

/// See [`Capacity::answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityAnswer {
    pub report: CapacityReport,
    /// The refusal names the blocking resource.
    pub fits: Result<(), Refusal>,
}

pub enum Held {
    Hold(Hold),
    /// Another request for the name was decided meanwhile.
    LookAgain,
}

/// Capacity that is promised. Dropping it gives it back.
pub struct Hold {
    release: Option<Box<dyn FnOnce(HoldEnd) + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// Nothing was created: free at once.
    Released,
    /// Created: counted until the own watch shows the object.
    Committed,
}

impl Hold {
    pub fn new(release: impl FnOnce(HoldEnd) + Send + Sync + 'static) -> Hold {
        Hold {
            release: Some(Box::new(release)),
        }
    }

    /// The object exists.
    pub fn commit(mut self) {
        if let Some(release) = self.release.take() {
            release(HoldEnd::Committed);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release(HoldEnd::Released);
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hold")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapacityReport {
    /// In all, under `capacity.max`.
    pub free: Resources,
    /// `None`: storage is not offered.
    pub storage: Option<u64>,
    /// Kinds of nodes by what is free on them, largest first.
    pub shapes: Vec<NodeShape>,
    pub images_may_run_as_root: bool,
    /// What pods that have not ended hold.
    pub sold: Resources,
    /// Bytes of volumes that they hold.
    pub sold_storage: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeShape {
    pub count: u32,
    pub free: Resources,
}

/// Prices in force (implemented by pricing).
pub trait Prices: Send + Sync {
    /// Tables of the last good ConfigMap; `None`: there never was one.
    fn tables(&self) -> Option<Arc<Tables>>;
}

pub use crate::pricing::Tables;

/// Is it paid? (Implemented by billing.)
pub trait Payments: Send + Sync {
    fn check<'a>(&'a self, key: &'a PodKey, offer: &'a Offer) -> BoxFuture<'a, Verdict>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Enough(Terms),
    NotEnough(Refusal),
    /// Could not be found out: never costs anybody a pod.
    Unknown(String),
}

/// Proof of what it runs on (implemented by attestation).
pub trait Attester: Send + Sync {
    fn attest<'a>(&'a self, question: Asked<'a>) -> BoxFuture<'a, Result<Attestation, Refusal>>;
}

#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub nonce: &'a [u8],
    /// Peer id as multihash bytes.
    pub requester: &'a [u8],
}

/// One answer; the fields are those of attest.proto.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    pub claims: Claims,
    pub leaf_index: u64,
    pub tree_size: u64,
    pub path: Vec<[u8; 32]>,
    pub root: [u8; 32],
    pub leaf: [u8; 32],
    pub evidence: Vec<Evidence>,
    pub not_proven: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub sealing_key: [u8; 32],
    pub payment_address: Option<Publisher>,
    /// Empty: unknown.
    pub image_id: String,
    pub policies_hash: Vec<u8>,
    pub secrets_visible_to: &'static str,
    /// The encoded message, exactly as hashed into the leaf.
    pub encoded: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub subject: String,
    /// Why nothing proves the subject.
    pub none_because: String,
    pub report_data: [u8; 64],
}

/// Are new pods accepted now? (Implemented by ready::Door.) Attach, watch and delete never ask.
pub trait Door: Send + Sync {
    /// `Err`: not accepting, and why: not_synced, walls_missing, no_price_table, cordoned.
    fn accepting(&self) -> Result<(), Refusal>;

    /// Are new pods of this publisher accepted now? `Err`: as above, or publisher_denied.
    fn admits(&self, publisher: &Publisher) -> Result<(), Refusal>;
}

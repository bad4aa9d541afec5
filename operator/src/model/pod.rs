//! A pod as it stands in the API, and the writes that may be asked for it.

use std::time::SystemTime;

use apocryph_proto::outcome::Code;

use super::{key::PodKey, key::PodName, status::PodStatus};

/// Fingerprint of a decoded request, payment left out: first 16 hex digits of an HMAC-SHA-256 under a key that only the
/// operator has, so it tells nothing to who can read it and cannot be guessed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub String);

/// How a pod is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Nothing is owed; the table that allowed it.
    Free { table: String },
}

/// What a request offers as payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    Free,
}

impl Terms {
    /// Is this what the offer says? The table's name may change under a running pod.
    pub fn same_payment(&self, offer: &Offer) -> bool {
        match (self, offer) {
            (Terms::Free { .. }, Offer::Free) => true,
        }
    }
}

/// Read from the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRecord {
    pub key: PodKey,
    pub name: PodName,
    pub life: u64,
    /// `None`: an admin's own pod.
    pub tag: Option<Tag>,
    pub terms: Terms,
    pub state: LifeState,
    pub generation: i64,
    /// Delegations that expire at or before are void, Unix seconds; 0: none is.
    pub delegations_not_before: u64,
    /// metadata.resourceVersion, for the one update that starts a new life.
    pub version: String,
}

/// One of a publisher's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: PodKey,
    pub status: PodStatus,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LifeState {
    Alive,
    /// The end is ordered; the namespace is not known to be gone.
    Ending(End),
    Ended(End),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub at: SystemTime,
    pub reason: Code,
    pub by: EndedBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    Publisher,
    Admin,
    Controller,
}

impl EndedBy {
    pub const fn as_str(self) -> &'static str {
        match self {
            EndedBy::Publisher => "publisher",
            EndedBy::Admin => "admin",
            EndedBy::Controller => "controller",
        }
    }
}

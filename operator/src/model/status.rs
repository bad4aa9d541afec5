//! What a session may learn of a pod.

use std::time::SystemTime;

use apocryph_proto::outcome::Code;

use super::key::PodName;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Accepted,
    Scheduled,
    Pulling,
    Starting,
    Running,
    Degraded,
    Ending,
    Ended,
}

/// One message of a status stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodStatus {
    pub name: PodName,
    pub life: u64,
    /// metadata.generation of the object it was read from.
    pub generation: i64,
    pub phase: Phase,
    pub code: Code,
    /// One sentence; then the remedy, empty when nothing is to be done.
    pub message: String,
    pub remedy: String,
    pub addresses: Vec<Address>,
    pub replicas: u32,
    pub replicas_ready: u32,
    /// Since when the code holds.
    pub since: SystemTime,
    /// When the admin ends the pod, if he has announced it.
    pub ends_at: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub container: String,
    pub port: String,
    /// Multiaddr text.
    pub multiaddr: String,
}

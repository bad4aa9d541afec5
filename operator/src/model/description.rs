//! Everything that a publisher may learn of one pod of his.

use std::time::SystemTime;

use super::{pod::PodRecord, status::PodStatus};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub record: PodRecord,
    pub status: PodStatus,
    /// When this life was asked for.
    pub started: Option<SystemTime>,
    /// When this life was ready for the first time.
    pub ready_since: Option<SystemTime>,
    pub conditions: Vec<Condition>,
    /// By name, at most `limits::REPLICAS_DESCRIBED`.
    pub replicas: Vec<Replica>,
    /// The newest first, at most `limits::REASONS_DESCRIBED`.
    pub reasons: Vec<Reason>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub type_: String,
    pub holds: bool,
    /// Outcome code, snake_case; of a newer version as it stands.
    pub code: String,
    pub message: String,
    pub since: SystemTime,
}

/// One Kubernetes Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub name: String,
    pub ready: bool,
    /// Outcome code, snake_case.
    pub code: &'static str,
    pub message: String,
    pub remedy: String,
    pub started: Option<SystemTime>,
    pub containers: Vec<ContainerState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerState {
    pub name: String,
    pub state: State,
    pub restarts: u32,
    pub last_exit: Option<Exit>,
}

/// `None` in a time: the node did not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Waiting,
    Running(Option<SystemTime>),
    Exited(Option<SystemTime>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    pub at: Option<SystemTime>,
    pub out_of_memory: bool,
}

/// What the status was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Outcome code, snake_case.
    pub code: &'static str,
    pub message: String,
    /// When it was last told, and how often.
    pub at: SystemTime,
    pub count: u32,
}

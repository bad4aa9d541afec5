//! What is free on nodes, what is promised, and whether a pod fits.

pub mod fit;
pub mod holds;
pub mod nodes;
pub mod quantity;
mod refusal;
mod requests;
mod tracker;

use std::collections::BTreeMap;

use crate::model::manifest::Resources;

pub use tracker::Tracker;

/// Chart values `capacity` and `placement`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Kept free on every node.
    pub reserve: Resources,
    /// Most that is rented out in all; `None`: no bound.
    pub max_cpu_millis: Option<u64>,
    pub max_memory: Option<u64>,
    pub max_ephemeral_storage: Option<u64>,
    /// Most ApocryphPods that may be alive at once.
    pub max_pods: Option<u32>,
    /// Most ApocryphPods that have ended and are remembered; with so many no new one is taken. `None`: no bound.
    pub max_ended: Option<u32>,
    /// Bytes for volumes; `None`: storage is not offered.
    pub storage: Option<u64>,
    /// Volumes that several nodes write are offered.
    pub shared_storage: bool,
    /// Nodes that may take tenants.
    pub node_selector: BTreeMap<String, String>,
    /// The admin's runtime class; its handler decides about user namespaces. Nodes report by handler: a class that is not
    /// named like its handler counts as one without them.
    pub runtime_class: Option<String>,
    /// Never allow images that run as root.
    pub force_restricted: bool,
}

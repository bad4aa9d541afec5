//! The one place that reads and writes pods in the API.

pub mod apply;
pub mod controller;
pub mod finalize;
pub mod gateway;
pub mod gather;
pub mod objects;
pub mod reconcile;
pub mod status;
pub mod sweep;
pub mod validate;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// Field manager of every server-side apply.
pub const FIELD_MANAGER: &str = "apocryph-provider";

/// Chart values that shape what a pod becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the operator runs: its Secrets, Lease and ConfigMaps.
    pub operator_namespace: String,
    pub service_account: String,
    /// `storage.class`; `None`: storage is not offered.
    pub storage_class: Option<String>,
    pub exposure: Exposure,
    /// Nodes that may take tenants, as in capacity::Settings.
    pub node_selector: BTreeMap<String, String>,
    pub runtime_class: Option<String>,
    pub dns: Dns,
    /// CIDRs closed to tenants beside the private ranges.
    pub egress_deny: Vec<String>,
    /// Not Ready within: ended, `start_timeout`.
    pub start_deadline: Duration,
    /// Staged Secrets that no ApocryphPod names go after.
    pub sweep_after: Duration,
    /// Ended ApocryphPods go after.
    pub ended_ttl: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    pub kind: ExposureKind,
    /// Told to publishers; empty: the nodes' ExternalIPs.
    pub addresses: Vec<IpAddr>,
    /// Nodes' InternalIPs may be told.
    pub tell_internal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExposureKind {
    ClusterIp,
    NodePort,
}

/// Where tenants may ask for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dns {
    Selector { namespace: String, labels: BTreeMap<String, String> },
    Addresses(Vec<String>),
}

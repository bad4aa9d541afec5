//! The one place that reads and writes pods in the API.

mod admit;
pub mod api;
pub mod apply;
pub mod commit;
pub mod compare;
pub mod controller;
pub mod deadline;
pub mod describe;
pub mod finalize;
pub mod gateway;
pub mod gather;
pub mod logs;
pub mod metrics;
pub mod notice;
pub mod objects;
pub mod owned;
pub mod preview;
pub mod reconcile;
pub mod report;
pub mod staging;
pub mod status;
pub mod stream;
pub mod sweep;
pub mod validate;
pub mod view;
pub mod written;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

pub use metrics::Metrics;

/// Field manager of every server-side apply.
pub const FIELD_MANAGER: &str = "apocryph-provider";

/// The ClusterRole that the operator binds to itself in each tenant's namespace.
pub const TENANT_ROLE: &str = "apocryph-tenant";

/// Annotations of an ApocryphPod.
pub mod annotation {
    pub use apocryph_crd::BUILT;
    /// The life that was Ready once: from then on no start deadline. In the metadata, since status may get lost.
    pub const READY: &str = "apocryph.network/ready";
    /// When the life was asked for (RFC 3339).
    pub const STARTED: &str = "apocryph.network/started";
    /// The admin's notice of the end: `REASON, WHEN`. See [`super::notice`].
    pub const END: &str = "apocryph.network/end";
    /// Id of the request that made the life, as in the log.
    pub const REQUEST_ID: &str = "apocryph.network/request-id";
}

/// Chart values that shape what a pod becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the operator runs: its Secrets, Lease and ConfigMaps.
    pub operator_namespace: String,
    pub service_account: String,
    /// `storage.class`; `None`: storage is not offered.
    pub storage_class: Option<String>,
    /// `storage.sharedClass`; `None`: volumes that several nodes write are not offered.
    pub shared_storage_class: Option<String>,
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
    /// Of one publisher so many ended pods are kept until then; the longest ended of his own go before.
    pub ended_per_publisher: usize,
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
    Selector {
        namespace: String,
        labels: BTreeMap<String, String>,
    },
    Addresses(Vec<String>),
}

/// The time; tests give their own.
pub type Clock = fn() -> k8s_openapi::jiff::Timestamp;

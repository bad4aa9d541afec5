//! The configuration file, as the chart renders it: names and shapes. Unknown names are refused; what values may be, `args`
//! says.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use libp2p::Multiaddr;
use serde::{Deserialize, Deserializer};

use super::Names;
use crate::model::span::span;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    pub(super) service_account: String,
    pub(super) tenant_role: String,
    pub(super) names: Names,
    pub(super) logs: LogsFile,
    pub(super) lease: LeaseFile,
    pub(super) placement: Placement,
    pub(super) capacity: CapacityFile,
    pub(super) storage: Storage,
    pub(super) defaults: DefaultsFile,
    pub(super) timings: Timings,
    pub(super) ended: Ended,
    pub(super) pod_security: PodSecurity,
    /// Empty: the nodes' default.
    pub(super) runtime_class: String,
    pub(super) dns: DnsFile,
    pub(super) egress: Egress,
    pub(super) exposure: ExposureFile,
    pub(super) libp2p: Libp2p,
    pub(super) payment: Payment,
    pub(super) walls: WallsFile,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LogsFile {
    pub(super) format: String,
    pub(super) level: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LeaseFile {
    pub(super) duration: Span,
    pub(super) renew_deadline: Span,
    pub(super) retry_period: Span,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Placement {
    pub(super) node_selector: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CapacityFile {
    pub(super) reserve: Three<Text>,
    pub(super) max: Max,
    #[serde(rename = "storageGiB")]
    pub(super) storage_gib: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Three<T> {
    pub(super) cpu: T,
    pub(super) memory: T,
    pub(super) ephemeral_storage: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Max {
    pub(super) cpu: Option<Text>,
    pub(super) memory: Option<Text>,
    pub(super) ephemeral_storage: Option<Text>,
    pub(super) pods: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Storage {
    /// Empty: not offered.
    pub(super) class: String,
    /// Empty: volumes that several nodes write are not offered.
    pub(super) shared_class: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DefaultsFile {
    pub(super) requests: Three<Text>,
    pub(super) empty_volume: Text,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Timings {
    pub(super) start_deadline: Span,
    pub(super) sweep_after: Span,
    #[serde(rename = "endedTTL")]
    pub(super) ended_ttl: Span,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Ended {
    pub(super) per_publisher: u32,
    pub(super) total: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PodSecurity {
    pub(super) force_restricted: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DnsFile {
    pub(super) namespace: String,
    pub(super) pod_labels: BTreeMap<String, String>,
    pub(super) addresses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Egress {
    pub(super) deny: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExposureFile {
    pub(super) kind: ExposureKind,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) tell_internal: bool,
}

#[derive(Deserialize)]
pub(super) enum ExposureKind {
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    NodePort,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Libp2p {
    pub(super) tcp_port: u16,
    pub(super) quic_port: u16,
    pub(super) host_port: Option<u16>,
    pub(super) announce: Announce,
    pub(super) limits: Limits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Announce {
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) internal: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) connections: ConnectionLimits,
    pub(super) streams: StreamLimits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ConnectionLimits {
    pub(super) total: u32,
    pub(super) per_peer: u32,
    pub(super) per_address: usize,
    pub(super) per_network: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StreamLimits {
    pub(super) total: usize,
    pub(super) per_connection: usize,
    pub(super) per_peer: usize,
    pub(super) per_address: usize,
    pub(super) per_network: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Payment {
    /// Empty: free tables only.
    pub(super) address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WallsFile {
    pub(super) policies: Vec<String>,
    pub(super) bindings: Vec<String>,
    pub(super) hash: String,
}

/// A time with its unit: `90s`, `10m`, `1h30m`, `7d`.
#[derive(Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        span(&text).map(Span).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is not a time: write numbers with their units, such as 90s, 10m, 1h30m, 7d"
            ))
        })
    }
}

/// A quantity: text, or a number without unit.
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        Ok(Text(match Either::deserialize(deserializer)? {
            Either::Number(number) => number.to_string(),
            Either::Text(text) => text,
        }))
    }
}

//! Flags and the configuration file, validated once: what leaves here holds.
//!
//! The chart renders its values into the file (templates/_config.tpl); flags and environment carry what only the Pod knows.

mod edge;
mod election;
mod file;
mod values;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use serde::Deserialize;

pub use self::edge::ipv6_available;
use self::{
    edge::net_settings,
    election::lease_settings,
    file::{DnsFile, ExposureKind, File},
    values::{at_least, at_least_one, cidrs, default_requests, default_volume, most, positive, resources},
};
use crate::{
    announce,
    capacity::{self, quantity::Exact},
    lease,
    model::{key::Publisher, manifest::Defaults},
    net::limits as net,
    pods,
    telemetry::logs,
    walls,
};

/// Of the container's memory, what the process may use before it accepts no more connections.
const MEMORY_SHARE: (u64, u64) = (3, 4);
/// Where the container has no limit.
const MEMORY_WITHOUT_LIMIT: u64 = 512 << 20;
const GIB: u64 = 1 << 30;
/// Shorter, and the sweeper could take a Secret between its write and its pod's.
const SWEEP_AFTER_MIN: Duration = Duration::from_secs(10);

/// Rents a Kubernetes cluster's spare capacity to strangers over libp2p.
#[derive(Parser, Clone, Debug)]
#[command(name = "apocryph-provider", version)]
pub struct Args {
    /// Configuration file, as the chart renders it.
    #[arg(long, env = "APOCRYPH_CONFIG", default_value = "/etc/apocryph/config.yaml")]
    pub config: PathBuf,
    /// Name of this Pod.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: String,
    /// Its uid: a new Pod of the same name is somebody else to the Lease.
    #[arg(long, env = "POD_UID")]
    pub pod_uid: String,
    /// Namespace of this Pod: the Lease, the identity and the prices are there.
    #[arg(long, env = "POD_NAMESPACE")]
    pub pod_namespace: String,
    /// Node of this Pod: its addresses are announced.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: String,
    /// Memory limit of this container, in bytes.
    #[arg(long, env = "MEMORY_LIMIT")]
    pub memory_limit: Option<u64>,
    /// Port of /live, /ready and /metrics.
    #[arg(long, env = "ADMIN_PORT", default_value_t = 8080)]
    pub admin_port: u16,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What is done instead of running the operator.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Before an uninstall: takes no new pods, and announces to every publisher the end of every pod.
    Drain {
        /// REASON, WHEN: "we are closing, 2h", or with a time such as 2026-11-24T17:00:00Z.
        order: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--config {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("--config {path}: {reason}")]
    Form { path: PathBuf, reason: String },
    #[error("{field}: {reason}")]
    Value { field: &'static str, reason: String },
}

fn bad(field: &'static str, reason: impl ToString) -> Error {
    Error::Value {
        field,
        reason: reason.to_string(),
    }
}

/// Everything the process is told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub pod: OwnPod,
    pub names: Names,
    pub logs: Logs,
    pub admin_port: u16,
    pub lease: lease::Settings,
    pub capacity: capacity::Settings,
    pub pods: pods::Settings,
    pub defaults: Defaults,
    pub net: net::Settings,
    pub announce: announce::Settings,
    pub payment_address: Option<Publisher>,
    pub walls: walls::Settings,
}

/// Where this process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPod {
    pub name: String,
    pub uid: String,
    pub namespace: String,
    pub node: String,
}

/// Objects in the operator's namespace, and its CRD.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Names {
    pub lease: String,
    /// Secret with the keys.
    pub identity: String,
    /// ConfigMap with the peer id and what is dialled.
    pub peer: String,
    /// ConfigMap with the prices.
    pub pricing: String,
    /// ConfigMap that says who may start pods.
    pub access: String,
    /// Service by which publishers come in.
    pub service: String,
    pub crd: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    pub format: logs::Format,
    /// A filter of tracing.
    pub level: String,
}

impl Args {
    /// Reads and checks everything. The error names the flag or the value at fault.
    pub fn load(&self) -> Result<Config, Error> {
        let text = std::fs::read_to_string(&self.config).map_err(|source| Error::Read {
            path: self.config.clone(),
            source,
        })?;
        self.with_file(&text)
    }

    fn with_file(&self, text: &str) -> Result<Config, Error> {
        for (field, value) in [
            ("--pod-name", &self.pod_name),
            ("--pod-uid", &self.pod_uid),
            ("--pod-namespace", &self.pod_namespace),
            ("--node-name", &self.node_name),
        ] {
            if value.is_empty() {
                return Err(bad(field, "is empty; the chart sets it from the downward API"));
            }
        }
        let file: File = serde_saphyr::from_str(text).map_err(|error| Error::Form {
            path: self.config.clone(),
            reason: error.to_string(),
        })?;
        let File {
            service_account,
            tenant_role,
            names,
            logs,
            lease,
            placement,
            capacity,
            storage,
            defaults,
            timings,
            ended,
            pod_security,
            runtime_class,
            dns,
            egress,
            exposure,
            libp2p,
            payment,
            walls,
        } = file;
        let pod = OwnPod {
            name: self.pod_name.clone(),
            uid: self.pod_uid.clone(),
            namespace: self.pod_namespace.clone(),
            node: self.node_name.clone(),
        };
        if tenant_role != pods::TENANT_ROLE {
            return Err(bad(
                "tenantRole",
                format!("is {tenant_role}; this program binds {}", pods::TENANT_ROLE),
            ));
        }
        let storage_class = (!storage.class.is_empty()).then_some(storage.class);
        let shared_storage_class = (!storage.shared_class.is_empty()).then_some(storage.shared_class);
        if shared_storage_class.is_some() && storage_class.is_none() {
            return Err(bad(
                "storage.sharedClass",
                "is set, and storage.class is empty: set both",
            ));
        }
        let storage = match (&storage_class, capacity.storage_gib) {
            (None, Some(_)) => {
                return Err(bad(
                    "storage.class",
                    "is empty, but capacity.storageGiB offers volumes: set both or neither",
                ));
            }
            (_, None) => None,
            (Some(_), Some(gib)) => Some(
                gib.checked_mul(GIB)
                    .ok_or_else(|| bad("capacity.storageGiB", "is too large"))?,
            ),
        };
        let runtime_class = (!runtime_class.is_empty()).then_some(runtime_class);
        let memory = self.memory_limit.unwrap_or(MEMORY_WITHOUT_LIMIT) / MEMORY_SHARE.1 * MEMORY_SHARE.0;
        Ok(Config {
            lease: lease_settings(&lease, self, &names)?,
            admin_port: self.admin_port,
            capacity: capacity::Settings {
                reserve: resources("capacity.reserve", &capacity.reserve)?,
                max_cpu_millis: most("capacity.max.cpu", &capacity.max.cpu, Exact::millis)?,
                max_memory: most("capacity.max.memory", &capacity.max.memory, Exact::units)?,
                max_ephemeral_storage: most(
                    "capacity.max.ephemeralStorage",
                    &capacity.max.ephemeral_storage,
                    Exact::units,
                )?,
                max_pods: capacity.max.pods,
                max_ended: Some(at_least_one("ended.total", ended.total)?),
                storage,
                shared_storage: shared_storage_class.is_some(),
                node_selector: placement.node_selector.clone(),
                runtime_class: runtime_class.clone(),
                force_restricted: pod_security.force_restricted,
            },
            defaults: Defaults {
                requests: default_requests(&defaults.requests)?,
                empty_volume: default_volume(&defaults.empty_volume)?,
            },
            pods: pods::Settings {
                operator_namespace: pod.namespace.clone(),
                service_account,
                storage_class,
                shared_storage_class,
                exposure: pods::Exposure {
                    kind: match exposure.kind {
                        ExposureKind::ClusterIp => pods::ExposureKind::ClusterIp,
                        ExposureKind::NodePort => pods::ExposureKind::NodePort,
                    },
                    addresses: exposure.addresses,
                    tell_internal: exposure.tell_internal,
                },
                node_selector: placement.node_selector,
                runtime_class,
                dns: dns_settings(dns)?,
                egress_deny: cidrs("egress.deny", egress.deny)?,
                start_deadline: positive("timings.startDeadline", timings.start_deadline)?,
                sweep_after: at_least("timings.sweepAfter", timings.sweep_after, SWEEP_AFTER_MIN)?,
                ended_ttl: positive("timings.endedTTL", timings.ended_ttl)?,
                ended_per_publisher: at_least_one("ended.perPublisher", ended.per_publisher)? as usize,
            },
            net: net_settings(&libp2p, memory)?,
            announce: announce::Settings {
                namespace: pod.namespace.clone(),
                service: names.service.clone(),
                node: pod.node.clone(),
                configured: libp2p.announce.addresses,
                internal: libp2p.announce.internal,
                host_port: libp2p.host_port,
            },
            payment_address: match payment.address.as_str() {
                "" => None,
                text => Some(Publisher::parse(&text.to_ascii_lowercase()).ok_or_else(|| {
                    bad(
                        "payment.address",
                        format!("{text:?} is not an Ethereum address: 0x and 40 hex digits"),
                    )
                })?),
            },
            walls: walls::Settings {
                policies: walls.policies,
                bindings: walls.bindings,
                hash: data_encoding::HEXLOWER
                    .decode(walls.hash.as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .ok_or_else(|| bad("walls.hash", "is not 64 lowercase hex digits"))?,
            },
            pod,
            names,
            logs: Logs {
                format: logs
                    .format
                    .parse()
                    .map_err(|reason: String| bad("logs.format", reason))?,
                level: logs.level,
            },
        })
    }
}

fn dns_settings(file: DnsFile) -> Result<pods::Dns, Error> {
    if !file.addresses.is_empty() {
        return Ok(pods::Dns::Addresses(cidrs("dns.addresses", file.addresses)?));
    }
    if file.namespace.is_empty() || file.pod_labels.is_empty() {
        return Err(bad("dns", "needs namespace and podLabels, or addresses"));
    }
    Ok(pods::Dns::Selector {
        namespace: file.namespace,
        labels: file.pod_labels,
    })
}

#[cfg(test)]
pub(crate) mod tests;

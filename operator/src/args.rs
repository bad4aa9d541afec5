//! Flags and the configuration file, validated once: what leaves here holds.
//!
//! The chart renders its values into the file (templates/_config.tpl); flags and environment carry what only the Pod knows.

mod file;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Parser;
use libp2p::Multiaddr;
use serde::Deserialize;

use self::file::{DnsFile, ExposureKind, File, LeaseFile, Libp2p, Limits, Span, Text, Three};
use crate::{
    announce,
    capacity::{
        self,
        quantity::{Exact, Rounding},
    },
    client::REQUEST_DEADLINE,
    lease,
    model::{
        key::Publisher,
        manifest::{Defaults, Resources},
    },
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
    pub cordoned: bool,
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
            cordon,
            placement,
            capacity,
            storage,
            defaults,
            timings,
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
            cordoned: cordon,
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
                storage,
                node_selector: placement.node_selector.clone(),
                runtime_class: runtime_class.clone(),
                force_restricted: pod_security.force_restricted,
            },
            defaults: Defaults {
                requests: default_requests(&defaults.requests)?,
            },
            pods: pods::Settings {
                operator_namespace: pod.namespace.clone(),
                service_account,
                storage_class,
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
            },
            net: net_settings(&libp2p, memory)?,
            announce: announce::Settings {
                namespace: pod.namespace.clone(),
                service: names.service.clone(),
                node: pod.node.clone(),
                configured: libp2p.announce.addresses,
                internal: libp2p.announce.internal,
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

fn lease_settings(file: &LeaseFile, args: &Args, names: &Names) -> Result<lease::Settings, Error> {
    let (duration, renew_deadline, retry_period) = (file.duration.0, file.renew_deadline.0, file.retry_period.0);
    if retry_period.is_zero() {
        return Err(bad("lease.retryPeriod", "must be at least 1s"));
    }
    if i32::try_from(duration.as_secs()).is_err() {
        return Err(bad("lease.duration", "is too long"));
    }
    if renew_deadline.saturating_add(REQUEST_DEADLINE) >= duration {
        return Err(bad(
            "lease.renewDeadline",
            format!(
                "must be more than {REQUEST_DEADLINE:?} (the longest request) below lease.duration, or a write of a deposed \
                 leader could land late"
            ),
        ));
    }
    if retry_period.saturating_mul(2) > renew_deadline {
        return Err(bad("lease.retryPeriod", "must be at most half of lease.renewDeadline"));
    }
    Ok(lease::Settings {
        namespace: args.pod_namespace.clone(),
        name: names.lease.clone(),
        identity: format!("{}_{}", args.pod_name, args.pod_uid),
        duration,
        renew_deadline,
        retry_period,
    })
}

fn net_settings(libp2p: &Libp2p, memory: u64) -> Result<net::Settings, Error> {
    let Limits { connections, streams } = &libp2p.limits;
    for (field, value) in [
        ("libp2p.port", usize::from(libp2p.port)),
        ("libp2p.limits.connections.total", connections.total as usize),
        ("libp2p.limits.connections.perPeer", connections.per_peer as usize),
        ("libp2p.limits.connections.perAddress", connections.per_address),
        ("libp2p.limits.connections.perNetwork", connections.per_network),
        ("libp2p.limits.streams.total", streams.total),
        ("libp2p.limits.streams.perConnection", streams.per_connection),
        ("libp2p.limits.streams.perPeer", streams.per_peer),
        ("libp2p.limits.streams.perAddress", streams.per_address),
        ("libp2p.limits.streams.perNetwork", streams.per_network),
    ] {
        if value == 0 {
            return Err(bad(field, "must be at least 1"));
        }
    }
    if streams.per_connection > net::PER_CONNECTION_MAX {
        return Err(bad(
            "libp2p.limits.streams.perConnection",
            format!("must be at most {}", net::PER_CONNECTION_MAX),
        ));
    }
    let defaults = net::Settings::default();
    Ok(net::Settings {
        listen: listen(libp2p.port),
        streams: net::Streams {
            per_connection: streams.per_connection,
            per_peer: streams.per_peer,
            per_address: streams.per_address,
            per_network: streams.per_network,
            total: streams.total,
            ..defaults.streams
        },
        connections: net::Connections {
            total: connections.total,
            per_peer: connections.per_peer,
            per_address: connections.per_address,
            per_network: connections.per_network,
            memory_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
            ..defaults.connections
        },
        ..defaults
    })
}

/// TCP and QUIC, IPv4 and, where the machine has it, IPv6.
fn listen(port: u16) -> Vec<Multiaddr> {
    use libp2p::multiaddr::Protocol;
    let mut addresses = Vec::new();
    let mut both = |ip: Protocol<'static>| {
        addresses.push(Multiaddr::empty().with(ip.clone()).with(Protocol::Tcp(port)));
        addresses.push(
            Multiaddr::empty()
                .with(ip)
                .with(Protocol::Udp(port))
                .with(Protocol::QuicV1),
        );
    };
    both(Protocol::Ip4(std::net::Ipv4Addr::UNSPECIFIED));
    if ipv6_available() {
        both(Protocol::Ip6(std::net::Ipv6Addr::UNSPECIFIED));
    }
    addresses
}

/// Kernels without IPv6 have no such sockets.
pub fn ipv6_available() -> bool {
    std::net::UdpSocket::bind((std::net::Ipv6Addr::LOCALHOST, 0)).is_ok()
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

fn cidrs(field: &'static str, list: Vec<String>) -> Result<Vec<String>, Error> {
    for text in &list {
        let bits = text.split_once('/').and_then(|(address, bits)| {
            let most = if address.parse::<IpAddr>().ok()?.is_ipv4() {
                32
            } else {
                128
            };
            bits.parse::<u8>().ok().filter(|bits| *bits <= most)
        });
        if bits.is_none() {
            return Err(bad(field, format!("{text:?} is not a CIDR, such as 10.0.0.0/8")));
        }
    }
    Ok(list)
}

fn positive(field: &'static str, span: Span) -> Result<Duration, Error> {
    at_least(field, span, Duration::from_secs(1))
}

fn at_least(field: &'static str, span: Span, least: Duration) -> Result<Duration, Error> {
    if span.0 < least {
        return Err(bad(field, format!("must be at least {least:?}")));
    }
    Ok(span.0)
}

fn exact(field: &'static str, text: &Text) -> Result<Exact, Error> {
    Exact::parse(&text.0).map_err(|error| bad(field, error))
}

/// What is kept free is rounded up.
fn resources(field: &'static str, three: &Three<Text>) -> Result<Resources, Error> {
    Ok(Resources {
        cpu_millis: exact(field, &three.cpu)?.millis(Rounding::Up),
        memory: exact(field, &three.memory)?.units(Rounding::Up),
        ephemeral_storage: exact(field, &three.ephemeral_storage)?.units(Rounding::Up),
    })
}

/// Within what a publisher could have asked for himself.
fn default_requests(three: &Three<Text>) -> Result<Resources, Error> {
    use apocryph_proto::limits::{CPU_MILLIS, EPHEMERAL_STORAGE, MEMORY};
    let requests = resources("defaults.requests", three)?;
    for (field, value, bounds) in [
        ("defaults.requests.cpu", requests.cpu_millis, CPU_MILLIS),
        ("defaults.requests.memory", requests.memory, MEMORY),
        (
            "defaults.requests.ephemeralStorage",
            requests.ephemeral_storage,
            EPHEMERAL_STORAGE,
        ),
    ] {
        if !bounds.contains(&value) {
            return Err(bad(
                field,
                format!("must be from {} to {}", bounds.start(), bounds.end()),
            ));
        }
    }
    Ok(requests)
}

fn most(field: &'static str, text: &Option<Text>, read: fn(Exact, Rounding) -> u64) -> Result<Option<u64>, Error> {
    text.as_ref()
        .map(|text| Ok(read(exact(field, text)?, Rounding::Down)))
        .transpose()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn args() -> Args {
        Args::parse_from([
            "apocryph-provider",
            "--config=config.yaml",
            "--pod-name=apocryph-provider-0",
            "--pod-uid=u1",
            "--pod-namespace=apocryph-system",
            "--node-name=node0",
            "--memory-limit=1073741824",
        ])
    }

    /// config.yaml out of a snapshot of the chart: what helm renders is what is read here.
    fn chart(rendered: &str) -> String {
        rendered
            .split("\n---\n")
            .filter_map(|document| serde_saphyr::from_str::<serde_json::Value>(document).ok())
            .find_map(|object| object["data"]["config.yaml"].as_str().map(str::to_owned))
            .unwrap()
    }

    fn defaults() -> String {
        chart(include_str!(
            "../../charts/apocryph-provider/tests/defaults.rendered.yaml"
        ))
    }

    /// What the chart's own values come to.
    pub(crate) fn default_config() -> Config {
        args().with_file(&defaults()).unwrap()
    }

    #[test]
    fn the_charts_defaults_hold() {
        let config = default_config();
        assert_eq!(config.lease.identity, "apocryph-provider-0_u1");
        assert_eq!(config.capacity.max_pods, None);
        assert_eq!(config.capacity.storage, None);
        assert_eq!(config.pods.storage_class, None);
        assert_eq!(config.pods.ended_ttl, Duration::from_secs(7 * 86400));
        assert_eq!(config.net.connections.memory_bytes, 768 << 20);
        // The chart's numbers are the program's own.
        let defaults = net::Settings::default();
        assert_eq!(config.net.streams, defaults.streams);
        assert_eq!(
            config.net.connections,
            net::Connections {
                memory_bytes: 768 << 20,
                ..defaults.connections
            }
        );
        assert_eq!(config.payment_address, None);
    }

    #[test]
    fn everything_that_the_chart_can_set_arrives() {
        let file = chart(include_str!(
            "../../charts/apocryph-provider/tests/everything.rendered.yaml"
        ));
        let config = args().with_file(&file).unwrap();
        insta::assert_debug_snapshot!((
            &config.logs,
            &config.lease,
            config.cordoned,
            &config.capacity,
            &config.pods,
            &config.defaults,
            &config.net.streams,
            &config.net.connections,
            &config.announce,
            &config.payment_address,
            &config.walls.policies,
        ));
    }

    #[test]
    fn what_does_not_hold_is_refused_by_its_name() {
        for (from, to, says) in [
            ("cordon: false", "cordon: false\ncordons: 1", "cordons"),
            ("cordon: false", "cordon: maybe", "cordon"),
            (
                "\"duration\":\"15s\"",
                "\"duration\":\"14s\"",
                "lease.renewDeadline: must be more than 4s",
            ),
            (
                "\"retryPeriod\":\"2s\"",
                "\"retryPeriod\":\"6s\"",
                "lease.retryPeriod: must be at most half",
            ),
            ("\"endedTTL\":\"7d\"", "\"endedTTL\":\"7 days\"", "is not a time"),
            (
                "\"sweepAfter\":\"10m\"",
                "\"sweepAfter\":\"1s\"",
                "timings.sweepAfter: must be at least 10s",
            ),
            ("storageGiB: null", "storageGiB: 10", "storage.class: is empty"),
            (
                "\"cpu\":\"250m\"",
                "\"cpu\":\"lots\"",
                "capacity.reserve: \"lots\" is not a quantity",
            ),
            (
                "\"memory\":\"128Mi\"",
                "\"memory\":\"1Mi\"",
                "defaults.requests.memory: must be from",
            ),
            (
                "egress: {\"deny\":[]}",
                "egress: {\"deny\":[\"10.0.0.0/33\"]}",
                "egress.deny: \"10.0.0.0/33\"",
            ),
            (
                "payment: {\"address\":\"\"}",
                "payment: {\"address\":\"0x12\"}",
                "payment.address: \"0x12\"",
            ),
            ("hash: ", "hash: x", "walls.hash"),
            (
                "perConnection: 16",
                "perConnection: 1025",
                "libp2p.limits.streams.perConnection: must be at most 1024",
            ),
            (
                "\"addresses\":[],\"internal\"",
                "\"addresses\":[\"provider.example\"],\"internal\"",
                "libp2p",
            ),
        ] {
            let file = defaults();
            assert!(file.contains(from), "{from}");
            let error = args().with_file(&file.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(says), "{to}: {error}");
        }
        let mut nameless = args();
        nameless.pod_name.clear();
        assert!(
            nameless
                .with_file(&defaults())
                .unwrap_err()
                .to_string()
                .contains("--pod-name")
        );
        let missing = Args {
            config: "/nowhere/config.yaml".into(),
            ..args()
        };
        assert!(
            missing
                .load()
                .unwrap_err()
                .to_string()
                .contains("--config /nowhere/config.yaml")
        );
    }

    #[test]
    fn times_are_numbers_with_units() {
        assert_eq!(file::span("1h30m"), Some(Duration::from_secs(5400)));
        for bad in ["", "10", "m", "1.5h", "-1s", "1w", "99999999999999999999d", "9999999d"] {
            assert_eq!(file::span(bad), None, "{bad}");
        }
    }
}

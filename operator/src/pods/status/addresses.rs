//! How publishers reach the ports.

use std::{net::IpAddr, sync::Arc};

use apocryph_crd::Address;
use k8s_openapi::api::core::v1::{Node, Service};

use crate::{
    model::manifest::Protocol,
    pods::{Exposure, ExposureKind, validate::ValidatedPod},
};

/// Empty: the pod has no port, or no address may be told.
pub(super) fn tell(
    pod: &ValidatedPod,
    service: Option<&Service>,
    nodes: &[Arc<Node>],
    exposure: &Exposure,
) -> Vec<Address> {
    let Some(spec) = service.and_then(|service| service.spec.as_ref()) else {
        return Vec::new();
    };
    let hosts = hosts(spec.cluster_ip.as_deref(), nodes, exposure);
    let mut told = Vec::new();
    for container in &pod.containers {
        for port in &container.ports {
            let live = spec
                .ports
                .iter()
                .flatten()
                .find(|live| live.name.as_deref() == Some(port.name.as_str()));
            let number = match exposure.kind {
                ExposureKind::NodePort => live.and_then(|live| live.node_port),
                ExposureKind::ClusterIp => live.map(|live| live.port),
            };
            let Some(number) = number else { continue };
            let protocol = match port.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            };
            told.extend(hosts.iter().map(|host| Address {
                container: container.name.clone(),
                port: port.name.clone(),
                multiaddr: match host {
                    IpAddr::V4(host) => format!("/ip4/{host}/{protocol}/{number}"),
                    IpAddr::V6(host) => format!("/ip6/{host}/{protocol}/{number}"),
                },
            }));
        }
    }
    told
}

/// The configured addresses; else those of the nodes where the pod is (every node forwards its node ports, but a node apart may
/// be out of reach). Addresses inside the cluster only when the admin says so.
fn hosts(cluster_ip: Option<&str>, nodes: &[Arc<Node>], exposure: &Exposure) -> Vec<IpAddr> {
    if !exposure.addresses.is_empty() {
        return exposure.addresses.clone();
    }
    match exposure.kind {
        ExposureKind::NodePort => {
            let mut hosts: Vec<IpAddr> = nodes
                .iter()
                .flat_map(|node| node_addresses(node, exposure.tell_internal))
                .collect();
            hosts.sort_unstable();
            hosts.dedup();
            hosts
        }
        ExposureKind::ClusterIp if exposure.tell_internal => cluster_ip
            .and_then(|address| address.parse().ok())
            .into_iter()
            .collect(),
        ExposureKind::ClusterIp => Vec::new(),
    }
}

fn node_addresses(node: &Node, tell_internal: bool) -> Vec<IpAddr> {
    let of = |kind: &str| -> Vec<IpAddr> {
        node.status
            .iter()
            .flat_map(|status| status.addresses.iter().flatten())
            .filter(|address| address.type_ == kind)
            .filter_map(|address| address.address.parse().ok())
            .collect()
    };
    let external = of("ExternalIP");
    if external.is_empty() && tell_internal {
        of("InternalIP")
    } else {
        external
    }
}

//! Who may talk to the pod and where it may talk: everything is denied but what stands here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{WALLS, meta, protocol};
use crate::{
    model::manifest::Protocol,
    pods::{Dns, Settings, validate::ValidatedPod},
};

const DNS_PORT: i32 = 53;
/// Label that every namespace carries with its own name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// What is not the internet (IANA special-purpose registries): this network, private, CGNAT, loopback, link-local (cloud
/// metadata), protocol assignments, benchmarks, multicast, reserved and broadcast.
const CLOSED_V4: [(Ipv4Addr, u8); 11] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Unspecified, loopback and IPv4-compatible; IPv4-translated; local NAT64, Teredo and 6to4, which lead to any IPv4 address;
/// unique local, link-local, the old site-local, multicast. IPv4-mapped addresses are not seen on the wire, and the API server
/// refuses them here.
const CLOSED_V6: [(Ipv6Addr, u8); 9] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// The well-known NAT64 prefix (RFC 6052), through which an IPv6 cluster reaches IPv4.
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

pub fn build(pod: &ValidatedPod, settings: &Settings) -> NetworkPolicy {
    let replicas = NetworkPolicyPeer {
        pod_selector: Some(LabelSelector {
            match_labels: Some(meta::selector(pod)),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    };
    let mut ingress = vec![NetworkPolicyIngressRule {
        from: Some(vec![replicas.clone()]),
        ports: None,
    }];
    let ports: BTreeSet<(Protocol, u16)> = pod
        .containers
        .iter()
        .flat_map(|container| container.ports.iter().map(|port| (port.protocol, port.target_port)))
        .collect();
    if !ports.is_empty() {
        // No `from`: NodePort traffic may come from a node's address.
        ingress.push(NetworkPolicyIngressRule {
            from: None,
            ports: Some(
                ports
                    .into_iter()
                    .map(|(of, port)| policy_port(protocol(of), i32::from(port)))
                    .collect(),
            ),
        });
    }
    let mut egress = vec![
        NetworkPolicyEgressRule {
            to: Some(vec![replicas]),
            ports: None,
        },
        NetworkPolicyEgressRule {
            to: Some(dns(&settings.dns)),
            ports: Some(vec![policy_port("UDP", DNS_PORT), policy_port("TCP", DNS_PORT)]),
        },
    ];
    let internet = internet(&settings.egress_deny);
    // An empty `to` would mean everywhere.
    if !internet.is_empty() {
        egress.push(NetworkPolicyEgressRule {
            to: Some(internet),
            ports: None,
        });
    }
    meta::hashed(NetworkPolicy {
        metadata: meta::namespaced(pod, WALLS),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress),
            egress: Some(egress),
        }),
    })
}

fn policy_port(protocol: &str, port: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(port)),
        end_port: None,
    }
}

fn block(cidr: String, except: Vec<String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr,
            except: (!except.is_empty()).then_some(except),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn dns(dns: &Dns) -> Vec<NetworkPolicyPeer> {
    match dns {
        Dns::Selector { namespace, labels } => vec![NetworkPolicyPeer {
            namespace_selector: Some(LabelSelector {
                match_labels: Some(BTreeMap::from([(NAMESPACE_NAME.to_owned(), namespace.clone())])),
                ..LabelSelector::default()
            }),
            pod_selector: Some(LabelSelector {
                match_labels: Some(labels.clone()),
                ..LabelSelector::default()
            }),
            ip_block: None,
        }],
        Dns::Addresses(addresses) => addresses
            .iter()
            .map(|address| block(as_cidr(address), Vec::new()))
            .collect(),
    }
}

/// An address as a network of one.
fn as_cidr(text: &str) -> String {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => format!("{address}/32"),
        Ok(IpAddr::V6(address)) => format!("{address}/128"),
        Err(_) => text.to_owned(),
    }
}

/// The internet without what is closed; a family that the admin closed as a whole is left out.
fn internet(deny: &[String]) -> Vec<NetworkPolicyPeer> {
    let mut v4: BTreeSet<(Ipv4Addr, u8)> = CLOSED_V4.into();
    let mut v6: BTreeSet<(Ipv6Addr, u8)> = CLOSED_V6.into();
    for cidr in deny {
        match parse(cidr) {
            Some((IpAddr::V4(address), bits)) => drop(v4.insert((address, bits))),
            Some((IpAddr::V6(address), bits)) => drop(v6.insert((address, bits))),
            // Settings are checked at start; what nobody can read closes everything rather than nothing.
            None => return Vec::new(),
        }
    }
    v6.extend(v4.iter().map(|(address, bits)| {
        let [a, b, c, d] = address.octets();
        let [p0, p1, p2, p3, p4, p5] = NAT64;
        (
            Ipv6Addr::new(
                p0,
                p1,
                p2,
                p3,
                p4,
                p5,
                u16::from_be_bytes([a, b]),
                u16::from_be_bytes([c, d]),
            ),
            96 + bits,
        )
    }));
    let mut to = Vec::new();
    if v4.iter().all(|(_, bits)| *bits > 0) {
        to.push(block(
            "0.0.0.0/0".to_owned(),
            v4.iter().map(|(address, bits)| format!("{address}/{bits}")).collect(),
        ));
    }
    if v6.iter().all(|(_, bits)| *bits > 0) {
        to.push(block(
            "::/0".to_owned(),
            v6.iter().map(|(address, bits)| format!("{address}/{bits}")).collect(),
        ));
    }
    to
}

/// Network address and prefix length; `None`: not a CIDR. Bits behind the prefix are cleared.
fn parse(cidr: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match cidr.split_once('/') {
        Some((address, bits)) => (address.parse().ok()?, Some(bits.parse::<u8>().ok()?)),
        None => (cidr.parse().ok()?, None),
    };
    match address {
        IpAddr::V4(v4) => {
            let bits = bits.unwrap_or(32);
            let keep = u32::MAX.checked_shl(32u32.checked_sub(bits.into())?).unwrap_or(0);
            Some((Ipv4Addr::from_bits(v4.to_bits() & keep).into(), bits))
        }
        IpAddr::V6(v6) => {
            let bits = bits.unwrap_or(128);
            let keep = u128::MAX.checked_shl(128u32.checked_sub(bits.into())?).unwrap_or(0);
            Some((Ipv6Addr::from_bits(v6.to_bits() & keep).into(), bits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excepted(deny: &[&str]) -> Vec<(String, Vec<String>)> {
        let deny: Vec<String> = deny.iter().map(|cidr| (*cidr).to_owned()).collect();
        let block = |peer: NetworkPolicyPeer| {
            peer.ip_block
                .map(|block| (block.cidr, block.except.unwrap_or_default()))
        };
        internet(&deny).into_iter().filter_map(block).collect()
    }

    #[test]
    fn what_the_admin_closes_is_closed_in_both_families() {
        let [(v4, closed), (v6, closed_v6)] = &excepted(&["203.0.113.77/24", "2001:db8::1"])[..] else {
            panic!()
        };
        assert_eq!((v4.as_str(), v6.as_str()), ("0.0.0.0/0", "::/0"));
        assert!(closed.contains(&"203.0.113.0/24".to_owned()));
        assert!(closed_v6.contains(&"2001:db8::1/128".to_owned()));
        assert!(
            closed_v6.contains(&"64:ff9b::cb00:7100/120".to_owned()),
            "IPv4 through NAT64: {closed_v6:?}"
        );
        assert!(
            closed_v6.contains(&"64:ff9b::a9fe:0/112".to_owned()),
            "metadata through NAT64: {closed_v6:?}"
        );
    }

    #[test]
    fn a_family_closed_as_a_whole_is_not_named_and_nonsense_closes_everything() {
        let families = |deny: &[&str]| excepted(deny).into_iter().map(|(cidr, _)| cidr).collect::<Vec<_>>();
        assert_eq!(families(&["::/0"]), ["0.0.0.0/0"]);
        assert_eq!(families(&["0.0.0.0/0"]), ["::/0"], "NAT64 is then closed as a whole");
        assert!(excepted(&["0.0.0.0/0"])[0].1.contains(&"64:ff9b::/96".to_owned()));
        assert!(families(&["not-an-address"]).is_empty());
    }
}

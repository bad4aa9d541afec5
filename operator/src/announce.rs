//! How publishers find the leader: the label that the libp2p Service selects, and the addresses that are announced.
//!
//! The Service has `externalTrafficPolicy: Local`, so only the node where the leader runs answers: its addresses are
//! announced, with the Service's node ports or the host port, or the balancer's, or those the admin has configured; anew at
//! each change.

use std::{net::IpAddr, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use libp2p::{Multiaddr, multiaddr::Protocol};
use serde_json::json;
use tokio::{sync::watch, time::sleep};

use crate::identity_store::IdentityStore;

/// On the leader's Pod alone.
pub const ROLE_LABEL: &str = "apocryph.network/role";
const LEADER: &str = "leader";
/// Between two tries to publish addresses that the API server did not take.
const PUBLISH_RETRY: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub namespace: String,
    /// The libp2p Service.
    pub service: String,
    /// Where this process runs.
    pub node: String,
    /// The admin's addresses; when there are any they alone are announced.
    pub configured: Vec<Multiaddr>,
    /// A node's InternalIP may be announced where it has no ExternalIP.
    pub internal: bool,
    /// The port of the leader's node that leads to its Pod: announced instead of the Service's.
    pub host_port: Option<u16>,
}

// ---- the label

/// Takes the label off this process' own Pod: it may be that of a container that crashed while it led.
pub async fn step_back(client: &Client, namespace: &str, pod: &str) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    if pods.get(pod).await?.labels().contains_key(ROLE_LABEL) {
        unlabel(&pods, pod).await?;
    }
    Ok(())
}

/// Takes the label off every other Pod, then puts it on this one: the Service never selects two.
pub async fn step_forward(client: &Client, namespace: &str, pod: &str) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let labelled = pods
        .list(&ListParams::default().labels(&format!("{ROLE_LABEL}={LEADER}")))
        .await?;
    for other in labelled.iter().map(ResourceExt::name_any).filter(|name| name != pod) {
        unlabel(&pods, &other).await?;
    }
    let patch = json!({"metadata": {"labels": {ROLE_LABEL: LEADER}}});
    pods.patch_metadata(pod, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

async fn unlabel(pods: &Api<Pod>, name: &str) -> Result<(), kube::Error> {
    let patch = json!({"metadata": {"labels": {ROLE_LABEL: null}}});
    match pods
        .patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
    {
        Ok(_) => Ok(()),
        // Gone meanwhile.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

// ---- the addresses

enum Seen {
    Service(Seeing<Service>),
    Node(Seeing<Node>),
}

/// The one object of a watch, as far as it is known.
enum Seeing<T> {
    Is(Box<T>),
    IsNot,
    /// Listed: what was not told before it is not there.
    Listed,
}

/// Follows the Service and the node for ever, and tells what is to be announced: once both have been read, and at each change.
pub async fn follow(client: Client, settings: Settings, announced: watch::Sender<Vec<Multiaddr>>) {
    if !settings.configured.is_empty() {
        announced.send_replace(settings.configured.clone());
        return std::future::pending().await;
    }
    let services: Api<Service> = Api::namespaced(client.clone(), &settings.namespace);
    let nodes: Api<Node> = Api::all(client);
    let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let services = watcher(services, named(&settings.service))
        .default_backoff()
        .map_ok(|event| seeing(event).map(Seen::Service));
    let nodes = watcher(nodes, named(&settings.node))
        .default_backoff()
        .map_ok(|event| seeing(event).map(Seen::Node));
    let mut seen = Box::pin(futures::stream::select(services, nodes));
    let (mut service, mut node) = (Latest::default(), Latest::default());
    let mut told = false;
    while let Some(change) = seen.next().await {
        match change {
            Ok(Some(Seen::Service(now))) => service.see(now),
            Ok(Some(Seen::Node(now))) => node.see(now),
            Ok(None) => continue,
            Err(error) => {
                // What was announced before stands; the watch goes on by itself.
                tracing::warn!(%error, "could not follow the addresses");
                continue;
            }
        }
        if !(service.listed && node.listed) {
            continue;
        }
        let addresses = addresses(service.is.as_deref(), node.is.as_deref(), &settings);
        announced.send_if_modified(|before| {
            let changed = !told || *before != addresses;
            *before = addresses;
            changed
        });
        told = true;
    }
}

struct Latest<T> {
    is: Option<Box<T>>,
    listed: bool,
}

impl<T> Default for Latest<T> {
    fn default() -> Latest<T> {
        Latest {
            is: None,
            listed: false,
        }
    }
}

impl<T> Latest<T> {
    fn see(&mut self, now: Seeing<T>) {
        match now {
            Seeing::Is(object) => self.is = Some(object),
            Seeing::IsNot => self.is = None,
            Seeing::Listed => self.listed = true,
        }
    }
}

/// `None`: the event says nothing about the object.
fn seeing<T>(event: watcher::Event<T>) -> Option<Seeing<T>> {
    match event {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => Some(Seeing::Is(Box::new(object))),
        watcher::Event::Delete(_) => Some(Seeing::IsNot),
        watcher::Event::InitDone => Some(Seeing::Listed),
        watcher::Event::Init => None,
    }
}

fn addresses(service: Option<&Service>, node: Option<&Node>, settings: &Settings) -> Vec<Multiaddr> {
    let hosts = || node.map_or_else(Vec::new, |node| node_ips(node, settings.internal));
    if let Some(port) = settings.host_port {
        return dialled(&hosts(), &[tcp(port), quic(port)]);
    }
    let Some((service, spec)) = service.and_then(|service| Some((service, service.spec.as_ref()?))) else {
        return Vec::new();
    };
    let balanced = spec.type_.as_deref() == Some("LoadBalancer");
    let hosts = if balanced { balancer(service) } else { hosts() };
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let number = if balanced { Some(port.port) } else { port.node_port };
        let number = u16::try_from(number?).ok()?;
        Some(match port.protocol.as_deref() {
            Some("UDP") => quic(number),
            _ => tcp(number),
        })
    });
    dialled(&hosts, &ports.collect::<Vec<_>>())
}

fn tcp(port: u16) -> Multiaddr {
    Multiaddr::empty().with(Protocol::Tcp(port))
}

fn quic(port: u16) -> Multiaddr {
    Multiaddr::empty().with(Protocol::Udp(port)).with(Protocol::QuicV1)
}

/// Each host with each transport.
fn dialled(hosts: &[Protocol<'static>], transports: &[Multiaddr]) -> Vec<Multiaddr> {
    let of = |host: &Protocol<'static>| Multiaddr::empty().with(host.clone());
    hosts
        .iter()
        .flat_map(|host| {
            transports
                .iter()
                .map(move |transport| transport.iter().fold(of(host), Multiaddr::with))
        })
        .collect()
}

fn balancer(service: &Service) -> Vec<Protocol<'static>> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let entries = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
    entries
        .filter_map(|entry| match (&entry.ip, &entry.hostname) {
            (Some(ip), _) => ip.parse().ok().map(host),
            (None, Some(name)) => Some(Protocol::Dns(name.clone().into())),
            (None, None) => None,
        })
        .collect()
}

/// ExternalIPs; if there are none and the admin allows it, InternalIPs.
fn node_ips(node: &Node, internal: bool) -> Vec<Protocol<'static>> {
    let of = |kind: &str| -> Vec<Protocol<'static>> {
        let status = node.status.as_ref().and_then(|status| status.addresses.as_ref());
        let addresses = status.into_iter().flatten().filter(|address| address.type_ == kind);
        addresses
            .filter_map(|address| address.address.parse().ok())
            .map(host)
            .collect()
    };
    let external = of("ExternalIP");
    if external.is_empty() && internal {
        of("InternalIP")
    } else {
        external
    }
}

fn host(ip: IpAddr) -> Protocol<'static> {
    match ip {
        IpAddr::V4(ip) => Protocol::Ip4(ip),
        IpAddr::V6(ip) => Protocol::Ip6(ip),
    }
}

/// Writes each change of the announced addresses into the ConfigMap beside the peer id, and into the log.
pub async fn publish(store: IdentityStore, peer_id: libp2p::PeerId, mut announced: watch::Receiver<Vec<Multiaddr>>) {
    while announced.changed().await.is_ok() {
        let dialled: Vec<String> = announced
            .borrow_and_update()
            .iter()
            .map(|address| address.clone().with(Protocol::P2p(peer_id)).to_string())
            .collect();
        if dialled.is_empty() {
            tracing::warn!(
                "no address to announce: set libp2p.announce.addresses, or libp2p.announce.internal for publishers in your \
                 own network"
            );
        } else {
            tracing::info!(addresses = dialled.join(" "), "announced");
        }
        while let Err(error) = store.publish_addresses(&dialled).await {
            tracing::warn!(%error, "the announced addresses were not written to the ConfigMap");
            sleep(PUBLISH_RETRY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn service(kind: &str, ingress: serde_json::Value) -> Service {
        from(json!({
            "spec": {"type": kind, "ports": [
                {"name": "libp2p-tcp", "protocol": "TCP", "port": 4001, "nodePort": 31001},
                {"name": "libp2p-quic", "protocol": "UDP", "port": 4001, "nodePort": 31002}]},
            "status": {"loadBalancer": {"ingress": ingress}}
        }))
    }

    fn node(addresses: &[(&str, &str)]) -> Node {
        let list: Vec<_> = addresses
            .iter()
            .map(|(kind, ip)| json!({"type": kind, "address": ip}))
            .collect();
        from(json!({"status": {"addresses": list}}))
    }

    fn settings(internal: bool) -> Settings {
        Settings {
            namespace: "apocryph".into(),
            service: "libp2p".into(),
            node: "node0".into(),
            configured: Vec::new(),
            internal,
            host_port: None,
        }
    }

    fn text(list: Vec<Multiaddr>) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_nodes_external_addresses_are_announced_with_the_node_ports() {
        let node = node(&[
            ("InternalIP", "10.0.0.1"),
            ("ExternalIP", "203.0.113.7"),
            ("ExternalIP", "2001:db8::7"),
            ("Hostname", "n"),
        ]);
        for internal in [false, true] {
            assert_eq!(
                text(addresses(
                    Some(&service("NodePort", json!([]))),
                    Some(&node),
                    &settings(internal)
                )),
                [
                    "/ip4/203.0.113.7/tcp/31001",
                    "/ip4/203.0.113.7/udp/31002/quic-v1",
                    "/ip6/2001:db8::7/tcp/31001",
                    "/ip6/2001:db8::7/udp/31002/quic-v1"
                ]
            );
        }
    }

    #[test]
    fn an_internal_address_only_when_the_admin_says_so() {
        let node = node(&[("InternalIP", "10.0.0.1")]);
        let service = service("NodePort", json!([]));
        assert_eq!(addresses(Some(&service), Some(&node), &settings(false)), []);
        assert_eq!(
            text(addresses(Some(&service), Some(&node), &settings(true))),
            ["/ip4/10.0.0.1/tcp/31001", "/ip4/10.0.0.1/udp/31002/quic-v1"]
        );
        assert_eq!(addresses(Some(&service), None, &settings(true)), []);
    }

    #[test]
    fn a_host_port_is_announced_with_the_nodes_addresses_whatever_the_service_is() {
        let node = node(&[("ExternalIP", "203.0.113.7"), ("ExternalIP", "2001:db8::7")]);
        let settings = Settings {
            host_port: Some(4001),
            ..settings(false)
        };
        let balanced = service("LoadBalancer", json!([{"ip": "198.51.100.1"}]));
        for service in [None, Some(&balanced)] {
            assert_eq!(
                text(addresses(service, Some(&node), &settings)),
                [
                    "/ip4/203.0.113.7/tcp/4001",
                    "/ip4/203.0.113.7/udp/4001/quic-v1",
                    "/ip6/2001:db8::7/tcp/4001",
                    "/ip6/2001:db8::7/udp/4001/quic-v1"
                ]
            );
        }
        assert_eq!(addresses(None, None, &settings), []);
    }

    #[test]
    fn a_balancers_addresses_with_the_services_port() {
        let node = node(&[("ExternalIP", "203.0.113.7")]);
        let ingress = json!([{"ip": "198.51.100.1"}, {"hostname": "lb.example"}, {}]);
        assert_eq!(
            text(addresses(
                Some(&service("LoadBalancer", ingress)),
                Some(&node),
                &settings(true)
            )),
            [
                "/ip4/198.51.100.1/tcp/4001",
                "/ip4/198.51.100.1/udp/4001/quic-v1",
                "/dns/lb.example/tcp/4001",
                "/dns/lb.example/udp/4001/quic-v1"
            ]
        );
        assert_eq!(
            addresses(Some(&service("LoadBalancer", json!([]))), Some(&node), &settings(true)),
            []
        );
    }
}

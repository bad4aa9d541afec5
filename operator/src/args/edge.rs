//! `libp2p`: where to listen, and what strangers may hold.

use libp2p::Multiaddr;

use super::{
    Error, bad,
    file::{Libp2p, Limits},
};
use crate::net::limits as net;

pub(super) fn net_settings(libp2p: &Libp2p, memory: u64) -> Result<net::Settings, Error> {
    let Limits { connections, streams } = &libp2p.limits;
    for (field, value) in [
        ("libp2p.tcpPort", usize::from(libp2p.tcp_port)),
        ("libp2p.quicPort", usize::from(libp2p.quic_port)),
        ("libp2p.hostPort", usize::from(libp2p.host_port.unwrap_or(1))),
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
        listen: listen(libp2p.tcp_port, libp2p.quic_port),
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
fn listen(tcp: u16, quic: u16) -> Vec<Multiaddr> {
    use libp2p::multiaddr::Protocol;
    let mut addresses = Vec::new();
    let mut both = |ip: Protocol<'static>| {
        addresses.push(Multiaddr::empty().with(ip.clone()).with(Protocol::Tcp(tcp)));
        addresses.push(
            Multiaddr::empty()
                .with(ip)
                .with(Protocol::Udp(quic))
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

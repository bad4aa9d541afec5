//! What a remote address counts as.

use std::net::{Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// What peers are counted by when peer ids cost nothing: an IPv4 address; with IPv6 the /64 and the /48 around it, since whoever
/// has a /48 has 65,536 of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    V4(Ipv4Addr),
    V6([u16; 4]),
    /// A /48.
    V6Network([u16; 3]),
    /// No IP address: all of these count as one.
    Other,
}

impl Prefix {
    pub fn of(address: &Multiaddr) -> Prefix {
        match address.iter().next() {
            Some(Protocol::Ip4(ip)) => Prefix::V4(ip),
            Some(Protocol::Ip6(ip)) => Prefix::of_v6(ip),
            _ => Prefix::Other,
        }
    }

    /// The IPv6 /48 around a /64; `None` for everything else.
    pub fn network(self) -> Option<Prefix> {
        match self {
            Prefix::V6([a, b, c, _]) => Some(Prefix::V6Network([a, b, c])),
            Prefix::V4(_) | Prefix::V6Network(_) | Prefix::Other => None,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Prefix {
        match ip.to_ipv4_mapped() {
            Some(ip) => Prefix::V4(ip),
            None => {
                let [a, b, c, d, ..] = ip.segments();
                Prefix::V6([a, b, c, d])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_counted_by_what_its_owner_pays_for() {
        let of = |text: &str| Prefix::of(&text.parse().unwrap());
        assert_eq!(of("/ip4/203.0.113.1/tcp/1"), of("/ip4/203.0.113.1/udp/2/quic-v1"));
        assert_ne!(of("/ip4/203.0.113.1/tcp/1"), of("/ip4/203.0.113.2/tcp/1"));
        assert_eq!(of("/ip6/::ffff:203.0.113.1/tcp/1"), of("/ip4/203.0.113.1/tcp/1"));
        assert_eq!(of("/ip6/2001:db8:1:2:3::/tcp/1"), of("/ip6/2001:db8:1:2::9/tcp/1"));
        assert_ne!(of("/ip6/2001:db8:1:2::/tcp/1"), of("/ip6/2001:db8:1:3::/tcp/1"));
        assert_eq!(of("/dns4/example.org/tcp/1"), Prefix::Other);
    }

    #[test]
    fn only_an_ipv6_address_has_a_network_around_it() {
        let network = |text: &str| Prefix::of(&text.parse().unwrap()).network();
        let one = network("/ip6/2001:db8:1:2::/tcp/1");
        assert!(one.is_some());
        assert_eq!(one, network("/ip6/2001:db8:1:ffff::9/tcp/1"));
        assert_ne!(one, network("/ip6/2001:db8:2:2::/tcp/1"));
        assert_eq!(network("/ip4/203.0.113.1/tcp/1"), None);
        assert_eq!(network("/ip6/::ffff:203.0.113.1/tcp/1"), None);
    }
}

//! What a remote address counts as.

use std::net::{Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// What peers are counted by when peer ids cost nothing: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    V4(Ipv4Addr),
    V6([u16; 4]),
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
}

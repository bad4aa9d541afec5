//! Where a provider is: its peer id and the addresses to dial, as multiaddrs that end in `/p2p/PEER`.

use std::{fmt, str::FromStr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// More addresses of one provider are refused: each is dialled.
pub const ADDRESSES_MAX: usize = 16;

/// One peer, at least one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    peer: PeerId,
    /// Without the closing `/p2p/PEER`.
    addresses: Vec<Multiaddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    #[error("no provider is given")]
    None,
    #[error("{0} is not a multiaddr: {1}")]
    NotAMultiaddr(String, String),
    #[error("{0} does not end in the provider's peer id")]
    NoPeerId(String),
    #[error("{0} is neither TCP nor QUIC")]
    Transport(String),
    #[error("the addresses name two providers, {0} and {1}")]
    TwoPeers(Box<PeerId>, Box<PeerId>),
    #[error("more than {ADDRESSES_MAX} addresses")]
    TooMany,
}

impl ProviderError {
    pub fn remedy(&self) -> String {
        "Give the provider as --provider or in APOCRYPH_PROVIDER: a name of `apocryph provider list`, or its address with its peer \
         id, as /ip4/203.0.113.7/tcp/4001/p2p/12D3KooW… or /dns4/example.org/udp/4001/quic-v1/p2p/12D3KooW…; several of one \
         provider are separated by commas."
            .into()
    }
}

impl Provider {
    pub fn new(peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) -> Result<Provider, ProviderError> {
        let full: Vec<_> = addresses
            .into_iter()
            .map(|a| a.with_p2p(peer).unwrap_or_else(|other| other).to_string())
            .collect();
        Provider::parse(full)
    }

    /// Each text is one multiaddr, or several separated by commas.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Provider, ProviderError> {
        let mut found: Option<Provider> = None;
        for text in texts {
            for one in text.as_ref().split(',').map(str::trim).filter(|t| !t.is_empty()) {
                let (peer, address) = split(one)?;
                let provider = found.get_or_insert_with(|| Provider {
                    peer,
                    addresses: Vec::new(),
                });
                if provider.peer != peer {
                    return Err(ProviderError::TwoPeers(provider.peer.into(), peer.into()));
                }
                if !provider.addresses.contains(&address) {
                    provider.addresses.push(address);
                }
                if provider.addresses.len() > ADDRESSES_MAX {
                    return Err(ProviderError::TooMany);
                }
            }
        }
        found.ok_or(ProviderError::None)
    }

    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// What is dialled, without `/p2p/PEER`.
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// As given: each with `/p2p/PEER`.
    pub fn texts(&self) -> Vec<String> {
        self.addresses
            .iter()
            .map(|a| format!("{a}/p2p/{}", self.peer))
            .collect()
    }
}

fn split(text: &str) -> Result<(PeerId, Multiaddr), ProviderError> {
    let mut address: Multiaddr = text
        .parse()
        .map_err(|e: libp2p::multiaddr::Error| ProviderError::NotAMultiaddr(text.into(), e.to_string()))?;
    let Some(Protocol::P2p(peer)) = address.pop() else {
        return Err(ProviderError::NoPeerId(text.into()));
    };
    let parts: Vec<_> = address.iter().collect();
    match parts.as_slice() {
        [host, Protocol::Tcp(_)] | [host, Protocol::Udp(_), Protocol::QuicV1] if is_host(host) => Ok((peer, address)),
        _ => Err(ProviderError::Transport(text.into())),
    }
}

fn is_host(part: &Protocol<'_>) -> bool {
    matches!(
        part,
        Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)
    )
}

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Provider, ProviderError> {
        Provider::parse([text])
    }
}

/// As it is given: addresses separated by commas.
impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const OTHER: &str = "12D3KooWQYV9dGMFoRzNStwpXztXaBUjtPqi6aU76ZgUriHhKust";

    #[test]
    fn several_addresses_of_one_provider() {
        let text = format!("/ip4/192.0.2.1/tcp/4001/p2p/{PEER}, /dns4/example.org/udp/4001/quic-v1/p2p/{PEER}");
        let provider: Provider = text.parse().unwrap();
        assert_eq!(provider.peer().to_string(), PEER);
        assert_eq!(provider.addresses().len(), 2);
        assert_eq!(provider.to_string().parse::<Provider>().unwrap(), provider);
        assert_eq!(
            Provider::new(provider.peer(), provider.addresses().to_vec()).unwrap(),
            provider
        );
    }

    #[test]
    fn what_cannot_be_dialled_is_named() {
        let reason = |text: String| text.parse::<Provider>().unwrap_err();
        assert_eq!(reason(" ".into()), ProviderError::None);
        assert!(matches!(reason("hello".into()), ProviderError::NotAMultiaddr(..)));
        assert!(matches!(
            reason("/ip4/192.0.2.1/tcp/1".into()),
            ProviderError::NoPeerId(_)
        ));
        assert!(matches!(reason(format!("/p2p/{PEER}")), ProviderError::Transport(_)));
        assert!(matches!(
            reason(format!("/ip4/192.0.2.1/udp/1/p2p/{PEER}")),
            ProviderError::Transport(_)
        ));
        assert!(matches!(
            reason(format!("/ip4/192.0.2.1/tcp/1/p2p/{OTHER}/p2p-circuit/p2p/{PEER}")),
            ProviderError::Transport(_)
        ));
        let two = format!("/ip4/192.0.2.1/tcp/1/p2p/{PEER},/ip4/192.0.2.1/tcp/1/p2p/{OTHER}");
        assert!(matches!(reason(two), ProviderError::TwoPeers(..)));
        let many = (0..=ADDRESSES_MAX).map(|n| format!("/ip4/192.0.2.1/tcp/{n}/p2p/{PEER}"));
        assert_eq!(Provider::parse(many).unwrap_err(), ProviderError::TooMany);
    }
}

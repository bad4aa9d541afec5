//! The key behind the peer id. Where its bytes are kept is not known here.

use std::fmt;

use libp2p::{
    PeerId,
    identity::{DecodingError, Keypair},
};
use zeroize::Zeroizing;

/// The key by which peers know this provider.
#[derive(Clone)]
pub struct Identity {
    keypair: Keypair,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the identity key is not a libp2p key pair in protobuf form: {0}; restore it from a backup")]
    Decode(#[from] DecodingError),
    #[error("the identity key is of type {found}; only Ed25519 keys are made and read here")]
    KeyType { found: String },
    #[error(
        "the identity key belongs to peer {found}, not to {expected}; restore the key of {expected} or rotate on purpose"
    )]
    OtherPeer { expected: String, found: String },
}

impl Identity {
    /// A new Ed25519 key from the operating system's randomness.
    pub fn generate() -> Identity {
        Identity {
            keypair: Keypair::generate_ed25519(),
        }
    }

    /// Reads libp2p's protobuf form (type 1, Ed25519). `expected`: the peer id that publishers know.
    pub fn from_bytes(bytes: &Zeroizing<Vec<u8>>, expected: Option<PeerId>) -> Result<Identity, Error> {
        let keypair = Keypair::from_protobuf_encoding(bytes)?;
        let kind = keypair.key_type();
        if kind != libp2p::identity::KeyType::Ed25519 {
            return Err(Error::KeyType {
                found: kind.to_string(),
            });
        }
        let identity = Identity { keypair };
        match (expected, identity.peer_id()) {
            (Some(expected), found) if expected != found => Err(Error::OtherPeer {
                expected: expected.to_base58(),
                found: found.to_base58(),
            }),
            _ => Ok(identity),
        }
    }

    /// The form that [`Identity::from_bytes`] reads; secret.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        Ok(Zeroizing::new(self.keypair.to_protobuf_encoding()?))
    }

    pub fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    pub(super) fn into_keypair(self) -> Keypair {
        self.keypair
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_key_gives_the_same_peer_and_only_that() {
        let identity = Identity::generate();
        let bytes = identity.to_bytes().unwrap();
        let read = Identity::from_bytes(&bytes, Some(identity.peer_id())).unwrap();
        assert_eq!(read.peer_id(), identity.peer_id());

        let other = Identity::generate().peer_id();
        assert!(matches!(
            Identity::from_bytes(&bytes, Some(other)),
            Err(Error::OtherPeer { expected, found }) if expected == other.to_base58() && found == identity.peer_id().to_base58()
        ));
    }

    #[test]
    fn broken_bytes_are_an_error_that_does_not_show_them() {
        let mut bytes = Identity::generate().to_bytes().unwrap();
        let shown = format!("{:?}", Identity::from_bytes(&bytes, None).unwrap());
        assert!(shown.starts_with("Identity(12D3KooW"), "{shown}");
        bytes.truncate(20);
        assert!(matches!(Identity::from_bytes(&bytes, None), Err(Error::Decode(_))));
        assert!(matches!(
            Identity::from_bytes(&Zeroizing::new(Vec::new()), None),
            Err(Error::Decode(_))
        ));
    }
}

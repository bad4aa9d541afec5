//! A peer id that outlives the process: what a wallet delegates to. Without one each run of the client is another peer.

use std::path::Path;

use libp2p::{PeerId, identity::Keypair};
use rand::{RngCore, rngs::OsRng};
use zeroize::Zeroizing;

use crate::key::{KeyError, read_secret, secret_from_hex, write_secret};

/// Secret half of an Ed25519 key. Wiped when dropped.
pub struct PeerKey {
    secret: Zeroizing<[u8; 32]>,
    keypair: Keypair,
}

impl PeerKey {
    pub fn random() -> Result<PeerKey, KeyError> {
        let mut secret = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(secret.as_mut());
        PeerKey::new(secret, "the system's randomness")
    }

    /// 64 hex digits, with or without `0x`. `from` names the source in the error.
    pub fn from_hex(text: &str, from: &str) -> Result<PeerKey, KeyError> {
        PeerKey::new(secret_from_hex(text, from)?, from)
    }

    /// Refuses a file that others can read.
    pub fn load(path: &Path) -> Result<PeerKey, KeyError> {
        PeerKey::from_hex(&read_secret(path)?, &path.display().to_string())
    }

    /// From the file, which is made where it is missing.
    pub fn load_or_make(path: &Path) -> Result<PeerKey, KeyError> {
        match PeerKey::load(path) {
            Err(KeyError::Missing(_)) => {
                let made = PeerKey::random()?;
                match write_secret(path, made.secret.as_slice()) {
                    // Another process was first.
                    Err(KeyError::Exists(_)) => PeerKey::load(path),
                    written => written.map(|()| made),
                }
            }
            loaded => loaded,
        }
    }

    fn new(secret: Zeroizing<[u8; 32]>, from: &str) -> Result<PeerKey, KeyError> {
        // It wipes what it is given.
        let mut bytes = Zeroizing::new(*secret);
        let keypair = Keypair::ed25519_from_bytes(bytes.as_mut_slice())
            .map_err(|_| KeyError::NotAKey { from: from.to_owned() })?;
        Ok(PeerKey { secret, keypair })
    }

    pub fn id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    pub(crate) fn keypair(&self) -> Keypair {
        self.keypair.clone()
    }

    pub(crate) fn secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_peer_and_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/peer");
        assert!(matches!(PeerKey::load(&path), Err(KeyError::Missing(_))));
        let made = PeerKey::load_or_make(&path).unwrap().id();
        assert_eq!(PeerKey::load_or_make(&path).unwrap().id(), made);
        assert_ne!(PeerKey::random().unwrap().id(), made);
    }

    #[test]
    fn a_known_secret_has_its_known_peer_id() {
        let peer = PeerKey::from_hex(&"07".repeat(32), "test").unwrap();
        assert_eq!(
            peer.id().to_string(),
            PeerKey::from_hex(&"07".repeat(32), "x").unwrap().id().to_string()
        );
        assert!(PeerKey::from_hex("07", "test").is_err());
    }
}

//! The publisher's key: a secp256k1 key whose Ethereum address owns pods and payment channels.
//!
//! Or a delegate's, which speaks for such an address by what its wallet signed once.
//!
//! A key comes from a file (mode 0600) or from an environment variable, never from an argument: arguments show in the process
//! list.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use alloy_primitives::Address;
use apocryph_proto::{signing, v0::signing::Delegation};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hkdf::Hkdf;
use k256::ecdsa::SigningKey;
use rand::rngs::OsRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{peer::PeerKey, pod_id::PodId};

/// A key file holds 64 hex digits, an optional `0x` and a newline; what is longer is not one.
const FILE_MAX: u64 = 128;
const KEY_LEN: usize = 32;
/// Owner only.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Wiped when dropped; Debug shows the address alone.
///
/// A delegate's speaks for the publisher of its delegation without having their key: the key in it is the delegate's own, and
/// seals state files alone.
pub struct PublisherKey {
    key: SigningKey,
    delegated: Option<Box<Delegated>>,
}

struct Delegated {
    delegation: Delegation,
    publisher: [u8; 20],
    peer: PeerKey,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no key file {0}")]
    Missing(PathBuf),
    #[error("{0} exists already; a key is never overwritten")]
    Exists(PathBuf),
    #[error("others can read the key file {path} (mode {mode:04o})")]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{from} is not a key: 64 hex digits are one, other than zero and below the order of secp256k1")]
    NotAKey { from: String },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl KeyError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            KeyError::Missing(_) => {
                "Make one with `apocryph key new`, or name yours with --key-file or in APOCRYPH_KEY.".into()
            }
            KeyError::Exists(_) => "Use it, or give another path with --key-file.".into(),
            KeyError::Exposed { path, .. } => format!("Run `chmod 600 {}`.", path.display()),
            KeyError::NotAKey { .. } => {
                "Give the private key in hex, or make a new one with `apocryph key new`.".into()
            }
            KeyError::Io { .. } => "Check the path and its rights.".into(),
        }
    }
}

impl PublisherKey {
    pub fn random() -> PublisherKey {
        PublisherKey::wallet(SigningKey::random(&mut OsRng))
    }

    fn wallet(key: SigningKey) -> PublisherKey {
        PublisherKey { key, delegated: None }
    }

    /// The delegate's; `None`: the delegation names no publisher. Whether it is for this peer and holds, the provider says.
    pub fn delegate(peer: PeerKey, delegation: Delegation) -> Option<PublisherKey> {
        let publisher = <[u8; 20]>::try_from(delegation.publisher.as_slice()).ok()?;
        let mut secret = Zeroizing::new([0; KEY_LEN]);
        Hkdf::<Sha256>::new(None, peer.secret().as_slice())
            .expand(b"apocryph state files of a delegate", secret.as_mut())
            .ok()?;
        Some(PublisherKey {
            key: SigningKey::from_slice(secret.as_slice()).ok()?,
            delegated: Some(Box::new(Delegated {
                delegation,
                publisher,
                peer,
            })),
        })
    }

    /// What it speaks by; `None`: the wallet itself.
    pub fn delegation(&self) -> Option<&Delegation> {
        self.delegated.as_ref().map(|delegated| &delegated.delegation)
    }

    /// The one pod that was delegated.
    pub fn delegated_pod(&self) -> Option<PodId> {
        let delegation = self.delegation().filter(|delegation| !delegation.any_pod)?;
        delegation.pod_id.as_slice().try_into().ok().map(PodId)
    }

    /// The peer id that a delegate has to connect with; `None`: any will do.
    pub fn peer(&self) -> Option<&PeerKey> {
        self.delegated.as_ref().map(|delegated| &delegated.peer)
    }

    /// 64 hex digits, with or without `0x`. `from` names the source in the error.
    pub fn from_hex(text: &str, from: &str) -> Result<PublisherKey, KeyError> {
        // from_slice also takes shorter keys and pads them: a key that lost a digit would pass as another key.
        let bytes = secret_from_hex(text, from)?;
        SigningKey::from_slice(bytes.as_slice())
            .map(PublisherKey::wallet)
            .map_err(|_| KeyError::NotAKey { from: from.to_owned() })
    }

    /// Refuses a file that others can read.
    pub fn load(path: &Path) -> Result<PublisherKey, KeyError> {
        PublisherKey::from_hex(&read_secret(path)?, &path.display().to_string())
    }

    /// Writes the key to a new file with mode 0600; makes the folder (0700) where it is missing.
    pub fn store_new(&self, path: &Path) -> Result<(), KeyError> {
        write_secret(path, &Zeroizing::new(self.key.to_bytes()))
    }

    /// Ethereum address.
    pub fn address(&self) -> [u8; 20] {
        self.delegated
            .as_ref()
            .map_or_else(|| signing::address(&self.key), |delegated| delegated.publisher)
    }

    /// The address with EIP-55's checksum in its capitals, for people.
    pub fn address_text(&self) -> String {
        address_text(&self.address())
    }

    /// For signing what this library does not sign itself. A delegate's signs nothing for the publisher.
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// A symmetric key that only the holder of this key can derive (HKDF-SHA256, RFC 5869).
    pub(crate) fn derive(&self, salt: &[u8], info: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
        let secret = Zeroizing::new(self.key.to_bytes());
        let mut derived = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(salt), &secret)
            .expand_multi_info(info, derived.as_mut())
            .ok()?;
        Some(derived)
    }
}

/// 64 hex digits, with or without `0x`. `from` names the source in the error.
pub(crate) fn secret_from_hex(text: &str, from: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyError> {
    let not_a_key = || KeyError::NotAKey { from: from.to_owned() };
    let text = text.trim();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let bytes = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| not_a_key())?);
    let secret = <[u8; KEY_LEN]>::try_from(bytes.as_slice()).map_err(|_| not_a_key())?;
    Ok(Zeroizing::new(secret))
}

/// The text of a file that its owner alone can read.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let io = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match fs::File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(KeyError::Missing(path.to_owned())),
        other => other.map_err(io)?,
    };
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Zeroizing::new(String::with_capacity(FILE_MAX as usize));
    file.take(FILE_MAX).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// To a new file with mode 0600, in hex; makes the folder (0700) where it is missing.
pub(crate) fn write_secret(path: &Path, secret: &[u8]) -> Result<(), KeyError> {
    let io = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(parent)
            .map_err(io)?;
    }
    let mut file = match fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
    {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(KeyError::Exists(path.to_owned())),
        other => other.map_err(io)?,
    };
    let mut text = Zeroizing::new(HEXLOWER.encode(secret));
    text.push('\n');
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(io)
}

/// EIP-55.
pub fn address_text(address: &[u8; 20]) -> String {
    Address::from(*address).to_checksum(None)
}

impl fmt::Debug for PublisherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublisherKey").field(&self.address_text()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hardhat's first account, known to everybody.
    const KNOWN: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    #[test]
    fn a_known_key_has_its_known_address() {
        let key = PublisherKey::from_hex(KNOWN, "test").unwrap();
        assert_eq!(key.address_text(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(
            format!("{key:?}"),
            "PublisherKey(\"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266\")"
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let above_the_order = "f".repeat(64);
        for text in ["", "0x", "12", &"0".repeat(64), &above_the_order, &KNOWN[..64], "zz"] {
            let error = PublisherKey::from_hex(text, "APOCRYPH_KEY").unwrap_err();
            assert!(
                matches!(&error, KeyError::NotAKey { from } if from == "APOCRYPH_KEY"),
                "{error}"
            );
            assert!(text.len() < 8 || !error.to_string().contains(text));
        }
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/key");
        let key = PublisherKey::random();
        key.store_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(PublisherKey::load(&path).unwrap().address(), key.address());
        assert!(matches!(
            PublisherKey::random().store_new(&path),
            Err(KeyError::Exists(_))
        ));
        assert_eq!(PublisherKey::load(&path).unwrap().address(), key.address());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        PublisherKey::random().store_new(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = PublisherKey::load(&path).unwrap_err();
        assert!(matches!(error, KeyError::Exposed { mode: 0o640, .. }), "{error}");
        assert!(error.remedy().contains("chmod 600"));
    }

    #[test]
    fn different_purposes_and_keys_derive_different_secrets() {
        let (one, other) = (PublisherKey::random(), PublisherKey::random());
        let derived = one.derive(b"salt", &[b"a"]).unwrap();
        assert_eq!(derived, one.derive(b"salt", &[b"a"]).unwrap());
        assert_ne!(derived, one.derive(b"salt", &[b"b"]).unwrap());
        assert_ne!(derived, one.derive(b"other", &[b"a"]).unwrap());
        assert_ne!(derived, other.derive(b"salt", &[b"a"]).unwrap());
    }
}

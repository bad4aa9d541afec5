//! The encryption of a state file: XChaCha20-Poly1305 under a key derived from the publisher's private key (HKDF-SHA256). A copy
//! of the folder without that key says nothing but pod ids, sizes and times.
//!
//! ```text
//! "apocryph-state-1" ‖ salt (32) ‖ nonce (24) ‖ ciphertext and tag; authenticated with it: the header and the pod id
//! ```

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use prost::Message;
use rand::{RngCore, rngs::OsRng};
use zeroize::Zeroizing;

use super::Saved;
use crate::{key::PublisherKey, pod_id::PodId};

const MAGIC: &[u8; 16] = b"apocryph-state-1";
const SALT: usize = 32;
const NONCE: usize = 24;
const HEADER: usize = MAGIC.len() + SALT;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Not of this form.
    NotSealed,
    /// Sealed with another key or for another pod, or changed since.
    NotOurs,
}

fn cipher(key: &PublisherKey, pod: PodId, salt: &[u8]) -> Option<XChaCha20Poly1305> {
    let derived = key.derive(salt, &[MAGIC, &pod.0])?;
    Some(XChaCha20Poly1305::new(derived.as_slice().into()))
}

/// Header and pod id: a file that is renamed to another pod's does not open.
fn associated(header: &[u8], pod: PodId) -> Vec<u8> {
    [header, &pod.0].concat()
}

/// `None`: no key could be derived, or the content is longer than the cipher takes.
pub(super) fn seal(key: &PublisherKey, pod: PodId, saved: &Saved) -> Option<Vec<u8>> {
    let mut content = vec![0; HEADER + NONCE];
    content[..MAGIC.len()].copy_from_slice(MAGIC);
    OsRng.fill_bytes(&mut content[MAGIC.len()..]);
    let (header, nonce) = content.split_at(HEADER);
    let plain = Zeroizing::new(saved.encode_to_vec());
    let payload = Payload {
        msg: &plain,
        aad: &associated(header, pod),
    };
    let sealed = cipher(key, pod, &header[MAGIC.len()..])?
        .encrypt(XNonce::from_slice(nonce), payload)
        .ok()?;
    content.extend_from_slice(&sealed);
    Some(content)
}

pub(super) fn open(key: &PublisherKey, pod: PodId, content: &[u8]) -> Result<Saved, Unreadable> {
    let (header, rest) = content
        .split_at_checked(HEADER)
        .filter(|(header, _)| header.starts_with(MAGIC))
        .ok_or(Unreadable::NotSealed)?;
    let (nonce, sealed) = rest.split_at_checked(NONCE).ok_or(Unreadable::NotSealed)?;
    let payload = Payload {
        msg: sealed,
        aad: &associated(header, pod),
    };
    let plain = cipher(key, pod, &header[MAGIC.len()..])
        .and_then(|cipher| cipher.decrypt(XNonce::from_slice(nonce), payload).ok())
        .map(Zeroizing::new)
        .ok_or(Unreadable::NotOurs)?;
    Saved::decode(plain.as_slice()).map_err(|_| Unreadable::NotSealed)
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64, HEXLOWER};

    use super::*;

    const SECRET: &str = "correct horse battery staple";
    const ADDRESS: &str = "/ip4/192.0.2.1/tcp/1/p2p/x";

    fn saved() -> Saved {
        let mut saved = Saved::default();
        saved.provider.push(ADDRESS.into());
        saved.request.extend_from_slice(SECRET.as_bytes());
        saved
    }

    #[test]
    fn no_secret_is_readable_in_it() {
        let (key, pod) = (PublisherKey::random(), PodId::random());
        let content = seal(&key, pod, &saved()).unwrap();
        assert_eq!(open(&key, pod, &content), Ok(saved()));
        let private = key.signing_key().to_bytes();
        for secret in [SECRET.as_bytes(), private.as_slice(), ADDRESS.as_bytes()] {
            for form in [
                secret.to_vec(),
                BASE64.encode(secret).into_bytes(),
                HEXLOWER.encode(secret).into_bytes(),
            ] {
                assert!(!content.windows(form.len()).any(|window| window == form));
            }
        }
        assert!(!format!("{:?}", saved()).contains("horse"));
    }

    #[test]
    fn another_key_another_pod_and_every_changed_byte_are_noticed() {
        let (key, pod) = (PublisherKey::random(), PodId::random());
        let content = seal(&key, pod, &saved()).unwrap();
        assert_eq!(open(&PublisherKey::random(), pod, &content), Err(Unreadable::NotOurs));
        assert_eq!(open(&key, PodId::random(), &content), Err(Unreadable::NotOurs));
        for at in 0..content.len() {
            let mut changed = content.clone();
            changed[at] ^= 1;
            assert!(open(&key, pod, &changed).is_err(), "byte {at}");
            assert!(open(&key, pod, &content[..at]).is_err(), "cut at {at}");
        }
    }
}

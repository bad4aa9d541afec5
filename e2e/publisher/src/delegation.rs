//! What a wallet lets a named peer do: signed once, written to a file, used without the wallet. Nothing in the file is secret;
//! the peer's own key is what makes it work.
//!
//! Copies of those that were given stay in a folder beside the state files, so that they can be listed and revoked. When a
//! delegation was given is not signed, so a pod's wallet revokes by expiry: everything of that pod that expires by an instant.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use apocryph_proto::{signing, v0::signing::Delegation as Message};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use libp2p::PeerId;
use serde_json::{Value, json};

use crate::{
    credential::SignError,
    key::PublisherKey,
    pod_id::PodId,
    provider::{ADDRESSES_MAX, Provider},
};

/// What can be delegated.
pub const OPERATIONS: [&str; 7] = ["provision", "watch", "list", "describe", "update", "logs", "delete"];
/// Generous; a longer file is none of ours.
const FILE_MAX: u64 = 16 << 10;
/// Files of the folder that are looked at.
const RECORDS_MAX: usize = 10_000;
const FOLDER: &str = "delegations";

#[derive(Debug, thiserror::Error)]
pub enum DelegationError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is no delegation: {fault}")]
    NotOne { path: PathBuf, fault: &'static str },
    #[error("{0} exists already; a delegation never overwrites a file")]
    Exists(PathBuf),
}

impl DelegationError {
    pub fn remedy(&self) -> &'static str {
        match self {
            DelegationError::Io { .. } => "Check the path and its rights.",
            DelegationError::NotOne { .. } => "Give the file that `apocryph delegate` wrote, as it was written.",
            DelegationError::Exists(_) => "Name another with --to, or remove it.",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Delegation {
    pub message: Message,
    /// Where it is meant to be used; not signed, for convenience.
    pub provider: Option<Provider>,
    /// As far as this client did it.
    pub revoked: bool,
}

/// What is to be allowed.
pub struct Allowed {
    pub delegate: PeerId,
    pub operations: Vec<String>,
    /// `None`: any pod of the publisher.
    pub pod: Option<PodId>,
    /// Of the pod's payment; 0: free.
    pub chain_id: u64,
    /// Unix seconds.
    pub expires_at: u64,
}

impl Delegation {
    pub fn sign(key: &PublisherKey, allowed: Allowed, provider: Option<Provider>) -> Result<Delegation, SignError> {
        let pod_id = allowed.pod.map_or([0; 32], |pod| pod.0);
        let signed = signing::Delegation {
            publisher: key.address().into(),
            delegate: allowed.delegate.to_base58(),
            operations: allowed.operations.clone(),
            podId: pod_id.into(),
            anyPod: allowed.pod.is_none(),
            expiresAt: allowed.expires_at,
        };
        let signature = signing::sign(signing::digest(&signed, allowed.chain_id), key.signing_key())?;
        Ok(Delegation {
            message: Message {
                publisher: key.address().to_vec(),
                delegate: signed.delegate,
                operations: signed.operations,
                pod_id: pod_id.to_vec(),
                any_pod: signed.anyPod,
                expires_at: signed.expiresAt,
                chain_id: allowed.chain_id,
                signature: signature.to_vec(),
            },
            provider,
            revoked: false,
        })
    }

    /// `None`: any pod.
    pub fn pod(&self) -> Option<PodId> {
        let id = self.message.pod_id.as_slice().try_into().ok().map(PodId);
        id.filter(|_| !self.message.any_pod)
    }

    pub fn to_json(&self) -> Value {
        let Message {
            publisher,
            delegate,
            operations,
            pod_id: _,
            any_pod,
            expires_at,
            chain_id,
            signature,
        } = &self.message;
        let hex = |bytes: &[u8]| format!("0x{}", HEXLOWER.encode(bytes));
        json!({
            "publisher": hex(publisher),
            "delegate": delegate,
            "operations": operations,
            "podId": self.pod().map(|pod| pod.to_string()),
            "anyPod": any_pod,
            "expiresAt": expires_at,
            "chainId": chain_id,
            "signature": hex(signature),
            "provider": self.provider.as_ref().map(Provider::texts),
            "revoked": self.revoked,
        })
    }

    fn from_json(value: &Value) -> Result<Delegation, &'static str> {
        let text = |name: &str| value[name].as_str();
        let bytes = |name: &str| {
            let digits = text(name)?.strip_prefix("0x")?;
            HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()
        };
        let texts = |name: &str, most: usize| {
            let list = value[name].as_array().filter(|list| list.len() <= most)?;
            list.iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        };
        let any_pod = value["anyPod"].as_bool().ok_or("anyPod is missing")?;
        let pod_id = if any_pod {
            vec![0; 32]
        } else {
            bytes("podId")
                .filter(|id| id.len() == 32)
                .ok_or("podId is not 0x and 64 hex digits")?
        };
        let provider = match texts("provider", ADDRESSES_MAX) {
            Some(texts) => Some(Provider::parse(texts).map_err(|_| "provider is no list of multiaddrs")?),
            None if value["provider"].is_null() => None,
            None => return Err("provider is no list of multiaddrs"),
        };
        Ok(Delegation {
            message: Message {
                publisher: bytes("publisher")
                    .filter(|address| address.len() == 20)
                    .ok_or("publisher is not 0x and 40 hex digits")?,
                delegate: text("delegate").ok_or("delegate is missing")?.to_owned(),
                operations: texts("operations", OPERATIONS.len()).ok_or("operations is no list of a few words")?,
                pod_id,
                any_pod,
                expires_at: value["expiresAt"].as_u64().ok_or("expiresAt is no number")?,
                chain_id: value["chainId"].as_u64().ok_or("chainId is no number")?,
                signature: bytes("signature").ok_or("signature is not 0x and hex digits")?,
            },
            provider,
            revoked: value["revoked"].as_bool().unwrap_or(false),
        })
    }

    pub fn load(path: &Path) -> Result<Delegation, DelegationError> {
        let mut text = String::new();
        fs::File::open(path)
            .and_then(|file| file.take(FILE_MAX).read_to_string(&mut text))
            .map_err(|source| DelegationError::Io {
                path: path.to_owned(),
                source,
            })?;
        serde_json::from_str(&text)
            .map_err(|_| "it is not JSON")
            .and_then(|value| Delegation::from_json(&value))
            .map_err(|fault| DelegationError::NotOne {
                path: path.to_owned(),
                fault,
            })
    }

    /// Never overwrites a file.
    pub fn store_new(&self, path: &Path) -> Result<(), DelegationError> {
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => DelegationError::Exists(path.to_owned()),
            _ => DelegationError::Io {
                path: path.to_owned(),
                source,
            },
        };
        let mut file = fs::File::create_new(path).map_err(io)?;
        io::Write::write_all(&mut file, format!("{:#}\n", self.to_json()).as_bytes()).map_err(io)
    }
}

/// Delegations that this wallet has given.
pub struct Records {
    folder: PathBuf,
}

impl Records {
    /// `beside`: the folder of the state files.
    pub fn open(beside: &Path) -> Result<Records, DelegationError> {
        let folder = beside.join(FOLDER);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|source| DelegationError::Io {
                path: folder.clone(),
                source,
            })?;
        Ok(Records { folder })
    }

    fn path(&self, delegation: &Delegation) -> PathBuf {
        let pod = delegation.pod().map_or_else(|| "any".to_owned(), |pod| pod.hex());
        // What differs in its operations alone differs in its signature.
        let signature = HEXLOWER.encode(delegation.message.signature.get(..8).unwrap_or_default());
        self.folder.join(format!("{pod}-{signature}.json"))
    }

    /// The same one again is no second one.
    pub fn note(&self, delegation: &Delegation) -> Result<(), DelegationError> {
        let path = self.path(delegation);
        let beside = path.with_extension("new");
        fs::write(&beside, format!("{:#}\n", delegation.to_json()))
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|source| DelegationError::Io { path, source })
    }

    /// Of one publisher, those that expire first coming first.
    pub fn of(&self, publisher: &[u8; 20]) -> Result<Vec<Delegation>, DelegationError> {
        let io = |source| DelegationError::Io {
            path: self.folder.clone(),
            source,
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(io)?.take(RECORDS_MAX) {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                found.push(Delegation::load(&path)?);
            }
        }
        found.retain(|delegation| delegation.message.publisher == publisher);
        found.sort_by_key(|delegation| delegation.message.expires_at);
        Ok(found)
    }

    /// Everything of the pod that expires by `not_before` is void.
    pub fn note_revoked(&self, publisher: &[u8; 20], pod: PodId, not_before: u64) -> Result<(), DelegationError> {
        for mut delegation in self.of(publisher)? {
            if delegation.pod() == Some(pod) && delegation.message.expires_at <= not_before {
                delegation.revoked = true;
                self.note(&delegation)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delegation(key: &PublisherKey, pod: Option<PodId>, expires_at: u64) -> Delegation {
        let allowed = Allowed {
            delegate: PeerId::random(),
            operations: vec!["watch".to_owned(), "logs".to_owned()],
            pod,
            chain_id: 0,
            expires_at,
        };
        Delegation::sign(key, allowed, None).unwrap()
    }

    #[test]
    fn a_file_says_what_was_signed() {
        let folder = tempfile::tempdir().unwrap();
        let (key, path) = (PublisherKey::random(), folder.path().join("d.json"));
        for (pod, name) in [(Some(PodId::random()), "d.json"), (None, "e.json")] {
            let path = path.with_file_name(name);
            let signed = delegation(&key, pod, 1_800_000_000);
            signed.store_new(&path).unwrap();
            let read = Delegation::load(&path).unwrap();
            assert_eq!(read, signed);
            assert_eq!(read.pod(), pod);
            assert!(matches!(signed.store_new(&path), Err(DelegationError::Exists(_))));
            let message = signing::Delegation {
                publisher: key.address().into(),
                delegate: read.message.delegate.clone(),
                operations: read.message.operations.clone(),
                podId: pod.map_or([0; 32], |pod| pod.0).into(),
                anyPod: pod.is_none(),
                expiresAt: 1_800_000_000,
            };
            let digest = signing::digest(&message, 0);
            assert_eq!(signing::recover(digest, &read.message.signature), Ok(key.address()));
        }
    }

    #[test]
    fn what_is_no_delegation_says_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.json");
        let whole = delegation(&PublisherKey::random(), Some(PodId::random()), 1).to_json();
        for field in [
            "publisher",
            "delegate",
            "operations",
            "podId",
            "anyPod",
            "expiresAt",
            "chainId",
            "signature",
        ] {
            let mut lacking = whole.clone();
            lacking.as_object_mut().unwrap().remove(field);
            fs::write(&path, lacking.to_string()).unwrap();
            let error = Delegation::load(&path).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
        fs::write(&path, "hello").unwrap();
        assert!(Delegation::load(&path).is_err());
    }

    #[test]
    fn revoking_by_an_instant_voids_what_expires_by_it_of_that_pod_alone() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path()).unwrap();
        let (key, pod) = (PublisherKey::random(), PodId::random());
        for (pod, expires_at) in [(Some(pod), 10), (Some(pod), 11), (Some(PodId::random()), 9), (None, 9)] {
            records.note(&delegation(&key, pod, expires_at)).unwrap();
        }
        records.note_revoked(&key.address(), pod, 10).unwrap();
        let found = records.of(&key.address()).unwrap();
        let void: Vec<_> = found
            .iter()
            .filter(|d| d.revoked)
            .map(|d| d.message.expires_at)
            .collect();
        assert_eq!((found.len(), void), (4, vec![10]));
        assert!(records.of(&[0; 20]).unwrap().is_empty());
    }
}

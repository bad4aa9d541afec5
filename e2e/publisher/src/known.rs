//! Providers that are known by a name: where they are, and the last capacity they told. One file each beside the state files,
//! `NAME.provider`; nothing in it is secret.

use std::{fs, path::PathBuf};

use apocryph_proto::v0::provisioning_capacity::CapacityResponse;
use prost::Message;

use crate::{
    provider::{Provider, ProviderError},
    state::{StateError, Store, io_error},
};

/// Characters of a name.
pub const NAME_MAX: usize = 63;
/// Bytes of a capacity reply that are remembered; a longer one is a stranger's joke.
pub const CAPACITY_MAX: usize = 64 << 10;
/// A capacity reply, and generous room for addresses.
const FILE_MAX: u64 = CAPACITY_MAX as u64 + (64 << 10);
/// Files that are read for a list; a folder with more is listed in part.
pub const LIST_MAX: usize = 1_000;
const EXTENSION: &str = "provider";

#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    #[error("{0} is not a name: letters, digits, `-`, `_` and `.`, a letter or digit first, at most {NAME_MAX}")]
    NotAName(String),
    #[error("a provider {0} is known already")]
    Exists(String),
    #[error("no provider {0} is known")]
    Unknown(String),
    #[error("{0} is not a provider's file of this version")]
    Broken(PathBuf),
    #[error("the provider's reply is longer than the {CAPACITY_MAX} bytes that are remembered of one")]
    TooLong,
    #[error(transparent)]
    State(#[from] StateError),
}

impl KnownError {
    pub fn remedy(&self) -> String {
        match self {
            KnownError::NotAName(_) => "Choose another name; a multiaddr starts with `/`.".into(),
            KnownError::Exists(name) => {
                format!("Choose another name, or take that one away first with `apocryph provider remove {name}`.")
            }
            KnownError::Unknown(name) => format!(
                "See which are known with `apocryph provider list`, or add it with `apocryph provider add {name} MULTIADDR`."
            ),
            KnownError::Broken(_) => "Remove the file and add the provider again.".into(),
            KnownError::TooLong => "Nothing is lost but the entry in `apocryph provider list`.".into(),
            KnownError::State(error) => error.remedy().into(),
        }
    }
}

/// The file's content.
#[derive(Clone, PartialEq, Message)]
struct File {
    /// A file that was renamed is not another provider.
    #[prost(string, tag = "1")]
    name: String,
    /// Multiaddrs with `/p2p/PEER`.
    #[prost(string, repeated, tag = "2")]
    addresses: Vec<String>,
    #[prost(message, optional, tag = "3")]
    asked: Option<Asked>,
}

/// What a provider said last, and when.
#[derive(Clone, PartialEq, Message)]
pub struct Asked {
    /// Unix seconds of this machine.
    #[prost(uint64, tag = "1")]
    pub at: u64,
    #[prost(message, required, tag = "2")]
    pub capacity: CapacityResponse,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub name: String,
    pub provider: Provider,
    pub asked: Option<Asked>,
}

impl Known {
    /// Refuses a name that is taken.
    pub fn add(store: &Store, name: &str, provider: Provider) -> Result<Known, KnownError> {
        match Known::load(store, name) {
            Err(KnownError::Unknown(_)) => {}
            Ok(_) | Err(KnownError::Broken(_)) => return Err(KnownError::Exists(name.into())),
            Err(other) => return Err(other),
        }
        let known = Known {
            name: name.into(),
            provider,
            asked: None,
        };
        known.save(store)?;
        Ok(known)
    }

    pub fn load(store: &Store, name: &str) -> Result<Known, KnownError> {
        let path = path(store, name)?;
        let content = store
            .read(&path, FILE_MAX)?
            .ok_or_else(|| KnownError::Unknown(name.into()))?;
        let file = File::decode(content.as_slice()).ok().filter(|file| file.name == name);
        let file = file.ok_or_else(|| KnownError::Broken(path.clone()))?;
        let provider: Result<Provider, ProviderError> = Provider::parse(&file.addresses);
        Ok(Known {
            name: file.name,
            provider: provider.map_err(|_| KnownError::Broken(path))?,
            asked: file.asked,
        })
    }

    /// By name.
    pub fn list(store: &Store) -> Result<Vec<Known>, KnownError> {
        let mut names = store.stems(EXTENSION)?;
        names.sort_unstable();
        names.truncate(LIST_MAX);
        names.iter().map(|name| Known::load(store, name)).collect()
    }

    /// The pods that were deployed there keep its address in their own files.
    pub fn remove(store: &Store, name: &str) -> Result<(), KnownError> {
        let path = path(store, name)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(KnownError::Unknown(name.into())),
            other => Ok(other.map_err(|source| io_error(&path, source))?),
        }
    }

    /// Takes note of what it said now.
    pub fn note(&mut self, store: &Store, capacity: &CapacityResponse, now: u64) -> Result<(), KnownError> {
        if capacity.encoded_len() > CAPACITY_MAX {
            return Err(KnownError::TooLong);
        }
        self.asked = Some(Asked {
            at: now,
            capacity: capacity.clone(),
        });
        self.save(store)
    }

    fn save(&self, store: &Store) -> Result<(), KnownError> {
        let file = File {
            name: self.name.clone(),
            addresses: self.provider.texts(),
            asked: self.asked.clone(),
        };
        Ok(store.replace(&path(store, &self.name)?, &file.encode_to_vec())?)
    }
}

fn path(store: &Store, name: &str) -> Result<PathBuf, KnownError> {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !first || !rest || name.len() > NAME_MAX {
        return Err(KnownError::NotAName(name.into()));
    }
    Ok(store.folder().join(format!("{name}.{EXTENSION}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    #[test]
    fn what_was_added_and_said_is_found_until_it_is_removed() {
        let (_folder, store) = store();
        let provider: Provider = ADDRESS.parse().unwrap();
        Known::add(&store, "home.lab", provider.clone()).unwrap();
        let mut known = Known::add(&store, "attic", provider.clone()).unwrap();
        let capacity = CapacityResponse {
            fits: true,
            ..CapacityResponse::default()
        };
        known.note(&store, &capacity, 7).unwrap();
        assert_eq!(Known::load(&store, "attic").unwrap(), known);
        let names: Vec<_> = Known::list(&store).unwrap().into_iter().map(|k| k.name).collect();
        assert_eq!(names, ["attic", "home.lab"]);
        assert!(matches!(
            Known::add(&store, "attic", provider),
            Err(KnownError::Exists(_))
        ));
        Known::remove(&store, "attic").unwrap();
        assert!(matches!(Known::load(&store, "attic"), Err(KnownError::Unknown(_))));
        assert!(matches!(Known::remove(&store, "attic"), Err(KnownError::Unknown(_))));
    }

    #[test]
    fn a_name_stays_in_its_folder_and_a_file_keeps_its_name() {
        let (_folder, store) = store();
        let long = "x".repeat(NAME_MAX + 1);
        for name in ["", "../x", "/x", ".x", "-x", "a b", "ä", long.as_str()] {
            let refused = Known::add(&store, name, ADDRESS.parse().unwrap());
            assert!(matches!(refused, Err(KnownError::NotAName(_))), "{name}");
        }
        Known::add(&store, "one", ADDRESS.parse().unwrap()).unwrap();
        let (one, two) = (path(&store, "one").unwrap(), path(&store, "two").unwrap());
        fs::rename(&one, two).unwrap();
        assert!(matches!(Known::load(&store, "two"), Err(KnownError::Broken(_))));
        fs::write(&one, vec![0; FILE_MAX as usize + 1]).unwrap();
        assert!(matches!(
            Known::load(&store, "one"),
            Err(KnownError::State(StateError::NotAStateFile(_)))
        ));
    }

    #[test]
    fn a_reply_without_bounds_is_not_remembered() {
        let (_folder, store) = store();
        let mut known = Known::add(&store, "one", ADDRESS.parse().unwrap()).unwrap();
        let capacity = CapacityResponse {
            blocking_resource: "x".repeat(CAPACITY_MAX),
            ..CapacityResponse::default()
        };
        assert!(matches!(known.note(&store, &capacity, 7), Err(KnownError::TooLong)));
        assert_eq!(Known::load(&store, "one").unwrap().asked, None);
    }
}

//! The state file: what a client must know to resume a deployment after it was killed. Written before the first byte is sent.
//!
//! One file per pod, named by the pod id. It holds the request with its secrets, so it is encrypted (`sealed`). It is
//! replaced whole: written beside, synced, renamed.

mod sealed;

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use apocryph_proto::limits::MESSAGE_MAX;
use prost::Message;
use rand::{RngCore, rngs::OsRng};
use zeroize::Zeroize;

use crate::{key::PublisherKey, pod_id::PodId};

/// The request, and generous room for addresses and names.
const FILE_MAX: u64 = MESSAGE_MAX as u64 + (64 << 10);
const EXTENSION: &str = "state";
/// Files of the folder that are looked at in search of something.
const LIST_MAX: usize = 100_000;
/// Hex digits by which a pod may be named in short.
pub const PREFIX_MIN: usize = 4;

/// What is remembered of one pod. The request's bytes are wiped when it is dropped; Debug shows none of it.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct Saved {
    /// Multiaddrs with `/p2p/PEER`.
    #[prost(string, repeated, tag = "1")]
    pub provider: Vec<String>,
    #[prost(bytes = "vec", tag = "2")]
    pub pod_id: Vec<u8>,
    /// The encoded ProvisionPodRequest: each attempt sends exactly these bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub request: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub chain_id: u64,
    /// The life that the request asks for, then the one that was accepted.
    #[prost(uint64, tag = "5")]
    pub life: u64,
    #[prost(bool, tag = "6")]
    pub accepted: bool,
    /// Name of the ApocryphPod, once told.
    #[prost(string, tag = "7")]
    pub name: String,
    #[prost(message, optional, tag = "8")]
    pub ended: Option<SavedEnd>,
    /// No byte of the request has left yet. Files of versions that did not write it read as false: it may have been taken.
    #[prost(bool, tag = "9")]
    pub unsent: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct SavedEnd {
    #[prost(uint64, tag = "1")]
    pub life: u64,
    #[prost(string, tag = "2")]
    pub code: String,
    /// Unix seconds; 0: not told.
    #[prost(uint64, tag = "3")]
    pub at: u64,
}

impl Drop for Saved {
    fn drop(&mut self) {
        self.request.zeroize();
    }
}

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Saved")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{0} is not a state file of this version")]
    NotAStateFile(PathBuf),
    #[error("{0} was written with another key, or was changed since")]
    OtherKey(PathBuf),
    #[error("nothing is remembered of pod {0} in {1}")]
    Unknown(String, PathBuf),
    #[error("{0} names more than one pod: {1}")]
    Ambiguous(String, String),
    #[error("{0} is not a pod id, nor the beginning of one with at least {PREFIX_MIN} hex digits")]
    NotAPodId(String),
    #[error("the state of {0} cannot be encrypted")]
    Encrypt(PodId),
    #[error("neither XDG_STATE_HOME nor HOME says where state files go")]
    NoHome,
}

impl StateError {
    pub fn remedy(&self) -> &'static str {
        match self {
            StateError::Io { .. } => "Check the folder and its rights, or name another with --state-dir.",
            StateError::NotAStateFile(_) => "Use the version of apocryph that wrote it, or move it away.",
            StateError::OtherKey(_) => "Use the key that the pod was deployed with.",
            StateError::Unknown(..) => {
                "Give the whole pod id and --provider, or the folder that has its file as --state-dir."
            }
            StateError::Ambiguous(..) | StateError::NotAPodId(_) => "Give more digits of the pod id.",
            StateError::Encrypt(_) => "This is a fault of apocryph: please report it.",
            StateError::NoHome => "Name a folder with --state-dir or in APOCRYPH_STATE_DIR.",
        }
    }
}

/// The folder with the state files.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Makes the folder (mode 0700) where it is missing.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Store, StateError> {
        let folder = folder.into();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|source| io_error(&folder, source))?;
        Ok(Store { folder })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self, pod: PodId) -> PathBuf {
        self.folder.join(pod.hex()).with_extension(EXTENSION)
    }

    /// Replaces the file; when it returns, the new content is on the disk.
    pub fn save(&self, key: &PublisherKey, pod: PodId, saved: &Saved) -> Result<(), StateError> {
        let content = sealed::seal(key, pod, saved).ok_or(StateError::Encrypt(pod))?;
        self.replace(&self.path(pod), &content)
    }

    /// `None`: nothing is remembered of that pod.
    pub fn load(&self, key: &PublisherKey, pod: PodId) -> Result<Option<Saved>, StateError> {
        let path = self.path(pod);
        let Some(content) = self.read(&path, FILE_MAX)? else {
            return Ok(None);
        };
        match sealed::open(key, pod, &content) {
            Ok(saved) => Ok(Some(saved)),
            Err(sealed::Unreadable::NotSealed) => Err(StateError::NotAStateFile(path)),
            Err(sealed::Unreadable::NotOurs) => Err(StateError::OtherKey(path)),
        }
    }

    /// Every pod that has a file here.
    pub fn pods(&self) -> Result<Vec<PodId>, StateError> {
        let mut pods: Vec<PodId> = self.stems(EXTENSION)?.iter().filter_map(|s| s.parse().ok()).collect();
        pods.sort_unstable();
        Ok(pods)
    }

    /// Writes a file of this folder anew: beside it, synced, renamed.
    pub(crate) fn replace(&self, path: &Path, content: &[u8]) -> Result<(), StateError> {
        let beside = self.folder.join(format!(".{:016x}.new", OsRng.next_u64()));
        let written = write_new(&beside, content)
            .and_then(|()| fs::rename(&beside, path))
            .and_then(|()| fs::File::open(&self.folder)?.sync_all());
        written.map_err(|source| {
            // Gone already when the rename was done; otherwise it is of no use.
            let _ = fs::remove_file(&beside);
            io_error(path, source)
        })
    }

    /// `None`: there is no such file. One of more than `most` bytes is not read.
    pub(crate) fn read(&self, path: &Path, most: u64) -> Result<Option<Vec<u8>>, StateError> {
        let mut content = Vec::new();
        match fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut content)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error(path, source)),
            Ok(size) if size as u64 > most => Err(StateError::NotAStateFile(path.to_owned())),
            Ok(_) => Ok(Some(content)),
        }
    }

    /// Names of the files of one kind, without their extension.
    pub(crate) fn stems(&self, extension: &str) -> Result<Vec<String>, StateError> {
        let io = |source| io_error(&self.folder, source);
        let mut stems = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(io)?.take(LIST_MAX) {
            let name = PathBuf::from(entry.map_err(io)?.file_name());
            if name.extension().is_some_and(|e| e == extension)
                && let Some(stem) = name.file_stem().and_then(|s| s.to_str())
            {
                stems.push(stem.to_owned());
            }
        }
        Ok(stems)
    }

    /// A pod by its whole id (which needs no file), or by the beginning of one that has a file here.
    pub fn find(&self, text: &str) -> Result<PodId, StateError> {
        if let Ok(pod) = text.parse() {
            return Ok(pod);
        }
        let digits = text.strip_prefix("0x").unwrap_or(text).to_ascii_lowercase();
        if digits.len() < PREFIX_MIN || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(StateError::NotAPodId(text.into()));
        }
        let matching: Vec<_> = self
            .pods()?
            .into_iter()
            .filter(|pod| pod.hex().starts_with(&digits))
            .collect();
        match matching.as_slice() {
            [] => Err(StateError::Unknown(text.into(), self.folder.clone())),
            [pod] => Ok(*pod),
            several => {
                let names: Vec<_> = several.iter().take(8).map(PodId::to_string).collect();
                Err(StateError::Ambiguous(text.into(), names.join(", ")))
            }
        }
    }
}

pub(crate) fn io_error(path: &Path, source: io::Error) -> StateError {
    StateError::Io {
        path: path.to_owned(),
        source,
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Where state files go when nobody says otherwise: `$XDG_STATE_HOME/apocryph`, else `~/.local/state/apocryph`.
pub fn default_folder() -> Result<PathBuf, StateError> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    // The XDG specification: a relative path there is to be ignored.
    let state_home = set("XDG_STATE_HOME").filter(|p| p.is_absolute());
    let base = state_home
        .or_else(|| Some(set("HOME")?.join(".local/state")))
        .ok_or(StateError::NoHome)?;
    Ok(base.join("apocryph"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn saved(pod: PodId) -> Saved {
        Saved {
            provider: vec!["/ip4/192.0.2.1/tcp/1/p2p/x".into()],
            pod_id: pod.0.to_vec(),
            request: vec![1, 2, 3],
            chain_id: 0,
            life: 3,
            accepted: true,
            name: "name".into(),
            ended: Some(SavedEnd {
                life: 3,
                code: "start_timeout".into(),
                at: 7,
            }),
            unsent: false,
        }
    }

    #[test]
    fn a_file_of_before_that_was_noted_may_have_been_sent() {
        let pod = PodId::random();
        let (older, mut unsent) = (saved(pod).encode_to_vec(), saved(pod));
        unsent.unsent = true;
        assert!(Saved::decode(unsent.encode_to_vec().as_slice()).unwrap().unsent);
        assert!(!Saved::decode(older.as_slice()).unwrap().unsent);
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("deep/state")).unwrap();
        (folder, store)
    }

    #[test]
    fn what_was_saved_is_loaded_and_the_file_is_the_owners() {
        let (_folder, store) = store();
        let (key, pod) = (PublisherKey::random(), PodId::random());
        assert_eq!(store.load(&key, pod).unwrap(), None);
        store.save(&key, pod, &saved(pod)).unwrap();
        let mut second = saved(pod);
        second.accepted = false;
        store.save(&key, pod, &second).unwrap();
        assert_eq!(store.load(&key, pod).unwrap(), Some(second));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&store.path(pod)), mode(store.folder())), (0o600, 0o700));
        assert_eq!(
            fs::read_dir(store.folder()).unwrap().count(),
            1,
            "nothing is left beside the file"
        );
    }

    #[test]
    fn a_file_too_large_to_be_one_is_not_read_in_whole() {
        let (_folder, store) = store();
        let pod = PodId::random();
        fs::File::create(store.path(pod))
            .unwrap()
            .set_len(FILE_MAX * 1_000)
            .unwrap();
        assert!(matches!(
            store.load(&PublisherKey::random(), pod),
            Err(StateError::NotAStateFile(_))
        ));
    }

    #[test]
    fn a_pod_is_found_by_the_beginning_of_its_id() {
        let (_folder, store) = store();
        let key = PublisherKey::random();
        let (one, two) = (PodId([0xab; 32]), PodId([0xac; 32]));
        for pod in [one, two] {
            store.save(&key, pod, &saved(pod)).unwrap();
        }
        fs::write(store.folder().join("notes.txt"), "x").unwrap();
        assert_eq!(store.pods().unwrap(), [one, two]);
        assert_eq!(store.find("0xABAB").unwrap(), one);
        assert_eq!(store.find(&two.to_string()).unwrap(), two);
        let unknown = PodId([1; 32]);
        assert_eq!(store.find(&unknown.hex()).unwrap(), unknown, "a whole id needs no file");
        assert!(matches!(store.find("aaaa"), Err(StateError::Unknown(..))));
        for text in ["ab", "", "0x", "zzzz"] {
            assert!(matches!(store.find(text), Err(StateError::NotAPodId(_))), "{text}");
        }
        let third = PodId({
            let mut bytes = [0xab; 32];
            bytes[31] = 0;
            bytes
        });
        store.save(&key, third, &saved(third)).unwrap();
        assert!(matches!(store.find("abab"), Err(StateError::Ambiguous(..))));
    }
}

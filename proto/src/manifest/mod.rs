//! A pod manifest that holds: every bound checked, every name unique, every mount naming a volume. Parsed means valid.
//!
//! The client checks offline with the same parser that the provider admits with. What is not served is decided by the table
//! of [`crate::served`] alone, which [`Manifest::parse`] asks first.

mod image;
mod parse;
mod ports;
mod print;
mod quantity;
mod text;
mod volumes;

use std::collections::BTreeMap;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::outcome::Code;

pub use image::repository;
pub use quantity::{Kind, Quantity};
pub use text::{
    ENV_NAME_PATTERN, IMAGE_PATTERN, MOUNT_PATH_PATTERN, NAME_PATTERN, PORT_NAME_PATTERN, WORKING_DIR_PATTERN,
};

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct Invalid {
    /// `InvalidManifest`, `NotServed` or `ScalingNotServed`.
    pub code: Code,
    /// Path in lowerCamel names, without the leading `pod.`: `containers[0].ports[1].name`; empty: the manifest as a whole.
    pub field: String,
    /// One sentence: the rule, the value's fault, and what would be right. Never a secret value.
    pub message: String,
}

impl Invalid {
    /// The path from the root of a provision request: `pod.containers[0].name`.
    pub fn field_in_request(&self) -> String {
        if self.field.is_empty() {
            "pod".into()
        } else {
            format!("pod.{}", self.field)
        }
    }
}

/// See the module's text. Only [`Manifest::parse`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    containers: Vec<Container>,
    volumes: Vec<Volume>,
    replicas: u32,
    fs_group: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Container {
    /// DNS label, unique within the pod.
    pub name: String,
    /// Image reference as the container runtime takes it.
    pub image: String,
    /// Credentials of the image's registry.
    pub pull_secret: Option<PullSecret>,
    pub command: Vec<String>,
    pub args: Vec<String>,
    /// Absolute; `None`: the image's.
    pub working_dir: Option<String>,
    pub ports: Vec<Port>,
    /// Values are secret.
    pub env: BTreeMap<String, SecretValue>,
    pub mounts: Vec<Mount>,
    pub requests: Requests,
    /// `None`: the image's.
    pub user: Option<User>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSecret {
    pub username: String,
    pub password: SecretValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    /// `None`: the user's in the image.
    pub gid: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// Unique within the pod; filled in when the manifest has none.
    pub name: String,
    /// Where it is offered; unique within the pod and the protocol.
    pub port: u16,
    /// Where the program listens; unique within the pod and the protocol.
    pub target_port: u16,
    pub protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mount {
    pub volume: String,
    /// Absolute, normalised, unique within the container.
    pub path: String,
    pub read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Volume {
    /// DNS label, unique within the pod.
    pub name: String,
    pub kind: VolumeKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// Lives as long as a replica, on its node.
    Empty {
        /// Bytes; `None`: the provider's default.
        size: Option<u64>,
    },
    /// A file system that lives as long as the pod's life.
    Filesystem {
        /// Bytes.
        size: u64,
        access: Access,
    },
    /// A file, where it is mounted.
    Secret(SecretBytes),
}

/// How many nodes may write a file system at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    One,
    Many,
}

/// As asked for; `None`: the provider's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub cpu_millis: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes.
    pub ephemeral_storage: Option<u64>,
}

/// Text that is never printed, and wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SecretValue(String);

impl SecretValue {
    pub fn new(value: impl Into<String>) -> SecretValue {
        SecretValue(value.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

/// Contents of a secret file: never printed, and wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    pub fn new(contents: impl Into<Vec<u8>>) -> SecretBytes {
        SecretBytes(contents.into())
    }

    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

impl Manifest {
    pub fn containers(&self) -> &[Container] {
        &self.containers
    }

    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    /// Replicas that run: max(min, 1).
    pub fn replicas(&self) -> u32 {
        self.replicas
    }

    /// Group that owns the volumes' files.
    pub fn fs_group(&self) -> Option<u32> {
        self.fs_group
    }
}

#[cfg(test)]
mod tests;

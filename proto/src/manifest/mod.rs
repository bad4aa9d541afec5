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

use std::collections::BTreeMap;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::outcome::Code;

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
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Container {
    /// DNS label.
    pub name: String,
    /// Image reference as the container runtime takes it.
    pub image: String,
    pub command: Vec<String>,
    pub args: Vec<String>,
    /// Absolute; `None`: the image's.
    pub working_dir: Option<String>,
    pub ports: Vec<Port>,
    /// Values are secret.
    pub env: BTreeMap<String, SecretValue>,
    pub mounts: Vec<Mount>,
    pub requests: Requests,
}

/// TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// Unique within the pod; filled in when the manifest has none.
    pub name: String,
    /// Where it is offered; unique within the pod.
    pub port: u16,
    /// Where the program listens; unique within the pod.
    pub target_port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mount {
    pub volume: String,
    /// Absolute, normalised, unique within the container.
    pub path: String,
    pub read_only: bool,
}

/// A file system that outlives the container; read-write by one node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Volume {
    pub name: String,
    /// Bytes.
    pub size: u64,
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
}

#[cfg(test)]
mod tests;

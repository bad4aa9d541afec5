//! The manifest that holds (parsed by apocryph-proto, so that the client checks with the same rules), and what the
//! provider adds to it.

pub use apocryph_proto::manifest::{Container, Manifest, Mount, Port, Requests, SecretValue, Volume};

/// What one container, or one replica, is given: requests, and limits equal to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub cpu_millis: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes.
    pub ephemeral_storage: u64,
}

impl Resources {
    /// `None` on overflow.
    pub fn checked_add(self, other: Resources) -> Option<Resources> {
        Some(Resources {
            cpu_millis: self.cpu_millis.checked_add(other.cpu_millis)?,
            memory: self.memory.checked_add(other.memory)?,
            ephemeral_storage: self.ephemeral_storage.checked_add(other.ephemeral_storage)?,
        })
    }
}

/// Requests of a container that asks for none (chart value `defaults`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    pub requests: Resources,
}

/// A manifest with every container's resources decided.
#[derive(Clone, PartialEq, Eq)]
pub struct Complete {
    pub manifest: Manifest,
    /// One per container, in its order.
    pub resources: Vec<Resources>,
}

impl Complete {
    pub fn new(manifest: Manifest, defaults: &Defaults) -> Complete {
        let resources = manifest
            .containers()
            .iter()
            .map(|container| Resources {
                cpu_millis: container.requests.cpu_millis.unwrap_or(defaults.requests.cpu_millis),
                memory: container.requests.memory.unwrap_or(defaults.requests.memory),
                ephemeral_storage: container
                    .requests
                    .ephemeral_storage
                    .unwrap_or(defaults.requests.ephemeral_storage),
            })
            .collect();
        Complete { manifest, resources }
    }

    /// What must be free for it; `None` on overflow, which no manifest within the limits reaches.
    pub fn demand(&self) -> Option<Demand> {
        let per_replica = self
            .resources
            .iter()
            .try_fold(Resources::default(), |sum, next| sum.checked_add(*next))?;
        let storage = self
            .manifest
            .volumes()
            .iter()
            .try_fold(0u64, |sum, volume| sum.checked_add(volume.size))?;
        Some(Demand {
            replicas: self.manifest.replicas(),
            per_replica,
            storage,
        })
    }
}

/// What a pod needs from the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    pub replicas: u32,
    /// One replica must fit on one node.
    pub per_replica: Resources,
    /// Bytes of all volumes.
    pub storage: u64,
}

//! The manifest that holds (parsed by apocryph-proto, so that the client checks with the same rules), and what the
//! provider adds to it.

pub use apocryph_proto::manifest::{
    Access, Container, Manifest, Mount, Port, Protocol, PullSecret, Requests, SecretBytes, SecretValue, User, Volume,
    VolumeKind, repository,
};

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

/// What a manifest gets that does not say (chart value `defaults`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Of a container.
    pub requests: Resources,
    /// Bytes of a volume that is emptied.
    pub empty_volume: u64,
}

/// A manifest with every container's resources and every volume's size decided.
#[derive(Clone, PartialEq, Eq)]
pub struct Complete {
    pub manifest: Manifest,
    /// One per container, in its order.
    pub resources: Vec<Resources>,
    /// Bytes of a volume that is emptied and names no size.
    pub empty_volume: u64,
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
        Complete {
            manifest,
            resources,
            empty_volume: defaults.empty_volume,
        }
    }

    /// What must be free for it; `None` on overflow, which no manifest within the limits reaches.
    pub fn demand(&self) -> Option<Demand> {
        let mut demand = Demand {
            replicas: self.manifest.replicas(),
            ..Demand::default()
        };
        for resources in &self.resources {
            demand.per_replica = demand.per_replica.checked_add(*resources)?;
        }
        for volume in self.manifest.volumes() {
            demand.add_volume(match volume.kind {
                VolumeKind::Empty { size } => Needs::EphemeralStorage(size.unwrap_or(self.empty_volume)),
                VolumeKind::Filesystem { size, access } => Needs::Storage(size, access),
                VolumeKind::Secret(_) => continue,
            })?;
        }
        Some(demand)
    }
}

/// What a pod needs from the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    pub replicas: u32,
    /// One replica, with its emptied volumes, must fit on one node.
    pub per_replica: Resources,
    /// Bytes of all file systems.
    pub storage: u64,
    /// One of them is written by several nodes.
    pub shared: bool,
}

/// What a volume needs, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Of each replica's node.
    EphemeralStorage(u64),
    Storage(u64, Access),
}

impl Demand {
    /// `None` on overflow.
    pub fn add_volume(&mut self, needs: Needs) -> Option<()> {
        match needs {
            Needs::EphemeralStorage(size) => {
                let ephemeral = &mut self.per_replica.ephemeral_storage;
                *ephemeral = ephemeral.checked_add(size)?;
            }
            Needs::Storage(size, access) => {
                self.storage = self.storage.checked_add(size)?;
                self.shared |= access == Access::Many;
            }
        }
        Some(())
    }
}

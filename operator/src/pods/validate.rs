//! From an ApocryphPod's spec to the one type that the builders trust. Schema and CEL rules have checked nearly all of it;
//! an object may be older than they are, so it is read strictly here once more.

use apocryph_crd::{ApocryphPod, VolumeType};
use apocryph_proto::outcome::Code;
use kube::ResourceExt;

use super::{Settings, apply::is_built};
use crate::{
    capacity::nodes::access,
    model::{
        key::{PodId, PodKey, PodName, Publisher},
        manifest::{Access, Demand, Needs, Protocol, Resources, User},
        pod::Tag,
    },
};

/// Parsed means valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedPod {
    pub key: PodKey,
    pub name: PodName,
    pub life: i64,
    /// `None`: an admin's own pod.
    pub tag: Option<Tag>,
    pub replicas: u32,
    /// Name of the Secret, in both namespaces; there is one when anything is secret.
    pub secret: Option<String>,
    /// Credentials of registries are in it.
    pub pull_secret: bool,
    pub fs_group: Option<i64>,
    pub containers: Vec<Container>,
    pub volumes: Vec<Volume>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub image: String,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub working_dir: Option<String>,
    pub ports: Vec<Port>,
    /// Names of environment variables.
    pub env: Vec<String>,
    pub mounts: Vec<Mount>,
    pub resources: Resources,
    pub user: Option<User>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub port: u16,
    pub target_port: u16,
    pub protocol: Protocol,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub volume: String,
    pub path: String,
    pub read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub name: String,
    pub kind: VolumeKind,
}

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    Filesystem { size: u64, access: Access },
    Empty { size: u64 },
    Secret,
}

/// Why nothing is built from a spec; it waits for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// `InvalidSpec`, `WrongName` or `StorageNotOffered`.
    pub code: Code,
    pub message: String,
    pub remedy: String,
}

fn invalid(field: &str, fault: &str) -> Invalid {
    Invalid {
        code: Code::InvalidSpec,
        message: format!("spec.{field} {fault}."),
        remedy: format!("Correct spec.{field}."),
    }
}

/// Storage must be offered only before the life is built: volumes that were made are there, whatever is offered since.
///
/// # Errors
/// The first fault.
pub fn validate(pod: &ApocryphPod, settings: &Settings) -> Result<ValidatedPod, Invalid> {
    let spec = &pod.spec;
    let publisher = Publisher::parse(&spec.publisher)
        .ok_or_else(|| invalid("publisher", "is not 0x and 40 lowercase hex digits"))?;
    let pod_id = PodId::parse(&spec.pod_id).ok_or_else(|| invalid("podId", "is not 0x and 64 lowercase hex digits"))?;
    let key = PodKey { publisher, pod_id };
    let name = key.name();
    if pod.name_any() != name.as_str() {
        return Err(Invalid {
            code: Code::WrongName,
            message: format!("The name derived from publisher and podId is {name}."),
            remedy: format!("Create the ApocryphPod with the name {name}."),
        });
    }
    if spec.containers.is_empty() {
        return Err(invalid("containers", "is empty"));
    }
    let replicas = u32::try_from(spec.replicas)
        .ok()
        .filter(|replicas| *replicas > 0)
        .ok_or_else(|| invalid("replicas", "is less than 1"))?;
    let volumes: Vec<Volume> = spec.volumes.iter().map(volume).collect::<Result<_, Invalid>>()?;
    if !is_built(pod) {
        is_offered(&volumes, settings)?;
    }
    let mut containers: Vec<Container> = spec
        .containers
        .iter()
        .map(|one| container(one, &volumes))
        .collect::<Result<_, Invalid>>()?;
    // A Pod has no request of its own for ephemeral storage: what its emptied volumes may hold stands at a container.
    for volume in &volumes {
        if let (VolumeKind::Empty { size }, Some(first)) = (volume.kind, containers.first_mut()) {
            let room = &mut first.resources.ephemeral_storage;
            *room = room
                .checked_add(size)
                .ok_or_else(|| invalid("volumes", "asks for more than can be counted"))?;
        }
    }
    let is_secret = containers.iter().any(|container| !container.env.is_empty())
        || volumes.iter().any(|volume| volume.kind == VolumeKind::Secret)
        || spec.pull_secret;
    if spec.secret_name.is_none() && is_secret {
        return Err(invalid(
            "secretName",
            "is missing, and there are environment variables, secret volumes or credentials of registries",
        ));
    }
    let pod = ValidatedPod {
        key,
        name,
        life: spec.life,
        tag: spec.tag.clone().map(Tag),
        replicas,
        secret: spec.secret_name.clone(),
        pull_secret: spec.pull_secret,
        fs_group: spec.fs_group,
        containers,
        volumes,
    };
    if pod.checked_demand().is_none() {
        return Err(invalid("containers", "asks for more than can be counted"));
    }
    Ok(pod)
}

fn volume(volume: &apocryph_crd::Volume) -> Result<Volume, Invalid> {
    let size = || {
        volume
            .size
            .and_then(positive)
            .ok_or_else(|| invalid(&format!("volumes[{}].size", volume.name), "is missing or below 1"))
    };
    let kind = match volume.kind {
        VolumeType::Filesystem => VolumeKind::Filesystem {
            size: size()?,
            access: access(volume.access_mode),
        },
        VolumeType::Empty => VolumeKind::Empty { size: size()? },
        VolumeType::Secret => VolumeKind::Secret,
    };
    Ok(Volume {
        name: volume.name.clone(),
        kind,
    })
}

fn is_offered(volumes: &[Volume], settings: &Settings) -> Result<(), Invalid> {
    let not_offered = |message: &str, value: &str| {
        Err(Invalid {
            code: Code::StorageNotOffered,
            message: message.to_owned(),
            remedy: format!("Leave such volumes out, or set the chart value {value}."),
        })
    };
    let wanted = |access| {
        let of = |volume: &Volume| matches!(volume.kind, VolumeKind::Filesystem { access: one, .. } if one == access);
        volumes.iter().any(of)
    };
    if wanted(Access::Many) && settings.shared_storage_class.is_none() {
        return not_offered(
            "The pod has a volume that several nodes write, and this provider offers none.",
            "storage.sharedClass",
        );
    }
    if wanted(Access::One) && settings.storage_class.is_none() {
        return not_offered(
            "The pod has volumes, and this provider offers no storage.",
            "storage.class",
        );
    }
    Ok(())
}

fn container(container: &apocryph_crd::Container, volumes: &[Volume]) -> Result<Container, Invalid> {
    let apocryph_crd::Container {
        name,
        image,
        command,
        args,
        working_dir,
        ports,
        env,
        volume_mounts,
        resources,
        user,
    } = container;
    let amount = |field: &str, value: i64| {
        positive(value).ok_or_else(|| invalid(&format!("containers[{name}].resources.{field}"), "is below 1"))
    };
    let port = |number: i32| {
        u16::try_from(number)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| invalid(&format!("containers[{name}].ports"), "has a number outside 1 to 65535"))
    };
    if let Some(mount) = volume_mounts
        .iter()
        .find(|mount| volumes.iter().all(|volume| volume.name != mount.name))
    {
        return Err(invalid(
            &format!("containers[{name}].volumeMounts"),
            &format!("names the volume {}, which is not in spec.volumes", mount.name),
        ));
    }
    Ok(Container {
        name: name.clone(),
        image: image.clone(),
        command: command.clone(),
        args: args.clone(),
        working_dir: working_dir.clone(),
        ports: ports
            .iter()
            .map(|one| {
                Ok(Port {
                    name: one.name.clone(),
                    port: port(one.port)?,
                    target_port: port(one.target_port)?,
                    protocol: match one.protocol {
                        apocryph_crd::Protocol::Tcp => Protocol::Tcp,
                        apocryph_crd::Protocol::Udp => Protocol::Udp,
                    },
                })
            })
            .collect::<Result<_, Invalid>>()?,
        env: env.iter().map(|variable| variable.name.clone()).collect(),
        mounts: volume_mounts
            .iter()
            .map(|mount| Mount {
                volume: mount.name.clone(),
                path: mount.mount_path.clone(),
                read_only: mount.read_only,
            })
            .collect(),
        resources: Resources {
            cpu_millis: amount("cpuMillis", resources.cpu_millis)?,
            memory: amount("memory", resources.memory)?,
            ephemeral_storage: amount("ephemeralStorage", resources.ephemeral_storage)?,
        },
        user: match user {
            Some(user) => Some(User {
                uid: id(name, user.uid)?,
                gid: user.gid.map(|gid| id(name, gid)).transpose()?,
            }),
            None => None,
        },
    })
}

fn id(container: &str, id: i64) -> Result<u32, Invalid> {
    u32::try_from(id).map_err(|_| invalid(&format!("containers[{container}].user"), "has a number that is none"))
}

fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

impl ValidatedPod {
    /// What one replica is given.
    pub fn per_replica(&self) -> Resources {
        self.checked_demand()
            .map(|demand| demand.per_replica)
            .unwrap_or_default()
    }

    /// What must be free for it.
    pub fn demand(&self) -> Demand {
        self.checked_demand().unwrap_or_default()
    }

    /// `None` on overflow, which [`validate`] refuses.
    fn checked_demand(&self) -> Option<Demand> {
        let mut demand = Demand {
            replicas: self.replicas,
            ..Demand::default()
        };
        for container in &self.containers {
            demand.per_replica = demand.per_replica.checked_add(container.resources)?;
        }
        for (_, size, access) in self.filesystems() {
            demand.add_volume(Needs::Storage(size, access))?;
        }
        Some(demand)
    }

    /// Name, size and access of each file system.
    pub fn filesystems(&self) -> impl Iterator<Item = (&str, u64, Access)> {
        self.volumes.iter().filter_map(|volume| match volume.kind {
            VolumeKind::Filesystem { size, access } => Some((volume.name.as_str(), size, access)),
            VolumeKind::Empty { .. } | VolumeKind::Secret => None,
        })
    }

    pub fn has_ports(&self) -> bool {
        self.containers.iter().any(|container| !container.ports.is_empty())
    }
}

//! From an ApocryphPod's spec to the one type that the builders trust. Schema and CEL rules have checked nearly all of it;
//! an object may be older than they are, so it is read strictly here once more.

use apocryph_crd::ApocryphPod;
use apocryph_proto::outcome::Code;
use kube::ResourceExt;

use super::{Settings, apply::is_built};
use crate::model::{
    key::{PodId, PodKey, PodName, Publisher},
    manifest::{Demand, Resources},
    pod::Tag,
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
    /// Name of the Secret with the environment values, in both namespaces; there is one when a container has variables.
    pub secret: Option<String>,
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
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub port: u16,
    pub target_port: u16,
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
    /// Bytes.
    pub size: u64,
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
    let volumes: Vec<Volume> = spec
        .volumes
        .iter()
        .map(|volume| {
            let size = positive(volume.size).ok_or_else(|| invalid("volumes", "has a size below 1"))?;
            Ok(Volume {
                name: volume.name.clone(),
                size,
            })
        })
        .collect::<Result<_, Invalid>>()?;
    if !volumes.is_empty() && settings.storage_class.is_none() && !is_built(pod) {
        return Err(Invalid {
            code: Code::StorageNotOffered,
            message: "The pod has volumes, and this provider offers no storage.".to_owned(),
            remedy: "Leave volumes out, or set the chart value storage.class.".to_owned(),
        });
    }
    let containers: Vec<Container> = spec
        .containers
        .iter()
        .map(|one| container(one, &volumes))
        .collect::<Result<_, Invalid>>()?;
    if spec.secret_name.is_none() && containers.iter().any(|container| !container.env.is_empty()) {
        return Err(invalid(
            "secretName",
            "is missing, and a container has environment variables",
        ));
    }
    let pod = ValidatedPod {
        key,
        name,
        life: spec.life,
        tag: spec.tag.clone().map(Tag),
        replicas,
        secret: spec.secret_name.clone(),
        containers,
        volumes,
    };
    if pod.checked_demand().is_none() {
        return Err(invalid("containers", "asks for more than can be counted"));
    }
    Ok(pod)
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
    })
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
        let per_replica = self
            .containers
            .iter()
            .try_fold(Resources::default(), |sum, container| {
                sum.checked_add(container.resources)
            })?;
        let storage = self
            .volumes
            .iter()
            .try_fold(0u64, |sum, volume| sum.checked_add(volume.size))?;
        Some(Demand {
            replicas: self.replicas,
            per_replica,
            storage,
        })
    }

    pub fn has_ports(&self) -> bool {
        self.containers.iter().any(|container| !container.ports.is_empty())
    }
}

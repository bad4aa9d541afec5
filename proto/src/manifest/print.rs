//! Back to the wire form: what was admitted, told to who sent it.

use super::{Access, Container, Manifest, Protocol, Requests, User, Volume, VolumeKind};
use crate::v0::pod::{
    self,
    resource::Quantity,
    volume::{AccessMode, Configuration, FilesystemConfig, SecretConfig, Type},
};

impl Manifest {
    /// The manifest with everything filled in: port names and numbers, and each container's resources from `requests` (one
    /// per container, in its order; a missing one means what the container asked for), and the size of emptied volumes that
    /// name none. Environment values, passwords and contents of secrets are left empty.
    pub fn to_pod(&self, requests: &[Requests], empty_size: Option<u64>) -> pod::Pod {
        let containers = self
            .containers
            .iter()
            .enumerate()
            .map(|(index, container)| container.to_wire(requests.get(index).unwrap_or(&container.requests)))
            .collect();
        let volumes = self.volumes.iter().map(|volume| volume.to_wire(empty_size)).collect();
        pod::Pod {
            containers,
            volumes,
            replicas: Some(pod::Replicas {
                min: self.replicas,
                max: self.replicas,
                target_pending_requests: 0,
            }),
            fs_group: self.fs_group,
            ..Default::default()
        }
    }
}

impl Container {
    fn to_wire(&self, requests: &Requests) -> pod::Container {
        let resource_requests = [
            requests
                .cpu_millis
                .map(|millis| resource("cpu", Quantity::AmountMillis(millis))),
            requests.memory.map(|bytes| resource("memory", Quantity::Amount(bytes))),
            requests
                .ephemeral_storage
                .map(|bytes| resource("ephemeral-storage", Quantity::Amount(bytes))),
        ];
        pod::Container {
            name: self.name.clone(),
            image: Some(pod::Image {
                url: self.image.clone(),
                pull_secret: self.pull_secret.as_ref().map(|secret| pod::image::PullSecret {
                    username: secret.username.clone(),
                    password: String::new(),
                }),
                ..Default::default()
            }),
            command: self.command.clone(),
            args: self.args.clone(),
            working_dir: self.working_dir.clone().unwrap_or_default(),
            ports: self
                .ports
                .iter()
                .map(|port| pod::container::Port {
                    name: port.name.clone(),
                    port: port.port.into(),
                    target_port: port.target_port.into(),
                    protocol: match port.protocol {
                        Protocol::Tcp => pod::container::Protocol::Tcp.into(),
                        Protocol::Udp => pod::container::Protocol::Udp.into(),
                    },
                    ..Default::default()
                })
                .collect(),
            env: self.env.keys().map(|name| (name.clone(), String::new())).collect(),
            volumes: self
                .mounts
                .iter()
                .map(|mount| pod::container::VolumeMount {
                    name: mount.volume.clone(),
                    mount_path: mount.path.clone(),
                    read_only: mount.read_only,
                })
                .collect(),
            resource_requests: resource_requests.into_iter().flatten().collect(),
            user: self.user.map(|User { uid, gid }| pod::User { uid: Some(uid), gid }),
        }
    }
}

impl Volume {
    fn to_wire(&self, empty_size: Option<u64>) -> pod::Volume {
        let sized = |name: &str, size: u64| {
            Configuration::Filesystem(FilesystemConfig {
                resource_requests: vec![resource(name, Quantity::Amount(size))],
            })
        };
        let (r#type, access, configuration) = match &self.kind {
            VolumeKind::Empty { size } => {
                let size = size.or(empty_size).map(|size| sized("ephemeral-storage", size));
                (Type::VolumeEmpty, Access::One, size)
            }
            VolumeKind::Filesystem { size, access } => (Type::VolumeFilesystem, *access, Some(sized("storage", *size))),
            VolumeKind::Secret(_) => {
                let left_out = Configuration::Secret(SecretConfig::default());
                (Type::VolumeSecret, Access::One, Some(left_out))
            }
        };
        pod::Volume {
            name: self.name.clone(),
            r#type: r#type.into(),
            access_mode: match access {
                Access::One => AccessMode::VolumeRwOne.into(),
                Access::Many => AccessMode::VolumeRwMany.into(),
            },
            configuration,
        }
    }
}

fn resource(name: &str, quantity: Quantity) -> pod::Resource {
    pod::Resource {
        resource: name.into(),
        quantity: Some(quantity),
    }
}

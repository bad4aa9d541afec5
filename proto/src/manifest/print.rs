//! Back to the wire form: what was admitted, told to who sent it.

use super::{Container, Manifest, Requests};
use crate::v0::pod::{self, resource::Quantity};

impl Manifest {
    /// The manifest with everything filled in: port names and numbers, and each container's resources from `requests` (one
    /// per container, in its order; a missing one means what the container asked for). Environment values are left empty.
    pub fn to_pod(&self, requests: &[Requests]) -> pod::Pod {
        let containers = self
            .containers
            .iter()
            .enumerate()
            .map(|(index, container)| container.to_wire(requests.get(index).unwrap_or(&container.requests)))
            .collect();
        let volumes = self
            .volumes
            .iter()
            .map(|volume| pod::Volume {
                name: volume.name.clone(),
                r#type: pod::volume::Type::VolumeFilesystem.into(),
                access_mode: pod::volume::AccessMode::VolumeRwOne.into(),
                configuration: Some(pod::volume::Configuration::Filesystem(pod::volume::FilesystemConfig {
                    resource_requests: vec![resource("storage", Quantity::Amount(volume.size))],
                })),
            })
            .collect();
        pod::Pod {
            containers,
            volumes,
            replicas: Some(pod::Replicas {
                min: self.replicas,
                max: self.replicas,
                target_pending_requests: 0,
            }),
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
            user: None,
        }
    }
}

fn resource(name: &str, quantity: Quantity) -> pod::Resource {
    pod::Resource {
        resource: name.into(),
        quantity: Some(quantity),
    }
}

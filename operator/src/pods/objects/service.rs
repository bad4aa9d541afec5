//! How the pod's ports become reachable: one Service, its type by the admin's exposure.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{WORKLOAD, meta, protocol};
use crate::pods::{ExposureKind, Settings, validate::ValidatedPod};

/// `None`: no port is offered. Node ports are the server's choice and not owned.
pub fn build(pod: &ValidatedPod, settings: &Settings) -> Option<Service> {
    let ports: Vec<ServicePort> = pod
        .containers
        .iter()
        .flat_map(|container| &container.ports)
        .map(|port| ServicePort {
            name: Some(port.name.clone()),
            protocol: Some(protocol(port.protocol).to_owned()),
            port: i32::from(port.port),
            target_port: Some(IntOrString::Int(i32::from(port.target_port))),
            ..ServicePort::default()
        })
        .collect();
    if ports.is_empty() {
        return None;
    }
    let kind = match settings.exposure.kind {
        ExposureKind::ClusterIp => "ClusterIP",
        ExposureKind::NodePort => "NodePort",
    };
    Some(meta::hashed(Service {
        metadata: meta::namespaced(pod, WORKLOAD),
        spec: Some(ServiceSpec {
            type_: Some(kind.to_owned()),
            selector: Some(meta::selector(pod)),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    }))
}

//! From one validated pod to everything that is made of it: pure builders, one file per kind. No client, no clock.
//!
//! Names are fixed: each pod has a namespace of its own, so they never meet.

pub mod decided;
pub mod deployment;
pub mod limit_range;
pub mod meta;
pub mod namespace;
pub mod network_policy;
pub mod quantity;
pub mod resource_quota;
pub mod role_binding;
pub mod secret;
pub mod service;
pub mod volume;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{LimitRange, Namespace, PersistentVolumeClaim, ResourceQuota, Service},
    networking::v1::NetworkPolicy,
    rbac::v1::RoleBinding,
};

pub use decided::{Decided, Level, PullPolicy};
use sha2::{Digest, Sha256};

use super::{Settings, validate::ValidatedPod};
use crate::model::manifest::Protocol;

/// Name of the Deployment and of the Service.
pub const WORKLOAD: &str = "pod";
/// Name of the ResourceQuota and of the LimitRange.
pub const ADMITTED: &str = "admitted";
/// Name of the NetworkPolicy.
pub const WALLS: &str = "walls";

/// As Kubernetes writes it.
pub const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

/// Everything that is to be there for a pod, but for the copy of its Secret, whose content no builder knows
/// (see [`secret::copy`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    pub namespace: Namespace,
    pub role_binding: RoleBinding,
    pub resource_quota: ResourceQuota,
    pub limit_range: LimitRange,
    pub network_policy: NetworkPolicy,
    pub claims: Vec<PersistentVolumeClaim>,
    /// `None`: the pod offers no port.
    pub service: Option<Service>,
    pub deployment: Deployment,
}

impl Objects {
    /// SHA-256 over the RFC 8785 JSON of the list of them.
    pub fn digest(&self) -> Result<[u8; 32], serde_json::Error> {
        let Objects {
            namespace,
            role_binding,
            resource_quota,
            limit_range,
            network_policy,
            claims,
            service,
            deployment,
        } = self;
        let list = (
            (namespace, role_binding, resource_quota, limit_range),
            (network_policy, claims, service, deployment),
        );
        Ok(Sha256::digest(serde_json_canonicalizer::to_vec(&list)?).into())
    }
}

pub fn build(pod: &ValidatedPod, settings: &Settings, decided: Decided) -> Objects {
    Objects {
        namespace: namespace::build(pod, decided),
        role_binding: role_binding::build(pod, settings),
        resource_quota: resource_quota::build(pod, settings),
        limit_range: limit_range::build(pod),
        network_policy: network_policy::build(pod, settings),
        claims: volume::build(pod, settings),
        service: service::build(pod, settings),
        deployment: deployment::build(pod, settings, decided),
    }
}

//! What Pods and volumes take, as the scheduler counts it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PersistentVolumeClaim, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::quantity::{Exact, Rounding};
use crate::model::manifest::Resources;

/// What the scheduler counts for a Pod: the larger of its containers together and of any moment of its start (init
/// containers run one after the other, beside the sidecars before them), or what the Pod itself asks for; and its overhead.
pub(super) fn requests(pod: &Pod) -> Resources {
    let Some(spec) = &pod.spec else {
        return Resources::default();
    };
    let mut running = spec
        .containers
        .iter()
        .map(|container| of_container(pod, container))
        .fold(Resources::default(), add);
    let (mut sidecars, mut starting) = (Resources::default(), Resources::default());
    for container in spec.init_containers.iter().flatten() {
        let own = of_container(pod, container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = add(sidecars, own);
            starting = max(starting, sidecars);
        } else {
            starting = max(starting, add(sidecars, own));
        }
    }
    running = max(add(running, sidecars), starting);
    if let Some(requested) = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref())
    {
        running = Resources {
            cpu_millis: amount(requested, "cpu").unwrap_or(running.cpu_millis),
            memory: amount(requested, "memory").unwrap_or(running.memory),
            ephemeral_storage: amount(requested, "ephemeral-storage").unwrap_or(running.ephemeral_storage),
        };
    }
    add(running, spec.overhead.as_ref().map(of_map).unwrap_or_default())
}

/// What a container asks for, and not less than what its node has set aside for it while it is resized.
fn of_container(pod: &Pod, container: &Container) -> Resources {
    let asked = container.resources.as_ref().map(of_requirements).unwrap_or_default();
    let status = pod.status.as_ref();
    let set_aside = status
        .into_iter()
        .flat_map(|s| {
            s.container_statuses
                .iter()
                .flatten()
                .chain(s.init_container_statuses.iter().flatten())
        })
        .find(|status| status.name == container.name);
    let Some(set_aside) = set_aside else { return asked };
    let allocated = set_aside.allocated_resources.as_ref().map(of_map).unwrap_or_default();
    let actual = set_aside.resources.as_ref().map(of_requirements).unwrap_or_default();
    max(asked, max(allocated, actual))
}

fn of_requirements(requirements: &ResourceRequirements) -> Resources {
    requirements.requests.as_ref().map(of_map).unwrap_or_default()
}

fn of_map(requests: &BTreeMap<String, Quantity>) -> Resources {
    Resources {
        cpu_millis: amount(requests, "cpu").unwrap_or(0),
        memory: amount(requests, "memory").unwrap_or(0),
        ephemeral_storage: amount(requests, "ephemeral-storage").unwrap_or(0),
    }
}

/// cpu in thousandths, else whole units. What cannot be read takes everything.
fn amount(requests: &BTreeMap<String, Quantity>, name: &str) -> Option<u64> {
    requests.get(name).map(|quantity| match Exact::try_from(quantity) {
        Ok(exact) if name == "cpu" => exact.millis(Rounding::Up),
        Ok(exact) => exact.units(Rounding::Up),
        Err(_) => u64::MAX,
    })
}

/// What a volume has been given, or asks for.
pub(super) fn claim_size(claim: &PersistentVolumeClaim) -> u64 {
    let size = |quantities: Option<&BTreeMap<String, Quantity>>| {
        quantities.and_then(|all| amount(all, "storage")).unwrap_or(0)
    };
    let asked = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.resources.as_ref())
        .and_then(|r| r.requests.as_ref());
    size(asked)
}

pub(super) fn add(a: Resources, b: Resources) -> Resources {
    Resources {
        cpu_millis: a.cpu_millis.saturating_add(b.cpu_millis),
        memory: a.memory.saturating_add(b.memory),
        ephemeral_storage: a.ephemeral_storage.saturating_add(b.ephemeral_storage),
    }
}

fn max(a: Resources, b: Resources) -> Resources {
    Resources {
        cpu_millis: a.cpu_millis.max(b.cpu_millis),
        memory: a.memory.max(b.memory),
        ephemeral_storage: a.ephemeral_storage.max(b.ephemeral_storage),
    }
}

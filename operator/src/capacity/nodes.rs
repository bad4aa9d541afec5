//! What nodes have left and what ApocryphPods take, read from the caches. Pure: lists in, numbers out.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use apocryph_crd::{AccessMode, ApocryphPod, VolumeType, condition};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::ResourceExt;

use super::{
    Settings,
    fit::{self, Amounts, Lack},
    quantity::{Exact, Rounding},
    requests::{add, claim_size, requests},
};
use crate::model::{
    key::PodName,
    manifest::{Access, Demand, Needs, Resources},
};

/// The caches at one moment.
pub struct Seen {
    pub nodes: Vec<Arc<Node>>,
    pub pods: Vec<Arc<Pod>>,
    pub apocryph_pods: Vec<Arc<ApocryphPod>>,
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
}

/// What the caches say about capacity; holds are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Nodes that count, by name.
    pub nodes: BTreeMap<String, fit::Node>,
    /// What ApocryphPods have been promised and no node has yet.
    pub lacking: Vec<Lack>,
    /// What ApocryphPods take of `capacity.max`.
    pub taken: Taken,
    /// Pods of tenants that have a node.
    pub bound: HashMap<PodName, u32>,
    /// The ApocryphPods that are seen: life, and what it counts for.
    pub lives: HashMap<PodName, (i64, Standing)>,
    /// How many of them have ended.
    pub ended: u64,
    pub user_namespaces: bool,
}

/// Shares of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub resources: Resources,
    /// ApocryphPods.
    pub pods: u64,
    /// Bytes of volumes.
    pub storage: u64,
}

impl Taken {
    pub fn add(&mut self, resources: Resources, pods: u64, storage: u64) {
        self.resources = add(self.resources, resources);
        self.pods = self.pods.saturating_add(pods);
        self.storage = self.storage.saturating_add(storage);
    }
}

/// What an ApocryphPod counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All that its spec says.
    Promised,
    /// Its end is ordered and its namespace not seen gone: all of it against `capacity.max`, or pods that are ended at once
    /// would cost nothing. Of the nodes, what still runs.
    Ending,
    /// Nothing: ended in this life, or an admin's own pod that is not admitted.
    Nothing,
}

/// Does the condition hold, in this life?
fn is_true(pod: &ApocryphPod, name: &str) -> bool {
    pod.status.as_ref().is_some_and(|status| {
        // The status of an older life is ignored.
        status.life == Some(pod.spec.life) && status.conditions.iter().any(|c| c.type_ == name && c.status == "True")
    })
}

/// See [`Standing`].
pub fn standing(pod: &ApocryphPod) -> Standing {
    let ending = pod.spec.end.is_some() || pod.metadata.deletion_timestamp.is_some();
    if is_true(pod, condition::ENDED) {
        Standing::Nothing
    } else if ending {
        Standing::Ending
    } else if pod.spec.tag.is_some() || is_true(pod, condition::ADMITTED) {
        Standing::Promised
    } else {
        Standing::Nothing
    }
}

/// What a spec asks for. `None`: not a spec that can be built (the schema bounds it, so only on overflow or a negative
/// number in an object that is older than the schema).
pub fn demand(pod: &ApocryphPod) -> Option<Demand> {
    let unsigned = |n: i64| u64::try_from(n).ok();
    let mut demand = Demand {
        replicas: u32::try_from(pod.spec.replicas).ok()?,
        ..Demand::default()
    };
    for container in &pod.spec.containers {
        let resources = container.resources;
        demand.per_replica = demand.per_replica.checked_add(Resources {
            cpu_millis: unsigned(resources.cpu_millis)?,
            memory: unsigned(resources.memory)?,
            ephemeral_storage: unsigned(resources.ephemeral_storage)?,
        })?;
    }
    for volume in &pod.spec.volumes {
        let size = unsigned(volume.size.unwrap_or(0))?;
        demand.add_volume(match volume.kind {
            VolumeType::Empty => Needs::EphemeralStorage(size),
            VolumeType::Filesystem => Needs::Storage(size, access(volume.access_mode)),
            VolumeType::Secret => continue,
        })?;
    }
    Some(demand)
}

/// Absent: by one node.
pub fn access(mode: Option<AccessMode>) -> Access {
    match mode {
        Some(AccessMode::ReadWriteMany) => Access::Many,
        Some(AccessMode::ReadWriteOnce) | None => Access::One,
    }
}

/// Reads it all.
pub fn usage(seen: &Seen, settings: &Settings) -> Usage {
    let counting: Vec<&Arc<Node>> = seen
        .nodes
        .iter()
        .filter(|node| counts(node, &settings.node_selector))
        .collect();
    let handler = settings.runtime_class.as_deref().unwrap_or_default();
    let user_namespaces = !counting.is_empty() && counting.iter().all(|node| has_user_namespaces(node, handler));
    let mut nodes: BTreeMap<String, fit::Node> = counting
        .into_iter()
        .map(|node| {
            let whole = whole(node, settings.reserve);
            (node.name_any(), fit::Node { whole, free: whole })
        })
        .collect();

    let mut bound: HashMap<PodName, u32> = HashMap::new();
    for pod in seen.pods.iter().filter(|pod| is_on_a_node(pod)) {
        let requests = requests(pod);
        let node = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.as_deref())
            .and_then(|name| nodes.get_mut(name));
        // A Pod that goes makes room for its successor where it is, on a node that counts; else the successor needs a node.
        let replaces_itself = pod.metadata.deletion_timestamp.is_none() || node.is_some();
        if let Some(node) = node {
            node.free = node.free.saturating_sub(Amounts {
                resources: requests,
                pods: 1,
            });
        }
        if let Some(name) = pod.metadata.namespace.as_deref().and_then(PodName::from_namespace) {
            *bound.entry(name).or_default() += u32::from(replaces_itself);
        }
    }

    let mut claimed: HashMap<PodName, u64> = HashMap::new();
    for claim in &seen.claims {
        if let Some(name) = claim.metadata.namespace.as_deref().and_then(PodName::from_namespace) {
            let sum = claimed.entry(name).or_default();
            *sum = sum.saturating_add(claim_size(claim));
        }
    }

    let mut lacking = Vec::new();
    let mut taken = Taken::default();
    let mut lives = HashMap::new();
    let mut ended = 0u64;
    for pod in &seen.apocryph_pods {
        let Some(name) = PodName::parse(&pod.name_any()) else {
            continue;
        };
        let standing = standing(pod);
        lives.insert(name.clone(), (pod.spec.life, standing));
        ended = ended.saturating_add(u64::from(is_true(pod, condition::ENDED)));
        // Its numbers do not add up: it cannot have been admitted, and what runs of it is counted on the nodes.
        let Some(demand) = demand(pod) else { continue };
        if standing == Standing::Nothing {
            continue;
        }
        let storage = demand.storage.max(claimed.remove(&name).unwrap_or(0));
        let replicas = demand.replicas.saturating_sub(bound.get(&name).copied().unwrap_or(0));
        if standing == Standing::Promised && replicas > 0 {
            lacking.push(Lack {
                replicas,
                per_replica: demand.per_replica,
            });
        }
        taken.add(times(demand.per_replica, demand.replicas), 1, storage);
    }
    // Volumes whose ApocryphPod is gone or ended still fill the disk.
    for size in claimed.into_values() {
        taken.storage = taken.storage.saturating_add(size);
    }
    Usage {
        nodes,
        lacking,
        taken,
        bound,
        lives,
        ended,
        user_namespaces,
    }
}

/// May the node take tenants?
fn counts(node: &Node, selector: &BTreeMap<String, String>) -> bool {
    let ready = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let spec = node.spec.as_ref();
    let unschedulable = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
    let tainted = spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten())
        .any(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    let selected = selector
        .iter()
        .all(|(key, value)| node.labels().get(key) == Some(value));
    ready && !unschedulable && !tainted && selected && node.metadata.deletion_timestamp.is_none()
}

/// Does the node say that this handler (empty: its default) runs pods in user namespaces?
pub fn has_user_namespaces(node: &Node, handler: &str) -> bool {
    node.status
        .iter()
        .flat_map(|status| status.runtime_handlers.iter().flatten())
        .any(|offered| {
            offered.name.as_deref().unwrap_or_default() == handler
                && offered.features.as_ref().and_then(|features| features.user_namespaces) == Some(true)
        })
}

/// Allocatable less the reserve.
fn whole(node: &Node, reserve: Resources) -> Amounts {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let read = |name: &str, millis: bool| {
        // What cannot be read is not offered.
        let exact = allocatable
            .and_then(|all| all.get(name))
            .and_then(|quantity| Exact::try_from(quantity).ok());
        exact.map_or(0, |exact| {
            if millis {
                exact.millis(Rounding::Down)
            } else {
                exact.units(Rounding::Down)
            }
        })
    };
    let all = Amounts {
        resources: Resources {
            cpu_millis: read("cpu", true),
            memory: read("memory", false),
            ephemeral_storage: read("ephemeral-storage", false),
        },
        pods: read("pods", false),
    };
    all.saturating_sub(Amounts {
        resources: reserve,
        pods: 0,
    })
}

/// Bound and not over: such a Pod takes its requests, also while it goes.
fn is_on_a_node(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let bound = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .is_some_and(|name| !name.is_empty());
    bound && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// More than a u64 counts as its largest value, which fits nowhere.
pub fn times(resources: Resources, n: u32) -> Resources {
    let n = u64::from(n);
    Resources {
        cpu_millis: resources.cpu_millis.saturating_mul(n),
        memory: resources.memory.saturating_mul(n),
        ephemeral_storage: resources.ephemeral_storage.saturating_mul(n),
    }
}

#[cfg(test)]
pub(in crate::capacity) mod tests;

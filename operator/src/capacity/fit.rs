//! Does a pod fit? Pure: numbers in, a verdict out.
//!
//! What is promised and has no node yet is placed in memory, largest first, each replica on the node that it fills most
//! (best fit): that keeps large gaps for large pods. The order in which promises came does not matter.

use crate::model::manifest::{Demand, Resources};

/// A node that may take tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Allocatable less the reserve: what is there when nothing runs.
    pub whole: Amounts,
    /// What is left.
    pub free: Amounts,
}

/// What a node has, or what replicas take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub resources: Resources,
    /// Pod slots.
    pub pods: u64,
}

/// Promised, without a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    pub replicas: u32,
    pub per_replica: Resources,
}

/// What is left of a bound over the whole (`capacity.max`, `storage`); `None`: unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    pub whole: Option<u64>,
    pub used: u64,
}

impl Bound {
    /// `None`: unbounded.
    pub fn left(&self) -> Option<u64> {
        self.whole.map(|whole| whole.saturating_sub(self.used))
    }
}

/// Bounds over the whole, each with what it has given away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub cpu_millis: Bound,
    pub memory: Bound,
    pub ephemeral_storage: Bound,
    /// ApocryphPods.
    pub pods: Bound,
    /// `whole: None` means here: not offered.
    pub storage: Bound,
    /// Volumes that several nodes write are offered.
    pub shared_storage: bool,
}

/// A resource that may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    Cpu,
    Memory,
    EphemeralStorage,
    Storage,
    Pods,
}

impl Resource {
    /// Of a node.
    const OF_NODES: [Resource; 4] = [
        Resource::Cpu,
        Resource::Memory,
        Resource::EphemeralStorage,
        Resource::Pods,
    ];

    /// As in pod.proto.
    pub const fn as_str(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::EphemeralStorage => "ephemeral-storage",
            Resource::Storage => "storage",
            Resource::Pods => "pods",
        }
    }
}

/// Why it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub resource: Resource,
    pub scope: Scope,
    /// What is asked of the resource: of one node for one replica, or of the whole. cpu in thousandths, pods in pieces,
    /// otherwise bytes.
    pub wanted: u64,
    /// The most that would fit there.
    pub most: u64,
    /// It would not fit if nothing else ran either.
    pub never: bool,
}

/// What a blocked amount is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One node: a replica must fit on one.
    Node,
    /// All that is rented out.
    Whole,
    /// No node takes tenants now.
    NoNodes,
    /// Storage is not offered.
    NotOffered,
    /// Storage that several nodes write is not offered.
    NotShared,
}

impl Amounts {
    fn of_replica(resources: Resources) -> Amounts {
        Amounts { resources, pods: 1 }
    }

    fn get(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Cpu => self.resources.cpu_millis,
            Resource::Memory => self.resources.memory,
            Resource::EphemeralStorage => self.resources.ephemeral_storage,
            Resource::Pods => self.pods,
            // In no node.
            Resource::Storage => 0,
        }
    }

    /// Never negative: what is not there cannot be taken.
    pub fn saturating_sub(self, other: Amounts) -> Amounts {
        Amounts {
            resources: Resources {
                cpu_millis: self.resources.cpu_millis.saturating_sub(other.resources.cpu_millis),
                memory: self.resources.memory.saturating_sub(other.resources.memory),
                ephemeral_storage: self
                    .resources
                    .ephemeral_storage
                    .saturating_sub(other.resources.ephemeral_storage),
            },
            pods: self.pods.saturating_sub(other.pods),
        }
    }

    /// `None`: it is not there.
    fn checked_sub(self, other: Amounts) -> Option<Amounts> {
        Some(Amounts {
            resources: Resources {
                cpu_millis: self.resources.cpu_millis.checked_sub(other.resources.cpu_millis)?,
                memory: self.resources.memory.checked_sub(other.resources.memory)?,
                ephemeral_storage: self
                    .resources
                    .ephemeral_storage
                    .checked_sub(other.resources.ephemeral_storage)?,
            },
            pods: self.pods.checked_sub(other.pods)?,
        })
    }
}

/// Takes room for what is promised. What fits nowhere (a node went away) takes none: it waits for room like its Pod does.
pub fn place(nodes: &mut [Node], lacking: &[Lack]) {
    let mut lacking = lacking.to_vec();
    lacking.sort_by_key(|lack| {
        let size = lack.per_replica;
        std::cmp::Reverse((size.memory, size.cpu_millis, size.ephemeral_storage))
    });
    for lack in lacking {
        for _ in 0..lack.replicas {
            if !place_one(nodes, lack.per_replica) {
                break;
            }
        }
    }
}

/// Would the pod be taken? `nodes` after [`place`]. Of two reasons, the one that never passes is told.
pub fn fits(nodes: &[Node], bounds: &Bounds, demand: &Demand) -> Result<(), Blocked> {
    let within = in_bounds(bounds, demand);
    match (within, on_nodes(nodes, demand)) {
        (Err(bound), Err(node)) if node.never && !bound.never => Err(node),
        (Err(bound), _) => Err(bound),
        (Ok(()), placed) => placed,
    }
}

fn on_nodes(nodes: &[Node], demand: &Demand) -> Result<(), Blocked> {
    let mut nodes = nodes.to_vec();
    for _ in 0..demand.replicas {
        if !place_one(&mut nodes, demand.per_replica) {
            return Err(blocked_on_nodes(&nodes, demand.per_replica));
        }
    }
    Ok(())
}

/// What is free in all: on nodes, under the bounds.
pub fn free(nodes: &[Node], bounds: &Bounds) -> Resources {
    let sum = |resource: Resource, bound: &Bound| {
        let free = nodes
            .iter()
            .fold(0u64, |sum, node| sum.saturating_add(node.free.get(resource)));
        bound.left().map_or(free, |left| free.min(left))
    };
    Resources {
        cpu_millis: sum(Resource::Cpu, &bounds.cpu_millis),
        memory: sum(Resource::Memory, &bounds.memory),
        ephemeral_storage: sum(Resource::EphemeralStorage, &bounds.ephemeral_storage),
    }
}

/// Takes one replica's room on the node that is fullest afterwards.
fn place_one(nodes: &mut [Node], size: Resources) -> bool {
    let size = Amounts::of_replica(size);
    let best = nodes
        .iter_mut()
        .filter_map(|node| {
            node.free
                .checked_sub(size)
                .map(|left| (emptiness(&left, &node.whole), left, node))
        })
        .min_by_key(|(emptiness, ..)| *emptiness);
    match best {
        Some((_, left, node)) => {
            node.free = left;
            true
        }
        None => false,
    }
}

/// Sum of the free shares of cpu and memory, in parts of 2^32 each; ties by what is free in absolute terms.
fn emptiness(left: &Amounts, whole: &Amounts) -> (u128, u64, u64, u64) {
    let share = |resource| {
        let whole = u128::from(whole.get(resource).max(1));
        (u128::from(left.get(resource)) << 32) / whole
    };
    let Resources {
        cpu_millis,
        memory,
        ephemeral_storage,
    } = left.resources;
    (
        share(Resource::Cpu) + share(Resource::Memory),
        memory,
        cpu_millis,
        ephemeral_storage,
    )
}

fn in_bounds(bounds: &Bounds, demand: &Demand) -> Result<(), Blocked> {
    let missing = if demand.storage > 0 && bounds.storage.whole.is_none() {
        Some(Scope::NotOffered)
    } else if demand.shared && !bounds.shared_storage {
        Some(Scope::NotShared)
    } else {
        None
    };
    if let Some(scope) = missing {
        return Err(Blocked {
            resource: Resource::Storage,
            scope,
            wanted: demand.storage,
            most: 0,
            never: true,
        });
    }
    // A product that overflows is more than any bound.
    let all = |amount: u64| amount.saturating_mul(u64::from(demand.replicas));
    let per_replica = demand.per_replica;
    for (resource, bound, wanted) in [
        (Resource::Pods, bounds.pods, u64::from(demand.replicas.min(1))),
        (Resource::Cpu, bounds.cpu_millis, all(per_replica.cpu_millis)),
        (Resource::Memory, bounds.memory, all(per_replica.memory)),
        (
            Resource::EphemeralStorage,
            bounds.ephemeral_storage,
            all(per_replica.ephemeral_storage),
        ),
        (Resource::Storage, bounds.storage, demand.storage),
    ] {
        if let (Some(whole), Some(most)) = (bound.whole, bound.left())
            && wanted > most
        {
            let never = wanted > whole;
            let most = if never { whole } else { most };
            return Err(Blocked {
                resource,
                scope: Scope::Whole,
                wanted,
                most,
                never,
            });
        }
    }
    Ok(())
}

/// Names the resource that keeps a replica from every node.
fn blocked_on_nodes(nodes: &[Node], size: Resources) -> Blocked {
    let size = Amounts::of_replica(size);
    if nodes.is_empty() {
        return Blocked {
            resource: Resource::Pods,
            scope: Scope::NoNodes,
            wanted: 1,
            most: 0,
            never: false,
        };
    }
    let whole: Vec<Amounts> = nodes.iter().map(|node| node.whole).collect();
    let never = whole.iter().all(|whole| whole.checked_sub(size).is_none());
    let amounts = if never {
        whole
    } else {
        nodes.iter().map(|node| node.free).collect()
    };
    let (resource, most) = scarcest(&amounts, size);
    Blocked {
        resource,
        scope: Scope::Node,
        wanted: size.get(resource),
        most,
        never,
    }
}

/// The resource that, asked for less, would let the replica in, and how much of it there is; by this order:
/// short on the most nodes, then the largest part missing.
fn scarcest(amounts: &[Amounts], size: Amounts) -> (Resource, u64) {
    let short = |amounts: &&Amounts, resource| amounts.get(resource) < size.get(resource);
    let (mut worst, mut worst_key) = ((Resource::Cpu, 0), (0, 0));
    for resource in Resource::OF_NODES {
        let wanted = size.get(resource);
        let nodes_short = amounts.iter().filter(|amounts| short(amounts, resource)).count();
        // Where nothing else is in the way, else anywhere that it is short.
        let most = amounts
            .iter()
            .filter(|amounts| {
                Resource::OF_NODES
                    .iter()
                    .all(|other| *other == resource || !short(amounts, *other))
            })
            .map(|amounts| amounts.get(resource))
            .max()
            .or_else(|| {
                amounts
                    .iter()
                    .filter(|amounts| short(amounts, resource))
                    .map(|amounts| amounts.get(resource))
                    .max()
            })
            .unwrap_or(0);
        let missing = (u128::from(wanted.saturating_sub(most)) << 32) / u128::from(wanted.max(1));
        if (nodes_short, missing) > worst_key {
            (worst, worst_key) = ((resource, most), (nodes_short, missing));
        }
    }
    worst
}

#[cfg(test)]
mod tests;

//! What is free now: caches and holds under one lock, so that two requests never get the same room.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use apocryph_crd::ApocryphPod;
use futures::future::BoxFuture;
use kube::{Api, Client};
use tokio::time::{Instant, sleep};

use super::{
    Settings,
    fit::{self, Bound, Bounds, Lack},
    holds::{ASKED_AFTER, Holds, Taken},
    nodes::{self, Seen, Usage},
    refusal,
};
use crate::{
    model::{
        key::PodName,
        manifest::{Demand, Resources},
        refusal::Refusal,
        services::{Capacity, CapacityAnswer, CapacityReport, Held, Hold, NodeShape},
    },
    watches::Watches,
};

/// Kinds of nodes that a report tells; the smallest beyond them are left out.
pub const SHAPES_MAX: usize = 32;
/// How long a request for a name that was just decided waits before it is told to look again: the own watch usually shows
/// the object in this time.
const SHOWN_SOON: Duration = Duration::from_millis(100);
/// How old an answer that promises nothing may be: everybody may ask, and so a burst of strangers costs one count of the
/// whole cluster in this time. What is held counts at once.
pub const ANSWER_AGE_MAX: Duration = Duration::from_millis(100);

/// See [`Capacity`].
pub struct Tracker {
    settings: Settings,
    seen: Box<dyn Fn() -> Seen + Send + Sync>,
    /// Locked for as long as a decision takes, never across an await.
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    holds: Holds,
    counted: Option<Counted>,
}

impl State {
    /// The newest count, if it is at most [`ANSWER_AGE_MAX`] old and nothing was held or given back since.
    fn lately(&self) -> Option<Arc<Now>> {
        let counted = self.counted.as_ref()?;
        let fresh = counted.at.elapsed() < ANSWER_AGE_MAX && counted.version == self.holds.version();
        fresh.then(|| counted.now.clone())
    }
}

/// The newest count.
struct Counted {
    at: Instant,
    /// Of the holds.
    version: u64,
    now: Arc<Now>,
}

/// Caches and holds put together.
struct Now {
    /// What is promised has its place in them.
    nodes: Vec<fit::Node>,
    bounds: Bounds,
    usage: Usage,
}

impl Tracker {
    /// `watches`: all have been listed once ([`Watches::synced`]), or nodes would look emptier than they are.
    pub fn new(settings: Settings, watches: Watches) -> Arc<Tracker> {
        let seen = move || Seen {
            // In this order: an ApocryphPod that is seen has its Pods seen as late as possible after it, so that room which
            // a Pod has taken is at worst counted twice for a moment, never not at all.
            apocryph_pods: watches.apocryph_pods.state(),
            pods: watches.pods.state(),
            nodes: watches.nodes.state(),
            claims: watches.claims.state(),
        };
        Tracker::of(settings, Box::new(seen))
    }

    fn of(settings: Settings, seen: Box<dyn Fn() -> Seen + Send + Sync>) -> Arc<Tracker> {
        Arc::new(Tracker {
            settings,
            seen,
            state: Arc::default(),
        })
    }

    /// At most [`ANSWER_AGE_MAX`] old.
    fn lately(&self) -> Arc<Now> {
        let mut state = lock(&self.state);
        state.lately().unwrap_or_else(|| self.now(&mut state))
    }

    /// As the caches are now.
    fn now(&self, state: &mut State) -> Arc<Now> {
        let at = Instant::now();
        let now = Arc::new(self.count(&mut state.holds));
        state.counted = Some(Counted {
            at,
            version: state.holds.version(),
            now: now.clone(),
        });
        now
    }

    fn count(&self, holds: &mut Holds) -> Now {
        let mut usage = nodes::usage(&(self.seen)(), &self.settings);
        holds.settle(&usage.lives);
        let mut lacking = usage.lacking.clone();
        let mut taken = usage.taken;
        for (name, demand) in holds.unseen(&usage.lives) {
            let bound = usage.bound.get(name).copied().unwrap_or(0);
            lacking.push(Lack {
                replicas: demand.replicas.saturating_sub(bound),
                per_replica: demand.per_replica,
            });
            taken.add(nodes::times(demand.per_replica, demand.replicas), 1, demand.storage);
        }
        usage.taken = taken;
        let mut nodes: Vec<fit::Node> = usage.nodes.values().cloned().collect();
        fit::place(&mut nodes, &lacking);
        let settings = &self.settings;
        let bounds = Bounds {
            cpu_millis: Bound {
                whole: settings.max_cpu_millis,
                used: taken.resources.cpu_millis,
            },
            memory: Bound {
                whole: settings.max_memory,
                used: taken.resources.memory,
            },
            ephemeral_storage: Bound {
                whole: settings.max_ephemeral_storage,
                used: taken.resources.ephemeral_storage,
            },
            pods: Bound {
                whole: settings.max_pods.map(u64::from),
                used: taken.pods,
            },
            storage: Bound {
                whole: settings.storage,
                used: taken.storage,
            },
            shared_storage: settings.shared_storage,
        };
        Now { nodes, bounds, usage }
    }

    /// Does it fit, and may there be one object more? An object of that name may begin a new life, or be admitted, at any time.
    fn verdict(&self, now: &Now, name: Option<&PodName>, demand: &Demand) -> Result<(), Refusal> {
        let is_new = name.is_none_or(|name| !now.usage.lives.contains_key(name));
        if let Some(most) = self.settings.max_ended
            && is_new
            && now.usage.ended >= u64::from(most)
        {
            return Err(refusal::too_many_ended(most));
        }
        fit::fits(&now.nodes, &now.bounds, demand).map_err(refusal::blocked)
    }

    /// The critical section: no I/O, no await.
    fn decide(&self, name: &PodName, demand: &Demand) -> Result<Decision, Refusal> {
        let mut state = lock(&self.state);
        // What does not fit costs no count of its own, however many strangers ask for it. Who asks again for what is already
        // held is never refused for the room that it holds.
        if state.holds.taken(name).is_none()
            && let Some(lately) = state.lately()
        {
            self.verdict(&lately, Some(name), demand)?;
        }
        // Settles the holds as well: one whose object is seen no longer stands in the way.
        let now = self.now(&mut state);
        if let Some(taken) = state.holds.taken(name) {
            return match taken {
                Taken::Crowded => Err(refusal::too_many_waiters()),
                Taken::Undecided(_) | Taken::Decided(_) => Ok(Decision::Wait(taken)),
            };
        }
        self.verdict(&now, Some(name), demand)?;
        let id = state
            .holds
            .enter(name, *demand, &now.usage.lives)
            .map_err(|_| refusal::too_many_holds())?;
        let (state, name) = (self.state.clone(), name.clone());
        Ok(Decision::Hold(Hold::new(move |end| {
            lock(&state).holds.end(&name, id, end, Instant::now())
        })))
    }

    fn report_of(&self, now: &Now) -> CapacityReport {
        CapacityReport {
            free: fit::free(&now.nodes, &now.bounds),
            storage: now.bounds.storage.left(),
            shapes: shapes(&now.nodes),
            sold: now.usage.taken.resources,
            sold_storage: now.usage.taken.storage,
            images_may_run_as_root: !self.settings.force_restricted && now.usage.user_namespaces,
        }
    }

    /// Ends, for ever, the committed holds whose objects are gone without the own watch having shown them. Only a fresh read
    /// says so: a watch that is behind frees nothing.
    pub async fn look_after_holds(&self, client: Client) {
        let api = Api::<ApocryphPod>::all(client);
        loop {
            sleep(ASKED_AFTER).await;
            let overdue = lock(&self.state).holds.overdue(Instant::now());
            for (name, id) in overdue {
                match api.get_opt(name.as_str()).await {
                    Ok(there) => {
                        let there = there.map(|pod| (pod.spec.life, nodes::standing(&pod)));
                        lock(&self.state).holds.found(&name, id, there);
                    }
                    Err(error) => {
                        tracing::warn!(pod = %name, %error, "could not ask for a pod that the watch does not show")
                    }
                }
            }
        }
    }
}

enum Decision {
    Hold(Hold),
    Wait(Taken),
}

impl Capacity for Tracker {
    fn report(&self) -> CapacityReport {
        self.report_of(&self.lately())
    }

    fn answer(&self, demand: &Demand) -> CapacityAnswer {
        let now = self.lately();
        CapacityAnswer {
            report: self.report_of(&now),
            fits: self.verdict(&now, None, demand),
        }
    }

    fn hold<'a>(&'a self, name: &'a PodName, demand: &'a Demand) -> BoxFuture<'a, Result<Held, Refusal>> {
        Box::pin(async move {
            match self.decide(name, demand)? {
                Decision::Hold(hold) => return Ok(Held::Hold(hold)),
                // An error says that the hold is over as well.
                Decision::Wait(Taken::Undecided(mut outcome)) => drop(outcome.wait_for(|decided| *decided).await),
                // Its receiver stays in this scope: it counts as a waiter.
                Decision::Wait(_counted) => sleep(SHOWN_SOON).await,
            }
            Ok(Held::LookAgain)
        })
    }
}

/// A panic while it was locked leaves whole entries: every change is one insert or remove.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nodes with the same room are one kind; full ones are none. Largest first.
fn shapes(nodes: &[fit::Node]) -> Vec<NodeShape> {
    let mut kinds: BTreeMap<(u64, u64, u64), u32> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.free.pods > 0) {
        let Resources {
            cpu_millis,
            memory,
            ephemeral_storage,
        } = node.free.resources;
        if cpu_millis > 0 && memory > 0 {
            let count = kinds.entry((memory, cpu_millis, ephemeral_storage)).or_default();
            *count = count.saturating_add(1);
        }
    }
    kinds
        .into_iter()
        .rev()
        .take(SHAPES_MAX)
        .map(|((memory, cpu_millis, ephemeral_storage), count)| NodeShape {
            count,
            free: Resources {
                cpu_millis,
                memory,
                ephemeral_storage,
            },
        })
        .collect()
}

#[cfg(test)]
mod tests;

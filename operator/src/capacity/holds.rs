//! Capacity that is promised and not yet seen in the API: one hold per name, from before the create until the own watch
//! shows the object.

use std::{
    collections::{
        HashMap,
        hash_map::Entry::{Occupied, Vacant},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::nodes::Standing;
use crate::model::{key::PodName, manifest::Demand, services::HoldEnd};

/// Most holds at once; each is a request between its checks and its commit.
pub const HOLDS_MAX: usize = 1024;
/// Most requests that wait for the outcome of one hold.
pub const WAITERS_MAX: usize = 16;
/// A committed hold whose object the own watch has not shown by then is asked about: the watch is behind, or the object was
/// removed by force before it could be shown. Longer than the API server works on any request.
pub const ASKED_AFTER: Duration = Duration::from_secs(90);

/// Lives and standings, as the own watch shows them.
pub type Lives = HashMap<PodName, (i64, Standing)>;

/// All holds. No I/O, no waiting: it stands under a lock.
#[derive(Debug, Default)]
pub struct Holds {
    entries: HashMap<PodName, Entry>,
    next: u64,
    /// Grows when what is held changes.
    version: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    demand: Demand,
    /// Life of the object that the own watch showed when the hold began.
    before: Option<i64>,
    state: State,
    /// Becomes true, or closes, with the outcome.
    decided: watch::Sender<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Committed { since: Instant },
}

/// A hold's place: a later hold of the same name is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(u64);

/// Another request holds the name.
#[derive(Debug)]
pub enum Taken {
    /// Its outcome comes here.
    Undecided(watch::Receiver<bool>),
    /// Its object exists; the own watch will show it.
    Decided(watch::Receiver<bool>),
    /// Too many wait already.
    Crowded,
}

/// Why there is no place for a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Holds {
    /// Ends the committed holds whose objects are seen by now.
    pub fn settle(&mut self, lives: &Lives) {
        self.entries
            .retain(|name, entry| entry.state == State::Open || !entry.is_seen(lives.get(name)));
    }

    /// Committed holds whose objects should have been seen long ago.
    pub fn overdue(&self, now: Instant) -> Vec<(PodName, Id)> {
        let is_overdue = |entry: &Entry| match entry.state {
            State::Open => false,
            State::Committed { since } => now.saturating_duration_since(since) >= ASKED_AFTER,
        };
        let overdue = self.entries.iter().filter(|(_, entry)| is_overdue(entry));
        overdue.map(|(name, entry)| (name.clone(), Id(entry.id))).collect()
    }

    /// What a fresh read found under the name of a committed hold. What it was committed for is there: the watch will show it,
    /// and until then it is held. It is not: the hold ends.
    pub fn found(&mut self, name: &PodName, id: Id, there: Option<(i64, Standing)>) {
        if let Occupied(entry) = self.entries.entry(name.clone())
            && entry.get().id == id.0
            && !entry.get().is_seen(there.as_ref())
        {
            tracing::warn!(pod = %name, "an ApocryphPod that was written is not there; its capacity is free again");
            entry.remove();
            self.version = self.version.wrapping_add(1);
        }
    }

    /// Equal numbers: the same is held.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What is held and not yet seen: an object that the watch shows counts by itself, also before its create returned.
    pub fn unseen<'a>(&'a self, lives: &'a Lives) -> impl Iterator<Item = (&'a PodName, Demand)> + 'a {
        self.entries
            .iter()
            .filter(|(name, entry)| !entry.is_seen(lives.get(*name)))
            .map(|(name, entry)| (name, entry.demand))
    }

    /// Who holds the name?
    pub fn taken(&self, name: &PodName) -> Option<Taken> {
        self.entries.get(name).map(|entry| {
            if entry.decided.receiver_count() >= WAITERS_MAX {
                return Taken::Crowded;
            }
            let outcome = entry.decided.subscribe();
            match entry.state {
                State::Open => Taken::Undecided(outcome),
                State::Committed { .. } => Taken::Decided(outcome),
            }
        })
    }

    /// Enters a hold; the name must be free (see [`Holds::taken`]), or it is `Full`.
    pub fn enter(&mut self, name: &PodName, demand: Demand, lives: &Lives) -> Result<Id, Full> {
        if self.entries.len() >= HOLDS_MAX {
            return Err(Full);
        }
        match self.entries.entry(name.clone()) {
            Occupied(_) => Err(Full),
            Vacant(place) => {
                let id = self.next;
                self.next = self.next.wrapping_add(1);
                self.version = self.version.wrapping_add(1);
                let before = lives.get(name).map(|(life, _)| *life);
                place.insert(Entry {
                    id,
                    demand,
                    before,
                    state: State::Open,
                    decided: watch::Sender::new(false),
                });
                Ok(Id(id))
            }
        }
    }

    /// The outcome; wakes who waits for it.
    pub fn end(&mut self, name: &PodName, id: Id, end: HoldEnd, now: Instant) {
        let Some(entry) = self.entries.get_mut(name).filter(|entry| entry.id == id.0) else {
            return;
        };
        match end {
            HoldEnd::Committed => {
                entry.state = State::Committed { since: now };
                entry.decided.send_replace(true);
            }
            HoldEnd::Released => {
                // Dropping the sender wakes them.
                self.entries.remove(name);
                self.version = self.version.wrapping_add(1);
            }
        }
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.entries.len()
    }
}

impl Entry {
    /// Does the watch show what this hold was entered for?
    fn is_seen(&self, shown: Option<&(i64, Standing)>) -> bool {
        match (self.before, shown) {
            (_, None) => false,
            (None, Some(_)) => true,
            // A new life; or the same object, which counts now (an admin's own pod was admitted).
            (Some(before), Some((life, standing))) => *life > before || *standing != Standing::Nothing,
        }
    }
}

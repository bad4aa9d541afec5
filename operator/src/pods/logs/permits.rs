//! How many logs are read at once: each is a connection to the API server and its buffers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use apocryph_proto::{limits::REPLICAS_MAX, outcome::Code};

use crate::model::{key::Publisher, refusal::Refusal};

/// In all. What one that nobody reads keeps in memory is at most what the HTTP client reads ahead, 408 KiB.
const TOTAL: usize = 128;
/// Of one publisher: replicas that are followed, and streams of lines that are there. All of a pod's, and some beside.
const PER_PUBLISHER: usize = REPLICAS_MAX as usize + 16;
/// Seconds.
const BUSY_RETRY_AFTER: u32 = 10;

/// Cheap to clone. No more entries than permits.
#[derive(Clone, Default)]
pub struct Permits(Arc<Mutex<HashMap<Publisher, usize>>>);

/// One log that is read.
pub(super) struct Permit {
    permits: Permits,
    publisher: Publisher,
}

impl Permits {
    pub(super) fn take(&self, publisher: Publisher) -> Result<Permit, Refusal> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&publisher).copied().unwrap_or(0);
        let busy = |message: String| {
            Err(Refusal::new(Code::Busy, message)
                .remedy("stop reading other logs, or come again")
                .retry_after(BUSY_RETRY_AFTER))
        };
        if own >= PER_PUBLISHER {
            return busy(format!("{PER_PUBLISHER} logs of this publisher are being read"));
        }
        if taken.values().sum::<usize>() >= TOTAL {
            return busy(format!("{TOTAL} logs are being read"));
        }
        taken.insert(publisher, own + 1);
        Ok(Permit {
            permits: self.clone(),
            publisher,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.permits.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.publisher) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.remove(&self.publisher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_publisher_cannot_take_all_and_what_is_dropped_comes_back() {
        let permits = Permits::default();
        let taken = |publisher: u8, count: usize| -> Vec<Permit> {
            (0..count)
                .map_while(|_| permits.take(Publisher([publisher; 20])).ok())
                .collect()
        };
        let first = taken(1, TOTAL);
        assert_eq!(first.len(), PER_PUBLISHER);
        let mut others = Vec::new();
        for publisher in 2.. {
            let more = taken(publisher, TOTAL);
            if more.is_empty() {
                break;
            }
            others.push(more);
        }
        assert_eq!(first.len() + others.iter().map(Vec::len).sum::<usize>(), TOTAL);
        drop(first);
        assert_eq!(taken(9, TOTAL).len(), PER_PUBLISHER);
        drop(others);
        assert!(permits.0.lock().unwrap().is_empty());
    }
}

//! How fast: a token bucket per key. A bucket that is full again is the same as none, so what is remembered is bounded by
//! who came within the time that a bucket takes to fill.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Buckets after which full ones are first looked for.
const PURGE_AT: usize = 256;
/// Buckets at most. Beyond, unknown keys are over their rate until others are full again.
const BUCKETS_MAX: usize = 1 << 16;

pub struct Rates<K> {
    /// Time that one token takes.
    interval: Duration,
    /// Time that an empty bucket takes to fill.
    capacity: Duration,
    buckets: Mutex<Buckets<K>>,
}

struct Buckets<K> {
    /// When the bucket is full again.
    full_at: HashMap<K, Instant>,
    purge_at: usize,
}

impl<K: Hash + Eq> Rates<K> {
    /// `burst` at once after a pause, then `per_second`.
    pub fn new(burst: u32, per_second: u32) -> Rates<K> {
        Rates::every(burst, Duration::from_secs(1) / per_second.max(1))
    }

    /// `burst` at once after a pause, then one in each interval.
    pub fn every(burst: u32, interval: Duration) -> Rates<K> {
        Rates {
            interval,
            capacity: interval.saturating_mul(burst.max(1)),
            buckets: Mutex::new(Buckets {
                full_at: HashMap::new(),
                purge_at: PURGE_AT,
            }),
        }
    }

    /// Takes a token; `false`: there is none.
    pub fn take(&self, key: K, now: Instant) -> bool {
        let mut buckets = self.lock();
        if buckets.full_at.len() >= buckets.purge_at {
            buckets.full_at.retain(|_, full_at| *full_at > now);
            buckets.purge_at = (buckets.full_at.len() * 2).clamp(PURGE_AT, BUCKETS_MAX);
        }
        let known = buckets.full_at.get(&key).copied();
        if known.is_none() && buckets.full_at.len() >= BUCKETS_MAX {
            return false;
        }
        let full_at = known.map_or(now, |at| at.max(now)) + self.interval;
        let allowed = full_at.duration_since(now) <= self.capacity;
        if allowed {
            buckets.full_at.insert(key, full_at);
        }
        allowed
    }

    /// Is there a token? Takes none.
    pub fn has(&self, key: &K, now: Instant) -> bool {
        let full_at = self.lock().full_at.get(key).copied();
        full_at.is_none_or(|at| at.saturating_duration_since(now) + self.interval <= self.capacity)
    }

    fn lock(&self) -> MutexGuard<'_, Buckets<K>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.buckets.lock().unwrap().full_at.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate() {
        let rates = Rates::new(3, 10);
        let start = Instant::now();
        let taken: Vec<bool> = (0..4).map(|_| rates.take("a", start)).collect();
        assert_eq!(taken, [true, true, true, false]);
        assert_eq!([rates.has(&"a", start), rates.has(&"b", start)], [false, true]);
        assert!(rates.take("b", start), "others are not at fault");
        let later = start + Duration::from_millis(100);
        assert_eq!([rates.take("a", later), rates.take("a", later)], [true, false]);
        let rested = later + Duration::from_secs(1);
        assert_eq!((0..4).filter(|_| rates.take("a", rested)).count(), 3);
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let rates = Rates::new(10, 10);
        let mut now = Instant::now();
        for key in 0..10_000_u32 {
            assert!(rates.take(key, now));
            now += Duration::from_millis(10);
        }
        // One token is back after 100 ms: ten keys are not yet full.
        assert!(rates.len() <= PURGE_AT, "{} are remembered", rates.len());
    }
}

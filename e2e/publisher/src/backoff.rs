//! How long to wait before the next attempt: growing, bounded, with jitter so that the clients of a provider that restarted do
//! not all come back at the same moment.

use std::time::Duration;

use rand::Rng;

/// Never waits longer than this at a provider's word: `retryAfter` is a stranger's number.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_millis(500),
            most: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// Before attempt `failures` + 1: between half and all of `first` · 2^(`failures` − 1), at most `most`.
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.most);
        whole.mul_f64(rand::thread_rng().gen_range(0.5..=1.0))
    }

    /// The same, but not before `retry_after` seconds (0: as the client likes), jitter on top.
    pub fn delay_at_least(&self, failures: u32, retry_after: u32) -> Duration {
        let asked = Duration::from_secs(retry_after.into()).min(RETRY_AFTER_MAX);
        if asked.is_zero() {
            self.delay(failures)
        } else {
            asked + self.delay(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_within_bounds_and_never_overflows() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            most: Duration::from_secs(30),
        };
        for (failures, whole) in [(0, 1), (1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (u32::MAX, 30)] {
            let delay = backoff.delay(failures);
            assert!(
                delay <= Duration::from_secs(whole) && delay >= Duration::from_millis(500 * whole),
                "{failures}: {delay:?}"
            );
        }
    }

    #[test]
    fn a_providers_wish_is_honoured_up_to_a_bound() {
        let backoff = Backoff {
            first: Duration::ZERO,
            most: Duration::ZERO,
        };
        assert_eq!(backoff.delay_at_least(1, 7), Duration::from_secs(7));
        assert_eq!(backoff.delay_at_least(1, u32::MAX), RETRY_AFTER_MAX);
        assert_eq!(backoff.delay_at_least(9, 0), Duration::ZERO);
    }
}

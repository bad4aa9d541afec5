//! How fast new pods may come. A pod that is ended at once costs its publisher nothing, and each leaves its object for a
//! while: without a pace anybody with a free payment could fill the cluster's store.

use std::time::{Duration, Instant};

use apocryph_proto::outcome::Code;

use crate::model::{key::Publisher, rates::Rates, refusal::Refusal};

/// New pods of one publisher at once after a pause; then one in each [`PUBLISHER_INTERVAL`].
pub const PUBLISHER_BURST: u32 = 128;
pub const PUBLISHER_INTERVAL: Duration = Duration::from_secs(10);
/// New pods of all publishers at once after a pause; then one in each [`TOTAL_INTERVAL`].
pub const TOTAL_BURST: u32 = 256;
pub const TOTAL_INTERVAL: Duration = Duration::from_secs(1);

/// Counts new pods and new lives; attaching to one that runs is none.
pub(super) struct Pace {
    publishers: Rates<Publisher>,
    total: Rates<()>,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace {
            publishers: Rates::every(PUBLISHER_BURST, PUBLISHER_INTERVAL),
            total: Rates::every(TOTAL_BURST, TOTAL_INTERVAL),
        }
    }

    /// May one more come now? Before capacity is counted for it, which costs more.
    pub(super) fn ask(&self, publisher: &Publisher, now: Instant) -> Result<(), Refusal> {
        if !self.publishers.has(publisher, now) {
            return Err(too_fast("This publisher begins", PUBLISHER_INTERVAL));
        }
        if !self.total.has(&(), now) {
            return Err(too_fast("Everybody together begins", TOTAL_INTERVAL));
        }
        Ok(())
    }

    /// One more comes: it is about to be written.
    pub(super) fn take(&self, publisher: Publisher, now: Instant) -> Result<(), Refusal> {
        if !self.publishers.take(publisher, now) {
            return Err(too_fast("This publisher begins", PUBLISHER_INTERVAL));
        }
        if !self.total.take((), now) {
            return Err(too_fast("Everybody together begins", TOTAL_INTERVAL));
        }
        Ok(())
    }
}

fn too_fast(who: &str, interval: Duration) -> Refusal {
    let seconds = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX);
    Refusal::new(
        Code::Busy,
        format!("{who} new pods faster than this provider makes them."),
    )
    .remedy("Send the same request again, later.")
    .retry_after(seconds)
}

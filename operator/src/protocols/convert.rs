//! Between wire and model, both ways: only here. Times are Unix seconds.

mod looks;
mod replies;
mod requests;

use std::time::{SystemTime, UNIX_EPOCH};

pub use looks::{description, list_page, log_end, log_lines, log_status};
pub use replies::{
    AttestReplies, CapacityReplies, PodReplies, Terms, accepted, attestation, capacity, capacity_reply, dry_run,
    outcome, price_tables, revoked, status,
};
pub use requests::{Manage, Raw, demand, envelope, manage, nonce, payment, provision, request};

/// Seconds since 1970; a clock before that counts as 0.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// By this machine's clock.
pub fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

//! `lease`: client-go's numbers and how they must stand to each other.

use super::{Args, Error, Names, bad, file::LeaseFile};
use crate::{client::REQUEST_DEADLINE, lease};

pub(super) fn lease_settings(file: &LeaseFile, args: &Args, names: &Names) -> Result<lease::Settings, Error> {
    let (duration, renew_deadline, retry_period) = (file.duration.0, file.renew_deadline.0, file.retry_period.0);
    if retry_period.is_zero() {
        return Err(bad("lease.retryPeriod", "must be at least 1s"));
    }
    if i32::try_from(duration.as_secs()).is_err() {
        return Err(bad("lease.duration", "is too long"));
    }
    if renew_deadline.saturating_add(REQUEST_DEADLINE) >= duration {
        return Err(bad(
            "lease.renewDeadline",
            format!(
                "must be more than {REQUEST_DEADLINE:?} (the longest request) below lease.duration, or a write of a deposed \
                 leader could land late"
            ),
        ));
    }
    if retry_period.saturating_mul(2) > renew_deadline {
        return Err(bad("lease.retryPeriod", "must be at most half of lease.renewDeadline"));
    }
    Ok(lease::Settings {
        namespace: args.pod_namespace.clone(),
        name: names.lease.clone(),
        identity: format!("{}_{}", args.pod_name, args.pod_uid),
        duration,
        renew_deadline,
        retry_period,
    })
}

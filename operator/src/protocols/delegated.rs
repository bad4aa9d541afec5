//! Requests under a delegation: the pod says whether it still holds, before anything is done and as long as it lasts.

use std::time::Duration;

use apocryph_proto::limits;
use futures::{
    FutureExt,
    future::{self, BoxFuture, Either},
};

use super::convert;
use crate::{
    admission::delegation,
    model::{key::PodName, refusal::Refusal, services::Pods},
};

/// `Ok`: it was not taken back, or there is no such pod, which is for what was asked to say.
pub async fn holds(pods: &dyn Pods, name: &PodName, expires_at: u64) -> Result<(), Refusal> {
    match pods.find(name).await? {
        Some(record) => delegation::revoked(&record, expires_at),
        None => Ok(()),
    }
}

/// Ends a stream that was opened under it.
pub fn over(pods: &dyn Pods, name: &PodName, expires_at: u64) -> BoxFuture<'static, Refusal> {
    let left = expires_at
        .saturating_add(limits::CLOCK_SKEW + 1)
        .saturating_sub(convert::now());
    let revoked = pods.revoked(name, expires_at);
    async move {
        let expired = tokio::time::sleep(Duration::from_secs(left));
        match future::select(revoked, Box::pin(expired)).await {
            Either::Left((not_before, _)) => delegation::taken_back(not_before),
            Either::Right(((), _)) => delegation::expired(expires_at, convert::now()),
        }
    }
    .boxed()
}

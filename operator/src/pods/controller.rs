//! Which ApocryphPod is looked at when: on every change of it and of anything in its namespace, eight at a time, one look at a
//! pod at any time, failures with a growing wait of their own.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apocryph_crd::ApocryphPod;
use futures::{FutureExt, StreamExt, stream};
use kube::{
    Client, ResourceExt,
    runtime::{
        Config, applier,
        controller::{Action, Error as ApplierError},
        reflector::{ObjectRef, Store},
    },
};
use rand::Rng;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Metrics, Settings, annotation,
    metrics::{FailureLabel, OutcomeLabel},
    owned::Owned,
    reconcile::{Context, Error, RESYNC, Wait, reconcile},
    written::Written,
};
use crate::{
    model::services::Capacity,
    telemetry::events::Events,
    watches::{Dirty, Watches},
};

/// Looks at a time.
const CONCURRENCY: u16 = 8;
/// Changes that come together make one look.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// First wait after a failure, the longest, and the wait after a version conflict.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);
const MOMENT: Duration = Duration::from_millis(200);

/// Failures in a row, by pod. An entry lives from a failure to the next success.
#[derive(Debug, Default)]
struct Backoffs(Mutex<HashMap<String, u32>>);

impl Backoffs {
    /// Doubles from one second to five minutes, and half of it by chance, so that pods that failed together do not come again
    /// together.
    fn next(&self, pod: &str) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(pod.to_owned()).or_insert(0);
        let full = RETRY_MIN
            .saturating_mul(1u32.checked_shl(*count).unwrap_or(u32::MAX))
            .min(RETRY_MAX);
        *count = count.saturating_add(1);
        full / 2 + (full / 2).mul_f64(rand::thread_rng().r#gen())
    }

    fn reset(&self, pod: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(pod);
    }

    fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|pod, _| exists(pod));
    }
}

struct Driver {
    context: Context,
    backoffs: Backoffs,
    metrics: Metrics,
}

/// Runs until `token` is cancelled; looks under way are finished first (each request in them ends within four seconds).
///
/// # Errors
/// A watch ended by itself.
pub async fn run(
    client: Client,
    watches: Watches,
    settings: Settings,
    capacity: Arc<dyn Capacity>,
    events: Events,
    metrics: Metrics,
    token: CancellationToken,
) -> anyhow::Result<()> {
    let (owned, tasks) = Owned::start(&client, &watches.changes, &token);
    let synced = async {
        watches.synced().await?;
        owned.synced().await
    };
    tokio::select! {
        synced = synced => synced?,
        () = token.cancelled() => return Ok(()),
    }
    tracing::info!("the controller looks at pods");
    let clock: super::Clock = k8s_openapi::jiff::Timestamp::now;
    let pods = watches.apocryph_pods.clone();
    let driver = Arc::new(Driver {
        context: Context {
            client,
            watches,
            owned,
            settings,
            capacity,
            events,
            written: Written::default(),
            clock,
            since: clock(),
        },
        backoffs: Backoffs::default(),
        metrics,
    });
    let queue = queue(&driver, pods.clone()).take_until(token.clone().cancelled_owned());
    let looks = applier(
        |object: Arc<ApocryphPod>, driver: Arc<Driver>| look(object, driver).boxed(),
        |object: Arc<ApocryphPod>, error: &Error, driver: Arc<Driver>| failed(&object, error, &driver),
        driver,
        pods,
        Box::pin(queue),
        Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE),
    )
    .for_each(|looked| async move {
        match looked {
            // A pod that has gone in the meantime needs no look; failures were told of by `failed`.
            Ok(_) | Err(ApplierError::ObjectNotFound(_) | ApplierError::ReconcilerFailed(..)) => {}
            Err(error) => tracing::error!(%error, "controller"),
        }
    });
    let mut looks = std::pin::pin!(looks);
    tokio::select! {
        () = &mut looks => {
            anyhow::ensure!(token.is_cancelled(), "the controller ended by itself");
            Ok(())
        }
        ended = tasks.ended() => {
            // The watches end at once when the token is cancelled; the looks under way are finished.
            ended?;
            looks.await;
            Ok(())
        }
    }
}

fn queue(
    driver: &Arc<Driver>,
    pods: Store<ApocryphPod>,
) -> impl futures::Stream<Item = Result<ObjectRef<ApocryphPod>, Infallible>> + Send + use<> {
    let driver = driver.clone();
    driver.context.watches.changes.queue().flat_map(move |dirty| {
        let names: Vec<String> = match dirty {
            Dirty::One(name) => vec![name],
            Dirty::All => {
                let names: Vec<String> = pods.state().iter().map(|pod| pod.name_any()).collect();
                let exists = |name: &str| pods.get(&ObjectRef::new(name)).is_some();
                driver.backoffs.retain(exists);
                driver.context.written.retain(exists);
                names
            }
        };
        stream::iter(names.into_iter().map(|name| Ok(ObjectRef::new(&name))))
    })
}

async fn look(object: Arc<ApocryphPod>, driver: Arc<Driver>) -> Result<Action, Error> {
    let name = object.name_any();
    let request_id = object
        .annotations()
        .get(annotation::REQUEST_ID)
        .cloned()
        .unwrap_or_default();
    let span = tracing::info_span!("reconcile", pod = %name, %request_id);
    let looked = reconcile(&driver.context, object).instrument(span).await?;
    driver.backoffs.reset(&name);
    driver
        .metrics
        .reconciles
        .get_or_create(&OutcomeLabel {
            outcome: looked.outcome.as_str(),
        })
        .inc();
    Ok(Action::requeue(looked.again.min(RESYNC)))
}

fn failed(object: &ApocryphPod, error: &Error, driver: &Driver) -> Action {
    let name = object.name_any();
    driver
        .metrics
        .reconciles
        .get_or_create(&OutcomeLabel { outcome: "failed" })
        .inc();
    driver
        .metrics
        .failures
        .get_or_create(&FailureLabel {
            category: error.category(),
        })
        .inc();
    let wait = match error.wait() {
        Wait::Moment => {
            tracing::debug!(pod = %name, %error, "changed meanwhile");
            MOMENT
        }
        Wait::Growing => {
            let wait = driver.backoffs.next(&name);
            tracing::warn!(pod = %name, %error, category = error.category(), ?wait, "look failed");
            wait
        }
    };
    Action::requeue(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_of_their_own_pod_and_begin_anew_after_a_success() {
        let backoffs = Backoffs::default();
        let mut longest = Duration::ZERO;
        for count in 0..40u32 {
            let full = RETRY_MIN
                .saturating_mul(1u32.checked_shl(count).unwrap_or(u32::MAX))
                .min(RETRY_MAX);
            let wait = backoffs.next("a");
            assert!(wait >= full / 2 && wait <= full, "{count}: {wait:?}");
            longest = longest.max(wait);
        }
        assert!(longest >= RETRY_MAX / 2);
        assert!(backoffs.next("b") <= RETRY_MIN);
        backoffs.reset("a");
        assert!(backoffs.next("a") <= RETRY_MIN);
        backoffs.retain(|pod| pod == "b");
        assert_eq!(backoffs.0.lock().unwrap().len(), 1);
    }
}

//! Waiting for conditions: each names what it waits for, so a failure says what did not come.

use std::{fmt::Debug, future::Future, time::Duration};

use anyhow::{Result, bail};
use futures::TryStreamExt;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;

/// Longest wait for anything; the tests' own bound, never a measurement.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Awaits a future within [`PATIENCE`].
pub async fn within<T>(what: &str, future: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(result) => result,
        Err(_) => bail!("not within {PATIENCE:?}: {what}"),
    }
}

/// Awaits until the set of objects in a watch satisfies `condition`, and gives what it returned.
pub async fn until<K, T>(
    what: &str,
    api: Api<K>,
    config: watcher::Config,
    mut condition: impl FnMut(&[K]) -> Option<T>,
) -> Result<T>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default + Eq + std::hash::Hash + Clone,
{
    let mut last = Vec::new();
    let wait = async {
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let mut objects: std::collections::BTreeMap<(String, String), K> = Default::default();
        let mut listing: Option<std::collections::BTreeMap<(String, String), K>> = None;
        let key = |object: &K| {
            (
                object.meta().namespace.clone().unwrap_or_default(),
                object.meta().name.clone().unwrap_or_default(),
            )
        };
        loop {
            let Some(event) = events.try_next().await? else {
                bail!("the watch ended")
            };
            match event {
                watcher::Event::Init => listing = Some(Default::default()),
                watcher::Event::InitApply(object) => {
                    listing
                        .get_or_insert_with(Default::default)
                        .insert(key(&object), object);
                }
                watcher::Event::InitDone => objects = listing.take().unwrap_or_default(),
                watcher::Event::Apply(object) => {
                    objects.insert(key(&object), object);
                }
                watcher::Event::Delete(object) => {
                    objects.remove(&key(&object));
                }
            }
            if listing.is_some() {
                continue;
            }
            last = objects.values().cloned().collect();
            if let Some(found) = condition(&last) {
                return Ok(found);
            }
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(result) => result,
        Err(_) => {
            let seen: Vec<String> = last.iter().map(|object| format!("{object:?}")).collect();
            bail!(
                "not within {PATIENCE:?}: {what}; last seen:\n{}",
                seen.join("\n").chars().take(4000).collect::<String>()
            )
        }
    }
}

//! The status of one pod as a stream.

use std::sync::Arc;

use apocryph_crd::ApocryphPod;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kube::{Api, ResourceExt, runtime::reflector::ObjectRef};

use super::{
    api::{RETRY_MAX, RETRY_MIN, read},
    view,
};
use crate::{
    model::{key::PodName, status::PodStatus},
    watches::{Subscription, Watches},
};

/// The status now, then each change; ends when the object is gone.
pub fn status_stream(watches: &Watches, api: Api<ApocryphPod>, name: &PodName) -> BoxStream<'static, PodStatus> {
    let watch = Watch {
        changes: watches.changes.subscribe(name),
        api,
        watches: watches.clone(),
        name: name.clone(),
        last: None,
    };
    stream::unfold(watch, |mut watch| async move {
        watch.next().await.map(|status| (status, watch))
    })
    .boxed()
}

/// One status stream. It reads afresh first: the cache may be older than what the asker was just told, and its first message
/// must not be of a former life.
struct Watch {
    changes: Subscription,
    api: Api<ApocryphPod>,
    watches: Watches,
    name: PodName,
    last: Option<Last>,
}

struct Last {
    version: Option<u64>,
    told: PodStatus,
}

impl Watch {
    /// `None`: the object is gone.
    async fn next(&mut self) -> Option<PodStatus> {
        if self.last.is_none() {
            let object = self.fresh().await?;
            return self.tell(&object);
        }
        loop {
            self.changes.changed().await;
            let cached = self.watches.apocryph_pods.get(&ObjectRef::new(self.name.as_str()));
            let object = match cached {
                Some(cached) => cached,
                // Gone, says the cache, which never decides that.
                None => Arc::new(self.fresh().await?),
            };
            if let Some(status) = self.tell(&object) {
                return Some(status);
            }
        }
    }

    /// `None`: nothing new, or older than what was told.
    fn tell(&mut self, object: &ApocryphPod) -> Option<PodStatus> {
        let version = object
            .resource_version()
            .and_then(|version| version.parse::<u64>().ok());
        let status = view::status(object)?;
        if let Some(last) = &self.last {
            let older = matches!((version, last.version), (Some(now), Some(before)) if now < before);
            if older || last.told == status {
                return None;
            }
        }
        self.last = Some(Last {
            version,
            told: status.clone(),
        });
        Some(status)
    }

    /// Reads until the API server answers; the stream's reader decides how long to wait. `None`: it is gone.
    async fn fresh(&self) -> Option<ApocryphPod> {
        let mut wait = RETRY_MIN;
        loop {
            match read(&self.api, &self.name).await {
                Ok(object) => return object,
                Err(error) => tracing::debug!(pod = %self.name, %error, "status could not be read"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }
}

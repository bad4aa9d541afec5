//! The one door to pods in the API: what was admitted becomes an ApocryphPod, and its status becomes a stream.

use std::{future::Future, sync::Arc, time::Duration};

use apocryph_crd::{ApocryphPod, End};
use apocryph_proto::outcome::Code;
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use k8s_openapi::{
    api::core::v1::{Event, PersistentVolumeClaim, Secret},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
    runtime::reflector::ObjectRef,
};

use super::{
    api::{Failed, RETRY_MAX, RETRY_MIN, ask, merge, read},
    commit::{Commit, Write, find_out, identity, object},
    describe::{Read, describe},
    gather::nodes_of,
    logs::{LogReader, Permits, replicas},
    objects::secret,
    staging::Staging,
    stream::status_stream,
    view,
};
use crate::{
    admission::{Admitted, admitted::AdmittedRequest, delegation},
    model::{
        description::Description,
        key::{PodName, Publisher},
        logs::{Logged, LogsWanted},
        pod::{EndedBy, Listed, PodRecord},
        refusal::{Refusal, not_found},
        services::{Pods, Submitted},
        status::PodStatus,
    },
    watches::Watches,
};

/// A publisher waits this long for a write whose outcome is not known; afterwards it is found out behind his back.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
/// Seconds after which asking again may help.
const RETRY_AFTER: u32 = 10;
/// An object that changes under our hands is read again this often.
const CONFLICTS_MAX: usize = 16;
/// Events of cluster-scoped objects are in this namespace.
const EVENTS_NAMESPACE: &str = "default";
/// Events of one pod that are read; the cluster keeps them for an hour as a rule.
const EVENTS_MAX: u32 = 500;

/// Implements [`Pods`]. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    client: Client,
    watches: Watches,
    operator_namespace: String,
    staging: Staging,
    log_permits: Permits,
}

impl Gateway {
    pub fn new(client: Client, watches: Watches, settings: &super::Settings) -> Arc<Gateway> {
        Arc::new(Gateway {
            client,
            watches,
            operator_namespace: settings.operator_namespace.clone(),
            staging: Staging::default(),
            log_permits: Permits::default(),
        })
    }

    /// For the sweeper.
    pub fn staging(&self) -> Staging {
        self.staging.clone()
    }

    fn pods(&self) -> Api<ApocryphPod> {
        Api::all(self.client.clone())
    }

    async fn read(&self, name: &PodName) -> Result<Option<ApocryphPod>, Failed> {
        read(&self.pods(), name).await
    }

    /// Step 5: the Secret, before anything names it.
    async fn stage(&self, request: &AdmittedRequest) -> Result<Option<String>, Refusal> {
        let Some(staged) = secret::staged(
            &request.key,
            &request.tag,
            &request.pod.manifest,
            &self.operator_namespace,
        ) else {
            return Ok(None);
        };
        let name = staged.name_any();
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.operator_namespace);
        let write = until_known(|| async {
            match ask("create", "Secret", &name, api.create(&PostParams::default(), &staged)).await {
                Ok(_) => Some(Ok(())),
                // The same name is the same TAG is the same content: left by a request whose answer was lost.
                Err(failed) if failed.is_conflict() => Some(Ok(())),
                Err(failed) if failed.is_unknown() => None,
                Err(failed) => Some(Err(failed)),
            }
        });
        match write.await {
            Some(Ok(())) => Ok(Some(name)),
            Some(Err(failed)) => Err(rejected(&failed)),
            None => Err(unavailable()),
        }
    }

    /// Step 6: the commit.
    async fn commit(&self, request: &AdmittedRequest, secret_name: Option<String>) -> Commit {
        let object = object(request, secret_name, Timestamp::now());
        let api = self.pods();
        let write = Write {
            api: &api,
            object: &object,
            replaces: request.replaces.as_deref(),
        };
        until_known(|| write.once()).await.unwrap_or(Commit::Unknown)
    }

    async fn carry_out(&self, admitted: Admitted) -> Result<Submitted, Refusal> {
        let (request, hold) = admitted.into_parts();
        let name = request.key.name();
        let entered = self.staging.enter(&name).await;
        let secret_name = self.stage(&request).await?;
        match self.commit(&request, secret_name).await {
            Commit::Made(record) => {
                hold.commit();
                tracing::info!(pod = %name, life = record.life, request_id = %request.request_id, "pod accepted");
                Ok(Submitted::Created(record))
            }
            Commit::Raced => Ok(Submitted::Raced),
            Commit::Refused(refusal) => Err(refusal),
            Commit::Unknown => {
                tracing::warn!(pod = %name, "whether the pod was created is not known; its capacity stays held");
                let found_out = find_out(self.pods(), name, identity(&request), hold);
                tokio::spawn(async move {
                    found_out.await;
                    drop(entered);
                });
                Err(unavailable())
            }
        }
    }

    /// A fresh read, told as sessions are told.
    async fn fresh(&self, name: &PodName) -> Result<Option<ApocryphPod>, Refusal> {
        self.read(name).await.map_err(|failed| {
            tracing::warn!(pod = %name, error = %failed, "pod could not be read");
            unavailable()
        })
    }

    async fn look_at(&self, name: &PodName) -> Result<Option<Description>, Refusal> {
        let Some(object) = self.fresh(name).await? else {
            return Ok(None);
        };
        let of_pod = ListParams::default()
            .fields(&format!("involvedObject.kind=ApocryphPod,involvedObject.name={name}"))
            .limit(EVENTS_MAX);
        let events = Api::<Event>::namespaced(self.client.clone(), EVENTS_NAMESPACE);
        let events = ask("list", "Events of", name.as_str(), events.list(&of_pod))
            .await
            .map_err(|failed| {
                tracing::warn!(pod = %name, error = %failed, "events could not be read");
                unavailable()
            })?;
        let namespace = name.namespace();
        let claims = self
            .watches
            .claims
            .state_filter(|claim: &PersistentVolumeClaim| claim.metadata.namespace.as_deref() == Some(&namespace));
        let pods = replicas(&self.watches, name);
        Ok(describe(&Read {
            object: &object,
            pods: &pods,
            claims: &claims,
            nodes: &nodes_of(&self.watches, &pods),
            events: &events.items,
            now: Timestamp::now(),
        }))
    }

    async fn read_logs(
        &self,
        name: &PodName,
        wanted: LogsWanted,
    ) -> Result<BoxStream<'static, Result<Logged, Refusal>>, Refusal> {
        let object = self.fresh(name).await?.ok_or_else(not_found)?;
        let record = view::record(&object).ok_or_else(not_found)?;
        let reader = LogReader {
            client: self.client.clone(),
            watches: self.watches.clone(),
            permits: self.log_permits.clone(),
        };
        reader.read(&object, record, wanted)
    }

    async fn order_revocation(&self, name: &PodName, not_before: u64) -> Result<u64, Refusal> {
        let order = until_known(|| async {
            for _ in 0..CONFLICTS_MAX {
                let object = match self.read(name).await {
                    Ok(Some(object)) => object,
                    Ok(None) => return Some(Err(not_found())),
                    Err(failed) if failed.is_unknown() => return None,
                    Err(failed) => return Some(Err(rejected(&failed))),
                };
                let Some(record) = view::record(&object) else {
                    return Some(Err(not_found()));
                };
                if record.delegations_not_before >= not_before {
                    return Some(Ok(record.delegations_not_before));
                }
                let patch = serde_json::json!({
                    "metadata": {"resourceVersion": object.metadata.resource_version},
                    "spec": {"delegationsNotBefore": not_before},
                });
                match merge(&self.pods(), name.as_str(), patch).await {
                    Ok(_) => return Some(Ok(not_before)),
                    // Its status changed meanwhile, or it is gone: look again.
                    Err(failed) if failed.is_conflict() || failed.is_not_found() => {}
                    Err(failed) if failed.is_unknown() => return None,
                    Err(failed) => return Some(Err(rejected(&failed))),
                }
            }
            None
        });
        order.await.unwrap_or_else(|| Err(unavailable()))
    }

    async fn order_end(&self, name: &PodName, life: u64) -> Result<(), Refusal> {
        let order = until_known(|| async {
            for _ in 0..CONFLICTS_MAX {
                let object = match self.read(name).await {
                    Ok(Some(object)) => object,
                    Ok(None) => return Some(Err(not_found())),
                    Err(failed) if failed.is_unknown() => return None,
                    Err(failed) => return Some(Err(rejected(&failed))),
                };
                let Some(record) = view::record(&object) else {
                    return Some(Err(not_found()));
                };
                if record.life != life {
                    return Some(Err(Refusal::new(
                        Code::OtherLife,
                        format!("The pod is in life {}, not in life {life}.", record.life),
                    )
                    .remedy("Watch the pod, then delete the life that it is in.")));
                }
                if object.spec.end.is_some() || object.metadata.deletion_timestamp.is_some() {
                    return Some(Ok(()));
                }
                let end = End {
                    at: Time(Timestamp::now()),
                    reason: Code::DeletedByPublisher.reason().to_owned(),
                    by: EndedBy::Publisher.as_str().to_owned(),
                };
                let patch = serde_json::json!({
                    "metadata": {"resourceVersion": object.metadata.resource_version},
                    "spec": {"end": end},
                });
                match merge(&self.pods(), name.as_str(), patch).await {
                    Ok(_) => return Some(Ok(())),
                    // Its status changed meanwhile, or it is gone: look again.
                    Err(failed) if failed.is_conflict() || failed.is_not_found() => {}
                    Err(failed) if failed.is_unknown() => return None,
                    Err(failed) => return Some(Err(rejected(&failed))),
                }
            }
            None
        });
        match order.await {
            Some(known) => known,
            None => Err(unavailable()),
        }
    }
}

impl Pods for Gateway {
    fn find<'a>(&'a self, name: &'a PodName) -> BoxFuture<'a, Result<Option<PodRecord>, Refusal>> {
        async move { Ok(self.fresh(name).await?.as_ref().and_then(view::record)) }.boxed()
    }

    fn submit(&self, admitted: Admitted) -> BoxFuture<'_, Result<Submitted, Refusal>> {
        self.carry_out(admitted).boxed()
    }

    fn watch(&self, name: &PodName) -> BoxStream<'static, PodStatus> {
        status_stream(&self.watches, self.pods(), name)
    }

    fn end<'a>(&'a self, name: &'a PodName, life: u64) -> BoxFuture<'a, Result<(), Refusal>> {
        self.order_end(name, life).boxed()
    }

    fn list(&self, publisher: &Publisher) -> BoxStream<'static, Listed> {
        let store = self.watches.apocryph_pods.clone();
        let publisher = publisher.to_string();
        // Names first: a slow reader holds nothing else.
        let mut names: Vec<String> = store
            .state_filter(|object: &ApocryphPod| object.spec.publisher == publisher)
            .iter()
            .map(|object| object.name_any())
            .collect();
        names.sort_unstable();
        let listed = move |name: String| {
            let object = store.get(&ObjectRef::new(&name))?;
            Some(Listed {
                key: view::record(&object)?.key,
                status: view::status(&object)?,
            })
        };
        stream::iter(names.into_iter().filter_map(listed)).boxed()
    }

    fn describe<'a>(&'a self, name: &'a PodName) -> BoxFuture<'a, Result<Option<Description>, Refusal>> {
        self.look_at(name).boxed()
    }

    fn logs<'a>(
        &'a self,
        name: &'a PodName,
        wanted: LogsWanted,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Logged, Refusal>>, Refusal>> {
        self.read_logs(name, wanted).boxed()
    }

    fn revoke<'a>(&'a self, name: &'a PodName, not_before: u64) -> BoxFuture<'a, Result<u64, Refusal>> {
        self.order_revocation(name, not_before).boxed()
    }

    fn revoked(&self, name: &PodName, expires_at: u64) -> BoxFuture<'static, u64> {
        let (pods, name) = (self.watches.apocryph_pods.clone(), name.clone());
        let mut changes = self.watches.changes.subscribe(&name);
        async move {
            loop {
                // Only ever grows: an old cache is late, never wrong.
                let cached = pods.get(&ObjectRef::new(name.as_str()));
                let not_before = cached
                    .and_then(|pod| view::record(&pod))
                    .map_or(0, |record| record.delegations_not_before);
                if delegation::is_revoked(not_before, expires_at) {
                    return not_before;
                }
                changes.changed().await;
            }
        }
        .boxed()
    }
}

/// Tries until something is known; `None`: nothing within [`KNOWN_WITHIN`].
async fn until_known<T, F: Future<Output = Option<T>>>(mut once: impl FnMut() -> F) -> Option<T> {
    let deadline = tokio::time::Instant::now() + KNOWN_WITHIN;
    let mut wait = RETRY_MIN;
    loop {
        if let Some(known) = once().await {
            return Some(known);
        }
        if tokio::time::Instant::now() + wait >= deadline {
            return None;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

pub(super) fn unavailable() -> Refusal {
    Refusal::new(Code::ApiUnavailable, "The provider's Kubernetes API does not answer.")
        .remedy("Send the same request again: what was done is found again.")
        .retry_after(RETRY_AFTER)
}

/// A definite no, in the server's words.
pub(super) fn rejected(failed: &Failed) -> Refusal {
    tracing::warn!(error = %failed, "the API server refuses");
    if failed.is_invalid() {
        let refusal = Refusal::new(
            Code::InvalidManifest,
            format!("The cluster refuses the pod: {}", failed.message()),
        )
        .remedy("Correct what the message names; if the manifest has nothing of the kind, tell the provider.");
        match failed.field() {
            Some(field) => refusal.field(field),
            None => refusal,
        }
    } else if failed.is_forbidden() {
        Refusal::new(
            Code::PodRefused,
            format!("The cluster refuses the pod: {}", failed.message()),
        )
        .remedy("Ask the provider: an admission policy or a missing right refuses it.")
    } else {
        unavailable()
    }
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;

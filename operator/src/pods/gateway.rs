//! The one door to pods in the API: what was admitted becomes an ApocryphPod, and its status becomes a stream.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use apocryph_crd::{
    ApocryphPod, ApocryphPodSpec, Container, End, EnvVar, FINALIZER, Free, Payment, Port, Resources, Volume,
    VolumeMount,
};
use apocryph_proto::outcome::Code;
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::reflector::ObjectRef,
};

use super::{
    FIELD_MANAGER, annotation,
    api::{Failed, ask, found},
    objects::secret,
    staging::Staging,
    view,
};
use crate::{
    admission::{Admitted, admitted::AdmittedRequest},
    model::{
        key::PodName,
        manifest::Complete,
        pod::{EndedBy, PodRecord, Terms},
        refusal::Refusal,
        services::{Hold, Pods, Submitted},
        status::PodStatus,
    },
    watches::{Subscription, Watches},
};

/// A publisher waits this long for a write whose outcome is not known; afterwards it is found out behind his back.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
/// A request that the API server got may be carried out this long after it was sent (its own `--request-timeout` is 60 s).
const LATE_WRITE: Duration = Duration::from_secs(75);
/// Waits between two tries.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Seconds after which asking again may help.
const RETRY_AFTER: u32 = 10;
/// An object that changes under our hands is read again this often.
const CONFLICTS_MAX: usize = 16;

/// Implements [`Pods`]. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    client: Client,
    watches: Watches,
    operator_namespace: String,
    staging: Staging,
}

impl Gateway {
    pub fn new(client: Client, watches: Watches, settings: &super::Settings) -> Arc<Gateway> {
        Arc::new(Gateway {
            client,
            watches,
            operator_namespace: settings.operator_namespace.clone(),
            staging: Staging::default(),
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
                let by_us = PatchParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                let write = self.pods();
                match ask(
                    "patch",
                    "ApocryphPod",
                    name.as_str(),
                    write.patch(name.as_str(), &by_us, &Patch::Merge(patch)),
                )
                .await
                {
                    Ok(_) => return Some(Ok(())),
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
}

impl Pods for Gateway {
    fn find<'a>(&'a self, name: &'a PodName) -> BoxFuture<'a, Result<Option<PodRecord>, Refusal>> {
        async move {
            match self.read(name).await {
                Ok(object) => Ok(object.as_ref().and_then(view::record)),
                Err(failed) => {
                    tracing::warn!(pod = %name, error = %failed, "pod could not be read");
                    Err(unavailable())
                }
            }
        }
        .boxed()
    }

    fn submit(&self, admitted: Admitted) -> BoxFuture<'_, Result<Submitted, Refusal>> {
        let gateway = self.clone();
        async move {
            // A task of its own: who asked may go away, and what was begun is known to its end all the same. As many as there
            // are holds, one per name.
            match tokio::spawn(async move { gateway.carry_out(admitted).await }).await {
                Ok(submitted) => submitted,
                Err(error) => {
                    tracing::error!(%error, "submit panicked");
                    Err(unavailable())
                }
            }
        }
        .boxed()
    }

    fn watch(&self, name: &PodName) -> BoxStream<'static, PodStatus> {
        let watch = Watch {
            changes: self.watches.changes.subscribe(name),
            api: self.pods(),
            watches: self.watches.clone(),
            name: name.clone(),
            last: None,
        };
        stream::unfold(watch, |mut watch| async move {
            watch.next().await.map(|status| (status, watch))
        })
        .boxed()
    }

    fn end<'a>(&'a self, name: &'a PodName, life: u64) -> BoxFuture<'a, Result<(), Refusal>> {
        self.order_end(name, life).boxed()
    }
}

async fn read(api: &Api<ApocryphPod>, name: &PodName) -> Result<Option<ApocryphPod>, Failed> {
    found(ask("get", "ApocryphPod", name.as_str(), api.get(name.as_str())).await)
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

enum Commit {
    Made(PodRecord),
    Raced,
    Refused(Refusal),
    Unknown,
}

/// What tells our object from another one of the name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    life: i64,
    tag: Option<String>,
    request_id: String,
}

fn identity(request: &AdmittedRequest) -> Identity {
    Identity {
        life: i64::try_from(request.life).unwrap_or(i64::MAX),
        tag: Some(request.tag.0.clone()),
        request_id: request.request_id.clone(),
    }
}

fn identity_of(object: &ApocryphPod) -> Identity {
    Identity {
        life: object.spec.life,
        tag: object.spec.tag.clone(),
        request_id: object
            .annotations()
            .get(annotation::REQUEST_ID)
            .cloned()
            .unwrap_or_default(),
    }
}

/// One write, and what is read after it when it was not answered.
struct Write<'a> {
    api: &'a Api<ApocryphPod>,
    object: &'a ApocryphPod,
    /// resourceVersion of the ended object that gives way.
    replaces: Option<&'a str>,
}

impl Write<'_> {
    /// `None`: not known.
    async fn once(&self) -> Option<Commit> {
        let answer = match self.replaces {
            None => self.create().await,
            Some(version) => self.replace(version).await,
        };
        match answer {
            Ok(Some(made)) => Some(self.made(&made)),
            Ok(None) => Some(Commit::Raced),
            // Perhaps by an earlier try of ours.
            Err(failed) if failed.is_conflict() => self.look(Some(Commit::Raced)).await,
            Err(failed) if failed.is_unknown() => self.look(None).await,
            Err(failed) => Some(Commit::Refused(rejected(&failed))),
        }
    }

    async fn create(&self) -> Result<Option<ApocryphPod>, Failed> {
        let name = self.object.name_any();
        ask(
            "create",
            "ApocryphPod",
            &name,
            self.api.create(&PostParams::default(), self.object),
        )
        .await
        .map(Some)
    }

    /// One update of exactly the version that was seen ended: life, TAG, payment and Secret in, `end` out. `Ok(None)`: it is
    /// another version by now.
    async fn replace(&self, version: &str) -> Result<Option<ApocryphPod>, Failed> {
        let name = self.object.name_any();
        let Some(mut there) = found(ask("get", "ApocryphPod", &name, self.api.get(&name)).await)? else {
            return Ok(None);
        };
        if identity_of(&there) == identity_of(self.object) {
            return Ok(Some(there));
        }
        if there.resource_version().as_deref() != Some(version) {
            return Ok(None);
        }
        there.spec = self.object.spec.clone();
        let annotations = there.annotations_mut();
        for key in [annotation::BUILT, annotation::READY] {
            annotations.remove(key);
        }
        annotations.extend(self.object.annotations().clone());
        ask(
            "update",
            "ApocryphPod",
            &name,
            self.api.replace(&name, &PostParams::default(), &there),
        )
        .await
        .map(Some)
    }

    fn made(&self, made: &ApocryphPod) -> Commit {
        match view::record(made) {
            Some(record) => Commit::Made(record),
            // The name is derived from the key: cannot be, and would be no pod of ours.
            None => Commit::Raced,
        }
    }

    /// Reads: is it ours? `otherwise`: what it means that it is not there.
    async fn look(&self, otherwise: Option<Commit>) -> Option<Commit> {
        let name = self.object.name_any();
        match found(ask("get", "ApocryphPod", &name, self.api.get(&name)).await) {
            Ok(Some(there)) if identity_of(&there) == identity_of(self.object) => Some(self.made(&there)),
            // Unchanged: the update was not carried out (yet); it is tried again.
            Ok(Some(there)) if otherwise.is_none() && there.resource_version().as_deref() == self.replaces => None,
            Ok(Some(_)) => Some(Commit::Raced),
            Ok(None) => otherwise,
            Err(_) => None,
        }
    }
}

/// Reads on until it is known whether the object came to be, and holds its capacity until then.
async fn find_out(api: Api<ApocryphPod>, name: PodName, ours: Identity, hold: Hold) {
    let late = tokio::time::Instant::now() + LATE_WRITE;
    loop {
        match read(&api, &name).await {
            Ok(Some(there)) if identity_of(&there) == ours => {
                tracing::info!(pod = %name, "the pod was created after all");
                hold.commit();
                return;
            }
            // A write that was still on its way has arrived by then, or never does.
            Ok(_) if tokio::time::Instant::now() >= late => {
                tracing::info!(pod = %name, "the pod was not created");
                return;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(pod = %name, %error, "still not known"),
        }
        tokio::time::sleep(RETRY_MAX).await;
    }
}

fn object(request: &AdmittedRequest, secret_name: Option<String>, now: Timestamp) -> ApocryphPod {
    let AdmittedRequest {
        key,
        life,
        tag,
        terms,
        pod,
        replaces: _,
        request_id,
    } = request;
    let Complete { manifest, resources } = pod;
    let containers = manifest
        .containers()
        .iter()
        .zip(resources)
        .map(|(container, resources)| Container {
            name: container.name.clone(),
            image: container.image.clone(),
            command: container.command.clone(),
            args: container.args.clone(),
            working_dir: container.working_dir.clone(),
            ports: container
                .ports
                .iter()
                .map(|port| Port {
                    name: port.name.clone(),
                    port: port.port.into(),
                    target_port: port.target_port.into(),
                })
                .collect(),
            env: container.env.keys().map(|name| EnvVar { name: name.clone() }).collect(),
            volume_mounts: container
                .mounts
                .iter()
                .map(|mount| VolumeMount {
                    name: mount.volume.clone(),
                    mount_path: mount.path.clone(),
                    read_only: mount.read_only,
                })
                .collect(),
            resources: Resources {
                cpu_millis: amount(resources.cpu_millis),
                memory: amount(resources.memory),
                ephemeral_storage: amount(resources.ephemeral_storage),
            },
        });
    let Terms::Free { table } = terms;
    let mut object = ApocryphPod::new(
        key.name().as_str(),
        ApocryphPodSpec {
            publisher: key.publisher.to_string(),
            pod_id: key.pod_id.to_string(),
            life: amount(*life),
            tag: Some(tag.0.clone()),
            payment: Payment {
                free: Free {
                    table: Some(table.clone()),
                },
            },
            containers: containers.collect(),
            volumes: manifest
                .volumes()
                .iter()
                .map(|volume| Volume {
                    name: volume.name.clone(),
                    size: amount(volume.size),
                })
                .collect(),
            replicas: i32::try_from(manifest.replicas()).unwrap_or(i32::MAX),
            secret_name,
            end: None,
        },
    );
    object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    object.metadata.annotations = Some(BTreeMap::from([
        (annotation::STARTED.to_owned(), now.to_string()),
        (annotation::REQUEST_ID.to_owned(), request_id.clone()),
    ]));
    object
}

/// Amounts within the limits fit; what does not is refused by the schema's bounds.
fn amount(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

fn unavailable() -> Refusal {
    Refusal::new(Code::ApiUnavailable, "The provider's Kubernetes API does not answer.")
        .remedy("Send the same request again: what was done is found again.")
        .retry_after(RETRY_AFTER)
}

fn not_found() -> Refusal {
    Refusal::new(Code::NotFound, "There is no such pod of this publisher.")
}

/// A definite no, in the server's words.
fn rejected(failed: &Failed) -> Refusal {
    tracing::warn!(error = %failed, "the API server refuses");
    if failed.is_invalid() {
        Refusal::new(
            Code::InvalidManifest,
            format!("The cluster refuses the pod: {}", failed.message()),
        )
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

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;

//! Makes what was built true, in the order in which it must be true, and writes nothing that is true already.

use std::{fmt::Debug, sync::Arc, time::Duration};

use apocryph_crd::ApocryphPod;
use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, PersistentVolumeClaim, Secret, Service},
        rbac::v1::RoleBinding,
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::PartialObjectMeta,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    FIELD_MANAGER, Settings, annotation,
    api::{Failed, ask, found, merge},
    compare::{Difference, compare},
    gather::Seen,
    objects::{self, Objects, meta},
    validate::ValidatedPod,
    written::Written,
};
use crate::watches::short_name;

/// A RoleBinding takes a moment to reach every API server's authorizer; a 403 after this is meant.
pub const RIGHTS_GRACE: Duration = Duration::from_secs(10);

/// What lives after an apply that went through: status speaks of nothing else.
#[derive(Clone, Debug)]
pub struct Applied {
    pub service: Option<Arc<Service>>,
    pub deployment: Arc<Deployment>,
    /// Was anything written?
    pub wrote: bool,
}

/// Why an apply did not go through.
#[derive(Debug)]
pub enum Stop {
    /// The rights of a fresh RoleBinding have not arrived.
    WaitingForRights,
    /// A volume of this life is gone; it is not made again, empty, in silence.
    VolumeLost(String),
    /// A volume was not made yet and no storage is offered any more; without a class it would be one of the cluster's default.
    StorageWithdrawn(String),
    /// The Secret that the spec names, or a key in it, is not there.
    SecretMissing(String),
    /// What was written does not stay: something else writes the field at `path` too.
    Contested {
        kind: &'static str,
        path: String,
    },
    Failed(Failed),
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Stop {
        Stop::Failed(failed)
    }
}

/// What an apply works with.
pub struct Hands<'a> {
    pub client: &'a Client,
    pub settings: &'a Settings,
    pub written: &'a Written,
    pub now: Timestamp,
}

/// # Errors
/// See [`Stop`]; what was made until then stays, and the next apply goes on from there.
pub async fn apply(
    hands: &Hands<'_>,
    pod: &ValidatedPod,
    owner: &mut Arc<ApocryphPod>,
    namespace: Option<&Namespace>,
    seen: &Seen,
    objects: Objects,
) -> Result<Applied, Stop> {
    // A kind that is forgotten here does not compile.
    let Objects {
        namespace: built_namespace,
        role_binding,
        resource_quota,
        limit_range,
        network_policy,
        claims,
        service,
        deployment,
    } = objects;
    let mut writes = Writes {
        hands,
        pod: pod.name.as_str(),
        space: pod.name.namespace(),
        wrote: false,
    };

    writes.put_cluster(&built_namespace, namespace).await?;
    if !is_built(owner) {
        // After the namespace and before anything in it: a crash in between leaves a namespace that is taken over, and never
        // a mark without a namespace, which would end the pod.
        let life = owner.spec.life.to_string();
        *owner = Arc::new(annotate(hands, owner, annotation::BUILT, &life).await?);
        writes.wrote = true;
    }
    let bound = writes.bind(&role_binding, seen.role_binding.as_deref()).await?;

    let rest = async {
        // Walls before what they hold.
        writes.put(&resource_quota, seen.resource_quota.as_deref()).await?;
        writes.put(&limit_range, seen.limit_range.as_deref()).await?;
        writes.put(&network_policy, seen.network_policy.as_deref()).await?;
        let running = seen
            .deployment
            .as_deref()
            .is_some_and(|live| is_as_built(&deployment, live) && is_available(live));
        if !running {
            writes.copy_secret(pod).await?;
        }
        let made = seen.deployment.is_some() || was_ready(owner);
        for claim in &claims {
            writes.claim(claim, &seen.claims, made).await?;
        }
        let service = match &service {
            Some(service) => Some(writes.put(service, seen.service.as_deref()).await?),
            None => None,
        };
        let deployment = writes.put(&deployment, seen.deployment.as_deref()).await?;
        writes.prune(pod, seen, service.is_none(), &deployment).await?;
        Ok((service, deployment))
    };
    match rest.await {
        Ok((service, deployment)) => {
            let wrote = writes.wrote;
            Ok(Applied {
                service: service.map(Arc::new),
                deployment: Arc::new(deployment),
                wrote,
            })
        }
        Err(Stop::Failed(failed)) if is_about_rights(&failed) && is_recent(&bound, hands.now) => {
            Err(Stop::WaitingForRights)
        }
        Err(stop) => Err(stop),
    }
}

/// Has the namespace of this life been made?
pub fn is_built(owner: &ApocryphPod) -> bool {
    owner
        .annotations()
        .get(annotation::BUILT)
        .is_some_and(|life| *life == owner.spec.life.to_string())
}

/// One annotation, on the version of the object that is known.
pub async fn annotate(hands: &Hands<'_>, owner: &ApocryphPod, key: &str, value: &str) -> Result<ApocryphPod, Failed> {
    let patch = serde_json::json!({"metadata": {
        "resourceVersion": owner.metadata.resource_version,
        "annotations": {key: value},
    }});
    let name = owner.name_any();
    let api = Api::<ApocryphPod>::all(hands.client.clone());
    let answer = merge(&api, &name, patch).await?;
    hands.written.note(&name, &answer);
    Ok(answer)
}

/// Was this life Ready once?
pub fn was_ready(owner: &ApocryphPod) -> bool {
    owner
        .annotations()
        .get(annotation::READY)
        .is_some_and(|life| *life == owner.spec.life.to_string())
}

/// Does the authorizer refuse it (and not an admission policy, a quota, or a namespace that is going)?
fn is_about_rights(failed: &Failed) -> bool {
    failed.is_forbidden() && failed.message().contains("cannot ")
}

fn is_recent(bound: &RoleBinding, now: Timestamp) -> bool {
    // The server's clock may be ahead of ours.
    let grace = k8s_openapi::jiff::SignedDuration::try_from(RIGHTS_GRACE).unwrap_or_default();
    bound
        .metadata
        .creation_timestamp
        .as_ref()
        .is_none_or(|created| now.duration_since(created.0) < grace)
}

fn is_as_built(built: &Deployment, live: &Deployment) -> bool {
    matches!((serde_json::to_value(built), serde_json::to_value(live)), (Ok(built), Ok(live)) if compare(&built, &live) == Difference::None)
}

fn is_available(live: &Deployment) -> bool {
    let wanted = live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    live.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
        >= wanted
}

/// The writes of one apply.
struct Writes<'a> {
    hands: &'a Hands<'a>,
    /// Name of the ApocryphPod.
    pod: &'a str,
    /// The tenant's namespace.
    space: String,
    wrote: bool,
}

impl Writes<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.hands.client.clone(), &self.space)
    }

    async fn put<K>(&mut self, built: &K, live: Option<&K>) -> Result<K, Stop>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let api = self.api();
        self.put_by(&api, built, live).await
    }

    async fn put_cluster<K>(&mut self, built: &K, live: Option<&K>) -> Result<K, Stop>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let api = Api::all(self.hands.client.clone());
        self.put_by(&api, built, live).await
    }

    /// Server-side apply, only on a difference. One write undoes what a hand changed; a second is needed only where a hand
    /// also took our label off, so that the cache did not know the object.
    async fn put_by<K>(&mut self, api: &Api<K>, built: &K, live: Option<&K>) -> Result<K, Stop>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let (kind, name) = (short_name::<K>(), built.name_any());
        let want = json(built)?;
        let by_us = PatchParams::apply(FIELD_MANAGER);
        let first = match live {
            Some(live) => (compare(&want, &json(live)?), live),
            None => (Difference::Built(String::new()), built),
        };
        let (path, patch) = match first {
            (Difference::None, live) => return Ok(live.clone()),
            (Difference::Added { path, patch }, _) => (path, patch),
            (Difference::Built(path), _) => {
                tracing::debug!(pod = self.pod, kind, %name, %path, "apply");
                let (forced, body) = (by_us.clone().force(), Patch::Apply(built));
                let answer = self.wrote(ask("apply", kind, &name, api.patch(&name, &forced, &body)).await?);
                match compare(&want, &json(&answer)?) {
                    Difference::None => return Ok(answer),
                    Difference::Built(path) => return Err(Stop::Contested { kind, path }),
                    Difference::Added { path, patch } => (path, patch),
                }
            }
        };
        tracing::info!(pod = self.pod, kind, %name, %path, "taking out what was added by hand");
        let body = Patch::Merge(patch);
        let answer = self.wrote(ask("patch", kind, &name, api.patch(&name, &by_us, &body)).await?);
        match compare(&want, &json(&answer)?) {
            Difference::None => Ok(answer),
            Difference::Built(path) | Difference::Added { path, .. } => Err(Stop::Contested { kind, path }),
        }
    }

    /// Remembers the answer to a write.
    fn wrote<K: Resource<DynamicType = ()>>(&mut self, answer: K) -> K {
        self.wrote = true;
        self.hands.written.note(self.pod, &answer);
        answer
    }

    /// POST: `patch` on RoleBindings would be a right too many. Who finds one there has it.
    async fn bind(&mut self, built: &RoleBinding, live: Option<&RoleBinding>) -> Result<RoleBinding, Stop> {
        if let Some(live) = live {
            return Ok(live.clone());
        }
        let (api, name) = (self.api::<RoleBinding>(), built.name_any());
        match ask(
            "create",
            "RoleBinding",
            &name,
            api.create(&PostParams::default(), built),
        )
        .await
        {
            Ok(made) => Ok(self.wrote(made)),
            Err(failed) if failed.is_conflict() => Ok(ask("get", "RoleBinding", &name, api.get(&name)).await?),
            Err(failed) => Err(failed.into()),
        }
    }

    /// From the operator's namespace, under the same name. The copy never changes: other content has another name.
    async fn copy_secret(&mut self, pod: &ValidatedPod) -> Result<(), Stop> {
        let Some(name) = &pod.secret else { return Ok(()) };
        let here = self.api::<Secret>();
        if found(ask("get", "Secret", name, here.get_metadata(name)).await)?.is_some() {
            return Ok(());
        }
        let home = Api::<Secret>::namespaced(self.hands.client.clone(), &self.hands.settings.operator_namespace);
        let source = found(ask("get", "Secret", name, home.get(name)).await)?;
        let Some(source) = source else {
            return Err(Stop::SecretMissing(format!(
                "The Secret {name} is not in the operator's namespace."
            )));
        };
        let staged = source.labels().contains_key(meta::STAGED);
        if pod.tag.is_none() && staged {
            // Else an own pod could read a publisher's values.
            return Err(Stop::SecretMissing(format!(
                "The Secret {name} belongs to a publisher's pod."
            )));
        }
        let copy = objects::secret::copy(pod, &source)
            .map_err(|key| Stop::SecretMissing(format!("The Secret {name} has no key {key}.")))?;
        match ask("create", "Secret", name, here.create(&PostParams::default(), &copy)).await {
            Ok(_) => self.wrote = true,
            Err(failed) if failed.is_conflict() => {}
            Err(failed) => return Err(failed.into()),
        }
        Ok(())
    }

    /// Makes a volume once. `made`: it was there before in this life.
    async fn claim(
        &mut self,
        built: &PersistentVolumeClaim,
        live: &[Arc<PersistentVolumeClaim>],
        made: bool,
    ) -> Result<(), Stop> {
        let name = built.name_any();
        if live.iter().any(|claim| claim.name_any() == name) {
            return Ok(());
        }
        let api = self.api::<PersistentVolumeClaim>();
        if made {
            return match found(ask("get", "PersistentVolumeClaim", &name, api.get_metadata(&name)).await)? {
                Some(_) => Ok(()),
                None => Err(Stop::VolumeLost(name)),
            };
        }
        if built.spec.as_ref().is_none_or(|spec| spec.storage_class_name.is_none()) {
            return Err(Stop::StorageWithdrawn(name));
        }
        match ask(
            "create",
            "PersistentVolumeClaim",
            &name,
            api.create(&PostParams::default(), built),
        )
        .await
        {
            Ok(_) => self.wrote = true,
            Err(failed) if failed.is_conflict() => {}
            Err(failed) => return Err(failed.into()),
        }
        Ok(())
    }

    /// What is ours and no longer wanted. Never a volume.
    async fn prune(
        &mut self,
        pod: &ValidatedPod,
        seen: &Seen,
        no_service: bool,
        deployment: &Deployment,
    ) -> Result<(), Stop> {
        for service in seen
            .stale_services
            .iter()
            .chain(seen.service.iter().filter(|_| no_service))
        {
            self.delete::<Service>(&service.metadata).await?;
        }
        for deployment in &seen.stale_deployments {
            self.delete::<Deployment>(&deployment.metadata).await?;
        }
        // A publisher's pod keeps one Secret through its life. An admin may have named another one: the old copy goes when
        // nothing that runs may still need it.
        if pod.tag.is_none()
            && is_available(deployment)
            && seen.pods.iter().all(|pod| pod.metadata.deletion_timestamp.is_none())
        {
            let ours = ListParams::default().labels(meta::SELECTOR);
            let copies = ask("list", "Secret", &self.space, self.api::<Secret>().list_metadata(&ours)).await?;
            for PartialObjectMeta { metadata, .. } in copies.items {
                let used =
                    |name: &str| pod.secret.as_deref() == Some(name) || seen.pods.iter().any(|one| uses(one, name));
                if metadata.name.as_deref().is_some_and(|name| !used(name)) {
                    self.delete::<Secret>(&metadata).await?;
                }
            }
        }
        Ok(())
    }

    async fn delete<K>(
        &mut self,
        metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    ) -> Result<(), Stop>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        let (kind, name) = (short_name::<K>(), metadata.name.clone().unwrap_or_default());
        let this_one = DeleteParams::background().preconditions(Preconditions {
            uid: metadata.uid.clone(),
            resource_version: None,
        });
        if found(ask("delete", kind, &name, self.api::<K>().delete(&name, &this_one)).await)?.is_some() {
            tracing::info!(pod = self.pod, kind, %name, "no longer wanted: deleted");
            self.wrote = true;
        }
        Ok(())
    }
}

/// Does the Pod take a value, a file or credentials from that Secret?
fn uses(pod: &k8s_openapi::api::core::v1::Pod, secret: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let variables = spec
        .containers
        .iter()
        .flat_map(|container| container.env.iter().flatten());
    let values = variables
        .filter_map(|variable| variable.value_from.as_ref()?.secret_key_ref.as_ref())
        .map(|key| key.name.as_str());
    let files = spec
        .volumes
        .iter()
        .flatten()
        .filter_map(|volume| volume.secret.as_ref()?.secret_name.as_deref());
    let credentials = spec.image_pull_secrets.iter().flatten().map(|pull| pull.name.as_str());
    values.chain(files).chain(credentials).any(|name| name == secret)
}

fn json<K: Serialize + Resource<DynamicType = ()>>(object: &K) -> Result<serde_json::Value, Stop> {
    // Typed objects have a JSON form; said as a failure rather than assumed.
    serde_json::to_value(object).map_err(|error| Stop::Contested {
        kind: short_name::<K>(),
        path: format!("no JSON form: {error}"),
    })
}

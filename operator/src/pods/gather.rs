//! Only reads: what is there for a pod. From the caches, which cost nothing; afresh where a cache has not yet seen our own
//! write, and wherever something would be ended for being gone.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{LimitRange, Namespace, Node, PersistentVolumeClaim, Pod, ResourceQuota, Service},
        networking::v1::NetworkPolicy,
        rbac::v1::RoleBinding,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use serde::de::DeserializeOwned;

use super::{
    Settings,
    api::{Failed, ask, found},
    objects::{ADMITTED, WALLS, WORKLOAD, role_binding},
    owned::Owned,
};
use crate::{model::key::PodName, watches::Watches, watches::short_name};

/// What is there in the pod's namespace.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub role_binding: Option<Arc<RoleBinding>>,
    pub resource_quota: Option<Arc<ResourceQuota>>,
    pub limit_range: Option<Arc<LimitRange>>,
    pub network_policy: Option<Arc<NetworkPolicy>>,
    pub service: Option<Arc<Service>>,
    pub deployment: Option<Arc<Deployment>>,
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    pub pods: Vec<Arc<Pod>>,
    /// Services of ours by names that we no longer use.
    pub stale_services: Vec<Arc<Service>>,
    /// Deployments of ours by names that we no longer use.
    pub stale_deployments: Vec<Arc<Deployment>>,
}

/// # Errors
/// A cache has not yet seen our own write, and the API server did not answer.
pub async fn gather(
    client: &Client,
    watches: &Watches,
    owned: &Owned,
    written: &Written,
    settings: &Settings,
    name: &PodName,
) -> Result<Seen, Failed> {
    let namespace = name.namespace();
    let here = Here {
        client,
        written,
        pod: name.as_str(),
        namespace: &namespace,
    };
    Ok(Seen {
        role_binding: here
            .current(&owned.role_bindings, &role_binding::name(settings))
            .await?,
        resource_quota: here.current(&owned.resource_quotas, ADMITTED).await?,
        limit_range: here.current(&owned.limit_ranges, ADMITTED).await?,
        network_policy: here.current(&owned.network_policies, WALLS).await?,
        service: here.current(&owned.services, WORKLOAD).await?,
        deployment: here.current(&owned.deployments, WORKLOAD).await?,
        claims: inside(&watches.claims, &namespace, |_| true),
        pods: inside(&watches.pods, &namespace, |_| true),
        stale_services: inside(&owned.services, &namespace, |name| name != WORKLOAD),
        stale_deployments: inside(&owned.deployments, &namespace, |name| name != WORKLOAD),
    })
}

fn inside<K>(store: &Store<K>, namespace: &str, names: impl Fn(&str) -> bool) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut inside = store.state_filter(|object: &K| {
        object.meta().namespace.as_deref() == Some(namespace) && object.meta().name.as_deref().is_some_and(&names)
    });
    inside.sort_by(|one, other| one.meta().name.cmp(&other.meta().name));
    inside
}

struct Here<'a> {
    client: &'a Client,
    written: &'a Written,
    pod: &'a str,
    namespace: &'a str,
}

impl Here<'_> {
    /// The cached object; the fresh one while the cache is behind our last write.
    async fn current<K>(&self, store: &Store<K>, name: &str) -> Result<Option<Arc<K>>, Failed>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + 'static,
    {
        let cached = store.get(&ObjectRef::new(name).within(self.namespace));
        let kind = short_name::<K>();
        if !self.written.behind(
            self.pod,
            kind,
            name,
            cached
                .as_deref()
                .and_then(|object| object.meta().resource_version.as_deref()),
        ) {
            return Ok(cached);
        }
        let api = Api::<K>::namespaced(self.client.clone(), self.namespace);
        let fresh = found(ask("get", kind, name, api.get(name)).await)?;
        if fresh.is_none() {
            self.written.forget_one(self.pod, kind, name);
        }
        Ok(fresh.map(Arc::new))
    }
}

/// The nodes where the pod's replicas are, in the order of their names.
pub fn nodes_of(watches: &Watches, pods: &[Arc<Pod>]) -> Vec<Arc<Node>> {
    let mut names: Vec<&str> = pods
        .iter()
        .filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter_map(|name| watches.nodes.get(&ObjectRef::new(name)))
        .collect()
}

/// A fresh read of the pod's namespace. `Ok(None)`: it is gone, as far as the API server can say at all.
///
/// # Errors
/// It could not be found out, which never ends anything.
pub async fn fresh_namespace(client: &Client, name: &PodName) -> Result<Option<Namespace>, Failed> {
    let namespace = name.namespace();
    found(
        ask(
            "get",
            "Namespace",
            &namespace,
            Api::<Namespace>::all(client.clone()).get(&namespace),
        )
        .await,
    )
}

/// What we wrote last and the caches may not have seen: without it, a look that comes too early would write once more.
/// One entry per object that was written and not yet seen.
#[derive(Debug, Default)]
pub struct Written(Mutex<HashMap<String, HashMap<(&'static str, String), u64>>>);

impl Written {
    /// `object` is the answer to a write.
    pub fn note<K: Resource<DynamicType = ()>>(&self, pod: &str, object: &K) {
        // Versions of the API server are numbers that grow; with one that is not, the cache is believed.
        let Some(version) = number(object.meta().resource_version.as_deref()) else {
            return;
        };
        self.locked()
            .entry(pod.to_owned())
            .or_default()
            .insert((short_name::<K>(), object.name_any()), version);
    }

    /// Is what the cache has older than what we wrote? Forgets the write once it is not.
    pub fn behind(&self, pod: &str, kind: &'static str, name: &str, cached: Option<&str>) -> bool {
        let mut all = self.locked();
        let Some(of_pod) = all.get_mut(pod) else { return false };
        let key = (kind, name.to_owned());
        let Some(&wrote) = of_pod.get(&key) else { return false };
        let behind = match cached {
            None => true,
            Some(version) => number(Some(version)).is_some_and(|version| version < wrote),
        };
        if !behind {
            of_pod.remove(&key);
            if of_pod.is_empty() {
                all.remove(pod);
            }
        }
        behind
    }

    fn forget_one(&self, pod: &str, kind: &'static str, name: &str) {
        if let Some(of_pod) = self.locked().get_mut(pod) {
            of_pod.remove(&(kind, name.to_owned()));
        }
    }

    /// The pod's namespace, or the pod, is gone.
    pub fn forget(&self, pod: &str) {
        self.locked().remove(pod);
    }

    /// Drops what belongs to pods that are no more.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.locked().retain(|pod, _| exists(pod));
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<String, HashMap<(&'static str, String), u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(version: Option<&str>) -> Option<u64> {
    version?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(version: &str) -> Service {
        let mut service = Service::default();
        service.metadata.name = Some("pod".to_owned());
        service.metadata.resource_version = Some(version.to_owned());
        service
    }

    #[test]
    fn the_cache_is_believed_once_it_has_seen_our_write() {
        let written = Written::default();
        assert!(!written.behind("a", "Service", "pod", None));
        written.note("a", &service("10"));
        assert!(written.behind("a", "Service", "pod", None));
        assert!(written.behind("a", "Service", "pod", Some("9")));
        assert!(!written.behind("b", "Service", "pod", Some("9")));
        assert!(!written.behind("a", "Service", "pod", Some("10")));
        assert!(!written.behind("a", "Service", "pod", Some("9")), "forgotten");
    }
}

//! Only reads: what is there for a pod. From the caches, which cost nothing; afresh where a cache has not yet seen our own
//! write, and wherever something would be ended for being gone.

use std::{fmt::Debug, sync::Arc};

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
    Api, Client, Resource,
    runtime::reflector::{ObjectRef, Store},
};
use serde::de::DeserializeOwned;

use super::{
    Settings,
    api::{Failed, ask, found},
    objects::{ADMITTED, WALLS, WORKLOAD, role_binding},
    owned::Owned,
    written::Written,
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

//! Caches of what the controller makes in tenants' namespaces. Only the leader keeps them.
//!
//! All but the namespaces are watched by our label: an object that lost it by hand is gone from the cache, and the apply that
//! follows gives it back.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{LimitRange, Namespace, ResourceQuota, Service},
    networking::v1::NetworkPolicy,
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client,
    runtime::reflector::{Store, store::WriterDropped},
};
use tokio_util::sync::CancellationToken;

use super::objects::meta;
use crate::{
    model::key::PodName,
    watches::{Changes, WatchTasks, config, strip},
};

/// Read side.
#[derive(Clone)]
pub struct Owned {
    /// All namespaces: one that lost our labels must not count as gone.
    pub namespaces: Store<Namespace>,
    pub role_bindings: Store<RoleBinding>,
    pub resource_quotas: Store<ResourceQuota>,
    pub limit_ranges: Store<LimitRange>,
    pub network_policies: Store<NetworkPolicy>,
    pub services: Store<Service>,
    pub deployments: Store<Deployment>,
}

impl Owned {
    pub fn start(client: &Client, changes: &Changes, token: &CancellationToken) -> (Owned, WatchTasks) {
        let mut tasks = WatchTasks::new(token.clone());
        let ours = config().labels(meta::SELECTOR);
        macro_rules! watch {
            () => {{
                let changes = changes.clone();
                tasks.watch(Api::all(client.clone()), ours.clone(), strip, move |object| {
                    changes.of_tenant(object)
                })
            }};
        }
        let to_namespaces = changes.clone();
        let namespaces = tasks.watch(
            Api::all(client.clone()),
            config(),
            strip,
            move |namespace: Option<&Namespace>| match namespace {
                Some(namespace) => {
                    if let Some(name) = namespace.metadata.name.as_deref().and_then(PodName::from_namespace) {
                        to_namespaces.enqueue(name.as_str());
                    }
                }
                None => to_namespaces.enqueue_all(),
            },
        );
        let owned = Owned {
            namespaces,
            role_bindings: watch!(),
            resource_quotas: watch!(),
            limit_ranges: watch!(),
            network_policies: watch!(),
            services: watch!(),
            deployments: watch!(),
        };
        (owned, tasks)
    }

    /// Returns when every kind has been listed once.
    ///
    /// # Errors
    /// A watch ended before.
    pub async fn synced(&self) -> Result<(), WriterDropped> {
        let Owned {
            namespaces,
            role_bindings,
            resource_quotas,
            limit_ranges,
            network_policies,
            services,
            deployments,
        } = self;
        namespaces.wait_until_ready().await?;
        role_bindings.wait_until_ready().await?;
        resource_quotas.wait_until_ready().await?;
        limit_ranges.wait_until_ready().await?;
        network_policies.wait_until_ready().await?;
        services.wait_until_ready().await?;
        deployments.wait_until_ready().await
    }
}

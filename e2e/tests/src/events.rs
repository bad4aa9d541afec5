//! Events, as `kubectl get events` shows them.

use anyhow::Result;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, Client};

use crate::wait;

/// Awaits an Event of a type on an object.
pub async fn of(admin: &Client, namespace: &str, name: &str, type_: &str) -> Result<Event> {
    let api: Api<Event> = Api::namespaced(admin.clone(), namespace);
    wait::until(
        &format!("a {type_} Event on {name}"),
        api,
        Default::default(),
        |events| {
            events
                .iter()
                .find(|e| {
                    e.type_.as_deref() == Some(type_)
                        && e.regarding.as_ref().is_some_and(|r| r.name.as_deref() == Some(name))
                })
                .cloned()
        },
    )
    .await
}

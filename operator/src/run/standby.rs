//! What every process is until it leads: able to.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Failure, Process, until_answered};
use crate::{
    announce,
    identity_store::{IdentityStore, Keys},
    watches::{WatchEnded, Watches},
};

/// The chart's CRD and this process start at the same time.
const CRD_RETRY: Duration = Duration::from_secs(2);

/// A process that could take over.
pub struct Standby {
    keys: Keys,
    store: IdentityStore,
    watching: JoinHandle<Result<(), WatchEnded>>,
    stop_watching: CancellationToken,
}

impl Standby {
    /// One that has done its part.
    #[cfg(test)]
    pub fn ready(keys: Keys, store: IdentityStore) -> Standby {
        Standby {
            keys,
            store,
            watching: tokio::spawn(std::future::pending()),
            stop_watching: CancellationToken::new(),
        }
    }

    /// When a cache has ended by itself; never otherwise.
    pub async fn ended(&mut self) -> Failure {
        let reason = match (&mut self.watching).await {
            Ok(Ok(())) => "nobody told them to".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Failure::Part {
            part: "the caches",
            reason,
        }
    }

    /// The caches have done their part: the leader reads everything anew.
    pub fn step_forward(self) -> (Keys, IdentityStore) {
        self.stop_watching.cancel();
        (self.keys, self.store)
    }
}

/// Returns when this process is Ready.
pub async fn start(process: &Process, client: Client) -> Result<Standby, Failure> {
    let Process { config, gates, .. } = process;
    let [crd, identity, caches] = ["crd", "identity", "caches"].map(|gate| gates.add(gate));

    served(&client, &config.names.crd).await;
    crd.open();

    let (namespace, pod) = (&config.pod.namespace, &config.pod.name);
    // Before it is Ready: the Service must not select a process that only led in an earlier life.
    until_answered(
        "taking the leader's label off",
        |_| true,
        || announce::step_back(&client, namespace, pod),
    )
    .await
    .map_err(|error| Failure::start("the standby", error))?;
    let store = IdentityStore::new(client.clone(), namespace, &config.names.identity, &config.names.peer);
    let keys = until_answered(
        "the identity",
        |error: &crate::identity_store::Error| error.passes(),
        || store.load_or_create(),
    )
    .await?;
    tracing::info!(peer_id = %keys.identity.peer_id(), "identity");
    identity.open();

    let stop_watching = CancellationToken::new();
    let (watches, tasks) = Watches::start(&client, &stop_watching);
    watches
        .synced()
        .await
        .map_err(|error| Failure::start("the caches", error))?;
    caches.open();
    tracing::info!("ready as a standby");
    Ok(Standby {
        keys,
        store,
        watching: tokio::spawn(tasks.ended()),
        stop_watching,
    })
}

/// Waits until the resource is served.
async fn served(client: &Client, crd: &str) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut told = false;
    loop {
        match api.get_opt(crd).await {
            Ok(Some(crd)) if established(&crd) => return,
            Ok(_) if told => {}
            Ok(_) => {
                tracing::warn!(crd, "waiting for the CustomResourceDefinition: the chart brings it");
                told = true;
            }
            Err(error) => tracing::warn!(%error, crd, "could not ask for the CustomResourceDefinition"),
        }
        sleep(CRD_RETRY).await;
    }
}

fn established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
}

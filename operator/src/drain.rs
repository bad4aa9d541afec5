//! `apocryph-provider drain "REASON, WHEN"`: before an uninstall. Closes the door and announces the end of every pod; the leader
//! does the rest. It runs beside the operator (kubectl exec), with its rights.

use std::{collections::BTreeSet, time::Duration};

use apocryph_crd::ApocryphPod;
use k8s_openapi::{api::core::v1::ConfigMap, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};

use crate::{
    access::{self, Access},
    args::Config,
    client,
    config_map::EditError,
    pods::{
        annotation,
        notice::{self, Notice, Said},
    },
    telemetry::metrics::Metrics,
};

/// ApocryphPods per page of a list.
const PAGE_SIZE: u32 = 50;
/// Changes by others between our read and our write that are put up with.
const TRIES: usize = 8;
/// A pod that was admitted before the door closed is written by then.
const SETTLED: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the order {0}")]
    Order(String),
    #[error("no access to the Kubernetes API is configured: {0}")]
    NoCluster(#[from] kube::config::InferConfigError),
    #[error("{what}: {source}")]
    Api { what: &'static str, source: kube::Error },
    #[error(
        "the ConfigMap {0} is missing, so the door cannot be closed; make it first (chart value access.existingConfigMap)"
    )]
    NoConfigMap(String),
    #[error("the ConfigMap {name}: {fault}. Mend it first: the door cannot be closed as it is")]
    ConfigMap { name: String, fault: EditError },
    #[error(
        "the ConfigMap {0} is written in a way that cannot be edited here: write accepting: false into it, then drain again"
    )]
    ByHand(String),
    #[error("the ConfigMap {0} changes all the time")]
    Contested(String),
}

fn api(what: &'static str) -> impl Fn(kube::Error) -> Error {
    move |source| Error::Api { what, source }
}

/// Prints what it does. `order`: `REASON, WHEN`, as in the annotation.
pub async fn run(config: &Config, order: &str) -> Result<(), Error> {
    let config_of_cluster = kube::Config::infer().await?;
    // Nobody scrapes this process.
    let client =
        client::connect(config_of_cluster, &Metrics::unregistered()).map_err(api("the client could not be made"))?;
    let (reason, when) = notice::parse(order).map_err(Error::Order)?;
    let at = when.from(Timestamp::now()).map_err(Error::Order)?;
    let notice = Notice { reason, at };
    let closed = close(&client, &config.pod.namespace, &config.names.access, &notice).await?;
    println!(
        "{}",
        if closed {
            "The door is closed: no new pods."
        } else {
            "The door was closed already."
        }
    );
    let mut told = BTreeSet::new();
    loop {
        let fresh = announce(&client, &notice).await?;
        let more = !fresh.is_subset(&told);
        told.extend(fresh);
        if !more {
            break;
        }
        tokio::time::sleep(SETTLED).await;
    }
    println!("{} pods end at {} or before.", told.len(), notice.at);
    println!("Wait for them: kubectl wait apocryphpods --all --for=condition=Ended --timeout=…");
    Ok(())
}

/// `false`: it was closed. An admin's own message stays then.
async fn close(client: &Client, namespace: &str, name: &str, notice: &Notice) -> Result<bool, Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    for _ in 0..TRIES {
        let map = maps
            .get_opt(name)
            .await
            .map_err(api("the ConfigMap could not be read"))?;
        let map = map.ok_or_else(|| Error::NoConfigMap(name.to_owned()))?;
        let text = map
            .data
            .as_ref()
            .and_then(|data| data.get(access::KEY))
            .map_or("", String::as_str);
        let now = Access::parse(text).map_err(|fault| Error::ConfigMap {
            name: name.to_owned(),
            fault,
        })?;
        if !now.accepting {
            return Ok(false);
        }
        let message = format!("{} (pods here end at {})", notice.plain(), notice.at);
        let message: String = message.chars().take(access::MESSAGE_MAX).collect();
        let closed = access::closed(text, &now, &message).ok_or_else(|| Error::ByHand(name.to_owned()))?;
        let patch = serde_json::json!({
            "metadata": {"resourceVersion": map.metadata.resource_version},
            "data": {access::KEY: closed},
        });
        match maps.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => return Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(source) => return Err(api("the ConfigMap could not be changed")(source)),
        }
    }
    Err(Error::Contested(name.to_owned()))
}

/// Names of the pods that will end by then: announced now, or before for the same time or an earlier one.
async fn announce(client: &Client, notice: &Notice) -> Result<BTreeSet<String>, Error> {
    let pods: Api<ApocryphPod> = Api::all(client.clone());
    let mut told = BTreeSet::new();
    let mut page = ListParams::default().limit(PAGE_SIZE);
    loop {
        let list = pods.list(&page).await.map_err(api("the pods could not be listed"))?;
        for pod in &list.items {
            if pod.spec.end.is_some() || pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let name = pod.name_any();
            if !matches!(notice::said(pod), Said::At(before) if before.at <= notice.at) {
                let patch = serde_json::json!({"metadata": {
                    "uid": pod.metadata.uid,
                    "annotations": {annotation::END: notice.written()},
                }});
                match pods.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
                    Ok(_) => println!("{name}  {}  ends at {}", pod.spec.publisher, notice.at),
                    // Gone, or another one by now: the next round sees.
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => continue,
                    Err(source) => return Err(api("a pod could not be annotated")(source)),
                }
            }
            told.insert(name);
        }
        match list.metadata.continue_ {
            Some(token) if !token.is_empty() => page.continue_token = Some(token),
            _ => return Ok(told),
        }
    }
}

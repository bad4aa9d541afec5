//! ApocryphPods and what belongs to them, as the API server holds them.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use apocryph_crd::ApocryphPod;
use apocryph_proto::json;
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};

use crate::{existing::with_images, install::NAMESPACE, spec_of::spec_of, wait};

pub async fn get(admin: &Client, name: &str) -> Result<Option<ApocryphPod>> {
    Ok(Api::all(admin.clone()).get_opt(name).await?)
}

pub fn condition<'a>(pod: &'a ApocryphPod, type_: &str) -> Option<&'a Condition> {
    pod.status
        .as_ref()?
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
}

pub fn has_ended(pod: &ApocryphPod) -> bool {
    pod.status
        .as_ref()
        .is_some_and(|status| status.life == Some(pod.spec.life))
        && condition(pod, "Ended").is_some_and(|condition| condition.status == "True")
}

pub async fn namespace(admin: &Client, name: &str) -> Result<Option<Namespace>> {
    Ok(Api::all(admin.clone()).get_opt(&format!("apod-{name}")).await?)
}

/// ApocryphPods that have not ended.
pub async fn alive(admin: &Client) -> Result<Vec<ApocryphPod>> {
    let all = Api::<ApocryphPod>::all(admin.clone())
        .list(&ListParams::default())
        .await?;
    Ok(all.items.into_iter().filter(|pod| !has_ended(pod)).collect())
}

/// The one that is alive of the publisher whose address stands in a text, in any case.
pub async fn of(admin: &Client, text: &str) -> Result<ApocryphPod> {
    let text = text.to_lowercase();
    let mut alive = alive(admin).await?;
    alive.retain(|pod| text.contains(&pod.spec.publisher));
    anyhow::ensure!(alive.len() == 1, "{} pods of that publisher are alive", alive.len());
    alive.pop().context("none")
}

/// Names of the Secrets in the operator's namespace that were staged for one pod.
pub async fn staged_secrets(admin: &Client, name: &str) -> Result<Vec<String>> {
    let secrets = Api::<Secret>::namespaced(admin.clone(), NAMESPACE)
        .list(&ListParams::default())
        .await?;
    Ok(secrets
        .items
        .iter()
        .map(ResourceExt::name_any)
        .filter(|secret| secret.starts_with(name))
        .collect())
}

/// A staged Secret that no ApocryphPod names, as a crash between the two writes leaves it; gives the pod's name.
pub async fn stage_orphan(admin: &Client) -> Result<String> {
    let name = "q".repeat(26);
    let secret: Secret = serde_json::from_value(serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "immutable": true,
        "metadata": {
            "name": format!("{name}-0123456789abcdef"),
            "labels": {"apocryph.network/staged": "true", "apocryph.network/pod": name},
        },
    }))?;
    Api::namespaced(admin.clone(), NAMESPACE)
        .create(&PostParams::default(), &secret)
        .await?;
    Ok(name)
}

/// What a set of alive pods accounts for: the pods, their namespaces, their staged Secrets.
async fn accounted(admin: &Client) -> Result<(BTreeSet<String>, BTreeSet<String>, BTreeSet<String>)> {
    let pods = alive(admin).await?.iter().map(ResourceExt::name_any).collect();
    let namespaces = Api::<Namespace>::all(admin.clone())
        .list(&ListParams::default())
        .await?;
    let namespaces = namespaces
        .items
        .iter()
        .filter_map(|ns| ns.name_any().strip_prefix("apod-").map(str::to_owned))
        .collect();
    let secrets = Api::<Secret>::namespaced(admin.clone(), NAMESPACE)
        .list(&ListParams::default().labels("apocryph.network/staged"))
        .await?;
    let secrets = secrets
        .items
        .iter()
        .map(|s| s.name_any().chars().take(26).collect())
        .collect();
    Ok((pods, namespaces, secrets))
}

/// Nothing of any pod but the named ones is there.
pub async fn exactly_these(admin: &Client, names: &[String]) -> Result<()> {
    let expected: BTreeSet<String> = names.iter().cloned().collect();
    let (pods, namespaces, secrets) = accounted(admin).await?;
    anyhow::ensure!(pods == expected, "ApocryphPods {pods:?}, expected {expected:?}");
    anyhow::ensure!(
        namespaces == expected,
        "namespaces {namespaces:?}, expected {expected:?}"
    );
    anyhow::ensure!(
        secrets.is_subset(&expected),
        "staged Secrets of {secrets:?}, expected {expected:?}"
    );
    Ok(())
}

/// The same, once the sweeper has removed what a crash left staged.
pub async fn exactly_these_once_swept(admin: &Client, names: &[String]) -> Result<()> {
    let expected: BTreeSet<String> = names.iter().cloned().collect();
    let secrets = Api::<Secret>::namespaced(admin.clone(), NAMESPACE);
    let staged = kube::runtime::watcher::Config::default().labels("apocryph.network/staged");
    wait::until("the sweeper removes what nobody names", secrets, staged, |secrets| {
        secrets
            .iter()
            .all(|s| expected.contains(&s.name_any().chars().take(26).collect::<String>()))
            .then_some(())
    })
    .await?;
    exactly_these(admin, names).await
}

/// Awaits that every alive pod's status speaks of its present generation and is Ready.
pub async fn settled(admin: &Client) -> Result<()> {
    wait::until(
        "all pods are Ready",
        Api::<ApocryphPod>::all(admin.clone()),
        Default::default(),
        |all| {
            all.iter()
                .filter(|pod| !has_ended(pod))
                .all(|pod| {
                    pod.status
                        .as_ref()
                        .is_some_and(|s| s.observed_generation == pod.metadata.generation)
                        && condition(pod, "Ready").is_some_and(|c| c.status == "True")
                })
                .then_some(())
        },
    )
    .await
}

/// An admin's own pod (no tag).
pub fn own(name: &str, manifest: &str) -> Result<ApocryphPod> {
    let manifest = json::to_json(&with_images(json::pod_from_yaml(manifest)?))?;
    let mut spec = spec_of(
        &manifest,
        &format!("0x{}", "1".repeat(40)),
        &format!("0x{}", "2".repeat(64)),
    );
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("tag");
        spec.remove("secretName");
        spec.insert("payment".into(), serde_json::json!({"free": {}}));
    }
    Ok(ApocryphPod::new(name, serde_json::from_value(spec)?))
}

/// `kubectl delete` orders the end and waits for it.
pub async fn delete_and_wait(admin: &Client, name: &str) -> Result<()> {
    let api = Api::<ApocryphPod>::all(admin.clone());
    api.delete(name, &DeleteParams::default()).await?;
    wait::until(&format!("{name} is gone"), api, Default::default(), |all| {
        (!all.iter().any(|pod| pod.name_any() == name)).then_some(())
    })
    .await
}

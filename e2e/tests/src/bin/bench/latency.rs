//! How long a publisher waits.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use apocryph_e2e::{
    actor::{Actor, Answer, Order},
    cluster::{kubectl, run},
    leak, wait,
};
use apocryph_proto::outcome::Code;
use apocryph_publisher::reply::{Phase, Status};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client, runtime::watcher};
use serde_json::json;

/// Where kubectl's Deployments are.
const NAMESPACE: &str = "apocryph-bench";

/// One provision until its first answer.
async fn provision(actor: &Actor, manifest: &str) -> Result<(Duration, Answer)> {
    let order = Order {
        detach: true,
        ..Order::of(manifest)?
    };
    let begin = Instant::now();
    let answer = actor.provision(&order).await?.next().await?;
    Ok((begin.elapsed(), answer))
}

async fn accept(actor: &Actor, manifest: &str) -> Result<(Duration, Status)> {
    let (latency, answer) = provision(actor, manifest).await?;
    let status = answer.status()?;
    anyhow::ensure!(status.phase == Phase::Accepted, "{status:?}");
    Ok((latency, status))
}

/// Provisions one after the other; how long each took until `accepted`.
pub async fn accepted(actor: &Actor, manifest: &str, n: usize) -> Result<Vec<Duration>> {
    Ok(accepted_and_named(actor, manifest, n).await?.0)
}

/// The same, and the pods' names.
pub async fn accepted_and_named(actor: &Actor, manifest: &str, n: usize) -> Result<(Vec<Duration>, Vec<String>)> {
    let (mut latencies, mut names) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let (latency, status) = accept(actor, manifest).await?;
        latencies.push(latency);
        names.push(status.name);
    }
    Ok((latencies, names))
}

/// One more pod: accepted, or refused for want of room.
pub async fn fits(actor: &Actor, manifest: &str) -> Result<bool> {
    match provision(actor, manifest).await?.1 {
        Answer::Status(_) => Ok(true),
        Answer::Refusal(refusal) if refusal.code.is(Code::InsufficientCapacity) => Ok(false),
        other => bail!("{other:?}"),
    }
}

/// By turns: a provision from `accepted` to running, and the Deployment that came of it, made by `kubectl create`, from there to Ready.
pub async fn ready_beside_kubectl(
    admin: &Client,
    actor: &Actor,
    manifest: &str,
    n: usize,
) -> Result<(Vec<Duration>, Vec<Duration>)> {
    kubectl(&["create", "namespace", NAMESPACE])?;
    let (mut ours, mut kubectls) = (Vec::new(), Vec::new());
    for n in 0..n {
        let mut stream = actor.provision(&Order::of(manifest)?).await?;
        let accepted = stream.next().await?.status()?;
        let begin = Instant::now();
        stream.until_phase(Phase::Running).await?;
        ours.push(begin.elapsed());
        kubectls.push(by_kubectl(admin, &accepted.name, &format!("beside-{n}")).await?);
    }
    // nothing waits for it
    kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"])?;
    Ok((ours, kubectls))
}

async fn by_kubectl(admin: &Client, of_pod: &str, name: &str) -> Result<Duration> {
    let made: Api<Deployment> = Api::namespaced(admin.clone(), &format!("apod-{of_pod}"));
    let deployment = made
        .list(&Default::default())
        .await?
        .items
        .pop()
        .context("the pod's Deployment")?;
    // the same but for names and labels: the operator takes what carries its labels for its own
    let labels = json!({"beside": name});
    let mut spec = serde_json::to_value(deployment.spec)?;
    spec["selector"] = json!({"matchLabels": labels});
    spec["template"]["metadata"] = json!({"labels": labels});
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec,
        "metadata": {"name": name, "namespace": NAMESPACE},
    });
    let folder = leak::folder()?;
    let file = folder.join("deployment.json");
    std::fs::write(&file, serde_json::to_vec(&object)?)?;
    run(Command::new("kubectl").args(["create", "-f"]).arg(&file))?;
    let begin = Instant::now();
    let own = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let api: Api<Deployment> = Api::namespaced(admin.clone(), NAMESPACE);
    wait::until("kubectl's Deployment is Ready", api, own, |all: &[Deployment]| {
        (all.first()?.status.as_ref()?.ready_replicas == Some(1)).then_some(())
    })
    .await?;
    let took = begin.elapsed();
    std::fs::remove_dir_all(folder)?;
    Ok(took)
}

/// `p50 A ms, p99 B ms`, by nearest rank.
pub fn percentiles(latencies: &[Duration]) -> String {
    format!("p50 {}, p99 {}", rank(latencies, 50), rank(latencies, 99))
}

pub fn median(latencies: &[Duration]) -> String {
    rank(latencies, 50)
}

fn rank(latencies: &[Duration], percent: usize) -> String {
    let mut sorted = latencies.to_vec();
    sorted.sort();
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted
        .get(place)
        .map_or_else(|| "none".into(), |latency| format!("{} ms", latency.as_millis()))
}

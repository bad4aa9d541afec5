//! What the operator weighs while nothing happens, as its node's kubelet counts it.

use std::time::Duration;

use anyhow::{Context, Result};
use apocryph_e2e::{install::NAMESPACE, wait::within};
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::Value;

/// CPU is counted over this; the kubelet counts every ten seconds or so.
pub const SPAN: Duration = Duration::from_secs(20);

pub struct Weight {
    memory_bytes: f64,
    /// Of one core.
    cpu: f64,
}

struct Sample {
    at: Timestamp,
    cpu_nanoseconds: f64,
    memory_bytes: f64,
}

pub async fn weigh(admin: &Client) -> Result<Weight> {
    // what the kubelet counted last may be from before everything was quiet
    let before = sample(admin).await?;
    let first = counted_after(admin, before.at).await?;
    tokio::time::sleep(SPAN).await;
    let last = counted_after(admin, first.at).await?;
    let seconds = last.at.duration_since(first.at).as_secs_f64();
    Ok(Weight {
        memory_bytes: last.memory_bytes,
        cpu: (last.cpu_nanoseconds - first.cpu_nanoseconds) / 1e9 / seconds,
    })
}

async fn counted_after(admin: &Client, at: Timestamp) -> Result<Sample> {
    within("the kubelet counts again", async {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            let sample = sample(admin).await?;
            if sample.at > at {
                return Ok(sample);
            }
        }
    })
    .await
}

async fn sample(admin: &Client) -> Result<Sample> {
    let pods: Api<Pod> = Api::namespaced(admin.clone(), NAMESPACE);
    let leader = pods
        .list(&ListParams::default().labels("apocryph.network/role=leader"))
        .await?
        .items
        .pop()
        .context("no leader")?;
    let node = leader
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.clone())
        .context("its node")?;
    let request = http::Request::get(format!("/api/v1/nodes/{node}/proxy/stats/summary")).body(Vec::new())?;
    let summary: Value = admin.request(request).await?;
    let pod = summary["pods"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|pod| pod["podRef"]["uid"].as_str() == leader.uid().as_deref())
        .context("the kubelet does not count the operator's Pod")?;
    Ok(Sample {
        at: pod["cpu"]["time"].as_str().context("cpu.time")?.parse()?,
        cpu_nanoseconds: pod["cpu"]["usageCoreNanoSeconds"]
            .as_f64()
            .context("cpu.usageCoreNanoSeconds")?,
        memory_bytes: pod["memory"]["workingSetBytes"]
            .as_f64()
            .context("memory.workingSetBytes")?,
    })
}

impl Weight {
    /// Memory and CPU of a hundred pods, as far as the operator weighs more than without any.
    pub fn per_hundred_above(&self, empty: &Weight, pods: usize) -> (String, String) {
        let hundreds = pods as f64 / 100.0;
        (
            mebibytes((self.memory_bytes - empty.memory_bytes) / hundreds),
            format!("{:.4}", (self.cpu - empty.cpu) / hundreds),
        )
    }

    pub fn memory_text(&self) -> String {
        mebibytes(self.memory_bytes)
    }
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

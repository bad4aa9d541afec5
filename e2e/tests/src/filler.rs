//! A Pod that takes all of the node's free CPU but what a number of pods need.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{
    actor::{Actor, Order},
    existing::SLEEPER_IMAGE,
    install::Scene,
    wait,
};

pub struct Filler {
    pods: Api<Pod>,
}

const NAME: &str = "filler";

/// Leaves room for exactly `pods` of the manifest.
pub async fn leave(scene: &Scene, manifest: &str, pods: usize) -> Result<Filler> {
    let order = Order::of(manifest)?;
    let millis = order.pod.containers[0]
        .resource_requests
        .iter()
        .find_map(|r| match (r.resource.as_str(), r.quantity.as_ref()?) {
            ("cpu", apocryph_proto::v0::pod::resource::Quantity::AmountMillis(n)) => Some(*n),
            _ => None,
        })
        .context("the manifest asks for cpu in amountMillis")?;
    let actor = Actor::connect(&scene.provider).await?;
    let free = actor.free_cpu_millis().await?;
    let room = millis * pods as u64 + millis / 2;
    let take = free.checked_sub(room).context("less is free than five pods need")?;
    let api: Api<Pod> = Api::namespaced(scene.admin.clone(), "default");
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "filler", "image": SLEEPER_IMAGE,
            "resources": {"requests": {"cpu": format!("{take}m")}},
        }]},
    }))?;
    api.create(&PostParams::default(), &pod).await?;
    let filler = Filler { pods: api };
    // the operator's own watch has seen it when it says so
    wait::within("the filler counts", async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            tick.tick().await;
            if actor.free_cpu_millis().await? == room {
                return Ok(());
            }
        }
    })
    .await?;
    Ok(filler)
}

impl Filler {
    pub async fn remove(self) -> Result<()> {
        self.pods.delete(NAME, &DeleteParams::default()).await?;
        wait::until("the filler is gone", self.pods, Default::default(), |pods: &[Pod]| {
            (!pods.iter().any(|pod| pod.metadata.name.as_deref() == Some(NAME))).then_some(())
        })
        .await
    }
}

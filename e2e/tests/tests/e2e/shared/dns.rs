//! A tenant's pod resolves the cluster's names with the chart's default `dns`.

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, Order},
    http,
    install::{Profile, scene},
};
use k8s_openapi::api::core::v1::Service;
use kube::Api;

use crate::HELLO;

#[tokio::test]
async fn a_tenants_pod_resolves_a_name_of_the_cluster() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let service = Api::<Service>::namespaced(scene.admin.clone(), "default")
        .get("kubernetes")
        .await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).context("its address")?;
    let actor = Actor::connect(&scene.provider).await?;
    let mut order = Order::of(HELLO)?;
    let script = "mkdir /tmp/www; nslookup kubernetes.default.svc.cluster.local >/tmp/www/index.html 2>&1; \
                  exec httpd -f -p 8080 -h /tmp/www";
    order.pod.containers[0].command = ["/bin/sh", "-c", script].map(String::from).to_vec();
    let running = actor.run(&order).await?;
    let page = http::get(&running.addresses[0].multiaddr).await?;
    assert!(
        page.lines().any(|line| line.ends_with(&address)),
        "{address} is not in {page}"
    );
    actor.end(order.pod_id).await?;
    Ok(())
}

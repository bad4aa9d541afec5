//! In steady state the operator writes nothing but its Lease (issue part 3, 4).

use std::time::Duration;

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, Order, same_key},
    audit::{Event, Tail},
    install::{NAMESPACE, Profile, RELEASE, alone},
};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::SLEEPER;

const PODS: usize = 20;
const PEERS: usize = 4;
/// Without a write for so long, what was under way has ended.
const LULL: Duration = Duration::from_secs(3);
const WATCHED: Duration = Duration::from_secs(60);

fn operators_writes(events: Vec<Event>) -> Vec<String> {
    let user = format!("system:serviceaccount:{NAMESPACE}:{RELEASE}");
    events
        .into_iter()
        .filter(|event| event.user.username == user && event.is_write() && event.resource() != "leases")
        .map(|event| {
            format!(
                "{} {} {}",
                event.request_received_timestamp, event.verb, event.request_uri
            )
        })
        .collect()
}

#[tokio::test]
async fn twenty_running_pods_cost_no_write_and_an_edited_service_costs_one() -> Result<()> {
    let scene = alone(Profile::Base).await?;
    // a connection has fewer streams than that
    let mut actors = Vec::new();
    for _ in 0..PEERS {
        actors.push(Actor::connect(&scene.provider).await?);
    }
    let mut orders = Vec::new();
    for n in 0..PODS {
        let mut order = Order::of(SLEEPER)?;
        if n == 0 {
            order.pod.containers[0]
                .ports
                .push(apocryph_proto::v0::pod::container::Port {
                    name: "http".into(),
                    port: 80,
                    ..Default::default()
                });
        }
        orders.push((&actors[n % PEERS], order));
    }
    let running = try_join_all(orders.iter().map(|(actor, order)| actor.run(order))).await?;
    apocryph_e2e::pods::settled(&scene.admin).await?;

    let mut audit = Tail::from_now()?;
    // the Events of the last changes come after the changes themselves
    apocryph_e2e::wait::within("the last writes of getting there", async {
        loop {
            tokio::time::sleep(LULL).await;
            if operators_writes(audit.read()?).is_empty() {
                return Ok(());
            }
        }
    })
    .await?;
    // the span of the promise, not a wait for anything
    tokio::time::sleep(WATCHED).await;
    assert_eq!(operators_writes(audit.read()?), Vec::<String>::new());

    // and it can fail: one edit by hand is one write, the edit undone, then none
    let services: Api<Service> = Api::namespaced(scene.admin.clone(), &format!("apod-{}", running[0].name));
    let service = services
        .list(&Default::default())
        .await?
        .items
        .pop()
        .context("the Service")?;
    let name = service.metadata.name.clone().context("its name")?;
    let patch = Patch::Json::<()>(serde_json::from_value(
        json!([{"op": "replace", "path": "/spec/ports/0/port", "value": 8081}]),
    )?);
    services.patch(&name, &PatchParams::default(), &patch).await?;
    apocryph_e2e::wait::until("the edit undone", services, Default::default(), |all: &[Service]| {
        all.iter()
            .any(|s| {
                s.spec
                    .as_ref()
                    .is_some_and(|s| s.ports.iter().flatten().all(|p| p.port == 80))
            })
            .then_some(())
    })
    .await?;
    // a second write would come with the next look, at once
    tokio::time::sleep(LULL).await;
    let writes = operators_writes(audit.read()?);
    assert_eq!(writes.len(), 1, "{writes:#?}");
    assert!(writes[0].contains("/services/"), "{writes:#?}");

    // idle connections are closed after a minute
    for actor in &actors {
        let again = &Actor::with_key(&scene.provider, same_key(&actor.key)?).await?;
        let own = orders
            .iter()
            .filter(|(owner, _)| owner.key.address() == actor.key.address());
        try_join_all(own.map(|(_, order)| again.end(order.pod_id))).await?;
    }
    Ok(())
}

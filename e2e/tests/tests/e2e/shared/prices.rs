//! A bad edit of the price table keeps the last good one and says where it is wrong.

use anyhow::Result;
use apocryph_e2e::{
    actor::Actor,
    events,
    install::{NAMESPACE, PRICING, Profile, scene},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

#[tokio::test]
async fn a_bad_edit_keeps_the_last_good_table_and_an_event_names_line_and_field() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let maps: Api<ConfigMap> = Api::namespaced(scene.admin.clone(), NAMESPACE);
    let good = maps.get(PRICING).await?.data.unwrap_or_default()["pricing.yaml"].clone();
    let set = async |text: &str| {
        let patch = Patch::Merge(json!({"data": {"pricing.yaml": text}}));
        maps.patch(PRICING, &PatchParams::default(), &patch).await
    };
    let actor = Actor::connect(&scene.provider).await?;
    let before = actor.capacity().await?;

    set(&format!("{}\n  perHour: {{cpu: \"cheap\"}}\n", good.trim_end())).await?;
    let event = events::of(&scene.admin, NAMESPACE, PRICING, "Warning").await?;
    let note = event.note.unwrap_or_default();
    assert!(note.contains("line ") && note.contains("perHour.cpu"), "{note}");
    assert_eq!(actor.capacity().await?.tables, before.tables);

    // a good edit takes effect at once
    set(&format!("{}\n  perHour: {{cpu: \"0.01\"}}\n", good.trim_end())).await?;
    apocryph_e2e::wait::within("the new price is told", async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            tick.tick().await;
            if actor.capacity().await?.tables != before.tables {
                return Ok(());
            }
        }
    })
    .await?;
    set(&good).await?;
    Ok(())
}

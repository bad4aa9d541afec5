//! One table of manifests (manifests.yaml), through the real API server and through a libp2p request: both must agree, and the
//! API server refuses each row for the bound or the rule that it is there for, alone.
//! Nothing is accepted without a price table, and that is said last of all: a manifest that gets that far is valid.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, Order},
    bounds,
    install::{Profile, scene},
    manifests::{Only, rows, sized},
    table,
};
use apocryph_proto::outcome::Code;
use apocryph_publisher::PodId;

#[tokio::test]
async fn api_server_and_wire_agree_on_every_row() -> Result<()> {
    let scene = scene(Profile::None).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let schema = bounds::schema()?;
    let mut wrong = BTreeMap::new();
    for row in rows()?.iter().chain(&sized()?) {
        let mut judge =
            |who: &str, said| wrong.extend(row.judge(said).map(|fault| (format!("{} ({who})", row.name), fault)));
        if let Some(pod) = row.pod.as_ref().filter(|_| row.only != Only::Api) {
            judge("libp2p", by_wire(&actor, pod).await.with_context(|| row.name.clone())?);
        }
        if row.only != Only::Wire {
            let said = table::by_api(&scene.admin, row)
                .await
                .with_context(|| row.name.clone())?;
            judge(
                "API server",
                said.as_ref().copied().map_err(|status| status.message.clone()),
            );
            if let Err(status) = said {
                let other = table::other_cause(&schema, row, &status).with_context(|| row.name.clone())?;
                wrong.extend(other.map(|fault| (format!("{} (causes)", row.name), fault)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{wrong:#?}", wrong.len());
    Ok(())
}

/// Sends the manifest as a provision.
async fn by_wire(actor: &Actor, pod: &serde_json::Value) -> Result<Result<(), String>> {
    let pod = match table::parse(pod) {
        Ok(pod) => pod,
        Err(refused) => return Ok(Err(refused)),
    };
    let order = Order {
        pod,
        pod_id: PodId::random(),
        after_life: 0,
        detach: true,
        dry_run: false,
    };
    let refusal = actor.provision(&order).await?.refused().await?;
    Ok(if refusal.code.is(Code::NoPriceTable) {
        Ok(())
    } else {
        Err(format!("{}: {}: {}", refusal.code.text, refusal.field, refusal.message))
    })
}

//! One table of manifests (manifests.yaml), through the real API server and through a libp2p request: both must agree.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use apocryph_crd::ApocryphPod;
use apocryph_e2e::{
    actor::{Actor, Order},
    install::{Profile, scene},
    pods, table,
};
use apocryph_publisher::reply::Phase;
use kube::{Api, api::PostParams};

#[tokio::test]
async fn api_server_and_wire_agree_on_every_row() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let rows = table::rows()?;
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let mut wrong = BTreeMap::new();
    for row in &rows {
        if let Some(pod) = &row.pod
            && row.only != table::Only::Api
        {
            let said = by_wire(&actor, pod).await.with_context(|| row.name.clone())?;
            judge(&mut wrong, row, "libp2p", said);
        }
        if row.only != table::Only::Wire {
            let said = table::by_api(&scene.admin, row).await.with_context(|| row.name.clone())?;
            judge(&mut wrong, row, "API server", said);
        }
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{wrong:#?}", wrong.len());
    let left: Vec<ApocryphPod> = pods::alive(&scene.admin).await?;
    assert!(left.is_empty(), "left over: {:?}", left.iter().map(|p| &p.metadata.name).collect::<Vec<_>>());
    Ok(())
}

fn judge(wrong: &mut BTreeMap<String, String>, row: &table::Row, who: &str, said: Result<(), String>) {
    let fault = match (row.valid, said) {
        (true, Ok(())) => return,
        (true, Err(message)) => format!("valid, but refused: {message}"),
        (false, Ok(())) => "invalid, but accepted".into(),
        (false, Err(message)) => match &row.field {
            Some(field) if !message.contains(field) => format!("the refusal does not name {field}: {message}"),
            _ => return,
        },
    };
    wrong.insert(format!("{} ({who})", row.name), fault);
}

/// Sends the manifest as a provision; what is accepted is deleted again.
async fn by_wire(actor: &Actor, pod: &serde_json::Value) -> Result<Result<(), String>> {
    let pod = match table::parse(pod) {
        Ok(pod) => pod,
        Err(refused) => return Ok(Err(refused)),
    };
    let order = Order { pod, pod_id: apocryph_publisher::PodId::random(), after_life: 0, detach: true };
    match actor.provision(&order).await?.next().await? {
        apocryph_e2e::actor::Answer::Refusal(refusal) => Ok(Err(format!("{}: {}: {}", refusal.code.text, refusal.field, refusal.message))),
        apocryph_e2e::actor::Answer::Status(status) if status.phase == Phase::Accepted => {
            actor.end(order.pod_id).await?;
            Ok(Ok(()))
        }
        other => bail!("{other:?}"),
    }
}

/// An admin's own pod: no tag, waits for a name that fits before anything runs.
#[tokio::test]
async fn an_admins_pod_under_a_wrong_name_runs_nothing_and_says_why() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let api: Api<ApocryphPod> = Api::all(scene.admin.clone());
    let name = "a".repeat(26);
    let pod = pods::own(&name, crate::SLEEPER)?;
    api.create(&PostParams::default(), &pod).await?;
    let reason = apocryph_e2e::wait::until("condition Admitted", api.clone(), Default::default(), |all| {
        let pod = all.iter().find(|pod| pod.metadata.name.as_deref() == Some(&name))?;
        pods::condition(pod, "Admitted").filter(|c| c.status == "False").map(|c| c.reason.clone())
    })
    .await?;
    assert_eq!(reason, "WrongName");
    assert!(pods::namespace(&scene.admin, &name).await?.is_none());
    pods::delete_and_wait(&scene.admin, &name).await
}

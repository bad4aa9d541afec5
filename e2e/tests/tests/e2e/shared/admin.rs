//! What an admin does to one pod and to one publisher, beside others.

use std::time::Duration;

use anyhow::{Result, bail};
use apocryph_e2e::{
    access,
    actor::{Actor, Answer, Order},
    cluster::kubectl,
    events,
    install::{NAMESPACE, Profile, scene},
    pods,
    wait::within,
};
use apocryph_proto::outcome::Code;
use apocryph_publisher::reply::Phase;

use crate::SLEEPER;

fn annotate(name: &str, value: &str) -> Result<String> {
    kubectl(&[
        "annotate",
        "apocryphpod",
        name,
        &format!("apocryph.network/end={value}"),
        "--overwrite",
    ])
}

#[tokio::test]
async fn an_announced_end_is_told_on_the_stream_at_once_and_comes_then() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let mut stream = actor.provision(&Order::of(SLEEPER)?).await?;
    let name = stream.until_phase(Phase::Running).await?.name;

    annotate(&name, "this node goes")?;
    let event = events::of(&scene.admin, "default", &name, "Warning").await?;
    assert_eq!(event.reason.as_deref(), Some("InvalidEndAnnotation"));

    annotate(&name, "this node goes, 1d")?;
    let told = stream.until_code(Code::EndAnnounced).await?;
    assert_eq!(told.phase, Phase::Running);
    assert!(told.message.contains("this node goes"), "{}", told.message);
    assert!(
        told.ends_at.abs_diff(told.at + 86400) < 60,
        "{} and {}",
        told.ends_at,
        told.at
    );

    kubectl(&["annotate", "apocryphpod", &name, "apocryph.network/end-"])?;
    stream.until_code(Code::Running).await?;

    annotate(&name, "this node goes, 3s")?;
    let told = stream.until_code(Code::EndAnnounced).await?;
    let ended = stream.until_phase(Phase::Ended).await?;
    assert_eq!(ended.code.text, "deleted_by_admin");
    assert!(
        ended.at >= told.ends_at,
        "ended at {}, announced {}",
        ended.at,
        told.ends_at
    );
    assert!(ended.message.contains("this node goes"), "{}", ended.message);
    assert!(pods::namespace(&scene.admin, &name).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_denied_publisher_gets_no_new_pod_and_keeps_what_runs() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let before = access::get(&scene.admin).await?;
    let (denied, other) = (
        Actor::connect(&scene.provider).await?,
        Actor::connect(&scene.provider).await?,
    );
    let order = Order::of(SLEEPER)?;
    let name = denied.run(&order).await?.name;
    let address = denied.key.address_text();

    access::set(
        &scene.admin,
        &access::text(&format!("accepting: true\ndeny: ['{address}']")),
    )
    .await?;
    let refused = async || {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tick.tick().await;
            let mut order = Order::of(SLEEPER)?;
            order.detach = true;
            match denied.provision(&order).await?.next().await? {
                Answer::Refusal(refusal) => return Ok(refusal),
                // Not yet heard of: this one goes again.
                Answer::Status(_) => denied.end(order.pod_id).await.map(drop)?,
                told => bail!("{told:?}"),
            }
        }
    };
    let refusal = within("the denied publisher is refused", refused()).await?;
    assert_eq!(refusal.code.text, "publisher_denied");
    other
        .end({
            let order = Order::of(SLEEPER)?;
            other.run(&order).await?;
            order.pod_id
        })
        .await?;

    // a bad edit changes nothing and says where it is wrong
    access::set(&scene.admin, &access::text("accepting: true\ndeny: [everybody]")).await?;
    let event = events::of(&scene.admin, NAMESPACE, access::ACCESS, "Warning").await?;
    let note = event.note.unwrap_or_default();
    assert!(note.contains("line 3") && note.contains("deny[0]"), "{note}");
    assert_eq!(refused().await?.code.text, "publisher_denied");

    // the same request attaches, a watch is served, and a delete
    let attached = denied.provision(&order).await?.until_phase(Phase::Running).await?;
    assert_eq!(attached.name, name);
    assert_eq!(denied.end(order.pod_id).await?.code.text, "deleted_by_publisher");
    access::set(&scene.admin, &before).await
}

//! The same request, at once and later; other content; another publisher; after the end.

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, Order},
    http,
    install::{Profile, scene},
    pods,
};
use apocryph_publisher::reply::Phase;
use futures::future::try_join_all;

use crate::{HELLO, SLEEPER};

#[tokio::test]
async fn one_request_at_once_and_later_is_one_pod_and_other_content_changes_nothing() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(SLEEPER)?;

    let streams = try_join_all((0..8).map(|_| actor.provision(&order))).await?;
    let running = try_join_all(
        streams
            .into_iter()
            .map(|mut s| async move { s.until_phase(Phase::Running).await }),
    )
    .await?;
    assert!(
        running
            .iter()
            .all(|status| status.name == running[0].name && status.life == 1)
    );

    // a client that was started anew: other peer id, same key, same bytes
    let restarted = Actor::with_key(&scene.provider, apocryph_e2e::actor::same_key(&actor.key)?).await?;
    assert_eq!(restarted.run(&order).await?.name, running[0].name);
    let before = pods::get(&scene.admin, &running[0].name).await?.context("the pod")?;

    let mut other = order.clone();
    other.pod.containers[0].args = vec!["another".into()];
    assert_eq!(
        restarted.provision(&other).await?.refused().await?.code.text,
        "content_differs"
    );
    let next = Order {
        after_life: 1,
        ..order.clone()
    };
    assert_eq!(
        restarted.provision(&next).await?.refused().await?.code.text,
        "other_life"
    );
    let after = pods::get(&scene.admin, &running[0].name).await?.context("the pod")?;
    assert_eq!(before.spec, after.spec);

    // the same pod id of another publisher is another pod; this one's is invisible to him
    let stranger = Actor::connect(&scene.provider).await?;
    assert_eq!(
        stranger.watch(order.pod_id).await?.refused().await?.code.text,
        "not_found"
    );
    assert_eq!(
        stranger.delete(order.pod_id).await?.refused().await?.code.text,
        "not_found"
    );
    assert_eq!(
        actor.watch(order.pod_id).await?.next().await?.status()?.phase,
        Phase::Running
    );

    actor.end(order.pod_id).await?;
    Ok(())
}

#[tokio::test]
async fn what_was_deleted_is_not_started_again_but_as_a_new_life_without_the_old_data() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(HELLO)?;
    let running = actor.run(&order).await?;
    assert!(http::get(&running.addresses[0].multiaddr).await?.contains("start 1,"));
    actor.end(order.pod_id).await?;

    let refusal = actor.provision(&order).await?.refused().await?;
    assert_eq!(refusal.code.text, "ended");
    let ended = refusal.ended.context("which life ended")?;
    assert_eq!((ended.life, ended.code.text.as_str()), (1, "deleted_by_publisher"));
    assert!(pods::namespace(&scene.admin, &running.name).await?.is_none());

    let again = actor
        .run(&Order {
            after_life: 1,
            ..order.clone()
        })
        .await?;
    assert_eq!((again.name.as_str(), again.life), (running.name.as_str(), 2));
    let page = http::get(&again.addresses[0].multiaddr).await?;
    assert!(page.contains("start 1,"), "the old life's volume is there: {page}");
    actor.end(order.pod_id).await?;
    Ok(())
}

#[tokio::test]
async fn what_did_not_start_in_time_ends_and_is_not_started_again() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(SLEEPER)?;
    let mut failing = order.clone();
    failing.pod.containers[0].command = vec!["/bin/false".into()];
    let ended = actor.provision(&failing).await?.until_phase(Phase::Ended).await?;
    assert_eq!(ended.code.text, "start_timeout");
    let refusal = actor.provision(&failing).await?.refused().await?;
    assert_eq!(refusal.ended.context("which life ended")?.code.text, "start_timeout");

    let again = actor
        .run(&Order {
            after_life: 1,
            ..order.clone()
        })
        .await?;
    assert_eq!(again.life, 2);
    actor.end(order.pod_id).await?;
    Ok(())
}

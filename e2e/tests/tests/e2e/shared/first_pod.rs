//! A stranger's pod from the first question to the end.

use anyhow::{Context, Result};
use apocryph_crd::ApocryphPod;
use apocryph_e2e::{
    actor::{Actor, Order},
    http,
    install::{Profile, scene},
    pods,
    wait::within,
};
use apocryph_publisher::reply::Phase;

use crate::HELLO;

#[tokio::test]
async fn a_manifest_becomes_an_answering_pod_and_ends_on_demand() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(HELLO)?;

    let mut stream = actor.provision(&order).await?;
    let accepted = stream.next().await?.status()?;
    assert_eq!((accepted.phase, accepted.life), (Phase::Accepted, 1));
    let admitted = accepted.admitted.context("accepted says what was admitted")?;
    assert_eq!(
        admitted.containers[0].env["GREETING"], "",
        "an environment value came back"
    );

    let running = stream.until_phase(Phase::Running).await?;
    let address = running.addresses.first().context("an address")?;
    assert_eq!((address.container.as_str(), address.port.as_str()), ("app", "http"));
    let page = http::get(&address.multiaddr).await?;
    assert!(page.contains("good day, stranger: start 1, started as uid 0"), "{page}");

    let ended = actor.end(order.pod_id).await?;
    assert_eq!(ended.code.text, "deleted_by_publisher");
    assert!(
        pods::namespace(&scene.admin, &running.name).await?.is_none(),
        "the namespace is still there"
    );
    let pod: ApocryphPod = pods::get(&scene.admin, &running.name)
        .await?
        .context("an ended pod stays")?;
    let condition = pods::condition(&pod, "Ended").context("condition Ended")?;
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("True", "DeletedByPublisher")
    );
    // what was staged for it is gone as well
    assert_eq!(
        pods::staged_secrets(&scene.admin, &running.name).await?,
        Vec::<String>::new()
    );
    Ok(())
}

#[tokio::test]
async fn attest_binds_the_question_and_carries_the_capacity_that_is_told_without_it() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    // Other tests' pods come and go meanwhile: what was the same before and after was the same in between.
    let (capacity, attested) = within("the same capacity twice", async {
        let mut before = actor.capacity().await?;
        loop {
            let attested = actor.attest().await?;
            let after = actor.capacity().await?;
            if after == before {
                return Ok((after, attested));
            }
            before = after;
        }
    })
    .await?;
    assert_eq!(attested.capacity.as_ref(), Some(&capacity));
    assert!(capacity.images_may_run_as_root);
    assert!(attested.accepted().is_err(), "nothing proves this provider");
    Ok(())
}

#[tokio::test]
async fn detach_ends_the_stream_at_accepted_and_the_pod_runs_all_the_same() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order {
        detach: true,
        ..Order::of(crate::SLEEPER)?
    };
    let mut stream = actor.provision(&order).await?;
    assert_eq!(stream.next().await?.status()?.phase, Phase::Accepted);
    assert!(stream.next().await.is_err(), "something followed the final message");
    actor.watch(order.pod_id).await?.until_phase(Phase::Running).await?;
    actor.end(order.pod_id).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_not_served_yet_says_so() -> Result<()> {
    use apocryph_proto::v0::manage_pod::{Update, manage_pod_request::Operation};
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(crate::SLEEPER)?;
    let update = Operation::Update(Update::default());
    let refusal = actor.manage("update", order.pod_id, update).await?.refused().await?;
    assert_eq!(refusal.code.text, "unimplemented");
    Ok(())
}

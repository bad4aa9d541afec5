//! The door closed by hand, and the drain before an uninstall: nobody else gets a pod meanwhile.

use anyhow::{Context, Result};
use apocryph_e2e::{
    access,
    actor::{Actor, Order},
    cluster::kubectl,
    install::{NAMESPACE, Profile, accepting, alone, not_accepting},
};
use apocryph_proto::outcome::Code;
use apocryph_publisher::reply::Phase;

use crate::SLEEPER;

#[tokio::test]
async fn a_closed_door_carries_the_admins_words_and_a_drain_ends_every_pod_with_notice() -> Result<()> {
    let scene = alone(Profile::Base).await?;
    let open = access::get(&scene.admin).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let (first, second) = (Order::of(SLEEPER)?, Order::of(SLEEPER)?);
    actor.run(&first).await?;
    actor.run(&second).await?;

    let words = "accepting: false\nmessage: back on Monday";
    access::set(&scene.admin, &access::text(words)).await?;
    not_accepting(&scene.provider, "cordoned").await?;
    let refusal = actor.provision(&Order::of(SLEEPER)?).await?.refused().await?;
    assert_eq!(refusal.code.text, "cordoned");
    assert!(refusal.message.contains("back on Monday"), "{}", refusal.message);
    let why = actor.capacity().await?.not_accepting.context("not accepting")?;
    assert!(why.message.contains("back on Monday"), "{}", why.message);
    access::set(&scene.admin, &open).await?;
    accepting(&scene.provider).await?;

    // attaching tells how they fare from now on
    let mut streams = Vec::new();
    for order in [&first, &second] {
        let mut stream = actor.provision(order).await?;
        stream.until_phase(Phase::Running).await?;
        streams.push(stream);
    }
    let deploy = "deploy/apocryph-provider";
    let order = "we are closing, 5s";
    let said = kubectl(&[
        "exec",
        "--namespace",
        NAMESPACE,
        deploy,
        "--",
        "apocryph-provider",
        "drain",
        order,
    ])?;
    assert!(
        said.contains("The door is closed") && said.contains("2 pods end at"),
        "{said}"
    );
    for mut stream in streams {
        let told = stream.until_code(Code::EndAnnounced).await?;
        assert!(told.message.contains("we are closing"), "{}", told.message);
        let ended = stream.until_phase(Phase::Ended).await?;
        assert_eq!(ended.code.text, "deleted_by_admin");
    }
    kubectl(&[
        "wait",
        "apocryphpods",
        "--all",
        "--for=condition=Ended",
        "--timeout=60s",
    ])?;
    let refusal = actor.provision(&Order::of(SLEEPER)?).await?.refused().await?;
    assert!(refusal.message.contains("we are closing"), "{}", refusal.message);
    access::set(&scene.admin, &open).await
}

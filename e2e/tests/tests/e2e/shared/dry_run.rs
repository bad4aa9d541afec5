//! A dry run on a real cluster: what it says is what comes, and nothing is made.

use anyhow::{Result, bail};
use apocryph_e2e::{
    actor::{Actor, Order},
    install::{Profile, scene},
    pods,
};
use apocryph_publisher::{dry_run::DryRun, session::Body};

use crate::{HELLO, SLEEPER};

async fn dry(actor: &Actor, order: &Order) -> Result<DryRun> {
    let order = Order {
        dry_run: true,
        ..order.clone()
    };
    match actor.provision(&order).await?.told().await? {
        Body::DryRun(told) => Ok(*told),
        other => bail!("{other:?}"),
    }
}

fn blockers(told: &DryRun) -> Vec<&str> {
    told.blockers.iter().map(|blocker| blocker.code.text.as_str()).collect()
}

#[tokio::test]
async fn a_dry_run_makes_nothing_and_says_what_then_comes() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(HELLO)?;

    let first = dry(&actor, &order).await?;
    assert_eq!(blockers(&first), Vec::<&str>::new());
    assert_eq!((first.life, first.attached, first.objects_digest.len()), (1, false, 32));
    assert_eq!(first.prices.len(), 1, "{:?}", first.prices);
    assert_eq!(first.prices[0].per_hour, "0");
    assert!(
        pods::get(&scene.admin, &first.name).await?.is_none(),
        "an ApocryphPod was made"
    );
    assert!(pods::namespace(&scene.admin, &first.name).await?.is_none());
    let staged = pods::staged_secrets(&scene.admin, &first.name).await?;
    assert_eq!(staged, Vec::<String>::new());

    // The same objects have the same digest, others another.
    assert_eq!(dry(&actor, &order).await?.objects_digest, first.objects_digest);
    let mut other = order.clone();
    other.pod.containers[0]
        .env
        .insert("GREETING".to_owned(), "bye".to_owned());
    assert_ne!(dry(&actor, &other).await?.objects_digest, first.objects_digest);

    let running = actor.run(&order).await?;
    assert_eq!(running.name, first.name);
    let attached = dry(&actor, &order).await?;
    assert_eq!((attached.attached, attached.life), (true, 1));
    assert_eq!(attached.objects_digest, first.objects_digest);
    assert_eq!(blockers(&dry(&actor, &other).await?), ["content_differs"]);
    actor.end(order.pod_id).await?;
    Ok(())
}

#[tokio::test]
async fn everything_in_the_way_is_told_at_once() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(SLEEPER)?;
    actor.run(&order).await?;
    let larger = Order {
        pod_id: order.pod_id,
        ..Order::of(&SLEEPER.replace("amountMillis: 10", "amount: 1000"))?
    };
    let told = dry(&actor, &larger).await?;
    assert_eq!(blockers(&told), ["content_differs", "larger_than_any_node"]);
    assert_eq!(told.blockers[1].resource, "cpu");
    actor.end(order.pod_id).await?;
    Ok(())
}

//! One leader: a deleted Pod, a rolling upgrade, two operators at once, an uninstall in between (issue part 3, 9 and 10).

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, Order},
    audit::{Event, Tail},
    cluster::kubectl,
    cut::{self, Arrived, Cut, Message},
    http,
    install::{NAMESPACE, Profile, RELEASE, alone, helm_uninstall, helm_upgrade, provider},
    operator, pods,
    tenant::Tenant,
};
use apocryph_publisher::reply::Phase;
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};

use crate::{HELLO, SLEEPER};

/// By the audit log: once a new holder has written the Lease, no earlier Pod writes anything.
fn no_write_follows_the_successor(events: &[Event]) -> Result<usize> {
    let user = format!("system:serviceaccount:{NAMESPACE}:{RELEASE}");
    let own: Vec<&Event> = events
        .iter()
        .filter(|e| e.user.username == user && e.is_write() && e.succeeded())
        .collect();
    let mut holders: Vec<&str> = Vec::new();
    for event in &own {
        let pod = event.pod().context("the audit log names no Pod")?;
        if event.resource() == "leases" && holders.last() != Some(&pod) {
            anyhow::ensure!(!holders.contains(&pod), "{pod} holds the Lease again");
            holders.push(pod);
        } else if let Some(place) = holders.iter().position(|holder| *holder == pod) {
            anyhow::ensure!(
                place + 1 == holders.len(),
                "{pod} wrote after {:?} held the Lease: {event:?}",
                holders.last()
            );
        }
    }
    Ok(holders.len())
}

#[tokio::test]
async fn the_operators_pod_is_deleted_during_a_provision() -> Result<()> {
    let scene = alone(Profile::Base).await?;
    let (mut audit, mut now) = (Tail::from_now()?, Tail::from_now()?);
    let tenant = Tenant::new(None)?;
    let delete = async {
        // between the first and the second write of the provision, or shortly after
        let staged = |event: &Event| event.verb == "create" && event.resource() == "secrets" && event.succeeded();
        now.nth("the staged Secret", 1, staged).await?;
        kubectl(&[
            "-n",
            NAMESPACE,
            "delete",
            "pod",
            "-l",
            "apocryph.network/role=leader",
            "--wait=false",
        ])
    };
    let (running, _) = futures::try_join!(tenant.deploy(&scene.provider, HELLO), delete)?;
    assert_eq!(running.life, 1);
    pods::exactly_these(&scene.admin, std::slice::from_ref(&running.name)).await?;
    tenant.delete(&scene.provider).await?;
    assert!(no_write_follows_the_successor(&audit.read()?)? >= 2);
    Ok(())
}

#[tokio::test]
async fn a_rolling_upgrade_and_two_operators_at_once() -> Result<()> {
    let mut scene = alone(Profile::Base).await?;
    let mut audit = Tail::from_now()?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(SLEEPER)?;
    let name = actor.run(&order).await?.name;

    scene.forget();
    helm_upgrade(Profile::Base, &["--set", "replicas=2"])?;
    let again = operator::reconnect(&scene.provider, apocryph_e2e::actor::same_key(&actor.key)?).await?;
    assert_eq!(
        again.watch(order.pod_id).await?.until_phase(Phase::Running).await?.name,
        name
    );
    let pods = kubectl(&["-n", NAMESPACE, "get", "pods", "-o", "name"])?;
    assert_eq!(pods.lines().count(), 2, "{pods}");
    let leaders = kubectl(&[
        "-n",
        NAMESPACE,
        "get",
        "pods",
        "-l",
        "apocryph.network/role=leader",
        "-o",
        "name",
    ])?;
    assert_eq!(leaders.lines().count(), 1, "{leaders}");

    // another version: the old leader gives way to a new Pod, and says so to who listens
    let mut held = again.watch(order.pod_id).await?;
    held.until_phase(Phase::Running).await?;
    helm_upgrade(
        Profile::Base,
        &["--set", "replicas=2", "--set", "podAnnotations.upgrade=again"],
    )?;
    assert_eq!(held.final_refusal().await?.code.text, "shutting_down");
    let third = operator::reconnect(&scene.provider, apocryph_e2e::actor::same_key(&actor.key)?).await?;
    assert_eq!(
        third.watch(order.pod_id).await?.until_phase(Phase::Running).await?.name,
        name
    );
    third.end(order.pod_id).await?;
    assert!(no_write_follows_the_successor(&audit.read()?)? >= 2);
    Ok(())
}

#[tokio::test]
async fn an_uninstall_leaves_tenants_running_and_an_install_takes_them_over() -> Result<()> {
    let mut scene = alone(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(HELLO)?;
    let running = actor.run(&order).await?;
    let address = running.addresses[0].multiaddr.clone();

    scene.forget();
    helm_uninstall()?;
    assert!(http::get(&address).await?.contains("good day"));
    helm_upgrade(Profile::Base, &[])?;
    let back = provider(&scene.admin).await?;
    assert_eq!(back.peer(), scene.provider.peer());
    apocryph_e2e::install::accepting(&back).await?;
    let again = Actor::with_key(&back, apocryph_e2e::actor::same_key(&actor.key)?).await?;
    assert_eq!(again.run(&order).await?.name, running.name);
    assert!(http::get(&address).await?.contains("start 1,"), "it was started anew");
    again.end(order.pod_id).await?;
    pods::exactly_these(&scene.admin, &[]).await
}

/// A provision has fewer messages until running.
const MESSAGES: usize = 8;
/// Pods that start at once: each is Ready within the tests' short deadline on two busy cores.
const AT_ONCE: usize = 6;

#[tokio::test]
async fn the_stream_cut_before_and_after_every_message_arrives_at_one_running_pod() -> Result<()> {
    let scene = alone(Profile::Base).await?;
    let every = (0..MESSAGES).map(Message::Nth).chain([Message::Running]);
    let cuts: Vec<Cut> = every
        .flat_map(|message| [Cut::Before(message), Cut::After(message)])
        .chain([Cut::Sent])
        .collect();
    let arrived: Vec<Arrived> = stream::iter(cuts.iter().map(|cut| cut::deploy(&scene.provider, SLEEPER, *cut)))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    for (cut, arrived) in cuts.iter().zip(&arrived) {
        assert_eq!(arrived.status.life, 1, "{cut:?}");
        // it may run before it has had so many messages, never without the first
        let came = match cut {
            Cut::Before(Message::Nth(n)) | Cut::After(Message::Nth(n)) => arrived.messages > *n,
            _ => true,
        };
        assert_eq!(arrived.cut, came, "{cut:?}, {} messages", arrived.messages);
        assert!(
            arrived.messages < MESSAGES,
            "more messages than are cut: {}",
            arrived.messages
        );
    }
    let names: Vec<String> = arrived.iter().map(|arrived| arrived.status.name.clone()).collect();
    pods::exactly_these(&scene.admin, &names).await?;
    try_join_all(
        arrived
            .into_iter()
            .map(|arrived| arrived.tenant.delete(&scene.provider)),
    )
    .await?;
    Ok(())
}

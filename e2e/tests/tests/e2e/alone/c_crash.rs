//! The operator is killed at three places in the order of writes (issue part 3, 2).

use anyhow::{Context, Result, bail};
use apocryph_e2e::{
    actor::{Actor, Answer, Order},
    audit::{Event, Tail},
    install::{NAMESPACE, Profile, alone},
    operator, pods,
};
use apocryph_publisher::reply::Phase;
use futures::{FutureExt, future::join_all};

use crate::HELLO;

async fn killed_at(what: &str, n: usize, at: impl Fn(&Event) -> bool) -> Result<()> {
    let scene = alone(Profile::Base).await?;
    let provider = scene.provider.clone();
    let mut audit = Tail::from_now()?;
    let mut orders = Vec::new();
    for _ in 0..10 {
        // peers are free, so each provision comes from one of its own
        orders.push((Actor::connect(&provider).await?, Order::of(HELLO)?));
    }
    let first = join_all(orders.iter().map(|(actor, order)| async move {
        // Some(name): the pod was acknowledged before the stream broke
        let mut stream = actor.provision(order).await.ok()?;
        let mut acknowledged = None;
        while let Ok(Answer::Status(status)) = stream.next().await {
            acknowledged = Some(status.name);
        }
        acknowledged
    }));
    let kill = async {
        audit.nth(what, n, at).await?;
        operator::kill().await
    };
    let (acknowledged, ()) = futures::try_join!(first.map(anyhow::Ok), kill)?;
    let acknowledged: Vec<_> = acknowledged.into_iter().flatten().collect();

    // every client tries the same bytes again until it runs
    let finished = join_all(orders.iter().map(|(actor, order)| {
        let provider = &provider;
        async move {
            let again = operator::reconnect(provider, apocryph_e2e::actor::same_key(&actor.key)?).await?;
            let status = again.run(order).await?;
            anyhow::Ok((again, status))
        }
    }))
    .await;
    let mut running = Vec::new();
    for result in finished {
        running.push(result?);
    }
    for name in &acknowledged {
        if !running.iter().any(|(_, status)| &status.name == name) {
            bail!("{name} was acknowledged and does not run");
        }
    }
    // one pod each, of the first life, and nothing beside them once the sweeper has been
    assert!(running.iter().all(|(_, status)| status.life == 1));
    let names: Vec<String> = running.iter().map(|(_, status)| status.name.clone()).collect();
    pods::exactly_these_once_swept(&scene.admin, &names)
        .await
        .context("after the sweep")?;
    let ends = join_all(
        running
            .iter()
            .zip(&orders)
            .map(|((actor, _), (_, order))| actor.end(order.pod_id)),
    )
    .await;
    for end in ends {
        assert_eq!(end?.phase, Phase::Ended);
    }
    pods::exactly_these_once_swept(&scene.admin, &[]).await
}

#[tokio::test]
async fn at_the_third_staged_secret() -> Result<()> {
    killed_at("the 3rd staged Secret", 3, |event| {
        event.verb == "create"
            && event.resource() == "secrets"
            && event.succeeded()
            && event.request_uri.contains(&format!("/{NAMESPACE}/"))
    })
    .await
}

#[tokio::test]
async fn at_the_third_apocryphpod() -> Result<()> {
    killed_at("the 3rd ApocryphPod", 3, |event| {
        event.verb == "create" && event.resource() == "apocryphpods" && event.succeeded()
    })
    .await
}

#[tokio::test]
async fn at_the_second_namespace() -> Result<()> {
    killed_at("the 2nd Namespace", 2, |event| {
        matches!(event.verb.as_str(), "create" | "patch")
            && event.resource() == "namespaces"
            && event.succeeded()
            && event.user.username.contains(NAMESPACE)
    })
    .await
}

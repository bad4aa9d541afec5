//! The operator is killed at three places in the order of writes (issue part 3, 2).

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use apocryph_e2e::{
    actor::{Actor, Answer, Order, same_key},
    audit::{Event, Tail},
    http,
    install::{NAMESPACE, Profile, alone},
    operator, pods,
    tenant::Tenant,
};
use apocryph_publisher::PublisherKey;
use futures::{
    FutureExt,
    future::{join_all, try_join_all},
};

use crate::HELLO;

/// Of the ten provisions, those by the client's library, which goes on by itself; the others are sent once.
const CLIENTS: usize = 5;
const SENT_ONCE: usize = 5;

fn address(key: &PublisherKey) -> String {
    key.address_text().to_lowercase()
}

/// What a stream that is not taken up again told last: the name of the acknowledged pod.
async fn send_once((actor, order): &(Actor, Order)) -> Option<String> {
    let mut stream = actor.provision(order).await.ok()?;
    let mut acknowledged = None;
    while let Ok(Answer::Status(status)) = stream.next().await {
        acknowledged = Some(status.name);
    }
    acknowledged
}

async fn killed_at(what: &str, n: usize, at: impl Fn(&Event) -> bool) -> Result<()> {
    let scene = alone(Profile::Base).await?;
    let provider = &scene.provider;
    let orphan = pods::stage_orphan(&scene.admin).await?;
    let mut once = Vec::new();
    for _ in 0..SENT_ONCE {
        // peers are free: each provision comes from one of its own
        once.push((Actor::connect(provider).await?, Order::of(HELLO)?));
    }
    let clients = (0..CLIENTS).map(|_| Tenant::new(None)).collect::<Result<Vec<_>>>()?;

    let mut audit = Tail::from_now()?;
    let kill = async {
        audit.nth(what, n, at).await?;
        operator::kill().await
    };
    let (deployed, acknowledged, ()) = futures::try_join!(
        try_join_all(clients.iter().map(|client| client.deploy(provider, HELLO))),
        join_all(once.iter().map(send_once)).map(anyhow::Ok),
        kill
    )?;
    pods::settled(&scene.admin).await?;

    // The acknowledged and what a retry found, each once, of the first life; of those sent once and not answered, perhaps some.
    let alive = pods::alive(&scene.admin).await?;
    let names: Vec<String> = alive.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
    let publishers: BTreeSet<&str> = alive.iter().map(|pod| pod.spec.publisher.as_str()).collect();
    ensure!(publishers.len() == alive.len(), "a publisher has two pods: {names:?}");
    let ours: BTreeSet<String> = clients
        .iter()
        .map(|client| &client.key)
        .chain(once.iter().map(|(actor, _)| &actor.key))
        .map(address)
        .collect();
    ensure!(
        publishers.iter().all(|one| ours.contains(*one)),
        "pods of nobody: {publishers:?}"
    );
    for name in deployed
        .iter()
        .map(|status| &status.name)
        .chain(acknowledged.iter().flatten())
    {
        ensure!(
            names.contains(name),
            "{name} was acknowledged and is not there: {:?}",
            pods::get(&scene.admin, name).await?
        );
    }
    for pod in &alive {
        let reached = pod.status.iter().flat_map(|status| &status.addresses).next();
        let Some(reached) = reached else {
            anyhow::bail!("no address of {:?}", pod.metadata.name)
        };
        let page = http::get(&reached.multiaddr).await?;
        ensure!(pod.spec.life == 1 && page.contains("start 1,"), "it ran twice: {page}");
    }
    // Once the sweeper has been, nothing else: it takes what a crash left staged, and leaves what is named.
    pods::exactly_these_once_swept(&scene.admin, &names).await?;
    ensure!(
        pods::staged_secrets(&scene.admin, &orphan).await?.is_empty(),
        "the orphan is still staged"
    );

    try_join_all(clients.into_iter().map(|client| client.delete(provider))).await?;
    let left = once
        .iter()
        .filter(|(actor, _)| publishers.contains(address(&actor.key).as_str()));
    try_join_all(left.map(async |(actor, order)| {
        Actor::with_key(provider, same_key(&actor.key)?)
            .await?
            .end(order.pod_id)
            .await
    }))
    .await?;
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

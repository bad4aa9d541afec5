//! `make bench`: what a provision takes on this cluster, as one table. It measures and asserts no time; later issues add rows.

mod floor;
mod idle;
mod latency;
mod provisions;
mod table;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, same_key},
    audit::{Event, Tail},
    cluster::kubectl,
    existing::existing,
    install::{Profile, Scene, alone},
    pods,
};
use futures::future::try_join_all;

use crate::table::Table;

/// All of it; what is not measured by then is missing from the table.
const LIMIT: Duration = Duration::from_secs(420);
/// Provisions of one peer, one after the other.
const ALONE: usize = 20;
/// Pods whose way to Ready is timed, each beside a Deployment made by kubectl.
const BESIDE: usize = 5;
/// Peers that provision at once, and how often each.
const PEERS: usize = 16;
const EACH: usize = 3;
/// Idle pods at which the operator is weighed, if they fit.
const IDLE: usize = 100;

/// A pod that sleeps.
const SLEEPER: &str = "
containers:
- name: app
  image: {url: registry.example/sleeper:1}
  resourceRequests:
  - {resource: cpu, amountMillis: 10}
  - {resource: memory, amountMebi: 16}
  - {resource: ephemeral-storage, amountMebi: 16}
";

#[tokio::main]
async fn main() -> ExitCode {
    let mut table = Table::default();
    let outcome = match tokio::time::timeout(LIMIT, measure(&mut table)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(anyhow::anyhow!("not done within {LIMIT:?}")),
    };
    println!("\n{table}");
    // they end by themselves; nothing waits for them
    if let Err(error) = kubectl(&["delete", "apocryphpods", "--all", "--wait=false"]) {
        eprintln!("bench: {error:#}");
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: rows are missing: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(table: &mut Table) -> Result<()> {
    say("the chart, and an operator without pods");
    let scene = alone(Profile::Bench).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let empty = idle::weigh(&scene.admin).await?;

    say("one peer");
    let alone = latency::accepted(&actor, SLEEPER, ALONE).await?;
    table.row(
        "accept latency, 1 peer",
        latency::percentiles(&alone),
        format!("{ALONE} provisions, one after the other"),
    );
    pods::settled(&scene.admin).await?;

    say("from accepted to Ready, beside kubectl create");
    let (ours, kubectls) = latency::ready_beside_kubectl(&scene.admin, &actor, SLEEPER, BESIDE).await?;
    table.row(
        "accepted to Ready",
        latency::median(&ours),
        format!("{BESIDE} pods, median"),
    );
    table.row(
        "kubectl create to Ready",
        latency::median(&kubectls),
        "the same Deployment each time, median".into(),
    );

    say("sixteen peers");
    let mut audit = audit()?;
    let all = at_once(&scene).await?;
    let latencies: Vec<Duration> = all.iter().flat_map(|(latencies, _)| latencies.clone()).collect();
    let names: Vec<String> = all.into_iter().flat_map(|(_, names)| names).collect();
    table.row(
        &format!("accept latency, {PEERS} peers"),
        latency::percentiles(&latencies),
        format!("{EACH} provisions each, at once"),
    );
    pods::settled(&scene.admin).await?;
    let events = audit.as_mut().map(Tail::read).transpose()?;
    if let Some(events) = &events {
        table.row(
            "provisions per second",
            format!("{:.1}", provisions::per_second(events, &names)?),
            format!("{} until the last Deployment is written", names.len()),
        );
    }

    say("idle pods");
    let pods = fill(&scene, &actor, ALONE + BESIDE + names.len()).await?;
    let full = idle::weigh(&scene.admin).await?;
    let (memory, cpu) = full.per_hundred_above(&empty, pods);
    table.row(
        "memory per 100 idle pods",
        memory,
        format!("measured at {pods}; without pods {}", empty.memory_text()),
    );
    table.row(
        "CPU per 100 idle pods",
        cpu,
        format!("of a core, over {} s", idle::SPAN.as_secs()),
    );

    let Some(events) = events else {
        for row in [
            "provisions per second",
            "provisions per second, the floor",
            "API writes per provision",
        ] {
            table.row(row, "not measured".into(), "CLUSTER=existing: no audit log".into());
        }
        return Ok(());
    };
    say("the floor: the same requests by a bare client");
    let sample = names.first().context("a provision")?;
    let rate = floor::replay(&scene.admin, &events, sample, names.len(), PEERS).await?;
    table.row(
        "provisions per second, the floor",
        format!("{rate:.1}"),
        format!("a bare client, {PEERS} at once, the same API requests"),
    );
    provisions::writes(table, &events, sample);
    Ok(())
}

fn audit() -> Result<Option<Tail>> {
    existing().is_none().then(Tail::from_now).transpose()
}

/// Latencies and names of each peer.
async fn at_once(scene: &Scene) -> Result<Vec<(Vec<Duration>, Vec<String>)>> {
    let actors = try_join_all((0..PEERS).map(|_| Actor::connect(&scene.provider))).await?;
    try_join_all(
        actors
            .iter()
            .map(|actor| latency::accepted_and_named(actor, SLEEPER, EACH)),
    )
    .await
}

/// Provisions until there are [`IDLE`] pods or no more fit; gives how many there are.
async fn fill(scene: &Scene, actor: &Actor, mut pods: usize) -> Result<usize> {
    // an idle connection was closed meanwhile
    let actor = Actor::with_key(&scene.provider, same_key(&actor.key)?).await?;
    while pods < IDLE && latency::fits(&actor, SLEEPER).await? {
        pods += 1;
    }
    pods::settled(&scene.admin).await?;
    Ok(pods)
}

fn say(text: &str) {
    eprintln!("bench: {text}");
}

/// Did the operator make this request for the pod of that name?
fn is_for(event: &Event, name: &str) -> bool {
    let object = event.object_ref.as_ref();
    event.is_operators()
        && (event.request_uri.contains(name) || object.is_some_and(|object| object.name.starts_with(name)))
}

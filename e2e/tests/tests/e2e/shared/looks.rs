//! What a publisher sees of his pods afterwards: lines, list, description; and that nobody else does.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, Order},
    cluster::kubectl,
    install::{Profile, scene},
    looks::Line,
    wait::within,
};
use apocryph_proto::v0::{
    manage_pod::{Describe, Logs, manage_pod_request::Operation},
    provision_pod::container_state::State,
};
use apocryph_publisher::reply::Phase;

use crate::SLEEPER;

/// Writes three lines, then ends with 7 in its first two runs (the volume counts) and sleeps in the third.
const RESTARTS: &str = "
containers:
- name: app
  image: {url: registry.example/sleeper:1}
  command: [/bin/sh, -c]
  args:
  - |
    echo . >> /data/runs; run=$(wc -l < /data/runs)
    echo run $run; echo 'out of the other pipe' >&2; echo end of run $run
    # long enough to be Ready once: from then on no start deadline counts the waits between restarts
    [ $run -gt 1 ] || sleep 5
    [ $run -ge 3 ] || exit 7
    trap 'echo told to stop; exit 0' TERM; sleep 1000000 & wait
  volumes: [{name: data, mountPath: /data}]
  resourceRequests:
  - {resource: cpu, amountMillis: 10}
  - {resource: memory, amountMebi: 16}
  - {resource: ephemeral-storage, amountMebi: 16}
volumes:
- name: data
  type: VOLUME_FILESYSTEM
  filesystem: {resourceRequests: [{resource: storage, amountMebi: 16}]}
";

fn texts(lines: &[Line]) -> Vec<&str> {
    let mut texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    // The pipes of a program are not ordered among each other.
    texts.retain(|text| *text != "out of the other pipe");
    texts
}

#[tokio::test]
async fn logs_of_a_container_that_was_started_again_twice() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(RESTARTS)?;
    let mut provision = actor.provision(&order).await?;
    provision.until_phase(Phase::Accepted).await?;

    // Followed from the beginning, through both restarts.
    let follow = Logs {
        follow: true,
        ..Logs::default()
    };
    let mut following = actor.log_stream(order.pod_id, follow).await?;
    let lines = following.until_line("end of run 3").await?;
    let all: Vec<String> = (1..=3)
        .flat_map(|run| [format!("run {run}"), format!("end of run {run}")])
        .collect();
    assert_eq!(texts(&lines), all);
    assert!(lines.iter().all(|line| line.container == "app" && line.at > 0));
    let namespace = format!("apod-{}", provision.until_phase(Phase::Running).await?.name);
    let pod = kubectl(&[
        "-n",
        &namespace,
        "get",
        "pods",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ])?;
    assert!(lines.iter().all(|line| line.replica == pod), "{lines:?}");

    let (present, status) = actor.logs(order.pod_id, Logs::default()).await?;
    assert_eq!(texts(&present), ["run 3", "end of run 3"]);
    // Running, or degraded as long as the restart is the news.
    assert_ne!(status.phase, Phase::Ended);
    let previous = Logs {
        container_name: "app".into(),
        previous: true,
        ..Logs::default()
    };
    assert_eq!(
        texts(&actor.logs(order.pod_id, previous).await?.0),
        ["run 2", "end of run 2"]
    );

    let tail = Logs {
        tail_lines: 1,
        ..Logs::default()
    };
    let (last, _) = actor.logs(order.pod_id, tail).await?;
    assert_eq!(last.len(), 1);
    let newest = present.iter().map(|line| line.at).max().context("lines")? / 1_000_000_000;
    let since = |second| Logs {
        since: second,
        ..Logs::default()
    };
    assert!(!actor.logs(order.pod_id, since(newest)).await?.0.is_empty());
    assert_eq!(actor.logs(order.pod_id, since(newest + 1)).await?.0, []);

    let described = actor.describe(order.pod_id).await?;
    let container = &described.replicas[0].containers[0];
    assert_eq!((container.restarts, container.state()), (2, State::Running));
    assert_eq!(container.last_exit.as_ref().context("the last exit")?.exit_code, 7);

    // The one who follows is told the last words and the end.
    let ended = actor.end(order.pod_id).await?;
    assert_eq!(ended.phase, Phase::Ended);
    following.until_line("told to stop").await?;
    let last = following.until_phase(Phase::Ended).await?;
    assert_eq!(last.code.text, "deleted_by_publisher");
    assert!(following.next().await.is_err(), "something followed the final message");
    Ok(())
}

/// Two containers that each write their name.
const TWO: &str = "
replicas: {min: 2, max: 2}
containers:
- name: web
  image: {url: registry.example/sleeper:1}
  command: [/bin/sh, -c, \"echo web; trap 'exit 0' TERM; sleep 1000000 & wait\"]
  resourceRequests: [{resource: cpu, amountMillis: 10}, {resource: memory, amountMebi: 16}]
- name: db
  image: {url: registry.example/sleeper:1}
  command: [/bin/sh, -c, \"echo db; trap 'exit 0' TERM; sleep 1000000 & wait\"]
  resourceRequests: [{resource: cpu, amountMillis: 10}, {resource: memory, amountMebi: 16}]
";

#[tokio::test]
async fn every_replica_of_the_named_container() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(TWO)?;
    actor.run(&order).await?;
    let refusal = actor.logs_refused(order.pod_id, Logs::default()).await?;
    assert_eq!(
        (refusal.code.text.as_str(), refusal.field.as_str()),
        ("invalid_request", "logs.containerName")
    );
    assert!(refusal.remedy.contains("web, db"), "{refusal:?}");
    let of_db = Logs {
        container_name: "db".into(),
        ..Logs::default()
    };
    let (lines, _) = actor.logs(order.pod_id, of_db.clone()).await?;
    let mut replicas: Vec<&str> = lines.iter().map(|line| line.replica.as_str()).collect();
    replicas.dedup();
    assert_eq!((texts(&lines), replicas.len()), (vec!["db", "db"], 2), "{lines:?}");

    // A replica that is taken away comes back as another; who follows sees its lines too.
    let mut following = actor.log_stream(order.pod_id, Logs { follow: true, ..of_db }).await?;
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while seen.len() < 2 {
        seen.extend(following.until_line("db").await?.into_iter().map(|line| line.replica));
    }
    let name = actor.describe(order.pod_id).await?.status.context("status")?.name;
    kubectl(&[
        "-n",
        &format!("apod-{name}"),
        "delete",
        "pod",
        replicas[0],
        "--wait=false",
    ])?;
    while seen.len() < 3 {
        seen.extend(following.until_line("db").await?.into_iter().map(|line| line.replica));
    }
    actor.end(order.pod_id).await?;
    following.until_phase(Phase::Ended).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_asked_wrongly_names_the_field() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(SLEEPER)?;
    actor.run(&order).await?;
    let wrong = [
        (
            Logs {
                container_name: "nothing".into(),
                ..Logs::default()
            },
            ("invalid_request", "logs.containerName"),
        ),
        (
            Logs {
                follow: true,
                previous: true,
                ..Logs::default()
            },
            ("invalid_request", "logs.previous"),
        ),
        (
            Logs {
                previous: true,
                ..Logs::default()
            },
            ("not_found", "logs.previous"),
        ),
        (
            Logs {
                since: u64::MAX,
                ..Logs::default()
            },
            ("invalid_request", "logs.since"),
        ),
    ];
    for (wanted, expected) in wrong {
        let refusal = actor.logs_refused(order.pod_id, wanted).await?;
        assert_eq!((refusal.code.text.as_str(), refusal.field.as_str()), expected);
        assert!(
            expected.1 != "logs.containerName" || refusal.remedy.contains("app"),
            "{refusal:?}"
        );
    }
    actor.end(order.pod_id).await?;
    Ok(())
}

#[tokio::test]
async fn a_publisher_sees_his_own_pods_and_nobody_elses() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let stranger = Actor::connect(&scene.provider).await?;
    assert_eq!(actor.list().await?, []);
    let (first, second) = (Order::of(SLEEPER)?, Order::of(SLEEPER)?);
    let running = actor.run(&first).await?;
    actor.run(&second).await?;
    actor.end(second.pod_id).await?;

    let listed = within("the list shows both as they are", async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
        loop {
            tick.tick().await;
            let mut listed = actor.list().await?;
            listed.sort_by_key(|pod| pod.phase);
            if listed.iter().map(|pod| pod.phase()).eq([Phase::Running, Phase::Ended]) {
                return Ok(listed);
            }
        }
    })
    .await?;
    assert_eq!(
        (&listed[0].pod_id[..], &listed[0].name),
        (&first.pod_id.0[..], &running.name)
    );
    assert_eq!((&listed[1].pod_id[..], listed[1].life), (&second.pod_id.0[..], 1));
    assert_eq!(listed[1].code, "deleted_by_publisher");
    assert!(listed.iter().all(|pod| pod.since > 0));

    let described = actor.describe(first.pod_id).await?;
    let ready = described
        .conditions
        .iter()
        .find(|one| one.r#type == "Ready")
        .context("Ready")?;
    assert!(ready.holds && ready.code == "running", "{ready:?}");
    assert_eq!(
        (described.replicas.len(), described.replicas[0].code.as_str()),
        (1, "running")
    );
    assert!(
        described.reasons.iter().any(|reason| reason.code == "running"),
        "{described:?}"
    );
    assert!(described.started_at > 0 && described.ready_since >= described.started_at && described.end.is_none());
    let ended = actor.describe(second.pod_id).await?;
    assert_eq!(ended.end.context("the end")?.by, "publisher");

    // The same pod id of a stranger is another pod, which is not there.
    assert_eq!(stranger.list().await?, []);
    let describe = stranger
        .manage("describe", first.pod_id, Operation::Describe(Describe {}))
        .await?
        .refused()
        .await?;
    let logs = stranger.logs_refused(first.pod_id, Logs::default()).await?;
    assert_eq!(
        (describe.code.text.as_str(), logs.code.text.as_str()),
        ("not_found", "not_found")
    );

    actor.end(first.pod_id).await?;
    Ok(())
}

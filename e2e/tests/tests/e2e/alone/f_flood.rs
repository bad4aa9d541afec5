//! A flood of lines grows nobody's memory but the node's disk (issue 5, part 4, 3).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use apocryph_e2e::{
    actor::{Actor, Order},
    install::{Profile, alone},
    leak,
    looks::lines_of,
    operator,
    wait::within,
};
use apocryph_proto::v0::manage_pod::Logs;
use apocryph_publisher::reply::Phase;

/// 100 MB of lines of 1000 bytes, then a last one.
const LINES: usize = 100_000;
const LINE: usize = 1_000;
const FLOOD: &str = "
containers:
- name: app
  image: {url: registry.example/sleeper:1}
  command: [/bin/sh, -c]
  args:
  - |
    line=$(head -c 999 /dev/zero | tr '\\0' x)
    yes $line | head -n 100000
    echo all of it
    trap 'exit 0' TERM; sleep 1000000 & wait
  resourceRequests:
  - {resource: cpu, amountMillis: 500}
  - {resource: memory, amountMebi: 32}
  - {resource: ephemeral-storage, amountMebi: 512}
";
/// What the operator may take more than before.
const GROWTH: u64 = 16 << 20;
/// The same while somebody reads at full speed: the windows of his connection are full as well.
const GROWTH_READING: u64 = 32 << 20;

/// Watches the operator's memory while something goes on; gives what that gave, and the most memory that was seen.
async fn watched<T>(pid: &str, what: impl Future<Output = Result<T>>) -> Result<(T, u64)> {
    let mut what = std::pin::pin!(what);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let mut most = 0;
    loop {
        tokio::select! {
            done = &mut what => return Ok((done?, most.max(operator::resident(pid)?))),
            _ = tick.tick() => most = most.max(operator::resident(pid)?),
        }
    }
}

#[tokio::test]
async fn a_hundred_megabytes_to_a_reader_that_stops() -> Result<()> {
    let scene = alone(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(FLOOD)?;
    let mut watching = actor.provision(&order).await?;
    watching.until_phase(Phase::Running).await?;
    let last = || Logs {
        tail_lines: 1,
        ..Logs::default()
    };
    within("the flood is written", async {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            tick.tick().await;
            let (lines, _) = actor.logs(order.pod_id, last()).await?;
            if lines.iter().any(|line| line.text == "all of it") {
                return Ok(());
            }
        }
    })
    .await?;

    let pid = operator::pid()?;
    let start = operator::resident(&pid)?;
    let stalled = || async {
        let metrics = leak::metrics(&scene.admin).await?;
        let stalled = |line: &&str| line.contains("peer_stalled") && line.contains("manage-pod");
        let count = metrics.lines().find(stalled).and_then(|line| line.rsplit(' ').next());
        anyhow::Ok(count.unwrap_or("0").parse::<f64>()?)
    };
    let before = stalled().await?;

    // Asked for on a connection of its own, and not read.
    let reader = Actor::with_key(&scene.provider, apocryph_e2e::actor::same_key(&actor.key)?).await?;
    let mut unread = reader.log_stream(order.pod_id, Logs::default()).await?;
    let ended = within("the operator gives the reader up", async {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            tick.tick().await;
            // Other streams meanwhile: of the same connection, of the same publisher, of others.
            let (lines, _) = reader.logs(order.pod_id, last()).await?;
            ensure!(lines.len() == 1, "{lines:?}");
            actor.capacity().await?;
            if stalled().await? > before {
                return Ok(());
            }
        }
    });
    let ((), most) = watched(&pid, ended).await?;
    println!("operator: {} KiB before, {} KiB at most", start >> 10, most >> 10);
    assert!(most <= start + GROWTH, "{start} bytes before, {most} at most");
    // What this side's connection took in is still to be read; then the stream breaks off, without a final message.
    let mut taken = 0;
    while let Ok(answer) = unread.next().await {
        taken += lines_of(answer)?.len();
    }
    assert!(taken < LINES / 2, "{taken} lines were on their way");

    // Who reads gets every line, and that takes no more than the windows of the connection.
    let (lines, most) = watched(&pid, async {
        let (lines, status) = reader.logs(order.pod_id, Logs::default()).await?;
        ensure!(status.phase == Phase::Running, "{status:?}");
        Ok(lines)
    })
    .await?;
    println!("operator: {} KiB at most while all is read", most >> 10);
    assert!(most <= start + GROWTH_READING, "{start} bytes before, {most} at most");
    assert_eq!(lines.len(), LINES + 1);
    assert!(lines[..LINES].iter().all(|line| line.text.len() == LINE - 1));
    assert_eq!(lines.last().context("the last line")?.text, "all of it");

    // The stream that was open all the time tells the end.
    actor.end(order.pod_id).await?;
    watching.until_phase(Phase::Ended).await?;
    Ok(())
}

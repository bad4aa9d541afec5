//! The operator's process, as a failure takes it.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};
use apocryph_publisher::{Provider, PublisherKey};

use crate::{
    actor::Actor,
    cluster::{kubectl, run},
    install::NAMESPACE,
    wait::within,
};

/// The leader's process on this machine: the node's processes are processes of it, and a Pod's have its uid in the path of
/// their control group.
pub fn pid() -> Result<String> {
    let leader = [
        "-n",
        NAMESPACE,
        "get",
        "pod",
        "-l",
        "apocryph.network/role=leader",
        "-o",
        "jsonpath={.items[0].metadata.uid}",
    ];
    let uid = kubectl(&leader)?;
    // the kernel keeps 15 letters of a name
    let found = run(Command::new("pgrep").args(["-x", "apocryph-provid"])).context("no operator runs")?;
    let of_leader = |pid: &&str| {
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(uid.trim()))
    };
    let pid = found
        .split_whitespace()
        .find(of_leader)
        .context("no process of the leader's Pod")?;
    Ok(pid.to_owned())
}

/// SIGKILL to the leader, from the machine.
pub async fn kill() -> Result<()> {
    run(Command::new("kill").args(["-9", &pid()?])).map(drop)
}

/// Bytes of a process in memory.
pub fn resident(pid: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib << 10)
}

/// A connection, as somebody, once the operator or its successor listens again.
pub async fn listens_again(provider: &Provider) -> Result<Actor> {
    within("the operator listens again", async {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            tick.tick().await;
            if let Ok(actor) = Actor::connect(provider).await {
                return Ok(actor);
            }
        }
    })
    .await
}

/// The same publisher on a new connection, once pods are accepted again.
pub async fn reconnect(provider: &Provider, key: PublisherKey) -> Result<Actor> {
    let actor = listens_again(provider).await?;
    crate::install::accepting(provider).await?;
    Ok(Actor { key, ..actor })
}

//! The operator's process, as a failure takes it.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};
use apocryph_publisher::{Provider, PublisherKey};

use crate::{actor::Actor, cluster::run, wait::within};

/// SIGKILL, from the machine: the node's processes are processes of this machine.
pub async fn kill() -> Result<()> {
    let found = run(Command::new("pgrep").args(["-f", "^/apocryph-provider"])).context("no operator runs")?;
    let mut kill = Command::new("kill");
    kill.arg("-9").args(found.split_whitespace());
    run(&mut kill).map(drop)
}

/// A new connection once the operator, or its successor, listens again.
pub async fn reconnect(provider: &Provider, key: PublisherKey) -> Result<Actor> {
    let actor = within("the operator listens again", async {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            tick.tick().await;
            if let Ok(actor) = Actor::connect(provider).await {
                return Ok(actor);
            }
        }
    })
    .await?;
    crate::install::accepting(provider).await?;
    Ok(Actor { key, ..actor })
}

//! Room for exactly five pods, forty provisions at once (issue part 3, 1).

use anyhow::{Result, bail};
use apocryph_e2e::{
    actor::{Actor, Answer, Order},
    filler,
    install::{Profile, Scene, alone},
    pods,
};
use apocryph_publisher::reply::{Phase, Refusal};
use futures::future::try_join_all;

use crate::HELLO;

const ROOM: usize = 5;
const PEERS: usize = 8;
const EACH: usize = 5;

/// Forty provisions from eight peers; gives the refusals after the accepted ones have run and ended.
async fn rush(scene: &Scene) -> Result<Vec<Refusal>> {
    let mut actors = Vec::new();
    for _ in 0..PEERS {
        actors.push(Actor::connect(&scene.provider).await?);
    }
    let mut tries = Vec::new();
    for actor in &actors {
        for _ in 0..EACH {
            let order = Order::of(HELLO)?;
            tries.push(async move {
                let mut stream = actor.provision(&order).await?;
                match stream.next().await? {
                    Answer::Refusal(refusal) => Ok((None, Some(refusal))),
                    Answer::Status(status) if status.phase == Phase::Accepted => {
                        let running = stream.until_phase(Phase::Running).await?;
                        Ok((Some((actor, order.pod_id, running.name)), None))
                    }
                    other => bail!("{other:?}"),
                }
            });
        }
    }
    let (accepted, refused): (Vec<_>, Vec<_>) = try_join_all(tries).await?.into_iter().unzip();
    let accepted: Vec<_> = accepted.into_iter().flatten().collect();
    let refused: Vec<_> = refused.into_iter().flatten().collect();
    assert_eq!(
        (accepted.len(), refused.len()),
        (ROOM, PEERS * EACH - ROOM),
        "{:?}",
        refused.first()
    );
    let names: Vec<String> = accepted.iter().map(|(_, _, name)| name.clone()).collect();
    // nothing of the refused is left: no ApocryphPod, no namespace, no staged Secret
    pods::exactly_these(&scene.admin, &names).await?;
    try_join_all(accepted.iter().map(|(actor, pod_id, _)| actor.end(*pod_id))).await?;
    Ok(refused)
}

#[tokio::test]
async fn by_the_admins_maximum() -> Result<()> {
    let scene = alone(Profile::FivePods).await?;
    for refusal in rush(&scene).await? {
        assert_eq!(
            (refusal.code.text.as_str(), refusal.resource.as_str()),
            ("insufficient_capacity", "pods"),
            "{refusal:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn by_what_a_filler_leaves_on_the_node() -> Result<()> {
    let scene = alone(Profile::Base).await?;
    let filler = filler::leave(&scene, HELLO, ROOM).await?;
    let refused = rush(&scene).await;
    filler.remove().await?;
    for refusal in refused? {
        assert_eq!(
            (refusal.code.text.as_str(), refusal.resource.as_str()),
            ("insufficient_capacity", "cpu"),
            "{refusal:?}"
        );
    }
    Ok(())
}

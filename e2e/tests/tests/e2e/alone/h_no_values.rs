//! `helm install` with no values ends Ready and accepts nothing, and says why.

use anyhow::Result;
use apocryph_e2e::{
    actor::{Actor, Order},
    install::{Profile, not_accepting, scene},
};

#[tokio::test]
async fn ready_and_not_accepting() -> Result<()> {
    // it waits for Ready
    let scene = scene(Profile::None).await?;
    // helm makes the admission policies last, after the operator's Pod
    not_accepting(&scene.provider, "no_price_table").await?;
    let actor = Actor::connect(&scene.provider).await?;
    let refusal = actor.provision(&Order::of(crate::SLEEPER)?).await?.refused().await?;
    assert_eq!(refusal.code.text, "no_price_table");
    Ok(())
}

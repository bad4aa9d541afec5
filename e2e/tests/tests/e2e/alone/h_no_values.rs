//! `helm install` with no values ends Ready and accepts nothing, and says why.

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, Order},
    install::{Profile, scene},
};

#[tokio::test]
async fn ready_and_not_accepting() -> Result<()> {
    // it waits for Ready
    let scene = scene(Profile::None).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let why = actor
        .capacity()
        .await?
        .not_accepting
        .context("it accepts without a price table")?;
    assert_eq!(why.code, "no_price_table");
    let refusal = actor.provision(&Order::of(crate::SLEEPER)?).await?.refused().await?;
    assert_eq!(refusal.code.text, "no_price_table");
    Ok(())
}

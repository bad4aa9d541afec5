//! The chart's own test of its admission policies, each tried by itself, without the operator's help.

use std::process::Command;

use anyhow::Result;
use apocryph_e2e::{
    cluster::{checkout, run},
    install::{Profile, scene},
};

#[tokio::test]
async fn each_refuses_what_it_is_there_for_and_lets_the_rest_through() -> Result<()> {
    let _scene = scene(Profile::Base).await?;
    run(&mut Command::new(
        checkout().join("charts/apocryph-provider/tests/policies.sh"),
    ))?;
    Ok(())
}

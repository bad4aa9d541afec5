//! `helm install` with no values ends Ready and accepts nothing, and says why.

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, Order},
    cluster::kubectl,
    install::{NAMESPACE, Profile, forget, helm_uninstall, helm_upgrade},
};

#[tokio::test]
async fn ready_and_not_accepting() -> Result<()> {
    let _before = apocryph_e2e::install::scene(Profile::Base).await?;
    forget().await;
    helm_uninstall()?;
    // the pricing ConfigMap is the admin's and stays; a first install has none
    kubectl(&["-n", NAMESPACE, "delete", "configmap", "apocryph-provider-pricing"])?;
    // what it announces without values is nothing, so the address of the Service is asked of the cluster
    helm_upgrade(Profile::None, &["--set", "libp2p.announce.internal=true"])?;
    let admin = apocryph_e2e::cluster::admin().await?;
    let provider = apocryph_e2e::install::provider(&admin).await?;
    let actor = Actor::connect(&provider).await?;
    let capacity = actor.capacity().await?;
    let why = capacity.not_accepting.context("it accepts without a price table")?;
    assert_eq!(why.code, "no_price_table");
    let refusal = actor.provision(&Order::of(crate::SLEEPER)?).await?.refused().await?;
    assert_eq!(refusal.code.text, "no_price_table");
    Ok(())
}

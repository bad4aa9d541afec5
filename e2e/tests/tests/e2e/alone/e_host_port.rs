//! A publisher reaches the operator at its node's address and host port, over TCP and over QUIC.

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::Actor,
    install::{NAMESPACE, PEER_CONFIG, Profile, alone, helm_upgrade},
    wait,
};
use apocryph_publisher::Provider;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, runtime::watcher};

const PORT: u16 = 4001;

#[tokio::test]
async fn a_host_port_is_announced_and_answers_on_both_transports() -> Result<()> {
    let mut scene = alone(Profile::Base).await?;
    scene.forget();
    helm_upgrade(Profile::Base, &["--set", &format!("libp2p.hostPort={PORT}")])?;

    let named = watcher::Config::default().fields(&format!("metadata.name={PEER_CONFIG}"));
    let maps: Api<ConfigMap> = Api::namespaced(scene.admin.clone(), NAMESPACE);
    let announced = wait::until("the host port is announced", maps, named, |maps: &[ConfigMap]| {
        let addresses = maps.first()?.data.as_ref()?.get("addresses")?;
        addresses.contains(&format!("/tcp/{PORT}/")).then(|| addresses.clone())
    })
    .await?;
    for transport in [format!("/tcp/{PORT}"), format!("/udp/{PORT}/quic-v1")] {
        let lines = announced.lines().filter(|line| line.contains(&transport));
        let provider = Provider::parse(lines).with_context(|| format!("{transport} is not in {announced}"))?;
        assert_eq!(provider.peer(), scene.provider.peer());
        let actor = Actor::connect(&provider).await?;
        assert!(actor.connection.address().to_string().contains(&transport));
        actor.capacity().await?;
    }
    Ok(())
}

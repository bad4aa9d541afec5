//! A peer without the wallet's key does what the wallet lets it, until the wallet takes it back.

use anyhow::{Context, Result, bail};
use apocryph_e2e::{
    actor::{Actor, Order},
    install::{Profile, scene},
    pods,
    wait::within,
};
use apocryph_proto::v0::manage_pod::{Revoke, manage_pod_request::Operation};
use apocryph_publisher::{
    PodId, PublisherKey, credential,
    delegation::{Allowed, Delegation},
    peer::PeerKey,
    reply::Phase,
    session::Body,
};

use crate::SLEEPER;

const DAY: u64 = 24 * 60 * 60;

fn given(wallet: &PublisherKey, peer: &PeerKey, operations: &[&str], pod: PodId, days: u64) -> Result<Delegation> {
    let allowed = Allowed {
        delegate: peer.id(),
        operations: operations.iter().map(|name| (*name).to_owned()).collect(),
        pod: Some(pod),
        chain_id: 0,
        expires_at: credential::now() + days * DAY,
    };
    Ok(Delegation::sign(wallet, allowed, None)?)
}

/// Whoever holds the file, with that peer's key.
async fn holder(provider: &apocryph_publisher::Provider, peer: PeerKey, delegation: &Delegation) -> Result<Actor> {
    let key = PublisherKey::delegate(peer, delegation.message.clone()).context("a publisher")?;
    Actor::with_key(provider, key).await
}

async fn revoke(wallet: &Actor, pod: PodId, not_before: u64) -> Result<u64> {
    let revoke = Operation::Revoke(Revoke { not_before });
    match wallet.manage("revoke", pod, revoke).await?.told().await? {
        Body::Revoked(not_before) => Ok(not_before),
        other => bail!("{other:?}"),
    }
}

#[tokio::test]
async fn a_delegate_does_what_it_may_and_nothing_once_it_is_revoked() -> Result<()> {
    let scene = scene(Profile::Base).await?;
    let wallet = Actor::connect(&scene.provider).await?;
    let order = Order::of(SLEEPER)?;
    let secret = "5e".repeat(32);
    let peer = || PeerKey::from_hex(&secret, "the test");
    let delegation = given(&wallet.key, &peer()?, &["provision", "watch"], order.pod_id, 30)?;
    let delegate = holder(&scene.provider, peer()?, &delegation).await?;

    // It may: the pod is the wallet's, without the wallet.
    let running = delegate.run(&order).await?;
    assert_eq!(wallet.run(&order).await?.name, running.name);
    let mut watching = delegate.watch(order.pod_id).await?;
    watching.until_phase(Phase::Running).await?;

    // It may not.
    let refused = delegate.delete(order.pod_id).await?.refused().await?;
    assert_eq!(refused.code.text, "operation_not_delegated");
    let refused = delegate.watch(PodId::random()).await?.refused().await?;
    assert_eq!(refused.code.text, "pod_not_delegated");
    let revoking = Operation::Revoke(Revoke { not_before: 1 });
    let refused = delegate
        .manage("revoke", order.pod_id, revoking)
        .await?
        .refused()
        .await?;
    assert_eq!(refused.code.text, "operation_not_delegated");

    // Another peer with the same file may nothing.
    let thief = holder(&scene.provider, PeerKey::random()?, &delegation).await?;
    assert_eq!(
        thief.watch(order.pod_id).await?.refused().await?.code.text,
        "wrong_delegate"
    );
    assert_eq!(
        thief.provision(&order).await?.refused().await?.code.text,
        "wrong_delegate"
    );

    let expires_at = delegation.message.expires_at;
    assert_eq!(revoke(&wallet, order.pod_id, expires_at).await?, expires_at);
    let cut = within("the open stream ends", watching.final_refusal()).await?;
    assert_eq!(cut.code.text, "delegation_revoked");
    assert_eq!(
        delegate.watch(order.pod_id).await?.refused().await?.code.text,
        "delegation_revoked"
    );
    assert_eq!(
        delegate.provision(&order).await?.refused().await?.code.text,
        "delegation_revoked"
    );
    let pod = pods::get(&scene.admin, &running.name).await?.context("the pod")?;
    assert_eq!(pod.spec.delegations_not_before, i64::try_from(expires_at).ok());

    // The wallet is untouched by it; what it gives next is good; what was revoked stays so in a new life.
    wallet.end(order.pod_id).await?;
    let again = Order {
        after_life: 1,
        ..order.clone()
    };
    assert_eq!(wallet.run(&again).await?.life, 2);
    assert_eq!(
        delegate.watch(order.pod_id).await?.refused().await?.code.text,
        "delegation_revoked"
    );
    let next = given(&wallet.key, &peer()?, &["delete"], order.pod_id, 31)?;
    holder(&scene.provider, peer()?, &next).await?.end(order.pod_id).await?;
    Ok(())
}

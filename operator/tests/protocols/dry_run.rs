//! A dry run: what a provision would meet, every "no" of it, and nothing made and nothing held.

use std::sync::Arc;

use apocryph_proto::{
    outcome::Code,
    v0::provision_pod::{DryRun, PodReply, ProvisionPodRequest, pod_reply},
};
use apocryph_provider::model::{
    pod::LifeState,
    refusal::Refusal,
    services::{Tables, Verdict},
};

use super::support::*;

fn dry() -> ProvisionPodRequest {
    ProvisionPodRequest {
        dry_run: true,
        ..provision()
    }
}

/// The one answer; nothing follows.
async fn told(world: &Arc<World>, request: &ProvisionPodRequest) -> DryRun {
    let mut client = open(provision_pod(world), signed_provision(request)).await;
    let reply = client.next().await.expect("an answer");
    assert_eq!(client.next().await, None);
    match reply {
        PodReply {
            message: Some(pod_reply::Message::DryRun(told)),
            r#final: true,
        } => told,
        other => panic!("{other:?}"),
    }
}

fn codes(told: &DryRun) -> Vec<&str> {
    told.blockers.iter().map(|blocker| blocker.code.as_str()).collect()
}

#[tokio::test]
async fn what_would_be_accepted_says_what_it_costs_and_what_would_be_made_and_nothing_is_written_or_held() {
    let world = World::new();
    let tables = "apiVersion: pricing.apocryph.network/v1alpha1
tables:
- {name: open, payment: {free: {everyone: true}}}
- name: usdc
  payment: {channel: {chainId: 5, contract: '0x0101010101010101010101010101010101010101', token: '0x0202020202020202020202020202020202020202', decimals: 6}}
  perHour: {cpu: '0.01', memoryGiB: '0.016', storageGiB: '0', ephemeralStorageGiB: '0'}
";
    *world.tables.lock().unwrap() = Some(Arc::new(Tables::parse(tables).unwrap().unwrap()));
    let told = told(&world, &dry()).await;
    assert_eq!(codes(&told), Vec::<&str>::new());
    assert_eq!(
        (told.name.as_str(), told.life, told.attached),
        (publisher().key().name().as_str(), 1, false)
    );
    let prices: Vec<_> = told
        .prices
        .iter()
        .map(|p| (p.table.as_str(), p.per_hour.as_str()))
        .collect();
    // 0.1 core and 1/16 GiB, the defaults
    assert_eq!(prices, [("open", "0"), ("usdc", "0.002")]);
    assert_eq!((told.prices[1].chain_id, told.prices[1].token.len()), (5, 20));
    let admitted = told.admitted.expect("what would be admitted");
    assert_eq!(
        admitted.containers[0].env["TOKEN"], "",
        "an environment value came back"
    );
    assert_eq!(admitted.containers[0].resource_requests.len(), 3);
    assert_eq!(told.objects_digest, [0xd1; 32]);
    assert_eq!(
        world.calls(),
        ["find", "door", "payment", "capacity", "tables", "digest"]
    );
    assert!(world.hold_ends.borrow().is_empty());
}

#[tokio::test]
async fn every_no_is_told_with_its_remedy_not_only_the_first() {
    let world = World::with_record(record(2, LifeState::Ending(end())));
    *world.door.lock().unwrap() = Err(Refusal::new(Code::Cordoned, "closed"));
    let full = Refusal::new(Code::InsufficientCapacity, "full").resource("memory");
    *world.fits.lock().unwrap() = Err(full);
    let unpaid = Refusal::new(Code::PublisherNotAllowed, "not listed").remedy("ask");
    *world.verdict.lock().unwrap() = Some(Verdict::NotEnough(unpaid));
    let told = told(&world, &dry()).await;
    assert_eq!(
        codes(&told),
        [
            "terminating",
            "cordoned",
            "publisher_not_allowed",
            "insufficient_capacity"
        ]
    );
    assert_eq!(told.blockers[2].remedy, "Ask.");
    assert_eq!(told.blockers[3].resource, "memory");
    assert!(told.objects_digest.is_empty(), "the terms are not known");
    assert_eq!(world.calls(), ["find", "door", "payment", "capacity", "tables"]);
}

#[tokio::test]
async fn what_could_not_be_found_out_is_a_blocker_and_no_permission() {
    let world = World::new();
    *world.record.lock().unwrap() = Err(Refusal::new(Code::ApiUnavailable, "no answer").retry_after(7));
    *world.verdict.lock().unwrap() = Some(Verdict::Unknown("the chain is silent".to_owned()));
    let told = told(&world, &dry()).await;
    assert_eq!(codes(&told), ["api_unavailable", "payment_unknown"]);
    assert_eq!(told.blockers[0].retry_after, 7);
}

#[tokio::test]
async fn the_pod_that_runs_already_is_told_and_nobody_is_asked_for_room_or_payment() {
    let world = World::with_record(record(1, LifeState::Alive));
    let same = told(&world, &dry()).await;
    assert_eq!((same.attached, same.life, codes(&same)), (true, 1, vec![]));
    assert_eq!(world.calls(), ["find", "tables", "digest"]);

    let mut other = dry();
    other.pod.as_mut().unwrap().containers[0].name = "other".to_owned();
    let world = World::with_record(record(1, LifeState::Alive));
    assert_eq!(codes(&told(&world, &other).await), ["content_differs"]);
}

#[tokio::test]
async fn one_fault_that_two_have_found_is_told_once() {
    let world = World::new();
    let offered = || Refusal::new(Code::StorageNotOffered, "no storage");
    *world.fits.lock().unwrap() = Err(offered());
    *world.digest.lock().unwrap() = Err(offered());
    assert_eq!(codes(&told(&world, &dry()).await), ["storage_not_offered"]);
}

#[tokio::test]
async fn without_a_credential_that_holds_it_is_refused_like_any_other() {
    let world = World::new();
    let mut envelope = signed_provision(&dry());
    stranger().sign(&mut envelope);
    assert_eq!(refused(&world, envelope).await.code, "bad_signature");
    let mut unnamed = dry();
    unnamed.pod.as_mut().unwrap().containers[0].name.clear();
    let refusal = refused(&world, signed_provision(&unnamed)).await;
    assert_eq!(refusal.field, "pod.containers[0].name");
    assert_eq!(world.calls(), Vec::<&str>::new());
}

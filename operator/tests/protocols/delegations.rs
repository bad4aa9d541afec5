//! Delegations: a named peer may what the wallet listed, and nothing else; what was revoked is void, also for a stream that is
//! open.

use std::sync::Arc;

use apocryph_proto::{
    outcome::Code,
    v0::{
        manage_pod::{Delete, ManagePodRequest, Revoke, Watch, manage_pod_request::Operation},
        provision_pod::{PodReply, Refusal as WireRefusal, pod_reply},
        signing::{Delegation, Envelope},
    },
};
use apocryph_provider::model::{pod::LifeState, status::Phase};
use k256::ecdsa::Signature;
use prost::Message;

use super::support::*;

fn request(operation: Operation) -> Vec<u8> {
    ManagePodRequest {
        operation: Some(operation),
    }
    .encode_to_vec()
}

/// A watch under the delegation.
fn watch(delegation: Delegation) -> Envelope {
    under(delegation, envelope("watch", request(Operation::Watch(Watch {}))))
}

fn delete(delegation: Delegation) -> Envelope {
    let bytes = request(Operation::Delete(Delete { life: 0 }));
    under(delegation, envelope("delete", bytes))
}

fn revoke(not_before: u64) -> Envelope {
    signed_manage(Operation::Revoke(Revoke { not_before }))
}

async fn manage_refused(world: &Arc<World>, envelope: Envelope) -> WireRefusal {
    open(manage_pod(world), envelope).await.refusal().await
}

/// What the wallet says is in force.
async fn revoked(world: &Arc<World>, envelope: Envelope) -> u64 {
    let reply = open(manage_pod(world), envelope).await.next().await.unwrap();
    match reply {
        PodReply {
            message: Some(pod_reply::Message::Revoked(revoked)),
            r#final: true,
        } => revoked.not_before,
        other => panic!("{other:?}"),
    }
}

fn alive() -> Arc<World> {
    World::with_record(record(1, LifeState::Alive))
}

#[tokio::test]
async fn a_delegated_peer_does_what_is_listed_and_is_refused_the_rest_before_anybody_is_asked() {
    let world = alive();
    world.publish(status(1, Phase::Running, Code::Running)).await;
    let delegation = publisher().delegate(delegation(&["watch"]));
    let mut client = open(manage_pod(&world), watch(delegation.clone())).await;
    assert_eq!(client.status().await.code, "running");

    let world = alive();
    let refusal = manage_refused(&world, delete(delegation.clone())).await;
    assert_eq!(
        (refusal.code.as_str(), refusal.field.as_str()),
        ("operation_not_delegated", "delegation.operations")
    );
    let provision = under(delegation, envelope("provision", provision().encode_to_vec()));
    assert_eq!(refused(&world, provision).await.code, "operation_not_delegated");
    assert_eq!(world.calls(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_pod_is_provisioned_under_a_delegation_for_it_or_for_any() {
    let any = Delegation {
        pod_id: vec![0; 32],
        any_pod: true,
        ..delegation(&["provision"])
    };
    for delegation in [delegation(&["provision"]), any] {
        let world = World::new();
        let envelope = under(
            publisher().delegate(delegation),
            envelope("provision", provision().encode_to_vec()),
        );
        let mut client = open(provision_pod(&world), envelope).await;
        assert_eq!(client.status().await.code, "accepted");
    }
}

/// One fault: the delegation is changed, then signed by the publisher.
type Fault = fn(&mut Delegation);

#[tokio::test]
async fn each_fault_of_a_delegation_has_its_own_code_and_asks_nobody() {
    let faults: [(&str, &str, Fault); 11] = [
        ("wrong_delegate", "delegation.delegate", |delegation| {
            delegation.delegate = PROVIDER.to_owned()
        }),
        ("operation_not_delegated", "delegation.operations", |delegation| {
            delegation.operations.clear()
        }),
        ("pod_not_delegated", "delegation.podId", |delegation| {
            delegation.pod_id = vec![6; 32]
        }),
        ("pod_not_delegated", "delegation.podId", |delegation| {
            delegation.pod_id = vec![0; 32]
        }),
        ("pod_not_delegated", "delegation.publisher", |delegation| {
            delegation.publisher = stranger().address().to_vec()
        }),
        ("invalid_request", "delegation.podId", |delegation| {
            delegation.any_pod = true
        }),
        ("invalid_request", "delegation.publisher", |delegation| {
            delegation.publisher.push(0)
        }),
        ("delegation_expired", "delegation.expiresAt", |delegation| {
            delegation.expires_at = unix_now() - 32
        }),
        ("validity_too_long", "delegation.expiresAt", |delegation| {
            delegation.expires_at = unix_now() + 367 * 86_400
        }),
        ("wrong_chain", "delegation.chainId", |delegation| {
            delegation.chain_id = 1
        }),
        ("invalid_manifest", "delegation.operations[16]", |delegation| {
            delegation.operations = vec!["watch".to_owned(); 17]
        }),
    ];
    for (code, field, fault) in faults {
        let world = alive();
        let mut delegation = delegation(&["watch"]);
        fault(&mut delegation);
        if delegation.publisher.len() == 20 {
            delegation = publisher().delegate(delegation);
        }
        let refusal = manage_refused(&world, watch(delegation)).await;
        assert_eq!(
            (refusal.code.as_str(), refusal.field.as_str()),
            (code, field),
            "{refusal:?}"
        );
        assert_eq!(world.calls(), Vec::<&str>::new(), "{code}");
    }
}

#[tokio::test]
async fn a_field_that_was_changed_after_signing_is_no_delegation() {
    let changes: [Fault; 3] = [
        |delegation| delegation.operations.push("delete".to_owned()),
        |delegation| delegation.expires_at += 1,
        |delegation| {
            delegation.any_pod = true;
            delegation.pod_id = vec![0; 32];
        },
    ];
    for change in changes {
        let world = alive();
        let mut delegation = publisher().delegate(delegation(&["watch"]));
        change(&mut delegation);
        let refusal = manage_refused(&world, watch(delegation)).await;
        assert_eq!(
            (refusal.code.as_str(), refusal.field.as_str()),
            ("bad_signature", "delegation.signature")
        );
        assert_eq!(world.calls(), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn another_wallet_s_signature_and_the_other_form_of_the_right_one_are_refused() {
    let world = alive();
    let refusal = manage_refused(&world, watch(stranger().delegate(delegation(&["watch"])))).await;
    assert_eq!(refusal.code, "bad_signature");

    let mut delegation = publisher().delegate(delegation(&["watch"]));
    let low = Signature::from_slice(&delegation.signature[..64]).unwrap();
    let (r, s) = low.split_scalars();
    let high = Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    let v = 55 - delegation.signature[64];
    delegation.signature = [&high.to_bytes()[..], &[v]].concat();
    assert_eq!(manage_refused(&world, watch(delegation)).await.code, "high_s");
    assert_eq!(world.calls(), Vec::<&str>::new());
}

#[tokio::test]
async fn an_envelope_has_a_signature_or_a_delegation() {
    let mut both = watch(publisher().delegate(delegation(&["watch"])));
    publisher().sign(&mut both);
    let refusal = manage_refused(&alive(), both).await;
    assert_eq!(
        (refusal.code.as_str(), refusal.field.as_str()),
        ("invalid_request", "signature")
    );
}

#[tokio::test]
async fn the_rest_of_the_envelope_is_held_to_the_same_as_if_it_were_signed() {
    type EnvelopeFault = fn(&mut Envelope);
    let faults: [(&str, EnvelopeFault); 5] = [
        ("wrong_operation", |envelope| envelope.operation = "delete".to_owned()),
        ("wrong_provider", |envelope| envelope.provider = REQUESTER.to_owned()),
        ("wrong_requester", |envelope| envelope.requester = PROVIDER.to_owned()),
        ("body_changed", |envelope| envelope.request_hash[0] ^= 1),
        ("expired", |envelope| envelope.expires_at = envelope.issued_at - 31),
    ];
    for (code, fault) in faults {
        let world = alive();
        let mut envelope = watch(publisher().delegate(delegation(&["watch", "delete"])));
        fault(&mut envelope);
        assert_eq!(manage_refused(&world, envelope).await.code, code);
        assert_eq!(world.calls(), Vec::<&str>::new(), "{code}");
    }
}

#[tokio::test]
async fn after_the_wallet_has_revoked_it_nothing_is_served_under_it_and_a_later_one_is() {
    let world = alive();
    let old = publisher().delegate(delegation(&["watch", "delete", "provision"]));
    assert_eq!(revoked(&world, revoke(old.expires_at)).await, old.expires_at);

    for envelope in [watch(old.clone()), delete(old.clone())] {
        assert_eq!(manage_refused(&world, envelope).await.code, "delegation_revoked");
    }
    for dry_run in [false, true] {
        let request = apocryph_proto::v0::provision_pod::ProvisionPodRequest { dry_run, ..provision() };
        let envelope = under(old.clone(), envelope("provision", request.encode_to_vec()));
        assert_eq!(refused(&world, envelope).await.code, "delegation_revoked");
    }
    assert_eq!(world.calls(), ["revoke", "find", "find", "find", "find"]);

    let later = publisher().delegate(Delegation {
        expires_at: old.expires_at + 1,
        ..delegation(&["watch"])
    });
    world.publish(status(1, Phase::Running, Code::Running)).await;
    let mut client = open(manage_pod(&world), watch(later)).await;
    assert_eq!(client.status().await.code, "running");
}

#[tokio::test]
async fn a_stream_that_is_open_ends_with_the_revocation() {
    let world = alive();
    let delegation = publisher().delegate(delegation(&["watch"]));
    world.publish(status(1, Phase::Running, Code::Running)).await;
    let mut client = open(manage_pod(&world), watch(delegation.clone())).await;
    assert_eq!(client.status().await.code, "running");
    revoked(&world, revoke(delegation.expires_at)).await;
    assert_eq!(client.refusal().await.code, "delegation_revoked");
}

#[tokio::test]
async fn what_is_revoked_never_becomes_less() {
    let world = alive();
    let now = unix_now();
    assert_eq!(revoked(&world, revoke(now + 10)).await, now + 10);
    assert_eq!(revoked(&world, revoke(now)).await, now + 10);
}

#[tokio::test]
async fn only_the_wallet_revokes_and_only_what_can_be() {
    let world = alive();
    let delegated = publisher().delegate(delegation(&["revoke", "watch"]));
    let bytes = request(Operation::Revoke(Revoke { not_before: 1 }));
    let refusal = manage_refused(&world, under(delegated, envelope("revoke", bytes))).await;
    assert_eq!(refusal.code, "operation_not_delegated");

    let mut strange = revoke(1);
    stranger().sign(&mut strange);
    assert_eq!(manage_refused(&world, strange).await.code, "bad_signature");

    for not_before in [0, unix_now() + 367 * 86_400, u64::MAX] {
        let refusal = manage_refused(&world, revoke(not_before)).await;
        assert_eq!(
            (refusal.code.as_str(), refusal.field.as_str()),
            ("invalid_request", "revoke.notBefore")
        );
    }
    assert_eq!(world.calls(), Vec::<&str>::new());
    assert_eq!(manage_refused(&World::new(), revoke(1)).await.code, "not_found");
}

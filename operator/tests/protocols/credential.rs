//! Each fault of an envelope alone: its own code, and nobody was asked.

use apocryph_proto::v0::{
    manage_pod::{Delete, ManagePodRequest, Update, Watch, manage_pod_request::Operation},
    signing::{Envelope, Sealed},
};
use k256::ecdsa::Signature;
use prost::Message;

use super::support::*;

/// One fault: the envelope is changed, then signed by the publisher.
type Before = fn(&mut Envelope);

#[tokio::test]
async fn each_fault_of_a_signed_envelope_has_its_own_code_and_asks_nobody() {
    let faults: [(&str, &str, Before); 14] = [
        ("wrong_operation", "operation", |envelope| {
            envelope.operation = "delete".to_owned()
        }),
        ("wrong_operation", "operation", |envelope| {
            envelope.operation = "dance".to_owned()
        }),
        ("wrong_pod", "podId", |envelope| envelope.pod_id = vec![6; 32]),
        ("wrong_provider", "provider", |envelope| {
            envelope.provider = REQUESTER.to_owned()
        }),
        ("wrong_requester", "requester", |envelope| {
            envelope.requester = PROVIDER.to_owned()
        }),
        ("body_changed", "requestHash", |envelope| envelope.request_hash[31] ^= 1),
        ("expired", "expiresAt", |envelope| {
            envelope.issued_at = unix_now() - 400;
            envelope.expires_at = unix_now() - 32;
        }),
        ("expired", "expiresAt", |envelope| {
            envelope.issued_at = unix_now() + 10;
            envelope.expires_at = unix_now() + 9;
        }),
        ("not_yet_valid", "issuedAt", |envelope| {
            envelope.issued_at = unix_now() + 60;
            envelope.expires_at = unix_now() + 120;
        }),
        ("validity_too_long", "expiresAt", |envelope| {
            envelope.expires_at = envelope.issued_at + 601
        }),
        ("validity_too_long", "expiresAt", |envelope| {
            envelope.issued_at = 0;
            envelope.expires_at = u64::MAX;
        }),
        ("wrong_chain", "chainId", |envelope| envelope.chain_id = 1),
        ("invalid_request", "afterGeneration", |envelope| {
            envelope.after_generation = 3
        }),
        ("wrong_pod", "publisher", |envelope| {
            envelope.publisher = stranger().address().to_vec()
        }),
    ];
    for (code, field, fault) in faults {
        let world = World::new();
        let mut envelope = envelope("provision", provision().encode_to_vec());
        fault(&mut envelope);
        publisher().sign(&mut envelope);
        let refusal = refused(&world, envelope).await;
        assert_eq!(
            (refusal.code.as_str(), refusal.field.as_str()),
            (code, field),
            "{refusal:?}"
        );
        assert_eq!(world.calls(), Vec::<&str>::new(), "{code}");
    }
}

#[tokio::test]
async fn each_fault_of_a_signature_has_its_own_code_and_asks_nobody() {
    let faults: [(&str, Before); 7] = [
        ("bad_signature", |envelope| stranger().sign(envelope)),
        ("bad_signature", |envelope| envelope.signature[0] ^= 1),
        ("bad_signature", |envelope| envelope.signature.truncate(64)),
        ("bad_signature", |envelope| envelope.signature.clear()),
        ("bad_signature", |envelope| envelope.signature[64] = 2),
        // Any signed field changed after signing.
        ("bad_signature", |envelope| envelope.expires_at += 1),
        ("high_s", |envelope| {
            let signature = Signature::from_slice(&envelope.signature[..64]).unwrap();
            let (r, s) = signature.split_scalars();
            let high = Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
            envelope.signature[..64].copy_from_slice(&high.to_bytes());
            envelope.signature[64] = if envelope.signature[64] == 27 { 28 } else { 27 };
        }),
    ];
    for (code, fault) in faults {
        let world = World::new();
        let mut envelope = signed_provision(&provision());
        fault(&mut envelope);
        let refusal = refused(&world, envelope).await;
        assert_eq!(
            (refusal.code.as_str(), refusal.field.as_str()),
            (code, "signature"),
            "{refusal:?}"
        );
        assert_eq!(world.calls(), Vec::<&str>::new(), "{code}");
    }
}

#[tokio::test]
async fn of_several_faults_the_first_in_order_is_told() {
    let repairs: [(&str, Before); 9] = [
        ("wrong_operation", |envelope| {
            envelope.operation = "provision".to_owned()
        }),
        ("wrong_pod", |envelope| envelope.pod_id = POD_ID.to_vec()),
        ("wrong_provider", |envelope| envelope.provider = PROVIDER.to_owned()),
        ("wrong_requester", |envelope| envelope.requester = REQUESTER.to_owned()),
        ("body_changed", |envelope| envelope.request_hash[0] ^= 1),
        ("expired", |envelope| {
            envelope.issued_at = unix_now() + 100;
            envelope.expires_at = unix_now() + 900;
        }),
        ("not_yet_valid", |envelope| envelope.issued_at = unix_now()),
        ("validity_too_long", |envelope| {
            envelope.expires_at = envelope.issued_at + 600
        }),
        ("wrong_chain", |envelope| envelope.chain_id = 0),
    ];
    let mut envelope = envelope("delete", provision().encode_to_vec());
    envelope.pod_id[0] ^= 1;
    envelope.provider.clear();
    envelope.requester.clear();
    envelope.request_hash[0] ^= 1;
    envelope.issued_at = 0;
    envelope.expires_at = 1;
    envelope.chain_id = 5;
    envelope.signature = vec![1; 65];
    let world = World::new();
    for (code, repair) in repairs {
        assert_eq!(refused(&world, envelope.clone()).await.code, code);
        repair(&mut envelope);
    }
    assert_eq!(refused(&world, envelope.clone()).await.code, "bad_signature");
    publisher().sign(&mut envelope);
    assert_eq!(world.calls(), Vec::<&str>::new());
    assert_eq!(
        open(provision_pod(&world), envelope).await.status().await.code,
        "accepted"
    );
}

#[tokio::test]
async fn a_body_changed_on_the_way_is_body_changed_even_when_it_can_no_longer_be_read() {
    for change in [
        |bytes: &mut Vec<u8>| bytes.push(0xff),
        |bytes: &mut Vec<u8>| bytes.truncate(9),
    ] {
        let world = World::new();
        let mut envelope = signed_provision(&provision());
        change(&mut envelope.request);
        assert_eq!(refused(&world, envelope).await.code, "body_changed");
        assert_eq!(world.calls(), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn thirty_seconds_of_skew_are_forgiven_at_both_ends() {
    for (issued, expires) in [(-300, -20), (20, 300), (0, 600)] {
        let world = World::new();
        let mut envelope = envelope("provision", provision().encode_to_vec());
        envelope.issued_at = unix_now().saturating_add_signed(issued);
        envelope.expires_at = unix_now().saturating_add_signed(expires);
        publisher().sign(&mut envelope);
        let mut client = open(provision_pod(&world), envelope).await;
        assert_eq!(client.status().await.code, "accepted");
    }
}

#[tokio::test]
async fn fields_of_the_wrong_length_are_named() {
    let faults: [(&str, Before); 4] = [
        ("podId", |envelope| envelope.pod_id.push(0)),
        ("requestHash", |envelope| envelope.request_hash.truncate(31)),
        ("publisher", |envelope| envelope.publisher.clear()),
        ("podId", |envelope| envelope.pod_id.clear()),
    ];
    for (field, fault) in faults {
        let world = World::new();
        let mut envelope = signed_provision(&provision());
        fault(&mut envelope);
        let refusal = refused(&world, envelope).await;
        assert_eq!(
            (refusal.code.as_str(), refusal.field.as_str()),
            ("invalid_request", field)
        );
        assert_eq!(world.calls(), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn what_an_envelope_cannot_yet_carry_is_refused_by_its_code() {
    let envelope = Envelope {
        sealed: Some(Sealed::default()),
        ..Envelope::default()
    };
    let refusal = refused(&World::new(), envelope).await;
    assert_eq!(
        (refusal.code.as_str(), refusal.field.as_str()),
        ("unimplemented", "sealed")
    );
}

#[tokio::test]
async fn what_is_wrong_in_a_request_is_told_only_under_a_credential_that_holds() {
    let mut request = provision();
    let image = request.pod.as_mut().unwrap().containers[0].image.as_mut().unwrap();
    image.cid = vec![1];
    let world = World::new();
    let mut envelope = signed_provision(&request);
    let refusal = refused(&world, envelope.clone()).await;
    assert_eq!(
        (refusal.code.as_str(), refusal.field.as_str()),
        ("not_served", "pod.containers[0].image.cid")
    );
    stranger().sign(&mut envelope);
    assert_eq!(refused(&world, envelope).await.code, "bad_signature");
    assert_eq!(world.calls(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_payment_by_channel_is_not_served_whatever_its_chain() {
    let mut request = provision();
    request.payment.as_mut().unwrap().chain_id = vec![1];
    let mut envelope = envelope("provision", request.encode_to_vec());
    envelope.chain_id = 1;
    publisher().sign(&mut envelope);
    let refusal = refused(&World::new(), envelope).await;
    assert_eq!(
        (refusal.code.as_str(), refusal.field.as_str()),
        ("not_served", "payment.chainID")
    );
}

#[tokio::test]
async fn manage_pod_holds_an_envelope_to_the_same() {
    let watch = || {
        ManagePodRequest {
            operation: Some(Operation::Watch(Watch {})),
        }
        .encode_to_vec()
    };
    let faults: [(&str, Before); 8] = [
        ("wrong_operation", |envelope| envelope.operation = "delete".to_owned()),
        ("wrong_pod", |envelope| envelope.pod_id = vec![0; 32]),
        ("wrong_provider", |envelope| envelope.provider = REQUESTER.to_owned()),
        ("wrong_requester", |envelope| envelope.requester = PROVIDER.to_owned()),
        ("body_changed", |envelope| envelope.request_hash[0] ^= 1),
        ("wrong_chain", |envelope| envelope.chain_id = 1),
        ("invalid_request", |envelope| envelope.after_generation = 1),
        ("bad_signature", |envelope| {
            envelope.publisher = stranger().address().to_vec()
        }),
    ];
    for (code, fault) in faults {
        let world = World::new();
        let mut envelope = envelope("watch", watch());
        fault(&mut envelope);
        publisher().sign(&mut envelope);
        assert_eq!(open(manage_pod(&world), envelope).await.refusal().await.code, code);
        assert_eq!(world.calls(), Vec::<&str>::new(), "{code}");
    }
}

#[tokio::test]
async fn operations_that_are_not_served_say_so_to_who_may_ask() {
    let world = World::new();
    let update = || signed_manage(Operation::Update(Update::default()));
    let refusal = open(manage_pod(&world), update()).await.refusal().await;
    assert_eq!(
        (refusal.code.as_str(), refusal.field.as_str()),
        ("unimplemented", "update")
    );
    let mut envelope = update();
    stranger().sign(&mut envelope);
    assert_eq!(
        open(manage_pod(&world), envelope).await.refusal().await.code,
        "bad_signature"
    );
    assert_eq!(world.calls(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_life_that_is_never_counted_is_no_life() {
    let request = signed_manage(Operation::Delete(Delete { life: u64::MAX }));
    let refusal = open(manage_pod(&World::new()), request).await.refusal().await;
    assert_eq!(
        (refusal.code.as_str(), refusal.field.as_str()),
        ("invalid_request", "delete.life")
    );
}

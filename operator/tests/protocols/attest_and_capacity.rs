//! attest and provisioning-capacity: unsigned, answered by one message, and the two say the same about capacity.

use std::sync::Arc;

use apocryph_proto::{
    binding,
    outcome::Code,
    v0::{
        attest::{AttestReply, AttestRequest, ProviderClaims, attest_reply, evidence::Kind},
        pod::{Resource, resource::Quantity},
        provision_pod::Refusal as WireRefusal,
        provisioning_capacity::{CapacityReply, CapacityRequest, CapacityResponse, capacity_reply},
    },
};
use apocryph_provider::{
    attestation::{Attestations, ClaimsMaker, SealingKey, evidence::NoSource},
    model::{
        key::Publisher,
        manifest::{Demand, Resources},
        refusal::Refusal,
        services::Tables,
    },
    protocols::{
        attest::Attest,
        capacity::{Offering, ProvisioningCapacity},
    },
};
use futures::StreamExt;
use prost::Message;
use tokio::sync::watch;

use super::support::*;

const TABLES: &str = "apiVersion: pricing.apocryph.network/v1alpha1
tables:
- name: friends
  payment: {free: {publishers: ['0x0101010101010101010101010101010101010101']}}
- name: open
  payment: {free: {everyone: true}}
- name: usdc
  payment: {channel: {chainId: 1, contract: '0x0202020202020202020202020202020202020202', token: '0x0303030303030303030303030303030303030303', decimals: 6}}
  perHour: {cpu: '0.012', memoryGiB: '0.0040', storageGiB: '0.0001', ephemeralStorageGiB: '0', externalIP: '0.002', gpu: {NVIDIA L4: '0.35'}}
  minimum: {runwayHours: 24, settlement: '1.00'}
";

fn offering(world: &Arc<World>) -> Offering {
    Offering {
        capacity: world.clone(),
        prices: world.clone(),
        door: world.clone(),
        payment_address: Some(Publisher([9; 20])),
        defaults: DEFAULTS,
    }
}

async fn capacity(world: &Arc<World>, request: CapacityRequest) -> Result<CapacityResponse, WireRefusal> {
    let mut client = open(ProvisioningCapacity(offering(world)), request).await;
    let reply: CapacityReply = client.stream.next().await.unwrap().unwrap();
    assert!(client.stream.next().await.is_none(), "one message");
    match reply.message.unwrap() {
        capacity_reply::Message::Capacity(response) => Ok(response),
        capacity_reply::Message::Refusal(refusal) => Err(refusal),
    }
}

async fn attest(world: &Arc<World>, request: AttestRequest) -> AttestReply {
    let attestations = Attestations::new(
        vec![7, 7, 7],
        ClaimsMaker {
            sealing_key: SealingKey::generate(),
            payment_address: Some(Publisher([9; 20])),
            image_id: watch::channel("registry.example/operator@sha256:00".to_owned()).1,
            policies_hash: watch::channel(vec![8; 32]).1,
        },
        vec![Box::new(NoSource)],
    );
    let mut client = open(
        Attest {
            attester: Arc::new(attestations),
            offering: offering(world),
        },
        request,
    )
    .await;
    let reply = client.stream.next().await.unwrap().unwrap();
    assert!(client.stream.next().await.is_none(), "one message");
    reply
}

fn resource(name: &str, quantity: Quantity) -> Resource {
    Resource {
        resource: name.to_owned(),
        quantity: Some(quantity),
    }
}

#[tokio::test]
async fn capacity_tells_what_is_free_what_it_costs_and_where_to_pay() {
    let world = World::new();
    *world.tables.lock().unwrap() = Tables::parse(TABLES).unwrap().map(Arc::new);
    let response = capacity(&world, CapacityRequest::default()).await.unwrap();
    insta::assert_debug_snapshot!(response);
}

#[tokio::test]
async fn where_nothing_is_paid_no_address_is_told() {
    let world = World::new();
    let free =
        "apiVersion: pricing.apocryph.network/v1alpha1\ntables: [{name: open, payment: {free: {everyone: true}}}]";
    *world.tables.lock().unwrap() = Tables::parse(free).unwrap().map(Arc::new);
    let response = capacity(&world, CapacityRequest::default()).await.unwrap();
    assert_eq!((response.tables.len(), response.provider_address), (1, Vec::new()));
}

#[tokio::test]
async fn resources_that_are_asked_for_are_the_demand_and_defaults_fill_the_rest() {
    let world = World::new();
    let gib = 1 << 30;
    let request = CapacityRequest {
        resources: vec![
            resource("cpu", Quantity::Amount(2)),
            resource("ram", Quantity::AmountGibi(3)),
            resource("storage", Quantity::AmountGibi(10)),
        ],
        ..Default::default()
    };
    assert!(capacity(&world, request).await.unwrap().fits);
    capacity(&world, CapacityRequest::default()).await.unwrap();
    let asked = Resources {
        cpu_millis: 2000,
        memory: 3 * gib,
        ..DEFAULTS.requests
    };
    assert_eq!(
        *world.demands.lock().unwrap(),
        [
            Demand {
                replicas: 1,
                per_replica: asked,
                storage: 10 * gib,
                shared: false
            },
            Demand {
                replicas: 1,
                per_replica: DEFAULTS.requests,
                storage: 0,
                shared: false
            },
        ]
    );
}

#[tokio::test]
async fn what_does_not_fit_names_the_resource_that_blocks() {
    let world = World::new();
    *world.fits.lock().unwrap() = Err(Refusal::new(Code::LargerThanAnyNode, "too large").resource("cpu"));
    let response = capacity(&world, CapacityRequest::default()).await.unwrap();
    assert_eq!((response.fits, response.blocking_resource.as_str()), (false, "cpu"));
    assert_eq!(response.not_accepting, None);
}

#[tokio::test]
async fn when_nothing_is_accepted_it_says_so_and_why() {
    let world = World::new();
    *world.door.lock().unwrap() = Err(Refusal::new(Code::NoPriceTable, "no price table is in force"));
    let response = capacity(&world, CapacityRequest::default()).await.unwrap();
    let not_accepting = response.not_accepting.unwrap();
    assert_eq!(
        (not_accepting.code.as_str(), not_accepting.message.as_str()),
        ("no_price_table", "No price table is in force.")
    );
    assert!(!response.fits, "it would not be admitted now");
    assert_eq!(response.blocking_resource, "", "no resource is to blame");
    assert_eq!(response.available_resources.len(), 4);
}

#[tokio::test]
async fn resources_are_a_closed_set_each_named_once() {
    for (resources, code, field) in [
        (
            vec![resource("hamster", Quantity::Amount(1))],
            "invalid_request",
            "resources[0].resource",
        ),
        (
            vec![resource("gpu", Quantity::Amount(1))],
            "not_served",
            "resources[0].resource",
        ),
        (
            vec![Resource {
                resource: "cpu".to_owned(),
                quantity: None,
            }],
            "invalid_request",
            "resources[0]",
        ),
        (
            vec![
                resource("memory", Quantity::Amount(1)),
                resource("ram", Quantity::Amount(1)),
            ],
            "invalid_request",
            "resources[1].resource",
        ),
        (
            vec![resource("memory", Quantity::AmountGibi(u64::MAX))],
            "invalid_request",
            "resources[0].amountGibi",
        ),
    ] {
        let world = World::new();
        let refusal = capacity(
            &world,
            CapacityRequest {
                resources,
                ..Default::default()
            },
        )
        .await
        .unwrap_err();
        assert_eq!(
            (refusal.code.as_str(), refusal.field.as_str()),
            (code, field),
            "{refusal:?}"
        );
        assert_eq!(world.calls(), Vec::<&str>::new());
    }
}

#[tokio::test]
async fn attest_with_capacity_carries_the_same_message_as_capacity() {
    let world = World::new();
    *world.tables.lock().unwrap() = Tables::parse(TABLES).unwrap().map(Arc::new);
    *world.fits.lock().unwrap() = Err(Refusal::new(Code::InsufficientCapacity, "full").resource("memory"));
    *world.door.lock().unwrap() = Err(Refusal::new(Code::Cordoned, "closed"));
    let reply = attest(
        &world,
        AttestRequest {
            nonce: vec![1; 32],
            want_capacity: true,
        },
    )
    .await;
    let Some(attest_reply::Message::Attestation(attestation)) = reply.message else {
        panic!("{reply:?}")
    };
    assert_eq!(
        attestation.capacity,
        Some(capacity(&world, CapacityRequest::default()).await.unwrap())
    );
}

#[tokio::test]
async fn attest_binds_its_claims_to_the_question_and_proves_nothing_in_silence() {
    for nonce in [vec![1; 16], vec![2; 64]] {
        let reply = attest(
            &World::new(),
            AttestRequest {
                nonce: nonce.clone(),
                want_capacity: false,
            },
        )
        .await;
        let Some(attest_reply::Message::Attestation(attestation)) = reply.message else {
            panic!("{reply:?}")
        };
        let leaf = binding::leaf(&binding::Question {
            protocol: "/apocryph/attest/0.0.1",
            nonce: &nonce,
            provider: &[7, 7, 7],
            requester: &[0, 1, 2],
            claims: &attestation.claims,
        });
        assert_eq!(attestation.leaf, leaf);
        let path: Vec<[u8; 32]> = attestation
            .path
            .iter()
            .map(|hash| hash.as_slice().try_into().unwrap())
            .collect();
        let root = binding::root_of_path(leaf, attestation.leaf_index, attestation.tree_size, &path).unwrap();
        let [evidence] = attestation.evidence.as_slice() else {
            panic!("one subject")
        };
        assert_eq!((evidence.kind(), evidence.subject.as_str()), (Kind::None, "operator"));
        assert!(!evidence.reason.is_empty());
        assert_eq!(evidence.report_data, binding::report_data("operator", &root));
        assert_eq!(attestation.not_proven, ["operator-code", "control-plane", "nodes"]);
        assert_eq!(attestation.capacity, None);
        let claims = ProviderClaims::decode(attestation.claims.as_slice()).unwrap();
        assert_eq!(
            (claims.policies_hash, claims.payment_address),
            (vec![8; 32], vec![9; 20])
        );
    }
}

#[tokio::test]
async fn a_nonce_of_another_length_is_refused() {
    for length in [0, 15, 65] {
        let reply = attest(
            &World::new(),
            AttestRequest {
                nonce: vec![1; length],
                want_capacity: true,
            },
        )
        .await;
        let Some(attest_reply::Message::Refusal(refusal)) = reply.message else {
            panic!("{reply:?}")
        };
        assert_eq!(
            (refusal.code.as_str(), refusal.field.as_str()),
            ("invalid_nonce", "nonce")
        );
    }
}

#[tokio::test]
async fn a_field_that_nobody_knows_is_refused() {
    // Field 15 of both requests, a number.
    #[derive(Clone, PartialEq, prost::Message)]
    struct FromTheFuture {
        #[prost(uint64, tag = "15")]
        surprise: u64,
    }
    let mut client = open(
        ProvisioningCapacity(offering(&World::new())),
        FromTheFuture { surprise: 1 },
    )
    .await;
    let reply: CapacityReply = client.stream.next().await.unwrap().unwrap();
    let Some(capacity_reply::Message::Refusal(refusal)) = reply.message else {
        panic!("{reply:?}")
    };
    assert_eq!(refusal.code, "unknown_field");
}

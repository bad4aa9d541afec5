//! When two requests are the same: their decoded pods are equal, however they were encoded, whatever surrounds them.

use apocryph_proto::v0::{
    pod::{
        Container, Image, Pod, Replicas, Resource, Volume,
        container::{Port, VolumeMount},
        resource::Quantity,
    },
    provision_pod::ProvisionPodRequest,
};
use apocryph_provider::{
    admission::checks::TagKey,
    model::pod::{Offer, Tag},
    protocols::convert,
};
use proptest::{collection::btree_map, option, prelude::*, sample::select};
use prost::{Message, encoding};

use super::support::{POD_ID, provision, publisher};

fn key() -> TagKey {
    TagKey::new([3; 32])
}

/// The way of a request's bytes to its tag.
fn tag(request: &[u8]) -> Option<Tag> {
    let message: ProvisionPodRequest = convert::request(request).ok()?;
    let (pod_key, offer, _) = convert::payment(message.payment.as_ref()).ok()?;
    Some(key().tag(&convert::provision(message, pod_key, offer, "0123").ok()?.encoded))
}

fn with(pod: Pod) -> ProvisionPodRequest {
    ProvisionPodRequest {
        pod: Some(pod),
        ..provision()
    }
}

/// Pods from a small set of parts, so that equal ones come up, all of them valid.
fn pods() -> impl Strategy<Value = Pod> {
    let env = btree_map(select(vec!["A", "B", "C"]), select(vec!["", "x", "y"]), 0..3);
    let requests = option::of(select(vec![
        ("memory", Quantity::AmountMebi(64)),
        ("memory", Quantity::AmountMebi(65)),
        ("cpu", Quantity::AmountMillis(250)),
    ]));
    (
        select(vec!["nginx", "redis"]),
        env,
        requests,
        option::of(select(vec![80_u64, 81])),
        any::<bool>(),
        option::of(select(vec![0_u32, 1])),
        select(vec![
            vec![],
            vec!["serve".to_owned()],
            vec!["serve".to_owned(), "-v".to_owned()],
        ]),
    )
        .prop_map(|(image, env, requests, port, volume, replicas, args)| Pod {
            containers: vec![Container {
                name: "web".to_owned(),
                image: Some(Image {
                    url: image.to_owned(),
                    ..Default::default()
                }),
                args,
                env: env
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                ports: port
                    .into_iter()
                    .map(|port| Port {
                        port,
                        ..Default::default()
                    })
                    .collect(),
                volumes: volume
                    .then(|| VolumeMount {
                        name: "data".to_owned(),
                        mount_path: "/data".to_owned(),
                        read_only: false,
                    })
                    .into_iter()
                    .collect(),
                resource_requests: requests
                    .into_iter()
                    .map(|(name, quantity)| Resource {
                        resource: name.to_owned(),
                        quantity: Some(quantity),
                    })
                    .collect(),
                ..Default::default()
            }],
            volumes: volume
                .then(|| Volume {
                    name: "data".to_owned(),
                    r#type: 1,
                    configuration: Some(apocryph_proto::v0::pod::volume::Configuration::Filesystem(
                        apocryph_proto::v0::pod::volume::FilesystemConfig {
                            resource_requests: vec![Resource {
                                resource: "storage".to_owned(),
                                quantity: Some(Quantity::AmountGibi(1)),
                            }],
                        },
                    )),
                    ..Default::default()
                })
                .into_iter()
                .collect(),
            replicas: replicas.map(|min| Replicas {
                min,
                ..Default::default()
            }),
            ..Default::default()
        })
}

proptest! {
    #[test]
    fn the_tag_is_equal_exactly_when_the_decoded_pods_are(one in pods(), other in pods()) {
        let (first, second) = (tag(&with(one.clone()).encode_to_vec()), tag(&with(other.clone()).encode_to_vec()));
        prop_assert!(first.is_some(), "a valid pod");
        prop_assert_eq!(first == second, one == other);
        prop_assert_eq!(&first, &tag(&with(one).encode_to_vec()));
    }

    #[test]
    fn what_is_not_the_pod_does_not_count(pod in pods(), detach in any::<bool>(), after_life in 0_u64..9) {
        let plain = tag(&with(pod.clone()).encode_to_vec());
        let mut other = ProvisionPodRequest { detach, after_life, ..with(pod) };
        other.payment.as_mut().unwrap().publisher_address = vec![6; 20];
        prop_assert_eq!(plain, tag(&other.encode_to_vec()));
    }
}

/// The container's fields in another order, its environment too.
#[test]
fn the_order_on_the_wire_does_not_count() {
    let field = |number: u32, bytes: &[u8]| {
        let mut out = Vec::new();
        encoding::encode_key(number, encoding::WireType::LengthDelimited, &mut out);
        encoding::encode_varint(bytes.len() as u64, &mut out);
        out.extend_from_slice(bytes);
        out
    };
    let entry = |name: &[u8], value: &[u8]| field(7, &[field(1, name), field(2, value)].concat());
    let name = field(1, b"web");
    let image = field(2, &field(3, b"nginx"));
    let (a, b) = (entry(b"A", b"1"), entry(b"B", b"2"));
    let payment = field(3, &[field(3, &publisher().address()), field(5, &POD_ID)].concat());
    let request = |container: &[&[u8]]| [field(1, &field(1, &container.concat())), payment.clone()].concat();
    let one = tag(&request(&[&name, &image, &a, &b]));
    assert!(one.is_some());
    assert_eq!(one, tag(&request(&[&b, &a, &image, &name])));
    assert_ne!(one, tag(&request(&[&name, &image, &a])));
}

#[test]
fn another_key_makes_other_tags() {
    let message = provision();
    let request = convert::provision(message, publisher().key(), Offer::Free, "0123").unwrap();
    assert_ne!(key().tag(&request.encoded), TagKey::new([4; 32]).tag(&request.encoded));
}

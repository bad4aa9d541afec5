// What each fuzz target does with its bytes; included by the targets and by the crate's tests, so that `make test` runs it.

use apocryph_proto::{codec, json, limits, manifest::Manifest, served, v0};
use asynchronous_codec::Decoder;
use bytes::BytesMut;
use prost::Message;

fn request<M: served::Request + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let mut stream = BytesMut::from(bytes);
    let mut codec = codec::Codec::<M, codec::Frame>::new(limits::MESSAGE_MAX);
    while let Ok(Some(codec::Frame(frame))) = codec.decode(&mut stream) {
        let _ = served::decode::<M>(&frame);
    }
    match served::decode::<M>(bytes) {
        // What is served loses nothing: written again, it is read as the same.
        Ok(message) => assert_eq!(served::decode::<M>(&message.encode_to_vec()), Ok(message)),
        Err(refused) => assert!(!refused.message.is_empty()),
    }
}

/// A stranger's bytes on a stream, for each of the protocols.
pub fn requests(bytes: &[u8]) {
    request::<v0::signing::Envelope>(bytes);
    request::<v0::provision_pod::ProvisionPodRequest>(bytes);
    request::<v0::manage_pod::ManagePodRequest>(bytes);
    request::<v0::attest::AttestRequest>(bytes);
    request::<v0::provisioning_capacity::CapacityRequest>(bytes);
}

/// A manifest as text.
pub fn manifest_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(pod) = json::pod_from_yaml(text) {
        let _ = Manifest::parse(&pod);
        let printed = json::to_yaml(&pod).expect("a pod that was read can be printed");
        assert_eq!(json::pod_from_yaml(&printed).as_ref(), Ok(&pod), "{printed}");
    }
}

/// A decoded manifest, with whatever is in it.
pub fn manifest_bytes(bytes: &[u8]) {
    let Ok(pod) = v0::pod::Pod::decode(bytes) else { return };
    if let Ok(manifest) = Manifest::parse(&pod) {
        let printed = manifest.to_pod(&[], None);
        let mut refilled = printed.clone();
        // What is printed has no secrets, without which it is none.
        for image in refilled.containers.iter_mut().filter_map(|one| one.image.as_mut()) {
            image
                .pull_secret
                .iter_mut()
                .for_each(|secret| secret.password = "x".into());
        }
        for volume in &mut refilled.volumes {
            if let Some(v0::pod::volume::Configuration::Secret(secret)) = &mut volume.configuration {
                secret.contents = b"x".to_vec();
            }
        }
        let again = Manifest::parse(&refilled).expect("what was admitted is a manifest");
        assert_eq!(again.to_pod(&[], None), printed);
    }
}

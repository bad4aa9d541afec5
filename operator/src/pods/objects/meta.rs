//! Names, labels, and the hash of what was built.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::pods::validate::ValidatedPod;

pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const US: &str = "apocryph-provider";
/// Selects what we made.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=apocryph-provider";
/// Label: the ApocryphPod's name.
pub const POD: &str = "apocryph.network/pod";
/// Label: the publisher's address.
pub const PUBLISHER: &str = "apocryph.network/publisher";
/// Label of Secrets in the operator's namespace that belong to a request.
pub const STAGED: &str = "apocryph.network/staged";
/// Annotation: hash of what was built.
pub const HASH: &str = "apocryph.network/hash";
/// Hex digits of it.
const HASH_LEN: usize = 16;

/// Labels of every object made for the pod.
pub fn labels(pod: &ValidatedPod) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.to_owned(), US.to_owned()),
        (POD.to_owned(), pod.name.to_string()),
        (PUBLISHER.to_owned(), pod.key.publisher.to_string()),
    ])
}

/// What selects the pod's replicas; never changes.
pub fn selector(pod: &ValidatedPod) -> BTreeMap<String, String> {
    BTreeMap::from([(POD.to_owned(), pod.name.to_string())])
}

/// Metadata of an object in the pod's namespace.
pub fn namespaced(pod: &ValidatedPod, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(pod.name.namespace()),
        labels: Some(labels(pod)),
        ..ObjectMeta::default()
    }
}

/// The object with the hash of itself.
pub fn hashed<K: Resource<DynamicType = ()> + Serialize>(mut object: K) -> K {
    let hash = hash(&object);
    object
        .meta_mut()
        .annotations
        .get_or_insert_default()
        .insert(HASH.to_owned(), hash);
    object
}

#[expect(
    clippy::expect_used,
    reason = "the builders' own types are maps with text keys, which always have a JSON form"
)]
fn hash<K: Serialize>(object: &K) -> String {
    let json = serde_json_canonicalizer::to_vec(object).expect("our own types have a JSON form");
    let mut text = data_encoding::HEXLOWER.encode(&Sha256::digest(json));
    text.truncate(HASH_LEN);
    text
}

//! Environment values: from the operator's namespace into the tenant's.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::meta;
use crate::{
    model::{key::PodKey, manifest::Manifest, pod::Tag},
    pods::validate::ValidatedPod,
};

/// Key of a container's environment value.
pub fn env_key(container: &str, variable: &str) -> String {
    format!("env.{container}.{variable}")
}

/// Name of the Secret of a request, in both namespaces.
pub fn name(key: &PodKey, tag: &Tag) -> String {
    format!("{}-{}", key.name(), tag.0)
}

/// What is written before the ApocryphPod; `None`: nothing is secret in it.
pub fn staged(key: &PodKey, tag: &Tag, manifest: &Manifest, operator_namespace: &str) -> Option<Secret> {
    let data: BTreeMap<String, ByteString> = manifest
        .containers()
        .iter()
        .flat_map(|container| {
            container.env.iter().map(|(variable, value)| {
                (
                    env_key(&container.name, variable),
                    ByteString(value.expose().as_bytes().to_vec()),
                )
            })
        })
        .collect();
    (!data.is_empty()).then(|| Secret {
        metadata: ObjectMeta {
            name: Some(name(key, tag)),
            namespace: Some(operator_namespace.to_owned()),
            labels: Some(BTreeMap::from([
                (meta::MANAGED_BY.to_owned(), meta::US.to_owned()),
                (meta::POD.to_owned(), key.name().to_string()),
                (meta::PUBLISHER.to_owned(), key.publisher.to_string()),
                (meta::STAGED.to_owned(), "true".to_owned()),
            ])),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}

/// The tenant's copy, under the same name: the values that the pod's containers name and nothing else.
///
/// # Errors
/// The key that the source lacks.
pub fn copy(pod: &ValidatedPod, source: &Secret) -> Result<Secret, String> {
    let have = source.data.clone().unwrap_or_default();
    let mut data = BTreeMap::new();
    for container in &pod.containers {
        for variable in &container.env {
            let key = env_key(&container.name, variable);
            let value = have.get(&key).ok_or_else(|| key.clone())?.clone();
            data.insert(key, value);
        }
    }
    let name = source.metadata.name.clone().unwrap_or_default();
    Ok(Secret {
        metadata: meta::namespaced(pod, &name),
        immutable: Some(true),
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}

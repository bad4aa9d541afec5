//! Environment values, contents of secret volumes and credentials of registries: from the operator's namespace into the
//! tenant's.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::json;

use super::meta;
use crate::{
    model::{
        key::PodKey,
        manifest::{Manifest, VolumeKind, repository},
        pod::Tag,
    },
    pods::validate::{self, ValidatedPod},
};

/// Key of the credentials, and the type of a Secret that has it: what the kubelet reads.
const PULL_KEY: &str = ".dockerconfigjson";
const PULL_TYPE: &str = "kubernetes.io/dockerconfigjson";
const OPAQUE: &str = "Opaque";

/// Key of a container's environment value.
pub fn env_key(container: &str, variable: &str) -> String {
    format!("env.{container}.{variable}")
}

/// Key of a secret volume's contents.
pub fn volume_key(volume: &str) -> String {
    format!("volume.{volume}")
}

/// Name of the Secret of a request, in both namespaces.
pub fn name(key: &PodKey, tag: &Tag) -> String {
    format!("{}-{}", key.name(), tag.0)
}

fn type_of(pull_secret: bool) -> Option<String> {
    Some(if pull_secret { PULL_TYPE } else { OPAQUE }.to_owned())
}

/// What is written before the ApocryphPod; `None`: nothing is secret in it.
pub fn staged(key: &PodKey, tag: &Tag, manifest: &Manifest, operator_namespace: &str) -> Option<Secret> {
    let mut data = BTreeMap::new();
    for container in manifest.containers() {
        for (variable, value) in &container.env {
            let value = ByteString(value.expose().as_bytes().to_vec());
            data.insert(env_key(&container.name, variable), value);
        }
    }
    for volume in manifest.volumes() {
        if let VolumeKind::Secret(contents) = &volume.kind {
            data.insert(volume_key(&volume.name), ByteString(contents.expose().to_vec()));
        }
    }
    let credentials = credentials(manifest);
    let type_ = type_of(credentials.is_some());
    data.extend(credentials.map(|credentials| (PULL_KEY.to_owned(), credentials)));
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
        type_,
        ..Secret::default()
    })
}

/// The credentials as a Docker configuration: each for the repository of its image and no other. `None`: there are none.
fn credentials(manifest: &Manifest) -> Option<ByteString> {
    let auths: serde_json::Map<String, serde_json::Value> = manifest
        .containers()
        .iter()
        .filter_map(|container| {
            let secret = container.pull_secret.as_ref()?;
            let login = json!({"username": secret.username, "password": secret.password.expose()});
            Some((repository(&container.image), login))
        })
        .collect();
    (!auths.is_empty()).then(|| ByteString(json!({"auths": auths}).to_string().into_bytes()))
}

/// The tenant's copy, under the same name: the values that the pod names and nothing else.
///
/// # Errors
/// The key that the source lacks.
pub fn copy(pod: &ValidatedPod, source: &Secret) -> Result<Secret, String> {
    let env = pod.containers.iter().flat_map(|container| {
        let key = |variable: &String| env_key(&container.name, variable);
        container.env.iter().map(key)
    });
    let volumes = pod
        .volumes
        .iter()
        .filter(|volume| volume.kind == validate::VolumeKind::Secret)
        .map(|volume| volume_key(&volume.name));
    let pull = pod.pull_secret.then(|| PULL_KEY.to_owned());
    let have = source.data.clone().unwrap_or_default();
    let data = env
        .chain(volumes)
        .chain(pull)
        .map(|key| match have.get(&key) {
            Some(value) => Ok((key, value.clone())),
            None => Err(key),
        })
        .collect::<Result<BTreeMap<_, _>, String>>()?;
    let name = source.metadata.name.clone().unwrap_or_default();
    Ok(Secret {
        metadata: meta::namespaced(pod, &name),
        immutable: Some(true),
        data: Some(data),
        type_: type_of(pod.pull_secret),
        ..Secret::default()
    })
}

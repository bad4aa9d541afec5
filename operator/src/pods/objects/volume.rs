//! A file system per volume, read-write by one node. Made once in a life, never changed, never made again.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements};

use super::{meta, quantity};
use crate::pods::{Settings, validate::ValidatedPod};

pub fn build(pod: &ValidatedPod, settings: &Settings) -> Vec<PersistentVolumeClaim> {
    pod.volumes
        .iter()
        .map(|volume| PersistentVolumeClaim {
            metadata: meta::namespaced(pod, &volume.name),
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                storage_class_name: settings.storage_class.clone(),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(BTreeMap::from([("storage".to_owned(), quantity::plain(volume.size))])),
                    limits: None,
                }),
                volume_mode: Some("Filesystem".to_owned()),
                ..PersistentVolumeClaimSpec::default()
            }),
            status: None,
        })
        .collect()
}

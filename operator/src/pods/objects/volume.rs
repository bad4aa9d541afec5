//! A claim per file system. Made once in a life, never changed, never made again.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements};

use super::{meta, quantity};
use crate::{
    model::manifest::Access,
    pods::{Settings, validate::ValidatedPod},
};

pub fn build(pod: &ValidatedPod, settings: &Settings) -> Vec<PersistentVolumeClaim> {
    pod.filesystems()
        .map(|(name, size, access)| {
            let (mode, class) = match access {
                Access::One => ("ReadWriteOnce", &settings.storage_class),
                Access::Many => ("ReadWriteMany", &settings.shared_storage_class),
            };
            PersistentVolumeClaim {
                metadata: meta::namespaced(pod, name),
                spec: Some(PersistentVolumeClaimSpec {
                    access_modes: Some(vec![mode.to_owned()]),
                    storage_class_name: class.clone(),
                    resources: Some(VolumeResourceRequirements {
                        requests: Some(BTreeMap::from([("storage".to_owned(), quantity::plain(size))])),
                        limits: None,
                    }),
                    volume_mode: Some("Filesystem".to_owned()),
                    ..PersistentVolumeClaimSpec::default()
                }),
                status: None,
            }
        })
        .collect()
}

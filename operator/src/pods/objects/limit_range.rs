//! Each container and each volume is as large as what was admitted.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{ADMITTED, meta, quantity};
use crate::{model::manifest::Resources, pods::validate::ValidatedPod};

pub fn build(pod: &ValidatedPod) -> LimitRange {
    let of = |pick: fn(&Resources) -> u64| {
        let each = || pod.containers.iter().map(|container| pick(&container.resources));
        (each().min().unwrap_or_default(), each().max().unwrap_or_default())
    };
    let (cpu, memory, ephemeral) = (of(|r| r.cpu_millis), of(|r| r.memory), of(|r| r.ephemeral_storage));
    let largest = amounts(cpu.1, memory.1, ephemeral.1);
    let mut limits = vec![LimitRangeItem {
        type_: "Container".to_owned(),
        min: Some(amounts(cpu.0, memory.0, ephemeral.0)),
        max: Some(largest.clone()),
        // The server would fill these in: said here, so that what lives equals what was built.
        default: Some(largest.clone()),
        default_request: Some(largest),
        ..LimitRangeItem::default()
    }];
    let sizes = || pod.filesystems().map(|(_, size, _)| size);
    if let (Some(smallest), Some(largest)) = (sizes().min(), sizes().max()) {
        let storage = |bytes| Some(BTreeMap::from([("storage".to_owned(), quantity::plain(bytes))]));
        limits.push(LimitRangeItem {
            type_: "PersistentVolumeClaim".to_owned(),
            min: storage(smallest),
            max: storage(largest),
            ..LimitRangeItem::default()
        });
    }
    meta::hashed(LimitRange {
        metadata: meta::namespaced(pod, ADMITTED),
        spec: Some(LimitRangeSpec { limits }),
    })
}

fn amounts(cpu_millis: u64, memory: u64, ephemeral_storage: u64) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".to_owned(), quantity::millis(cpu_millis)),
        ("memory".to_owned(), quantity::plain(memory)),
        ("ephemeral-storage".to_owned(), quantity::plain(ephemeral_storage)),
    ])
}

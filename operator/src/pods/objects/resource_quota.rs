//! No more than what was admitted, whatever makes Pods there.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec};

use super::{ADMITTED, meta, quantity};
use crate::pods::{ExposureKind, Settings, validate::ValidatedPod};

/// A Pod that is going still counts until it is gone, which is never when its node is lost. So each replica has room for
/// its replacement; how many run is the Deployment's business, and how large each is the LimitRange's. And whatever is
/// created while its request is cut off (we were killed, or no longer waited) may stay charged without being there, until the
/// quota controller counts anew (every five minutes): a volume or a Service must find room the second time as well.
const WITH_REPLACEMENT: u64 = 2;

pub fn build(pod: &ValidatedPod, settings: &Settings) -> ResourceQuota {
    let pods = u64::from(pod.replicas).saturating_mul(WITH_REPLACEMENT);
    let replica = pod.per_replica();
    let ports: usize = pod.containers.iter().map(|container| container.ports.len()).sum();
    let node_ports = match settings.exposure.kind {
        ExposureKind::NodePort => ports,
        ExposureKind::ClusterIp => 0,
    };
    let storage = pod.demand().storage;
    let mut hard = BTreeMap::from([
        ("pods", quantity::plain(pods)),
        ("services", quantity::plain(u64::from(ports > 0) * WITH_REPLACEMENT)),
        (
            "services.nodeports",
            quantity::plain(node_ports as u64 * WITH_REPLACEMENT),
        ),
        ("services.loadbalancers", quantity::plain(0)),
        (
            "persistentvolumeclaims",
            quantity::plain(pod.filesystems().count() as u64 * WITH_REPLACEMENT),
        ),
        (
            "requests.storage",
            quantity::plain(storage.saturating_mul(WITH_REPLACEMENT)),
        ),
    ]);
    // A runtime class may add an overhead of its own to each Pod, which counts here and which we do not know. Then the
    // number of Pods and the LimitRange bound it.
    if settings.runtime_class.is_none() {
        let cpu = quantity::millis(replica.cpu_millis.saturating_mul(pods));
        let memory = quantity::plain(replica.memory.saturating_mul(pods));
        let ephemeral = quantity::plain(replica.ephemeral_storage.saturating_mul(pods));
        hard.extend([
            ("requests.cpu", cpu.clone()),
            ("limits.cpu", cpu),
            ("requests.memory", memory.clone()),
            ("limits.memory", memory),
            ("requests.ephemeral-storage", ephemeral.clone()),
            ("limits.ephemeral-storage", ephemeral),
        ]);
    }
    meta::hashed(ResourceQuota {
        metadata: meta::namespaced(pod, ADMITTED),
        spec: Some(ResourceQuotaSpec {
            hard: Some(
                hard.into_iter()
                    .map(|(name, quantity)| (name.to_owned(), quantity))
                    .collect(),
            ),
            ..ResourceQuotaSpec::default()
        }),
        status: None,
    })
}

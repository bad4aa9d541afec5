//! What the controller wrote and its caches may not have seen yet.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{Resource, ResourceExt};

use crate::watches::short_name;

/// What we wrote last and the caches may not have seen: without it, a look that comes too early would write once more.
/// One entry per object that was written and not yet seen.
#[derive(Debug, Default)]
pub struct Written(Mutex<ByPod>);

/// Pod -> (kind, name) -> version that was written.
type ByPod = HashMap<String, HashMap<(&'static str, String), u64>>;

impl Written {
    /// `object` is the answer to a write.
    pub fn note<K: Resource<DynamicType = ()>>(&self, pod: &str, object: &K) {
        // Versions of the API server are numbers that grow; with one that is not, the cache is believed.
        let Some(version) = number(object.meta().resource_version.as_deref()) else {
            return;
        };
        self.locked()
            .entry(pod.to_owned())
            .or_default()
            .insert((short_name::<K>(), object.name_any()), version);
    }

    /// Is what the cache has older than what we wrote? Forgets the write once it is not.
    pub fn behind(&self, pod: &str, kind: &'static str, name: &str, cached: Option<&str>) -> bool {
        let mut all = self.locked();
        let Some(of_pod) = all.get_mut(pod) else { return false };
        let key = (kind, name.to_owned());
        let Some(&wrote) = of_pod.get(&key) else { return false };
        let behind = match cached {
            None => true,
            Some(version) => number(Some(version)).is_some_and(|version| version < wrote),
        };
        if !behind {
            of_pod.remove(&key);
            if of_pod.is_empty() {
                all.remove(pod);
            }
        }
        behind
    }

    /// The object is gone, as a fresh read says.
    pub(super) fn forget_one(&self, pod: &str, kind: &'static str, name: &str) {
        if let Some(of_pod) = self.locked().get_mut(pod) {
            of_pod.remove(&(kind, name.to_owned()));
        }
    }

    /// The pod's namespace, or the pod, is gone.
    pub fn forget(&self, pod: &str) {
        self.locked().remove(pod);
    }

    /// Drops what belongs to pods that are no more.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.locked().retain(|pod, _| exists(pod));
    }

    fn locked(&self) -> MutexGuard<'_, ByPod> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(version: Option<&str>) -> Option<u64> {
    version?.parse().ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn service(version: &str) -> Service {
        let mut service = Service::default();
        service.metadata.name = Some("pod".to_owned());
        service.metadata.resource_version = Some(version.to_owned());
        service
    }

    #[test]
    fn the_cache_is_believed_once_it_has_seen_our_write() {
        let written = Written::default();
        assert!(!written.behind("a", "Service", "pod", None));
        written.note("a", &service("10"));
        assert!(written.behind("a", "Service", "pod", None));
        assert!(written.behind("a", "Service", "pod", Some("9")));
        assert!(!written.behind("b", "Service", "pod", Some("9")));
        assert!(!written.behind("a", "Service", "pod", Some("10")));
        assert!(!written.behind("a", "Service", "pod", Some("9")), "forgotten");
    }
}

//! The shared caches: one watch per kind, started once, read by capacity and pods.
//!
//! Nothing is admitted before the first three have been listed; a cache that has stopped hearing from the API server only
//! ever delays, it never decides that something is gone (those decisions read afresh).

use apocryph_crd::ApocryphPod;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::runtime::reflector::Store;

/// Read side of the caches.
#[derive(Clone)]
pub struct Watches {
    pub nodes: Store<Node>,
    /// Pods of all namespaces, without managed fields.
    pub pods: Store<Pod>,
    pub apocryph_pods: Store<ApocryphPod>,
    pub claims: Store<PersistentVolumeClaim>,
}

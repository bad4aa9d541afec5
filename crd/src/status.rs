//! What is seen. Nothing lives here alone that could not be found out again: status is lost in a restore from backup.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApocryphPodStatus {
    /// metadata.generation that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Life that this speaks of; the status of an older life is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<i64>,
    /// Accepted, Admitted (an admin's own pod), Scheduled, Ready, Ended: see [`condition`].
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How publishers reach the ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// What to do about the Ready condition's reason; empty when nothing is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// When this life became Ready for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Time>,
}

/// Condition types.
pub mod condition {
    /// True while every replica is ready; otherwise the reason is the outcome code of what is in the way.
    pub const READY: &str = "Ready";
    /// True once every replica has a node.
    pub const SCHEDULED: &str = "Scheduled";
    /// An admin's own pod (no tag): True when name and capacity are as admission would have asked; nothing runs before.
    pub const ADMITTED: &str = "Admitted";
    /// True when the ordered end has been carried out and the namespace is gone; False with a message while it hangs.
    pub const ENDED: &str = "Ended";
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    pub container: String,
    pub port: String,
    /// Multiaddr: /ip4/203.0.113.7/tcp/30432.
    pub multiaddr: String,
}

//! What is seen. Nothing lives here alone that could not be found out again: status is lost in a restore from backup.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use apocryph_proto::limits;

use crate::form;

/// Conditions of a pod: the types of [`condition`], and room for those of later versions.
pub const CONDITIONS_MAX: usize = 16;
/// Characters of a condition's message, as Kubernetes bounds its own. Longer ones go through [`clip`].
pub const MESSAGE_MAX: usize = 32_768;
/// Characters of a remedy.
pub const REMEDY_MAX: usize = 4096;
/// Addresses of a pod: each port of each container, some of them at several.
pub const ADDRESSES_MAX: usize = 256;
/// Characters of a multiaddr.
pub const MULTIADDR_MAX: usize = 512;
/// Counted numbers stay exact in JSON up to here.
const COUNT_MAX: i64 = (1 << 53) - 1;

/// At most `max` characters of the text, the last one `…` when something was left out. A status that the API server refuses
/// for its length would hide what went wrong.
pub fn clip(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars()
        .take(max.saturating_sub(1))
        .chain(['…'])
        .take(max)
        .collect()
}

/// What is seen of the pod.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApocryphPodStatus {
    /// metadata.generation that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = COUNT_MAX))]
    pub observed_generation: Option<i64>,
    /// Life that this speaks of; the status of an older life is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::LIFE.start(), max = *limits::LIFE.end()))]
    pub life: Option<i64>,
    /// Admitted (an admin's own pod), Scheduled, Ready, EndAnnounced, Ended.
    #[serde(default)]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// How publishers reach the ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = ADDRESSES_MAX))]
    pub addresses: Vec<Address>,
    /// Replicas that are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = limits::REPLICAS_MAX))]
    pub replicas: Option<i32>,
    /// Replicas that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = limits::REPLICAS_MAX))]
    pub ready_replicas: Option<i32>,
    /// What to do about the Ready condition's reason; absent when nothing is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = REMEDY_MAX))]
    pub remedy: Option<String>,
    /// When this life became Ready for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Time>,
}

/// Condition types.
pub mod condition {
    /// Every type and what its status means, for people.
    pub const ALL: &[(&str, &str)] = &[
        (
            READY,
            "True while every replica is ready; otherwise the reason is the outcome code of what is in the way.",
        ),
        (SCHEDULED, "True once every replica has a node."),
        (
            ADMITTED,
            "Only of an admin's own pod (no tag): True when name and capacity are as admission would have asked; nothing runs before.",
        ),
        (
            END_ANNOUNCED,
            "True while the admin has announced an end (annotation `apocryph.network/end`); False when it was called off, or when the annotation is not understood.",
        ),
        (
            ENDED,
            "True when the ordered end has been carried out and the namespace is gone; False with a message while it hangs.",
        ),
    ];
    /// See [`ALL`], as for the others.
    pub const READY: &str = "Ready";
    pub const SCHEDULED: &str = "Scheduled";
    pub const ADMITTED: &str = "Admitted";
    pub const END_ANNOUNCED: &str = "EndAnnounced";
    pub const ENDED: &str = "Ended";
}

/// Where a port answers.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The container's name.
    #[schemars(length(max = limits::NAME_MAX), regex(pattern = form::LABEL))]
    pub container: String,
    /// The port's name.
    #[schemars(length(max = limits::PORT_NAME_MAX), regex(pattern = form::PORT_NAME))]
    pub port: String,
    /// Multiaddr: /ip4/203.0.113.7/tcp/30432.
    #[schemars(length(max = MULTIADDR_MAX))]
    pub multiaddr: String,
}

/// metav1.Condition with the bounds that Kubernetes gives it in its own types (k8s-openapi leaves them out).
fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": CONDITIONS_MAX,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0, "maximum": COUNT_MAX},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "reason": {
                    "description": "Outcome code, CamelCase.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {"type": "string", "maxLength": MESSAGE_MAX},
            },
        },
    })
}

//! What runs, for whom, how it is paid, and the order to end.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ApocryphPodStatus;

/// A stranger's pod. Bounds and CEL rules stand beside each field.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "apocryph.network",
    version = "v1alpha1",
    kind = "ApocryphPod",
    plural = "apocryphpods",
    shortname = "apod",
    category = "apocryph",
    status = "ApocryphPodStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ApocryphPodSpec {
    /// Ethereum address of the publisher, lowercase: 0x and 40 hex digits. Never changes.
    pub publisher: String,
    /// Chosen by the publisher, 32 bytes: 0x and 64 hex digits. Never changes.
    pub pod_id: String,
    /// Counts the starts after an end, from 1.
    #[serde(default = "first_life")]
    pub life: i64,
    /// Fingerprint of the request, 16 hex digits, set by the operator alone; absent: an admin's own pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    pub payment: Payment,
    pub containers: Vec<Container>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Replicas that run and are reserved.
    #[serde(default = "one_replica")]
    pub replicas: i32,
    /// Secret in the operator's namespace with the environment values, keys `env.CONTAINER.NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The order to end; final within a life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

fn first_life() -> i64 {
    1
}

fn one_replica() -> i32 {
    1
}

/// How it is paid; changes only with a new life.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// Nothing is owed.
    pub free: Free,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Free {
    /// Name of the price table that allowed it; absent in an admin's own pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    pub name: String,
    pub image: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Names of the environment variables; the values are in the Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    pub resources: Resources,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    pub name: String,
}

/// TCP.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    pub name: String,
    /// Where it is offered.
    pub port: i32,
    /// Where the program listens.
    pub target_port: i32,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    pub name: String,
    pub mount_path: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// Requests, and limits equal to them. Integers, so that schema and wire bound them alike.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
}

/// A file system that outlives the container, read-write by one node.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    pub name: String,
    /// Bytes.
    pub size: i64,
}

/// The one way to end a pod.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// When it was ordered (RFC 3339).
    pub at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
    /// Outcome code, CamelCase: DeletedByPublisher, DeletedByAdmin, StartTimeout, NamespaceDeleted.
    pub reason: String,
    /// Who ordered it: `publisher`, `admin` or `controller`.
    pub by: String,
}

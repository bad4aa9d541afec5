//! What runs, for whom, how it is paid, and the order to end.
//!
//! What may change, and when (the CEL rules below hold it):
//!
//! | field | within a life | with life + 1 |
//! |---|---|---|
//! | `publisher`, `podId` | never | never |
//! | `life` | – | by exactly 1, and only when `end` was set |
//! | `end` | set once, then as it is | removed |
//! | `delegationsNotBefore` | grows | grows |
//! | `payment`, `tag`, `volumes` | never | freely |
//! | `containers`, `replicas`, `fsGroup`, `secretName`, `pullSecret` of a pod with a `tag` | never (only together with `tag`) | freely |
//! | the same of an admin's own pod | freely | freely |
//!
//! `volumes` stand still even in an admin's own pod: a volume is made once in a life and never made again, empty, in
//! silence. The operation `update`, when it comes, gives a pod a new `tag` within a life; the rule for what a tagged pod
//! runs is written for that already.

use apocryph_proto::limits;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApocryphPodStatus, form};

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
    derive = "PartialEq",
    doc = "A pod that runs for a publisher: one accepted request, or an admin's own pod (without `tag`).",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "True while every replica is ready"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Outcome code of what goes on, or of what is in the way"
    ),
    printcolumn(
        name = "Publisher",
        type_ = "string",
        json_path = ".spec.publisher",
        description = "Whose pod it is"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        json_path = ".spec.replicas",
        description = "Replicas that run and are reserved"
    ),
    printcolumn(
        name = "Up",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Replicas that are ready"
    ),
    printcolumn(
        name = "Life",
        type_ = "integer",
        json_path = ".spec.life",
        description = "How often it was started anew, from 1"
    ),
    printcolumn(
        name = "End",
        type_ = "string",
        json_path = ".spec.end.reason",
        description = "Why the end was ordered"
    ),
    printcolumn(
        name = "Notice",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="EndAnnounced")].reason"#,
        description = "Whether the admin has announced an end; the condition EndAnnounced says when and why"
    ),
    printcolumn(
        name = "Ended",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ended")].status"#,
        description = "True when the end has been carried out and the namespace is gone"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        description = "The reason in words"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z2-7]{26}$')")
        .message("the name is the 26 characters that are derived from publisher and podId (letters a to z, digits 2 to 7)"),
    validation = Rule::new(
        "!has(self.spec.tag) || !has(self.spec.secretName) || self.spec.secretName == self.metadata.name + '-' + self.spec.tag"
    )
    .message("the Secret of a pod with a tag is named NAME-TAG")
    .field_path(".spec.secretName")
)]
#[x_kube(
    validation = Rule::new("self.life == oldSelf.life || (self.life == oldSelf.life + 1 && has(oldSelf.end))")
        .message("life grows by exactly 1, and only after end was set")
        .field_path(".life"),
    validation = Rule::new("self.life == oldSelf.life || !has(self.end)")
        .message("a new life begins without end")
        .field_path(".end"),
    validation = Rule::new("self.life != oldSelf.life || !has(oldSelf.end) || (has(self.end) && self.end == oldSelf.end)")
        .message("end is final within a life; a new life (life + 1) removes it")
        .field_path(".end"),
    validation = Rule::new(
        "!has(oldSelf.delegationsNotBefore) || (has(self.delegationsNotBefore) && self.delegationsNotBefore >= oldSelf.delegationsNotBefore)"
    )
    .message("delegationsNotBefore only grows: what was revoked stays revoked")
    .field_path(".delegationsNotBefore"),
    validation = Rule::new("self.life != oldSelf.life || self.payment == oldSelf.payment")
        .message("payment changes only with a new life (life + 1)")
        .field_path(".payment"),
    validation = Rule::new(
        "self.life != oldSelf.life || (has(self.tag) == has(oldSelf.tag) && (!has(self.tag) || self.tag == oldSelf.tag))"
    )
    .message("tag changes only with a new life (life + 1)")
    .field_path(".tag"),
    validation = Rule::new(
        "self.life != oldSelf.life || (has(self.volumes) == has(oldSelf.volumes) && (!has(self.volumes) || self.volumes == oldSelf.volumes))"
    )
    .message("volumes change only with a new life (life + 1)")
    .field_path(".volumes"),
    validation = Rule::new(
        "self.life != oldSelf.life || !has(self.tag) || !has(oldSelf.tag) || self.tag != oldSelf.tag || (self.replicas == oldSelf.replicas && has(self.fsGroup) == has(oldSelf.fsGroup) && (!has(self.fsGroup) || self.fsGroup == oldSelf.fsGroup) && has(self.secretName) == has(oldSelf.secretName) && (!has(self.secretName) || self.secretName == oldSelf.secretName) && has(self.pullSecret) == has(oldSelf.pullSecret) && (!has(self.pullSecret) || self.pullSecret == oldSelf.pullSecret) && self.containers == oldSelf.containers)"
    )
    .message("what a pod with a tag runs changes only together with the tag"),
    validation = Rule::new("has(self.tag) == has(self.payment.free.table)")
        .message("a pod with a tag names the price table that allowed it; an admin's own pod, without tag, is free without a table")
        .field_path(".payment"),
    validation = Rule::new("has(self.secretName) || self.containers.all(c, !has(c.env) || size(c.env) == 0)")
        .message("the values of environment variables are in a Secret: secretName is missing")
        .field_path(".secretName"),
    validation = Rule::new("has(self.secretName) || !has(self.volumes) || self.volumes.all(v, v.type != 'Secret')")
        .message("the contents of secret volumes are in a Secret: secretName is missing")
        .field_path(".secretName"),
    validation = Rule::new("has(self.secretName) || !has(self.pullSecret) || !self.pullSecret")
        .message("the credentials of registries are in a Secret: secretName is missing")
        .field_path(".secretName"),
    validation = Rule::new(unique_in_pod("p.port == q.port && p.protocol == q.protocol"))
        .message("port is unique within the pod and the protocol")
        .field_path(".containers"),
    validation = Rule::new(unique_in_pod("p.targetPort == q.targetPort && p.protocol == q.protocol"))
        .message("targetPort is unique within the pod and the protocol")
        .field_path(".containers"),
    validation = Rule::new(among_containers("p.name == q.name", ""))
        .message("a port's name is unique within the pod")
        .field_path(".containers"),
    validation = Rule::new(
        "self.replicas <= 1 || !has(self.volumes) || self.volumes.all(v, v.type != 'Filesystem' || (has(v.accessMode) && v.accessMode == 'ReadWriteMany'))"
    )
    .message("a volume of more than one replica has accessMode ReadWriteMany")
    .field_path(".volumes"),
    validation = Rule::new(
        "self.containers.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name)))"
    )
    .message("every volume mount names a volume of the pod")
    .field_path(".containers")
)]
#[serde(rename_all = "camelCase")]
pub struct ApocryphPodSpec {
    /// Ethereum address of the publisher, lowercase: 0x and 40 hex digits. Never changes.
    #[schemars(length(max = 42), regex(pattern = form::ADDRESS))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("publisher never changes"))]
    pub publisher: String,
    /// Chosen by the publisher, 32 bytes: 0x and 64 hex digits. Never changes.
    #[schemars(length(max = 66), regex(pattern = form::POD_ID))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("podId never changes"))]
    pub pod_id: String,
    /// Counts the starts after an end, from 1. Any at creation: a pod may follow a life whose object is gone.
    #[serde(default = "first_life")]
    #[schemars(range(min = *limits::LIFE.start(), max = *limits::LIFE.end()))]
    pub life: i64,
    /// Fingerprint of the request, 16 hex digits, set by the operator alone; absent: an admin's own pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = form::TAG))]
    pub tag: Option<String>,
    pub payment: Payment,
    /// What runs; containers of a pod reach each other by name.
    #[schemars(length(min = 1, max = limits::CONTAINERS_MAX))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub containers: Vec<Container>,
    /// Volumes of the pod; containers mount them by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::VOLUMES_MAX))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub volumes: Vec<Volume>,
    /// Replicas that run and are reserved.
    #[serde(default = "one_replica")]
    #[schemars(range(min = 1, max = limits::REPLICAS_MAX))]
    pub replicas: i32,
    /// Group that owns the volumes' files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::USER_ID.start(), max = *limits::USER_ID.end()))]
    pub fs_group: Option<i64>,
    /// Secret in the operator's namespace with the environment values (keys `env.CONTAINER.NAME`) and the contents of secret
    /// volumes (`volume.NAME`). Of a pod with a tag: NAME-TAG, made by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = form::SECRET_NAME))]
    pub secret_name: Option<String>,
    /// The Secret is of type kubernetes.io/dockerconfigjson and has credentials for the images' registries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pull_secret: bool,
    /// The order to end; final within a life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Delegations of this pod that expire at or before are void, in Unix seconds; set by its publisher's wallet. Absent: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::UNIX_TIME.start(), max = *limits::UNIX_TIME.end()))]
    pub delegations_not_before: Option<i64>,
}

/// Every port `p` of the pod equals none but itself.
fn unique_in_pod(equal: &str) -> String {
    among_containers(equal, &format!(" && c.ports.exists_one(q, {equal})"))
}

/// Every port `p` equals none of another container; `and` says what else holds of it. Nothing that is cheaper in CEL reaches
/// over all containers.
fn among_containers(equal: &str, and: &str) -> String {
    format!(
        "self.containers.all(c, !has(c.ports) || c.ports.all(p, self.containers.exists_one(d, has(d.ports) && d.ports.exists(q, {equal})){and}))"
    )
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

/// Free of charge.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Free {
    /// Name of the price table that allowed it; absent in an admin's own pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::NAME_MAX), regex(pattern = form::LABEL))]
    pub table: Option<String>,
}

/// One container.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// DNS label.
    #[schemars(length(max = limits::NAME_MAX), regex(pattern = form::LABEL))]
    pub name: String,
    /// Image reference as the container runtime takes it.
    #[schemars(length(max = limits::IMAGE_MAX), regex(pattern = form::IMAGE))]
    pub image: String,
    /// Replaces the image's entrypoint. At most 4096 bytes each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::WORDS_MAX), inner(length(max = limits::WORD_MAX), regex(pattern = form::WORD)))]
    #[x_kube(validation = Rule::new(words_rule()).message("an entry has at most 4096 bytes"))]
    pub command: Vec<String>,
    /// Arguments of the command. At most 4096 bytes each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::WORDS_MAX), inner(length(max = limits::WORD_MAX), regex(pattern = form::WORD)))]
    #[x_kube(validation = Rule::new(words_rule()).message("an entry has at most 4096 bytes"))]
    pub args: Vec<String>,
    /// Absolute; absent: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::PATH_MAX), regex(pattern = form::WORKING_DIR))]
    #[x_kube(validation = Rule::new(path_rule()).message("a path has at most 1024 bytes"))]
    pub working_dir: Option<String>,
    /// Ports that are offered to the outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::PORTS_MAX))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub ports: Vec<Port>,
    /// Names of the environment variables; the values are in the Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::ENV_MAX))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Vec<EnvVar>,
    /// Where volumes appear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::MOUNTS_MAX))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["mountPath".into()]))]
    pub volume_mounts: Vec<VolumeMount>,
    pub resources: Resources,
    /// Who the program runs as; absent: the image's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
}

/// Numbers, as far as a user namespace maps.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// 0: root.
    #[schemars(range(min = *limits::USER_ID.start(), max = *limits::USER_ID.end()))]
    pub uid: i64,
    /// Absent: the user's in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::USER_ID.start(), max = *limits::USER_ID.end()))]
    pub gid: Option<i64>,
}

/// maxLength counts characters, the wire counts bytes.
fn words_rule() -> String {
    format!("self.all(w, size(bytes(w)) <= {})", limits::WORD_MAX)
}

fn path_rule() -> String {
    format!("size(bytes(self)) <= {}", limits::PATH_MAX)
}

/// An environment variable, without its value.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Letters, digits, `_`, `.` and `-`, a letter or `_` first.
    #[schemars(length(max = limits::ENV_NAME_MAX), regex(pattern = form::ENV_NAME))]
    pub name: String,
}

/// One port. Numbers are unique within the pod and the protocol.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Service name (RFC 6335), unique within the pod.
    #[schemars(length(max = limits::PORT_NAME_MAX), regex(pattern = form::PORT_NAME))]
    pub name: String,
    /// Where it is offered.
    #[schemars(range(min = *limits::PORT.start(), max = *limits::PORT.end()))]
    pub port: i32,
    /// Where the program listens.
    #[schemars(range(min = *limits::PORT.start(), max = *limits::PORT.end()))]
    pub target_port: i32,
    #[serde(default)]
    pub protocol: Protocol,
}

// Without comments on the variants, which would make a list of schemas out of the enum.
/// TCP or UDP.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

/// A volume's place in the container.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// A volume of the pod.
    // No pattern: a rule asks for the volume, which has one.
    #[schemars(length(max = limits::NAME_MAX))]
    pub name: String,
    /// Absolute and normalised, unique within the container.
    #[schemars(length(max = limits::PATH_MAX), regex(pattern = form::MOUNT_PATH))]
    #[x_kube(validation = Rule::new(path_rule()).message("a path has at most 1024 bytes"))]
    pub mount_path: String,
    /// The container cannot write there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// Requests, and limits equal to them. Integers, so that schema and wire bound them alike.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Thousandths of a core.
    #[schemars(range(min = *limits::CPU_MILLIS.start(), max = *limits::CPU_MILLIS.end()))]
    pub cpu_millis: i64,
    /// Bytes.
    #[schemars(range(min = *limits::MEMORY.start(), max = *limits::MEMORY.end()))]
    pub memory: i64,
    /// Bytes.
    #[schemars(range(min = *limits::EPHEMERAL_STORAGE.start(), max = *limits::EPHEMERAL_STORAGE.end()))]
    pub ephemeral_storage: i64,
}

/// What is kept, or given, apart from the images.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.size) == (self.type != 'Secret')")
        .message("a volume has a size, a secret one has none")
        .field_path(".size"),
    validation = Rule::new(empty_rule())
        .message("an empty volume has at most 16 TiB")
        .field_path(".size"),
    validation = Rule::new("!has(self.accessMode) || self.type == 'Filesystem'")
        .message("accessMode is of volumes of type Filesystem")
        .field_path(".accessMode")
)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// DNS label.
    #[schemars(length(max = limits::NAME_MAX), regex(pattern = form::LABEL))]
    pub name: String,
    /// Filesystem: lives as long as the pod's life. Empty: as long as a replica, on its node. Secret: a file, where it is
    /// mounted, with the value of the key `volume.NAME` of the Secret.
    #[serde(default, rename = "type")]
    pub kind: VolumeType,
    /// How many nodes may write a file system at once; absent: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<AccessMode>,
    /// Bytes. Of an empty volume: reserved as ephemeral storage beside what the containers ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *limits::VOLUME_SIZE.start(), max = *limits::VOLUME_SIZE.end()))]
    pub size: Option<i64>,
}

/// A file system may be larger.
fn empty_rule() -> String {
    format!(
        "self.type != 'Empty' || !has(self.size) || self.size <= {}",
        limits::EPHEMERAL_STORAGE.end()
    )
}

/// Kind of a volume.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumeType {
    #[default]
    Filesystem,
    Empty,
    Secret,
}

/// As Kubernetes names them.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    ReadWriteOnce,
    ReadWriteMany,
}

/// The one way to end a pod.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// When it was ordered (RFC 3339).
    pub at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
    /// Outcome code of the end, CamelCase.
    #[schemars(extend("enum" = form::end_reasons()))]
    pub reason: String,
    /// Who ordered it.
    #[schemars(extend("enum" = form::ENDED_BY))]
    pub by: String,
}

//! Outcome codes: one enum for refusals and status on the wire and metric labels (snake_case), and for condition reasons and
//! Events in the cluster (CamelCase). A client that meets a code it does not know treats it by its stream's final flag alone.

use std::fmt;

/// What a client does about it, and its exit status (see `apocryph --help`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// On its way or fine: not an error.
    Progress,
    /// The request itself is wrong; the same bytes never pass.
    Invalid,
    /// Known to the schema, not served by this provider.
    NotServed,
    /// Signature or credential.
    Credential,
    /// The pod as it exists says no.
    Conflict,
    /// Not now: full, busy, not accepting.
    Unavailable,
    /// Payment.
    Payment,
    /// The pod runs into trouble that the publisher can mend.
    Trouble,
    /// The pod has ended.
    Ended,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $snake:literal $class:ident,)+) => {
        /// One outcome.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// Every code, in the order of the enum.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// snake_case: wire and metric labels.
            pub const fn as_str(self) -> &'static str { match self { $(Code::$variant => $snake),+ } }

            /// CamelCase: condition and Event reasons.
            pub const fn reason(self) -> &'static str { match self { $(Code::$variant => stringify!($variant)),+ } }

            pub const fn class(self) -> Class { match self { $(Code::$variant => Class::$class),+ } }

            /// From either spelling; `None` for a code of a newer version.
            pub fn parse(text: &str) -> Option<Code> {
                match text { $($snake => Some(Code::$variant),)+ _ => Code::ALL.iter().copied().find(|c| c.reason() == text) }
            }
        }
    };
}

codes! {
    // ---- progress
    /// The ApocryphPod exists: from here on it survives everything but its end.
    Accepted "accepted" Progress,
    /// The controller makes the namespace and what is in it.
    Preparing "preparing" Progress,
    /// The Kubernetes API does not yet let the operator act in the new namespace.
    WaitingForRights "waiting_for_rights" Progress,
    /// The volumes are being made.
    WaitingForVolume "waiting_for_volume" Progress,
    /// A node was found.
    Scheduled "scheduled" Progress,
    /// The node fetches the image.
    PullingImage "pulling_image" Progress,
    /// The container was started and is not ready yet.
    Starting "starting" Progress,
    /// Every replica is ready.
    Running "running" Progress,
    /// The end was ordered and is being carried out.
    Ending "ending" Progress,

    // ---- the request
    /// Not the message that this protocol expects.
    Malformed "malformed" Invalid,
    /// Larger than the protocol's limit, declared or real.
    RequestTooLarge "request_too_large" Invalid,
    /// The request did not arrive in time.
    RequestTimeout "request_timeout" Unavailable,
    /// A field that this provider does not know.
    UnknownField "unknown_field" Invalid,
    /// A field's value is not allowed; `field` names it.
    InvalidManifest "invalid_manifest" Invalid,
    /// A field outside the manifest.
    InvalidRequest "invalid_request" Invalid,
    /// Nonce not 16 to 64 bytes.
    InvalidNonce "invalid_nonce" Invalid,
    /// A known field that this provider does not serve.
    NotServed "not_served" NotServed,
    /// More than the replicas that always run.
    ScalingNotServed "scaling_not_served" NotServed,
    /// A known operation that this provider does not serve.
    Unimplemented "unimplemented" NotServed,

    // ---- the envelope
    WrongOperation "wrong_operation" Credential,
    WrongPod "wrong_pod" Credential,
    WrongProvider "wrong_provider" Credential,
    WrongRequester "wrong_requester" Credential,
    WrongChain "wrong_chain" Credential,
    BodyChanged "body_changed" Credential,
    Expired "expired" Credential,
    NotYetValid "not_yet_valid" Credential,
    /// expiresAt more than ten minutes after issuedAt.
    ValidityTooLong "validity_too_long" Credential,
    /// The signature's s is in the upper half (EIP-2).
    HighS "high_s" Credential,
    BadSignature "bad_signature" Credential,

    // ---- the pod that exists
    /// No such pod of this publisher.
    NotFound "not_found" Conflict,
    ContentDiffers "content_differs" Conflict,
    PaymentDiffers "payment_differs" Conflict,
    OtherLife "other_life" Conflict,
    /// Ending; its namespace is not yet gone.
    Terminating "terminating" Conflict,
    /// Ended, and the request does not name that life: `endedLife` does.
    Ended "ended" Ended,

    // ---- not now
    Busy "busy" Unavailable,
    /// This process is going down; another takes over.
    ShuttingDown "shutting_down" Unavailable,
    /// The API server did not answer; nothing is known to have changed.
    ApiUnavailable "api_unavailable" Unavailable,
    /// Nodes, pods and ApocryphPods are not yet all read.
    NotSynced "not_synced" Unavailable,
    /// The admission policies that hold the operator are missing or changed.
    WallsMissing "walls_missing" Unavailable,
    /// No price table is in force.
    NoPriceTable "no_price_table" Unavailable,
    /// The admin has closed the door for new pods.
    Cordoned "cordoned" Unavailable,
    /// `resource` blocks now.
    InsufficientCapacity "insufficient_capacity" Unavailable,
    /// `resource` is more than any node has, even empty.
    LargerThanAnyNode "larger_than_any_node" Invalid,
    /// `storage` is not offered here.
    StorageNotOffered "storage_not_offered" Invalid,

    // ---- payment
    /// No table in force takes this payment.
    PaymentNotOffered "payment_not_offered" Payment,
    /// The free table does not list this publisher.
    PublisherNotAllowed "publisher_not_allowed" Payment,
    /// Whether it is paid could not be found out.
    PaymentUnknown "payment_unknown" Payment,

    // ---- trouble on the way
    /// No node takes it although it was admitted.
    Unschedulable "unschedulable" Trouble,
    /// A volume cannot be bound.
    VolumeUnbound "volume_unbound" Trouble,
    /// A volume's file system cannot be id-mapped for a user namespace.
    VolumeWithoutIdmap "volume_without_idmap" Trouble,
    /// The registry says that there is no such image.
    ImageNotFound "image_not_found" Trouble,
    /// The registry does not answer.
    RegistryUnreachable "registry_unreachable" Trouble,
    /// The registry wants credentials.
    ImageUnauthorized "image_unauthorized" Trouble,
    /// The image cannot be pulled for another reason.
    ImagePullFailed "image_pull_failed" Trouble,
    /// The reference is not one.
    InvalidImageName "invalid_image_name" Trouble,
    /// The image starts as root and this provider does not allow it.
    ImageRunsAsRoot "image_runs_as_root" Trouble,
    /// The container could not be started (command not found, bad working directory).
    ContainerCannotStart "container_cannot_start" Trouble,
    /// The container ended by itself; `message` has its exit status.
    ContainerExited "container_exited" Trouble,
    /// Killed for using more memory than its limit.
    OutOfMemory "out_of_memory" Trouble,
    /// Pods are refused by an admission policy or a quota.
    PodRefused "pod_refused" Trouble,
    /// Was running; fewer replicas are ready now.
    Degraded "degraded" Trouble,
    /// No address can be told to publishers.
    NoPublicAddress "no_public_address" Trouble,
    /// The spec, written by kubectl, is not one the controller can build.
    InvalidSpec "invalid_spec" Trouble,
    /// The name is not the one derived from publisher and pod id.
    WrongName "wrong_name" Trouble,

    // ---- ended
    DeletedByPublisher "deleted_by_publisher" Ended,
    DeletedByAdmin "deleted_by_admin" Ended,
    StartTimeout "start_timeout" Ended,
    NamespaceDeleted "namespace_deleted" Ended,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_the_same_words_and_parse_back() {
        for &code in Code::ALL {
            let camel: String = code
                .as_str()
                .split('_')
                .map(|w| w[..1].to_uppercase() + &w[1..])
                .collect();
            assert_eq!(camel, code.reason());
            assert_eq!(Code::parse(code.as_str()), Some(code));
            assert_eq!(Code::parse(code.reason()), Some(code));
        }
        assert_eq!(Code::parse("from_the_future"), None);
    }
}

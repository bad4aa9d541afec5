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
    ($($(#[doc = $doc:literal])+ $variant:ident $snake:literal $class:ident,)+) => {
        /// One outcome.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// Every code, in the order of the enum.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// snake_case: wire and metric labels.
            pub const fn as_str(self) -> &'static str { match self { $(Code::$variant => $snake),+ } }

            /// CamelCase: condition and Event reasons.
            pub const fn reason(self) -> &'static str { match self { $(Code::$variant => stringify!($variant)),+ } }

            pub const fn class(self) -> Class { match self { $(Code::$variant => Class::$class),+ } }

            /// What it means, in one or two sentences: the documentation of the variant.
            pub const fn meaning(self) -> &'static str { match self { $(Code::$variant => concat!($($doc),+).trim_ascii()),+ } }

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
    /// The provider's admin ends the pod at the time that the message and `ends_at` name; until then it goes on.
    EndAnnounced "end_announced" Progress,
    /// The end that was announced will not come: the admin took the announcement back.
    EndCalledOff "end_called_off" Progress,
    /// The end was ordered and is being carried out.
    Ending "ending" Progress,

    // ---- the request
    /// The bytes are not the message that this protocol expects.
    Malformed "malformed" Invalid,
    /// The request is larger than the protocol's limit, declared or real.
    RequestTooLarge "request_too_large" Invalid,
    /// The request did not arrive in time.
    RequestTimeout "request_timeout" Unavailable,
    /// The request has a field that this provider does not know.
    UnknownField "unknown_field" Invalid,
    /// A field's value is not allowed; `field` names it.
    InvalidManifest "invalid_manifest" Invalid,
    /// A field of the request outside the manifest is not valid; `field` names it.
    InvalidRequest "invalid_request" Invalid,
    /// The nonce does not have 16 to 64 bytes.
    InvalidNonce "invalid_nonce" Invalid,
    /// The manifest uses a field that this provider does not serve; `field` names it.
    NotServed "not_served" NotServed,
    /// More replicas are asked for than always run: there is no scaling yet.
    ScalingNotServed "scaling_not_served" NotServed,
    /// This provider does not serve the operation.
    Unimplemented "unimplemented" NotServed,

    // ---- the envelope
    /// The signed operation is not the one that the request is.
    WrongOperation "wrong_operation" Credential,
    /// The signed pod id is not that of the payment in the request.
    WrongPod "wrong_pod" Credential,
    /// It was signed for another provider.
    WrongProvider "wrong_provider" Credential,
    /// It was signed for another peer than the one that sends it.
    WrongRequester "wrong_requester" Credential,
    /// The signed chain is not that of the pod's payment.
    WrongChain "wrong_chain" Credential,
    /// The request is not the one that was signed.
    BodyChanged "body_changed" Credential,
    /// The time for which it was signed is over.
    Expired "expired" Credential,
    /// It was signed for a time that has not come yet.
    NotYetValid "not_yet_valid" Credential,
    /// The signature is good for more than ten minutes (expiresAt after issuedAt).
    ValidityTooLong "validity_too_long" Credential,
    /// The signature's s is in the upper half (EIP-2).
    HighS "high_s" Credential,
    /// The signature is not that of the publisher that is named.
    BadSignature "bad_signature" Credential,

    // ---- the delegation
    /// The delegation is for another peer.
    WrongDelegate "wrong_delegate" Credential,
    /// The delegation does not list the operation, or nobody may delegate it.
    OperationNotDelegated "operation_not_delegated" Credential,
    /// The delegation is for another pod or of another publisher.
    PodNotDelegated "pod_not_delegated" Credential,
    /// The delegation is over.
    DelegationExpired "delegation_expired" Credential,
    /// The wallet has made the delegation void.
    DelegationRevoked "delegation_revoked" Credential,

    // ---- the pod that exists
    /// There is no such pod of this publisher, or no more.
    NotFound "not_found" Conflict,
    /// This pod runs with another manifest.
    ContentDiffers "content_differs" Conflict,
    /// This pod was accepted with another payment.
    PaymentDiffers "payment_differs" Conflict,
    /// Another life of the pod is meant than the one that it is in.
    OtherLife "other_life" Conflict,
    /// The pod is ending; its namespace is not yet gone.
    Terminating "terminating" Conflict,
    /// The pod has ended, and the request does not name the life that did: `endedLife` does.
    Ended "ended" Ended,

    // ---- not now
    /// The provider has as many streams or requests as it takes, from everybody or from this peer.
    Busy "busy" Unavailable,
    /// The provider's process is going down; another takes over.
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
    /// The provider's admin does not let this publisher start pods; what runs goes on and is watched and deleted as before.
    PublisherDenied "publisher_denied" Credential,
    /// There is not enough free now of the resource that `resource` names.
    InsufficientCapacity "insufficient_capacity" Unavailable,
    /// Of the resource that `resource` names more is asked for than any node has, even empty.
    LargerThanAnyNode "larger_than_any_node" Invalid,
    /// This provider offers no storage, and the manifest has a volume.
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
    /// The image's name is not one that a registry could have.
    InvalidImageName "invalid_image_name" Trouble,
    /// The image is built for other processors than the nodes have.
    ImageOtherPlatform "image_other_platform" Trouble,
    /// The image starts as root and this provider does not allow it.
    ImageRunsAsRoot "image_runs_as_root" Trouble,
    /// The image names its user, and where root is not allowed the user must be a number.
    ImageUserNamed "image_user_named" Trouble,
    /// The container could not be started (command not found, bad working directory).
    ContainerCannotStart "container_cannot_start" Trouble,
    /// The container ended by itself; `message` has its exit status.
    ContainerExited "container_exited" Trouble,
    /// The container was killed for using more memory than its limit.
    OutOfMemory "out_of_memory" Trouble,
    /// Pods are refused by an admission policy or a quota.
    PodRefused "pod_refused" Trouble,
    /// The pod was running, and fewer replicas are ready now.
    Degraded "degraded" Trouble,
    /// No address can be told to publishers.
    NoPublicAddress "no_public_address" Trouble,
    /// The spec, written by kubectl, is not one the controller can build.
    InvalidSpec "invalid_spec" Trouble,
    /// The name is not the one derived from publisher and pod id.
    WrongName "wrong_name" Trouble,
    /// The annotation apocryph.network/end, written by the provider's admin, is not `REASON, WHEN`; nothing was ended.
    InvalidEndAnnotation "invalid_end_annotation" Trouble,

    // ---- ended
    /// The publisher ended the pod.
    DeletedByPublisher "deleted_by_publisher" Ended,
    /// The provider's admin ended the pod.
    DeletedByAdmin "deleted_by_admin" Ended,
    /// The pod did not become ready within the time that the provider gives.
    StartTimeout "start_timeout" Ended,
    /// The pod's namespace was deleted in the cluster; its volumes are gone with it.
    NamespaceDeleted "namespace_deleted" Ended,
}

impl Code {
    /// What a publisher can do about it; empty when nothing is to be done. A provider's own remedy, where it gives one, knows
    /// more of the case at hand.
    pub const fn remedy(self) -> &'static str {
        match self {
            Code::Accepted
            | Code::Preparing
            | Code::WaitingForRights
            | Code::Scheduled
            | Code::PullingImage
            | Code::Running
            | Code::EndCalledOff
            | Code::Ending => "",
            Code::EndAnnounced => "Save what is needed and deploy to another provider by then.",
            Code::WaitingForVolume => "Wait; if it lasts, ask the provider whether its storage works.",
            Code::Starting => {
                "Wait; if it lasts, see whether the program listens on the ports that the manifest names."
            }

            Code::Malformed | Code::UnknownField => {
                "Use a client of the provider's version, or leave the field out when an error names one."
            }
            Code::RequestTooLarge => {
                "Make the manifest smaller: at most 256 KiB, and 768 KiB of environment values and secrets."
            }
            Code::RequestTimeout => "Send it again over a faster or steadier connection.",
            Code::InvalidManifest => {
                "Correct the field; `apocryph check MANIFEST` finds such faults without sending anything."
            }
            Code::InvalidRequest => {
                "Correct the field that the error names, or use a client of the provider's version."
            }
            Code::InvalidNonce => "Send 16 to 64 random bytes.",
            Code::NotServed => "Leave the field out, or choose a provider that serves it.",
            Code::ScalingNotServed => "Leave replicas.max and replicas.targetPendingRequests out, or set max to min.",
            Code::Unimplemented => "Choose a provider of a version that serves it.",

            Code::WrongOperation | Code::WrongPod | Code::WrongChain | Code::BodyChanged | Code::HighS => {
                "Sign what is sent, as the client `apocryph` does; another client has a fault here."
            }
            Code::WrongProvider => "Sign for the peer id that is dialled: check the provider's address.",
            Code::WrongRequester => "Sign for the peer id that the connection is made with.",
            Code::Expired | Code::NotYetValid => "Set this machine's clock right and send the request again.",
            Code::ValidityTooLong => "Sign for ten minutes at the most, a delegation for 366 days.",
            Code::BadSignature => "Use the key that the pod belongs to: `apocryph key show` prints its address.",

            Code::WrongDelegate => {
                "Use the peer's key that it was given to (`apocryph peer` prints its id), or have one given to this peer."
            }
            Code::OperationNotDelegated | Code::PodNotDelegated | Code::DelegationExpired | Code::DelegationRevoked => {
                "Have the pod's publisher give another one: `apocryph delegate PEER --operations ... --pod POD --for 30d`."
            }

            Code::NotFound => {
                "Check the pod id, the key and the provider; ended pods are remembered for some days only."
            }
            Code::ContentDiffers => {
                "Deploy the other manifest under a pod id of its own, or end the pod and deploy with --restart."
            }
            Code::PaymentDiffers => "Send the payment that the pod was accepted with.",
            Code::OtherLife => "See the life it is in with `apocryph watch POD`; end that one first to start anew.",
            Code::Terminating => "Wait until it has ended; `apocryph deploy --wait` does.",
            Code::Ended => "Start it anew with `apocryph deploy --resume POD --restart`; volumes begin empty.",

            Code::Busy => "Try again in a moment, with fewer requests at once.",
            Code::ShuttingDown | Code::ApiUnavailable | Code::NotSynced => {
                "Try again in a minute; `apocryph deploy` does by itself."
            }
            Code::WallsMissing => "Only the provider's admin can mend it: tell them, or choose another provider.",
            Code::NoPriceTable | Code::Cordoned => {
                "Try later, wait with `apocryph deploy --wait`, or choose another provider."
            }
            Code::PublisherDenied => "Ask the provider's admin, or choose another provider.",
            Code::InsufficientCapacity => {
                "Ask for less (`apocryph capacity` shows what is free), wait with `apocryph deploy --wait`, or choose another provider."
            }
            Code::LargerThanAnyNode => {
                "Ask for less: `apocryph capacity` shows the largest node; or choose another provider."
            }
            Code::StorageNotOffered => "Leave the volumes out, or choose a provider that offers storage.",

            Code::PaymentNotOffered => "Pay as one of the tables that `apocryph capacity` lists says.",
            Code::PublisherNotAllowed => {
                "Ask the provider's admin to list your address: `apocryph key show` prints it."
            }
            Code::PaymentUnknown => "Try again later: the chain does not answer the provider.",

            Code::Unschedulable => {
                "Ask for less, or tell the provider; the pod ends by itself if no node takes it in time."
            }
            Code::VolumeUnbound => "Leave the volume out, or tell the provider: its storage does not give one.",
            Code::VolumeWithoutIdmap => {
                "Leave the volume out, or choose another provider: its storage does not fit its isolation."
            }
            Code::ImageNotFound => "Correct the image's name and tag, or push the image; then deploy anew.",
            Code::RegistryUnreachable => "Check the registry's host name and that the provider can reach it.",
            Code::ImageUnauthorized => "Give the credentials in `image.pullSecret`, or use an image that needs none.",
            Code::ImagePullFailed => "Check that the image can be pulled elsewhere.",
            Code::InvalidImageName => "Write the name as REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST.",
            Code::ImageOtherPlatform => {
                "Build the image for the nodes' processors as well (a multi-platform image), or choose another provider."
            }
            Code::ImageRunsAsRoot => {
                "Give a `user.uid` other than 0, or choose a provider that allows root (`apocryph capacity` says)."
            }
            Code::ImageUserNamed => "Give the number of the image's user as `user.uid`.",
            Code::ContainerCannotStart => "Correct `command` and `workingDir`, or the image that has them.",
            Code::ContainerExited => "Mend the program, its arguments or its environment: it has to keep running.",
            Code::OutOfMemory => "Ask for more memory in resourceRequests, or make the program use less.",
            Code::PodRefused => "Tell the provider: an admission policy or a quota of the cluster refuses the pod.",
            Code::Degraded => "Wait; if it lasts, see whether the program crashes or a node is down.",
            Code::NoPublicAddress => "Tell the provider that it announces no address; the pod itself runs.",
            Code::InvalidSpec => "Its admin corrects the spec of the ApocryphPod.",
            Code::InvalidEndAnnotation => {
                "Its admin writes it as `REASON, WHEN`, where WHEN is a time (2026-11-24T17:00:00Z) or a duration (2h)."
            }
            Code::WrongName => "Its admin creates the ApocryphPod under the name that the message gives.",

            Code::DeletedByPublisher => {
                "Start it anew with `apocryph deploy --resume POD --restart` if it was a mistake."
            }
            Code::DeletedByAdmin => "Ask the provider's admin why, or deploy to another provider.",
            Code::StartTimeout => "Mend what the last trouble named, then start it anew with --restart.",
            Code::NamespaceDeleted => "Start it anew with --restart; ask the provider's admin how it happened.",
        }
    }
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

    #[test]
    fn each_code_is_explained_in_sentences() {
        for &code in Code::ALL {
            let (meaning, remedy) = (code.meaning(), code.remedy());
            for text in [meaning, remedy].into_iter().filter(|text| !text.is_empty()) {
                assert!(text.ends_with('.') && !text.contains("  "), "{code}: {text}");
                assert!(text.starts_with(|c: char| c.is_uppercase()), "{code}: {text}");
            }
            assert!(meaning.len() > 10, "{code}");
            assert_eq!(
                remedy.is_empty(),
                code.class() == Class::Progress
                    && !matches!(code, Code::WaitingForVolume | Code::Starting | Code::EndAnnounced),
                "{code}"
            );
        }
    }
}

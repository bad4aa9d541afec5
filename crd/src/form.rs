//! Forms of texts, as regular expressions of the schema (RE2, matched by the API server). Where one says all that
//! `apocryph_proto::manifest` asks for, it is used as it is; names of ports and mount paths are written out here, since there
//! a rule stands beside the expression. The table e2e/tests/manifests.yaml runs through both doors.

pub use apocryph_proto::manifest::{
    ENV_NAME_PATTERN as ENV_NAME, IMAGE_PATTERN as IMAGE, NAME_PATTERN as LABEL, WORKING_DIR_PATTERN as WORKING_DIR,
};
use apocryph_proto::outcome::{Class, Code};

/// Ethereum address, lowercase.
pub const ADDRESS: &str = "^0x[0-9a-f]{40}$";
/// 32 bytes, lowercase.
pub const POD_ID: &str = "^0x[0-9a-f]{64}$";
/// 16 hex digits, lowercase.
pub const TAG: &str = "^[0-9a-f]{16}$";
/// DNS subdomain (RFC 1123): a Secret's name.
pub const SECRET_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Service name (RFC 6335): words of lowercase letters and digits with single hyphens between them, at least one letter.
pub const PORT_NAME: &str = "^([0-9]+-)*[0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*$";
/// Entry of `command` or `args`: anything but NUL, which ends a C string.
pub const WORD: &str = r"^[^\x00]*$";
/// Absolute path below `/` in its shortest form: no element is empty, `.` or `..`; without `:` (Kubernetes) and control
/// characters.
pub const MOUNT_PATH: &str =
    r"^(/([^/.:\x00-\x1f\x7f]|\.[^/.:\x00-\x1f\x7f]|\.\.[^/:\x00-\x1f\x7f])[^/:\x00-\x1f\x7f]*)+$";
/// Values of `spec.end.by`.
pub const ENDED_BY: [&str; 3] = ["publisher", "admin", "controller"];

/// Values of `spec.end.reason`: every outcome code that says why a pod ended.
pub fn end_reasons() -> Vec<&'static str> {
    // `Ended` itself answers a request; it is never the reason of an end.
    Code::ALL
        .iter()
        .filter(|c| c.class() == Class::Ended && **c != Code::Ended)
        .map(|c| c.reason())
        .collect()
}

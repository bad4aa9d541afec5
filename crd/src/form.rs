//! Forms of texts, as regular expressions of the schema (RE2, matched by the API server). `apocryph_proto::manifest` holds
//! the same forms on the wire; the table e2e/tests/manifests.yaml runs through both.

use apocryph_proto::outcome::{Class, Code};

/// Ethereum address, lowercase.
pub const ADDRESS: &str = "^0x[0-9a-f]{40}$";
/// 32 bytes, lowercase.
pub const POD_ID: &str = "^0x[0-9a-f]{64}$";
/// 16 hex digits, lowercase.
pub const TAG: &str = "^[0-9a-f]{16}$";
/// DNS label (RFC 1123).
pub const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// DNS subdomain (RFC 1123): a Secret's name.
pub const SECRET_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Service name (RFC 6335): words of lowercase letters and digits with single hyphens between them, at least one letter.
pub const PORT_NAME: &str = "^([0-9]+-)*[0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*$";
/// Environment variable.
pub const ENV_NAME: &str = "^[A-Za-z_][A-Za-z0-9_.-]*$";
/// Entry of `command` or `args`: anything but NUL, which ends a C string.
pub const WORD: &str = r"^[^\x00]*$";
/// Absolute path without control characters.
pub const WORKING_DIR: &str = r"^/[^\x00-\x1f\x7f]*$";
/// Absolute path below `/` in its shortest form: no element is empty, `.` or `..`; without `:` (Kubernetes) and control
/// characters.
pub const MOUNT_PATH: &str =
    r"^(/([^/.:\x00-\x1f\x7f]|\.[^/.:\x00-\x1f\x7f]|\.\.[^/:\x00-\x1f\x7f])[^/:\x00-\x1f\x7f]*)+$";
/// Image reference of the distribution specification: `[host[:port]/]path[:tag][@sha256:…]`. The first part of several is a
/// host when it has a dot or a port (or is `localhost`, which fits both).
pub const IMAGE: &str = concat!(
    "^(",
    // host with a dot, or with a port
    r"([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?((\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+(:[0-9]{1,5})?|:[0-9]{1,5})",
    // or the path's first part, without a dot
    r"|[a-z0-9]+((_|__|-+)[a-z0-9]+)*)",
    // and at least one part more
    r"(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+",
    // or the only part
    r"|[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*",
    ")",
    // tag and digest
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
);

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

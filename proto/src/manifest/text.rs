//! Rules for names and paths. The patterns say the same in the regular expressions of Kubernetes (RE2) for the schema of
//! `ApocryphPod`; a test holds rule and pattern together. Lengths are in [`crate::limits`].

/// DNS label (RFC 1123): names of containers and volumes.
pub const NAME_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// IANA service name (RFC 6335, lowercase); beside it: at least one letter, and no `--`.
pub const PORT_NAME_PATTERN: &str = "^[a-z0-9]+(-[a-z0-9]+)*$";
pub const ENV_NAME_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_.-]*$";
/// Absolute; beside it: no `.` or `..` between slashes. No colon, as Kubernetes demands.
pub const MOUNT_PATH_PATTERN: &str = r"^(/[^/:\x00-\x1f\x7f]+)+$";
/// Absolute.
pub const WORKING_DIR_PATTERN: &str = r"^/[^\x00-\x1f\x7f]*$";
/// OCI image reference.
pub const IMAGE_PATTERN: &str = concat!(
    "^((",
    // A registry: localhost, or with a dot, or with a port.
    "localhost(:[0-9]{1,5})?|",
    "[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)+(:[0-9]{1,5})?|",
    "[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?:[0-9]{1,5}|",
    // Or the first part of a path, which then has no dot.
    "[a-z0-9]+((_|__|-+)[a-z0-9]+)*",
    ")(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)+|",
    // Or one part alone.
    "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)",
    "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$",
);

/// Longest part of a wrong value that is quoted.
const QUOTED_MAX: usize = 64;

/// A wrong value as it is told: escaped and cut, so that it cannot disturb a terminal or a log.
pub(super) fn quote(value: &str) -> String {
    let shown: String = value.chars().take(QUOTED_MAX).collect();
    let cut = if shown.len() < value.len() { "…" } else { "" };
    format!("`{}{cut}`", shown.escape_debug())
}

pub(super) fn is_name(text: &str) -> bool {
    is_lower_or_digit_at_ends(text)
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

pub(super) fn is_port_name(text: &str) -> bool {
    is_name(text) && text.bytes().any(|b| b.is_ascii_lowercase()) && !text.contains("--")
}

fn is_lower_or_digit_at_ends(text: &str) -> bool {
    let fits = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    fits(text.as_bytes().first()) && fits(text.as_bytes().last())
}

pub(super) fn is_env_name(text: &str) -> bool {
    match text.as_bytes() {
        [first, rest @ ..] => {
            (first.is_ascii_alphabetic() || *first == b'_')
                && rest
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        }
        [] => false,
    }
}

pub(super) fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && !path.bytes().any(|b| b.is_ascii_control())
}

pub(super) fn is_mount_path(path: &str) -> bool {
    is_absolute(path) && !path.contains(':') && path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."))
}

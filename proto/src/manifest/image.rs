//! OCI image references as the container runtime takes them: `[domain[:port]/]path[:tag][@sha256:…]`.

const TAG_MAX: usize = 128;
const SHA256_HEX: usize = 64;

/// Why a text is no image reference; `None`: it is one.
pub(super) fn fault(reference: &str) -> Option<&'static str> {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    if digest.is_some_and(|digest| !digest.strip_prefix("sha256:").is_some_and(is_sha256)) {
        return Some("the part behind @ is not sha256: and 64 lowercase hex digits");
    }
    // A colon before the last slash is the domain's port.
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Some("the tag is not 1 to 128 letters, digits, `_`, `.` or `-` that begin with neither `.` nor `-`");
    }
    let path = match name.split_once('/') {
        Some((domain, path)) if domain == "localhost" || domain.contains(['.', ':']) => {
            if !is_domain(domain) {
                return Some("the part before the first slash is not a domain with an optional port");
            }
            path
        }
        _ => name,
    };
    let path_fits = path.split('/').all(is_component);
    (!path_fits).then_some(
        "the path is not lowercase letters and digits, separated by `/`, and within by one `.`, one or two `_`, or `-`",
    )
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == SHA256_HEX && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    match tag.as_bytes() {
        [first, rest @ ..] => {
            rest.len() < TAG_MAX && word(*first) && rest.iter().all(|&b| word(b) || b == b'.' || b == b'-')
        }
        [] => false,
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let port_fits = port.is_none_or(|port| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()));
    port_fits && host.split('.').all(label)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    ends && bytes.split(alphanumeric).all(|separator| {
        matches!(separator, [] | [b'.'] | [b'_'] | [b'_', b'_']) || separator.iter().all(|b| *b == b'-')
    })
}

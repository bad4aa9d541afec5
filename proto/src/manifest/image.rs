//! OCI image references as the container runtime takes them: `[domain[:port]/]path[:tag][@sha256:…]`, and the credentials
//! with which they are pulled.

use std::collections::BTreeMap;

use super::{
    Invalid, PullSecret, SecretValue,
    parse::{Checked, text},
    text::quote,
};
use crate::{limits, v0::pod};

/// The registry of images that name none, and its folder of images that name no folder.
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_FOLDER: &str = "library";

/// Of the images so far, by repository: a pod is pulled with one set of credentials for each.
pub(super) type Credentials = BTreeMap<String, Option<PullSecret>>;

pub(super) fn parse(
    image: Option<&pod::Image>,
    field: &str,
    credentials: &mut Credentials,
) -> Checked<(String, Option<PullSecret>)> {
    let url = image.map(|image| image.url.as_str()).unwrap_or_default();
    let url_field = format!("{field}.url");
    if url.is_empty() {
        return Err(Invalid::manifest(
            url_field,
            "no image is given; write for example docker.io/library/nginx:1.29",
        ));
    }
    text(url, &url_field, limits::IMAGE_MAX)?;
    if let Some(fault) = fault(url) {
        return Err(Invalid::manifest(
            url_field,
            format!(
                "{} is not an image reference: {fault}; write for example docker.io/library/nginx:1.29",
                quote(url)
            ),
        ));
    }
    let field = format!("{field}.pullSecret");
    let given = image.and_then(|image| image.pull_secret.as_ref());
    let pull_secret = given.map(|secret| pull_secret(secret, &field)).transpose()?;
    let before = credentials
        .entry(repository(url))
        .or_insert_with(|| pull_secret.clone());
    if *before != pull_secret {
        return Err(Invalid::manifest(
            field,
            "another container's image of the same repository has other credentials; give both the same",
        ));
    }
    Ok((url.to_owned(), pull_secret))
}

fn pull_secret(secret: &pod::image::PullSecret, field: &str) -> Checked<PullSecret> {
    let pod::image::PullSecret { username, password } = secret;
    for (name, value, max) in [
        ("username", username, limits::REGISTRY_USERNAME_MAX),
        ("password", password, limits::REGISTRY_PASSWORD_MAX),
    ] {
        let field = format!("{field}.{name}");
        text(value, &field, max)?;
        if value.is_empty() {
            return Err(Invalid::manifest(field, "is empty; give username and password"));
        }
    }
    if username.contains(':') {
        return Err(Invalid::manifest(
            format!("{field}.username"),
            "a registry's user has no `:` in the name",
        ));
    }
    Ok(PullSecret {
        username: username.clone(),
        password: SecretValue::new(password),
    })
}

/// Registry and path of a reference, with what stands for a registry or folder that is not named: what the kubelet holds
/// against the keys of a Docker configuration.
pub fn repository(reference: &str) -> String {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    match name.split_once('/') {
        Some((domain, _)) if domain == "localhost" || domain.contains(['.', ':']) => {
            // The kubelet's own name for it.
            match name.strip_prefix("index.docker.io/") {
                Some(path) => format!("{DEFAULT_REGISTRY}/{path}"),
                None => name.to_owned(),
            }
        }
        Some(_) => format!("{DEFAULT_REGISTRY}/{name}"),
        None => format!("{DEFAULT_REGISTRY}/{DEFAULT_FOLDER}/{name}"),
    }
}

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

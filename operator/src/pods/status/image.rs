//! Why an image is not pulled, in the words of registries and container runtimes.

use apocryph_crd::{ApocryphPodStatus, condition};
use apocryph_proto::outcome::Code;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::{Finding, conditions::condition_of};

/// A container's image.
pub(super) struct ImageOf<'a> {
    container: &'a str,
    /// As the spec names it: the status may carry another name of it.
    pub(super) reference: &'a str,
    /// Credentials were given.
    with_credentials: bool,
}

impl<'a> ImageOf<'a> {
    pub(super) fn new(pod: &'a Pod, container: &'a ContainerStatus) -> ImageOf<'a> {
        let spec = pod.spec.as_ref();
        let named = spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .find(|one| one.name == container.name);
        ImageOf {
            container: &container.name,
            reference: named.and_then(|one| one.image.as_deref()).unwrap_or(&container.image),
            with_credentials: spec.is_some_and(|spec| spec.image_pull_secrets.iter().flatten().next().is_some()),
        }
    }
}

pub(super) fn of_pull(image: &ImageOf<'_>, message: &str, before: Option<&ApocryphPodStatus>) -> Finding {
    let ImageOf {
        container,
        reference: image,
        with_credentials,
    } = *image;
    let whose = format!("(container `{container}`)");
    // The reference may hold any of the words.
    let text = message.replace(image, "").to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    const SILENT: [&str; 13] = [
        "dial tcp",
        "no such host",
        "connection refused",
        "connection reset",
        "i/o timeout",
        "tls handshake timeout",
        "deadline exceeded",
        "network is unreachable",
        "no route to host",
        "server misbehaving",
        "failed to do request",
        "bad gateway",
        "service unavailable",
    ];
    if says(&SILENT) {
        return Finding::new(
            Code::RegistryUnreachable,
            format!("The registry of `{image}` {whose} cannot be reached from the provider's nodes."),
            "Check the registry's name and that it answers on the internet: the provider's nodes pull the image, from their own network. The provider tries again.",
        );
    }
    if says(&[
        "unauthorized",
        "authorization failed",
        "403 forbidden",
        "insufficient_scope",
        "access denied",
        "denied:",
    ]) {
        return if with_credentials {
            Finding::new(
                Code::ImageUnauthorized,
                format!("The registry does not give out `{image}` {whose} for the credentials, or has no such image."),
                "Check image.pullSecret of every container whose image needs one.",
            )
        } else {
            Finding::new(
                Code::ImageUnauthorized,
                format!("The registry does not give out `{image}` {whose} without credentials, or has no such image."),
                "Give image.pullSecret, or use an image that anybody may pull.",
            )
        };
    }
    if says(&["no match for platform"]) {
        return Finding::new(
            Code::ImageOtherPlatform,
            format!("The image `{image}` {whose} is not built for the processors of the provider's nodes."),
            "Build and push it for them as well (a multi-platform image), or take another provider.",
        );
    }
    if says(&["not found", "manifest unknown", "name unknown", "404"]) {
        return Finding::new(
            Code::ImageNotFound,
            format!("The registry has no image `{image}` {whose}."),
            "Correct the image's name or tag, or push it.",
        );
    }
    // While it backs off, older nodes no longer say why the pull failed; what was found out of this image still holds.
    let known = before
        .and_then(|before| condition_of(before, condition::READY))
        .filter(|ready| {
            let specific = [
                Code::RegistryUnreachable,
                Code::ImageUnauthorized,
                Code::ImageOtherPlatform,
                Code::ImageNotFound,
            ];
            specific.iter().any(|code| code.reason() == ready.reason)
                && ready.message.contains(&format!("`{image}` {whose}"))
        });
    if let Some((code, known)) = known.and_then(|known| Some((Code::parse(&known.reason)?, known))) {
        let remedy = before.and_then(|before| before.remedy.clone()).unwrap_or_default();
        return Finding::new(code, known.message.clone(), remedy);
    }
    Finding::new(
        Code::ImagePullFailed,
        format!("The image `{image}` {whose} cannot be pulled."),
        "Check that the image can be pulled elsewhere. The provider tries again.",
    )
}

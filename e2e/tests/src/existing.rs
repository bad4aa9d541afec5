//! `CLUSTER=existing`: the tests on a cluster that somebody else runs. No image is loaded there, so pods run the same programs
//! in an image that the nodes can pull, and the operator's image is the one that was named.

use std::{env, process::Command};

use apocryph_proto::v0::pod::Pod;

/// What the runner said of the cluster: `eval "$(e2e/cluster/cluster env)"`.
pub struct Existing {
    operator_image: String,
    tenant_image: String,
    storage_class: String,
}

/// `None`: the project's own cluster.
pub fn existing() -> Option<Existing> {
    if env::var("CLUSTER").as_deref() != Ok("existing") {
        return None;
    }
    let given = |name: &str| env::var(name).unwrap_or_else(|_| format!("{name}-is-not-set"));
    Some(Existing {
        operator_image: given("OPERATOR_IMAGE"),
        tenant_image: given("TENANT_IMAGE"),
        storage_class: given("STORAGE_CLASS"),
    })
}

/// The images that the runner makes for the project's own cluster, and what runs in them.
pub const SLEEPER_IMAGE: &str = "registry.example/sleeper:1";
const HELLO_IMAGE: &str = "registry.example/hello:1";
const SLEEPER: &str = "trap 'exit 0' TERM; sleep 1000000 & wait";
const HELLO: &str = include_str!("../../demo/hello.sh");

/// The pod, its containers with images that this cluster has.
pub fn with_images(mut pod: Pod) -> Pod {
    let Some(existing) = existing() else { return pod };
    for container in &mut pod.containers {
        let Some(image) = &mut container.image else { continue };
        let script = match image.url.as_str() {
            SLEEPER_IMAGE => SLEEPER,
            HELLO_IMAGE => HELLO,
            _ => continue,
        };
        image.url.clone_from(&existing.tenant_image);
        if container.command.is_empty() {
            container.command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        }
    }
    pod
}

impl Existing {
    /// Helm's arguments for the operator's image; its Deployment pulls what was named, tag and digest included.
    pub fn add_image(&self, helm: &mut Command) {
        helm.arg("--set")
            .arg(format!("image.repository={}", self.operator_image));
        helm.args(["--set", "image.tag="]);
    }

    /// And for volumes, where the profile names no class of its own.
    pub fn add_storage(&self, helm: &mut Command) {
        helm.arg("--set").arg(format!("storage.class={}", self.storage_class));
    }
}

//! Registries on the node's loopback that have nothing: every manifest is 404, as a real one answers for a name it lacks; and
//! 401 first, where it wants credentials.

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{existing::SLEEPER_IMAGE, wait};

/// Where the node finds it: `localhost:PORT`.
pub struct Registry {
    pub port: u16,
}

/// Who may ask the private one.
pub const USERNAME: &str = "robot";
pub const PASSWORD: &str = "open-sesame";

/// For everybody. One for all tests; it stays as long as the cluster.
pub async fn empty(admin: &Client) -> Result<Registry> {
    start(admin, "empty-registry", 15_000, "").await
}

/// For [`USERNAME`] alone. One for all tests; it stays as long as the cluster.
pub async fn private(admin: &Client) -> Result<Registry> {
    start(admin, "private-registry", 15_001, &format!("/:{USERNAME}:{PASSWORD}")).await
}

/// As a Pod in the node's network: busybox's httpd answers 404 for every path it lacks, and 401 before by its configuration.
async fn start(admin: &Client, name: &str, port: u16, rules: &str) -> Result<Registry> {
    let pods: Api<Pod> = Api::namespaced(admin.clone(), "default");
    let serve = format!(
        "echo '{rules}' > /tmp/rules; mkdir /tmp/www; exec httpd -f -p 127.0.0.1:{port} -c /tmp/rules -h /tmp/www"
    );
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "hostNetwork": true, "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "httpd", "image": SLEEPER_IMAGE,
                "command": ["/bin/sh", "-c", serve],
            }],
        },
    }))?;
    pods.patch(name, &PatchParams::apply("e2e"), &Patch::Apply(&pod))
        .await?;
    wait::until(name, pods, Default::default(), |pods: &[Pod]| {
        let pod = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name))?;
        let ready = pod
            .status
            .as_ref()?
            .conditions
            .as_ref()?
            .iter()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        ready.then_some(())
    })
    .await?;
    Ok(Registry { port })
}

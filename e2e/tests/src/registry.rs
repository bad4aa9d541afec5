//! A registry on the node's loopback that has nothing: every manifest is 404, as a real one answers for a name it lacks.

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

const PORT: u16 = 15_000;
const NAME: &str = "empty-registry";

/// Starts it as a Pod in the node's network (busybox's httpd answers 404 for every path it lacks). One for all tests; it stays as long as the cluster.
pub async fn empty(admin: &Client) -> Result<Registry> {
    let pods: Api<Pod> = Api::namespaced(admin.clone(), "default");
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME},
        "spec": {
            "hostNetwork": true, "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "httpd", "image": SLEEPER_IMAGE,
                "command": ["/bin/busybox", "httpd", "-f", "-p", format!("127.0.0.1:{PORT}"), "-h", "/tmp"],
            }],
        },
    }))?;
    pods.patch(NAME, &PatchParams::apply("e2e"), &Patch::Apply(&pod))
        .await?;
    wait::until("the empty registry", pods, Default::default(), |pods: &[Pod]| {
        let pod = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(NAME))?;
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
    Ok(Registry { port: PORT })
}

//! What the operator's own token cannot do (DESIGN 7), and that the policies are what stops it.

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, Order},
    cluster::{kubectl, with_token},
    install::{NAMESPACE, Profile, RELEASE, alone},
};
use kube::{
    Client,
    api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::SLEEPER;

struct Operator {
    client: Client,
    /// A tenant's namespace that exists.
    tenant: String,
}

impl Operator {
    fn api(&self, group: &str, version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    async fn create(
        &self,
        group: &str,
        version: &str,
        kind: &str,
        namespace: Option<&str>,
        object: Value,
    ) -> kube::Result<()> {
        // a dry run goes through authorization and admission like any other request, and leaves nothing
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let object = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        self.api(group, version, kind, namespace)
            .create(&dry, &object)
            .await
            .map(drop)
    }

    async fn label(&self, namespace: &str, labels: Value) -> kube::Result<()> {
        let dry = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        self.api("", "v1", "Namespace", None)
            .patch(namespace, &dry, &patch)
            .await
            .map(drop)
    }

    async fn bind(&self, namespace: &str, role: &str, subject: &str, subject_namespace: &str) -> kube::Result<()> {
        let binding = json!({
            "metadata": {"name": "attempt"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": subject, "namespace": subject_namespace}],
        });
        self.create(
            "rbac.authorization.k8s.io",
            "v1",
            "RoleBinding",
            Some(namespace),
            binding,
        )
        .await
    }

    /// The ten attempts of an operator that was taken over; each gives what the API server said.
    async fn attempts(&self) -> Vec<(&'static str, kube::Result<()>)> {
        let pod = || json!({"metadata": {"name": "attempt"}, "spec": {"containers": [{"name": "x", "image": "x"}]}});
        let namespace = |name: &str| json!({"metadata": {"name": name}});
        let dry_delete = DeleteParams {
            dry_run: true,
            ..DeleteParams::default()
        };
        let read_secret = self
            .api("", "v1", "Secret", Some("kube-system"))
            .list(&Default::default())
            .await
            .map(drop);
        vec![
            (
                "a pod in kube-system",
                self.create("", "v1", "Pod", Some("kube-system"), pod()).await,
            ),
            (
                "a pod in default",
                self.create("", "v1", "Pod", Some("default"), pod()).await,
            ),
            (
                "a namespace not of its form",
                self.create("", "v1", "Namespace", None, namespace("mine")).await,
            ),
            (
                "deleting a foreign namespace",
                self.api("", "v1", "Namespace", None)
                    .delete("kube-public", &dry_delete)
                    .await
                    .map(drop),
            ),
            (
                "privileged on its own namespace",
                self.label(
                    &self.tenant,
                    json!({"pod-security.kubernetes.io/enforce": "privileged"}),
                )
                .await,
            ),
            (
                "a label on kube-system",
                self.label("kube-system", json!({"attempt": "1"})).await,
            ),
            ("a Secret of another namespace", read_secret),
            (
                "cluster-admin bound in its own",
                self.bind(&self.tenant, "cluster-admin", RELEASE, NAMESPACE).await,
            ),
            (
                "the tenant role bound to another subject",
                self.bind(&self.tenant, "apocryph-tenant", "default", "default").await,
            ),
            (
                "the tenant role bound in kube-system",
                self.bind("kube-system", "apocryph-tenant", RELEASE, NAMESPACE).await,
            ),
        ]
    }
}

#[tokio::test]
async fn the_operators_token_is_held_by_rights_and_policies() -> Result<()> {
    let scene = alone(Profile::Base).await?;
    let actor = Actor::connect(&scene.provider).await?;
    let order = Order::of(SLEEPER)?;
    let tenant = format!("apod-{}", actor.run(&order).await?.name);
    let token = kubectl(&["create", "token", RELEASE, "--namespace", NAMESPACE])?;
    let operator = Operator {
        client: with_token(token.trim()).await?,
        tenant,
    };

    for (attempt, result) in operator.attempts().await {
        let error = result.err().with_context(|| format!("allowed: {attempt}"))?;
        assert!(
            matches!(&error, kube::Error::Api(status) if status.code == 403 || status.code == 422),
            "{attempt}: {error}"
        );
    }

    // Without the policies at least four are allowed: it is they that hold him.
    let saved = kubectl(&[
        "get",
        "validatingadmissionpolicybindings",
        "-l",
        "app.kubernetes.io/name=apocryph-provider",
        "-o",
        "yaml",
    ])?;
    let file = std::env::temp_dir().join(format!("apocryph-bindings-{}.yaml", std::process::id()));
    std::fs::write(&file, saved)?;
    kubectl(&[
        "delete",
        "validatingadmissionpolicybindings",
        "-l",
        "app.kubernetes.io/name=apocryph-provider",
    ])?;
    let open = apocryph_e2e::wait::within("the API server forgets the policies", async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(500));
        loop {
            tick.tick().await;
            let open: Vec<_> = operator
                .attempts()
                .await
                .into_iter()
                .filter(|(_, r)| r.is_ok())
                .map(|(a, _)| a)
                .collect();
            if open.len() >= 4 {
                return Ok(open);
            }
        }
    })
    .await;
    let path = file.to_string_lossy().into_owned();
    // helm made them, with its own labels: back they go as they were
    kubectl(&["create", "-f", &path])?;
    std::fs::remove_file(&file)?;
    println!("allowed without the policies: {:?}", open?);

    apocryph_e2e::install::accepting(&scene.provider).await?;
    actor.end(order.pod_id).await?;
    Ok(())
}

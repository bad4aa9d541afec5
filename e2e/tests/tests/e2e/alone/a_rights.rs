//! What the operator's own token cannot do (DESIGN 7), and that the policies are what stops it.

use anyhow::{Context, Result};
use apocryph_e2e::{
    actor::{Actor, Order, same_key},
    cluster::{kubectl, with_token},
    install::{NAMESPACE, Profile, RELEASE, alone},
    operator,
};
use kube::{
    Client,
    api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::SLEEPER;

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// What is tried, what the refusal says, what the API server answered.
type Attempt = (&'static str, &'static str, kube::Result<()>);

/// A namespace that is nobody's of the provider's. (kube-public and the like cannot be deleted by anyone.)
const FOREIGN: &str = "somebody-elses";

/// Not in its rights.
const CANNOT: &str = "cannot ";
const NAMES: &str = "may touch namespaces named apod-";

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

    /// The ten attempts of an operator that was taken over.
    async fn attempts(&self) -> Vec<Attempt> {
        let pod = || json!({"metadata": {"name": "attempt"}, "spec": {"containers": [{"name": "x", "image": "x"}]}});
        let namespace = |name: &str| json!({"metadata": {"name": name, "labels": {ENFORCE: "restricted"}}});
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
                CANNOT,
                self.create("", "v1", "Pod", Some("kube-system"), pod()).await,
            ),
            (
                "a pod in default",
                CANNOT,
                self.create("", "v1", "Pod", Some("default"), pod()).await,
            ),
            (
                "a namespace not of its form",
                NAMES,
                self.create("", "v1", "Namespace", None, namespace("mine")).await,
            ),
            (
                "deleting a foreign namespace",
                NAMES,
                self.api("", "v1", "Namespace", None)
                    .delete(FOREIGN, &dry_delete)
                    .await
                    .map(drop),
            ),
            (
                "privileged on its own namespace",
                "enforce must be one of",
                self.label(&self.tenant, json!({ENFORCE: "privileged"})).await,
            ),
            (
                "a label on kube-system",
                NAMES,
                self.label("kube-system", json!({ENFORCE: "restricted"})).await,
            ),
            ("a Secret of another namespace", CANNOT, read_secret),
            (
                "cluster-admin bound in its own",
                "RBAC permissions not currently held",
                self.bind(&self.tenant, "cluster-admin", RELEASE, NAMESPACE).await,
            ),
            (
                "the tenant role bound to another subject",
                "may bind its tenant role to itself only",
                self.bind(&self.tenant, "apocryph-tenant", "default", "default").await,
            ),
            (
                "the tenant role bound in kube-system",
                "may bind its tenant role in tenants' namespaces only",
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
    kubectl(&["create", "namespace", FOREIGN])?;
    let token = kubectl(&["create", "token", RELEASE, "--namespace", NAMESPACE])?;
    let attacker = Operator {
        client: with_token(token.trim()).await?,
        tenant,
    };

    for (attempt, why, result) in attacker.attempts().await {
        let error = result.err().with_context(|| format!("allowed: {attempt}"))?;
        let kube::Error::Api(status) = &error else {
            return Err(error).context(attempt);
        };
        assert!(
            matches!(status.code, 403 | 422) && status.message.contains(why),
            "{attempt}: {}",
            status.message
        );
    }

    // Without the policies at least four are allowed: it is they that hold him.
    let bindings = Bindings::take_away()?;
    let open = apocryph_e2e::wait::within("the API server forgets the policies", async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(500));
        loop {
            tick.tick().await;
            let attempts = attacker.attempts().await;
            let open: Vec<_> = attempts
                .into_iter()
                .filter(|(_, _, r)| r.is_ok())
                .map(|(a, _, _)| a)
                .collect();
            if open.len() >= 4 {
                return Ok(open);
            }
        }
    })
    .await;

    // An operator that starts now takes nobody in, and says why.
    let closed = async {
        operator::kill().await?;
        let again = operator::listens_again(&scene.provider).await?;
        apocryph_e2e::install::not_accepting(&scene.provider, "walls_missing").await?;
        let refusal = again.provision(&Order::of(SLEEPER)?).await?.refused().await?;
        anyhow::ensure!(refusal.code.text == "walls_missing", "{refusal:?}");
        anyhow::Ok(())
    }
    .await;
    bindings.put_back()?;
    println!("allowed without the policies: {:?}", open?);
    closed?;

    apocryph_e2e::install::accepting(&scene.provider).await?;
    let again = Actor::with_key(&scene.provider, same_key(&actor.key)?).await?;
    again.end(order.pod_id).await?;
    kubectl(&["delete", "namespace", FOREIGN])?;
    Ok(())
}

const OURS: &str = "app.kubernetes.io/name=apocryph-provider";
const BINDINGS: &str = "validatingadmissionpolicybindings";

/// The bindings of the policies, taken away; put back when it is dropped, whatever became of the test.
struct Bindings {
    saved: Option<Vec<DynamicObject>>,
}

impl Bindings {
    fn take_away() -> Result<Bindings> {
        let list: Value = serde_json::from_str(&kubectl(&["get", BINDINGS, "-l", OURS, "-o", "json"])?)?;
        let mut saved: Vec<DynamicObject> = serde_json::from_value(list["items"].clone())?;
        for binding in &mut saved {
            binding.metadata.resource_version = None;
            binding.metadata.uid = None;
            binding.metadata.managed_fields = None;
        }
        anyhow::ensure!(!saved.is_empty(), "no bindings");
        kubectl(&["delete", BINDINGS, "-l", OURS])?;
        Ok(Bindings { saved: Some(saved) })
    }

    fn put_back(mut self) -> Result<()> {
        self.restore()
    }

    fn restore(&mut self) -> Result<()> {
        let Some(saved) = self.saved.take() else { return Ok(()) };
        let file = apocryph_e2e::leak::folder()?.join("bindings.json");
        std::fs::write(
            &file,
            serde_json::to_vec(&json!({"apiVersion": "v1", "kind": "List", "items": saved}))?,
        )?;
        kubectl(&["create", "-f", &file.to_string_lossy()])?;
        Ok(())
    }
}

impl Drop for Bindings {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            eprintln!("the bindings are not back: {error:#}");
        }
    }
}

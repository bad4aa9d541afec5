//! manifests.yaml: manifests and what both doors must say of them.

use anyhow::{Context, Result};
use apocryph_proto::{json, v0::pod::Pod};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{cluster::checkout, spec_of::spec_of};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub name: String,
    pub valid: bool,
    /// Part of the path that the refusal names.
    #[serde(default)]
    pub field: Option<String>,
    #[serde(default)]
    pub only: Only,
    /// A manifest in protobuf-JSON.
    #[serde(default)]
    pub pod: Option<Value>,
    /// A spec, for rules that no manifest can break.
    #[serde(default)]
    pub spec: Option<Value>,
    /// The update of `spec` that is judged.
    #[serde(default)]
    pub then: Option<Value>,
}

/// Which door the row is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Only {
    #[default]
    Both,
    Wire,
    Api,
}

pub fn rows() -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(checkout().join("e2e/tests/manifests.yaml"))?;
    serde_saphyr::from_str(&text).context("manifests.yaml")
}

/// As the client reads a manifest; Err: what it says of it.
pub fn parse(pod: &Value) -> Result<Pod, String> {
    json::pod_from_yaml(&pod.to_string()).map_err(|error| error.to_string())
}

/// What the API server says of a row; nothing is left.
pub async fn by_api(admin: &Client, row: &Row) -> Result<Result<(), String>> {
    let publisher = format!("0x{}", "a".repeat(40));
    let pod_id = format!("0x{}", "b".repeat(64));
    let spec = match (&row.spec, &row.pod) {
        (Some(spec), _) => spec.clone(),
        (None, Some(pod)) => spec_of(pod, &publisher, &pod_id),
        (None, None) => anyhow::bail!("neither pod nor spec"),
    };
    let api: Api<DynamicObject> = Api::all_with(
        admin.clone(),
        &ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apocryph.network", "v1alpha1", "ApocryphPod"), "apocryphpods"),
    );
    let name = "c".repeat(26);
    let object: DynamicObject = serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "spec": spec}))?;
    let dry = row.then.is_none();
    let said = api.create(&PostParams { dry_run: dry, ..PostParams::default() }, &object).await;
    let mut said = match said {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(other) => return Err(other.into()),
    };
    if let (Some(then), Ok(())) = (&row.then, &said) {
        let mut live = api.get(&name).await?;
        live.data["spec"] = then.clone();
        said = match api.replace(&name, &PostParams { dry_run: true, ..PostParams::default() }, &live).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(other) => return Err(other.into()),
        };
    }
    if !dry {
        crate::pods::delete_and_wait(admin, &name).await?;
    }
    Ok(said)
}

//! The admin's list of who may start pods, as he edits it.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};

use crate::install::NAMESPACE;

/// The chart's ConfigMap; helm keeps it.
pub const ACCESS: &str = "apocryph-provider-access";
const KEY: &str = "access.yaml";

fn maps(admin: &Client) -> Api<ConfigMap> {
    Api::namespaced(admin.clone(), NAMESPACE)
}

pub async fn get(admin: &Client) -> Result<String> {
    let data = maps(admin).get(ACCESS).await?.data.unwrap_or_default();
    data.get(KEY).cloned().context("access.yaml")
}

pub async fn set(admin: &Client, text: &str) -> Result<()> {
    let patch = Patch::Merge(serde_json::json!({"data": {KEY: text}}));
    maps(admin).patch(ACCESS, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// A text of it; `rest` comes after the version.
pub fn text(rest: &str) -> String {
    format!("apiVersion: access.apocryph.network/v1alpha1\n{rest}\n")
}

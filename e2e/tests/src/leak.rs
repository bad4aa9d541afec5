//! Looking for a secret everywhere it must not be.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Discovery,
    api::{DynamicObject, ListParams},
    discovery::{Scope, verbs},
};

use crate::install::{NAMESPACE, RELEASE};

/// A value that occurs nowhere by chance.
pub fn secret() -> String {
    format!("leak-{}", apocryph_publisher::PodId::random().hex())
}

/// Raw, base64 at each of the three places in a group, hex in both cases.
pub fn forms(secret: &str) -> Vec<String> {
    use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
    let mut forms = vec![
        secret.to_owned(),
        HEXLOWER.encode(secret.as_bytes()),
        HEXUPPER.encode(secret.as_bytes()),
    ];
    for shift in 0..3 {
        // what stands before and after changes the outer characters only: the middle is the same
        let shifted = format!("{}{secret}", "x".repeat(shift));
        let text = BASE64.encode(shifted.as_bytes());
        let from = if shift == 0 { 0 } else { 4 };
        forms.push(text[from..text.len() - 4].to_owned());
    }
    forms
}

pub fn contains(text: &[u8], form: &[u8]) -> bool {
    text.windows(form.len()).any(|window| window == form)
}

/// A folder of this test's own.
pub fn folder() -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!(
        "apocryph-e2e-{}-{}",
        std::process::id(),
        &apocryph_publisher::PodId::random().hex()[2..10]
    ));
    std::fs::create_dir(&folder)?;
    Ok(folder)
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// The leader's /metrics, through the API server's proxy.
pub async fn metrics(admin: &Client) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(admin.clone(), NAMESPACE);
    let leader = ListParams::default().labels(&format!(
        "app.kubernetes.io/name={RELEASE},apocryph.network/role=leader"
    ));
    let pod = pods
        .list(&leader)
        .await?
        .items
        .into_iter()
        .next()
        .context("no leader")?;
    let name = pod.metadata.name.context("its name")?;
    let port = pod
        .spec
        .and_then(|spec| spec.containers.into_iter().next())
        .and_then(|c| {
            c.ports
                .into_iter()
                .flatten()
                .find(|port| port.name.as_deref() == Some("admin"))
        })
        .context("a port named admin")?
        .container_port;
    let request = http::Request::get(format!(
        "/api/v1/namespaces/{NAMESPACE}/pods/{name}:{port}/proxy/metrics"
    ))
    .body(Vec::new())?;
    Ok(admin.request_text(request).await?)
}

/// `KIND NAMESPACE/NAME` of every object of the API that holds one of the forms, sorted.
pub async fn objects_with(admin: &Client, forms: &[String]) -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for group in Discovery::new(admin.clone()).run().await?.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if !capabilities.supports_operation(verbs::LIST)
                || capabilities.scope == Scope::Namespaced && resource.kind == "Event" && resource.group.is_empty()
            {
                continue;
            }
            let objects: Api<DynamicObject> = Api::all_with(admin.clone(), &resource);
            for object in objects
                .list(&ListParams::default())
                .await
                .with_context(|| resource.kind.clone())?
            {
                let text = serde_json::to_vec(&object)?;
                if forms.iter().any(|form| contains(&text, form.as_bytes())) {
                    let namespace = object.metadata.namespace.unwrap_or_default();
                    found.insert(format!(
                        "{} {namespace}/{}",
                        resource.kind,
                        object.metadata.name.unwrap_or_default()
                    ));
                }
            }
        }
    }
    Ok(found.into_iter().collect())
}

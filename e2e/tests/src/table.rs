//! The table of manifests at the two doors.

use anyhow::Result;
use apocryph_proto::{json, v0::pod::Pod};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::Value;

use crate::{manifests::Row, spec_of::spec_of};

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
    // An end that is older than endedTTL would let the operator remove the object between the two requests.
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let in_time = |spec: &Value| serde_json::from_str::<Value>(&spec.to_string().replace("2026-01-01T00:00:00Z", &now));
    let spec = in_time(&spec)?;
    let kind = GroupVersionKind::gvk("apocryph.network", "v1alpha1", "ApocryphPod");
    let resource = ApiResource::from_gvk_with_plural(&kind, "apocryphpods");
    let api: Api<DynamicObject> = Api::all_with(admin.clone(), &resource);
    let name = "c".repeat(26);
    let object = DynamicObject::new(&name, &resource).data(serde_json::json!({"spec": spec}));
    let dry = row.then.is_none();
    let said = api
        .create(
            &PostParams {
                dry_run: dry,
                ..PostParams::default()
            },
            &object,
        )
        .await;
    let made = !dry && said.is_ok();
    let mut said = match said {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(other) => return Err(other.into()),
    };
    if let (Some(then), Ok(())) = (&row.then, &said) {
        said = loop {
            let mut live = api.get(&name).await?;
            live.data["spec"] = in_time(then)?;
            match api
                .replace(
                    &name,
                    &PostParams {
                        dry_run: true,
                        ..PostParams::default()
                    },
                    &live,
                )
                .await
            {
                Ok(_) => break Ok(()),
                // the operator wrote a status in between
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                Err(kube::Error::Api(status)) => break Err(status.message.clone()),
                Err(other) => return Err(other.into()),
            }
        };
    }
    if made {
        crate::pods::delete_and_wait(admin, &name).await?;
    }
    Ok(said)
}

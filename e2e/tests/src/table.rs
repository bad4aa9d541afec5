//! The table of manifests at the two doors.

use anyhow::Result;
use apocryph_proto::{json, v0::pod::Pod};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
    core::{Status, response::StatusCause},
};
use serde_json::Value;

use crate::{bounds::Bound, manifests::Row};

/// As the client reads a manifest; Err: what it says of it.
pub fn parse(pod: &Value) -> Result<Pod, String> {
    json::pod_from_yaml(&pod.to_string()).map_err(|error| error.to_string())
}

/// What the API server says of a row; nothing is left.
pub async fn by_api(admin: &Client, row: &Row) -> Result<Result<(), Box<Status>>> {
    let spec = row.first()?;
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
        Err(kube::Error::Api(status)) => Err(status),
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
                Err(kube::Error::Api(status)) => break Err(status),
                Err(other) => return Err(other.into()),
            }
        };
    }
    if made {
        crate::pods::delete_and_wait(admin, &name).await?;
    }
    Ok(said)
}

/// The API server's own remark that it has not come to the CEL rules.
const NOT_CHECKED: &str = "some validation rules were not checked";

/// `None`: the API server refuses the row by the bound that it breaks or by its rules, and by nothing else; otherwise what it
/// says. A row that breaks several bounds may be refused by any of them: of a text only the first fault is named.
pub fn other_cause(schema: &Value, row: &Row, said: &Status) -> Result<Option<String>> {
    let broken = row.findings(schema)?.broken;
    let by_bound = |cause: &StatusCause, bound: &Bound| {
        let (reason, message) = bound.cause();
        bound.path == cause.field && reason == cause.reason && cause.message.contains(message)
    };
    let by_rule = |cause: &StatusCause, rule: &String| cause.message.ends_with(rule.as_str());
    let causes = said.details.iter().flat_map(|details| &details.causes);
    let causes: Vec<_> = causes.filter(|cause| !cause.message.contains(NOT_CHECKED)).collect();
    let expected = |cause: &StatusCause| {
        broken.iter().any(|bound| by_bound(cause, bound)) || row.rules.iter().any(|rule| by_rule(cause, rule))
    };
    let named = |rule: &String| causes.iter().any(|cause| by_rule(cause, rule));
    let right = !causes.is_empty() && causes.iter().all(|cause| expected(cause)) && row.rules.iter().all(named);
    Ok((!right).then(|| format!("expected {broken:?} {:?}, but {causes:?}", row.rules)))
}

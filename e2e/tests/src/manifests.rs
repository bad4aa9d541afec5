//! manifests.yaml: manifests and what both doors must say of them.

use anyhow::{Context, Result};
use apocryph_proto::{json, limits};
use prost::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{bounds::Findings, spec_of::spec_of};

const TABLE: &str = include_str!("../manifests.yaml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub name: String,
    pub valid: bool,
    /// Part of the path that the refusal names.
    pub field: Option<String>,
    /// Messages of the CEL rules of the CRD that refuse it: most often one, alone.
    #[serde(default)]
    pub rules: Vec<String>,
    #[serde(default)]
    pub only: Only,
    /// A manifest in protobuf-JSON.
    pub pod: Option<Value>,
    /// A spec, for rules that no manifest can break.
    pub spec: Option<Value>,
    /// The update of `spec` that is judged.
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

/// The table. It is ours, and says the same thing in few words by many aliases: more than a stranger's YAML may have.
pub fn rows() -> Result<Vec<Row>> {
    let budget = serde_saphyr::budget! { enforce_alias_anchor_ratio: false };
    serde_saphyr::from_str_with_options(TABLE, serde_saphyr::options! { budget: budget }).context("manifests.yaml")
}

/// Rows at the bounds in bytes and one byte beyond, too long to be written down. `field` is the bound in the message where no
/// one field is at fault.
pub fn sized() -> Result<Vec<Row>> {
    let row = |name: String, over: usize, field: String, pod| Row {
        name,
        valid: over == 0,
        field: (over > 0).then_some(field),
        rules: Vec::new(),
        only: Only::Wire,
        pod: Some(pod),
        spec: None,
        then: None,
    };
    let mut rows = Vec::new();
    for over in [0, 1] {
        rows.push(row(
            format!("a manifest of {} + {over} bytes", limits::MANIFEST_MAX),
            over,
            format!("at most {}", limits::MANIFEST_MAX),
            plain(limits::MANIFEST_MAX + over)?,
        ));
        rows.push(row(
            format!("values of {} + {over} bytes in all", limits::SECRETS_MAX),
            over,
            format!("at most {}", limits::SECRETS_MAX),
            values(limits::SECRETS_MAX + over),
        ));
        let value = "x".repeat(limits::ENV_VARIABLE_MAX - "A=".len() + over);
        rows.push(row(
            format!("a variable of {} + {over} bytes", limits::ENV_VARIABLE_MAX),
            over,
            "containers[0].env[A]".to_owned(),
            container("env", json!({ "A": value })),
        ));
    }
    rows.push(Row {
        only: Only::Both,
        ..row(
            "as many of everything as there may be".to_owned(),
            0,
            String::new(),
            fullest(),
        )
    });
    Ok(rows)
}

/// Every list at its bound: what the CEL rules cost most for.
fn fullest() -> Value {
    let port = |container: usize, port: usize| {
        let number = 1 + container * limits::PORTS_MAX + port;
        json!({"name": format!("p{number}"), "port": number, "targetPort": number})
    };
    let container = |one: usize| {
        json!({
            "name": format!("c{one}"), "image": {"url": "nginx"},
            "ports": (0..limits::PORTS_MAX).map(|number| port(one, number)).collect::<Vec<_>>(),
            "volumes": (0..limits::MOUNTS_MAX)
                .map(|n| json!({"name": format!("v{n}"), "mountPath": format!("/m{n}")})).collect::<Vec<_>>(),
        })
    };
    json!({
        "containers": (0..limits::CONTAINERS_MAX).map(container).collect::<Vec<_>>(),
        "volumes": (0..limits::VOLUMES_MAX).map(|n| json!({"name": format!("v{n}")})).collect::<Vec<_>>(),
        "replicas": {"min": limits::REPLICAS_MAX},
    })
}

fn container(field: &str, value: Value) -> Value {
    let mut container = json!({"name": "a", "image": {"url": "nginx"}});
    container[field] = value;
    json!({ "containers": [container] })
}

/// Encoded, just so long.
fn plain(bytes: usize) -> Result<Value> {
    // With all of args nearly full, one word of command makes up the rest; its length always takes two bytes.
    const FIRST: usize = 1000;
    let pod = |last: usize| {
        let mut pod = container(
            "args",
            vec!["a".repeat(limits::WORD_MAX - 46); limits::WORDS_MAX].into(),
        );
        pod["containers"][0]["command"] = json!(["a".repeat(last)]);
        pod
    };
    let first = json::pod_from_yaml(&pod(FIRST).to_string())?.encoded_len();
    Ok(pod((FIRST + bytes)
        .checked_sub(first)
        .context("args leave no room for command")?))
}

/// Values of just so many bytes in all, none of them near its own bound.
fn values(bytes: usize) -> Value {
    const VARIABLES: usize = 8;
    let env = (0..VARIABLES).map(|n| {
        let length = bytes / VARIABLES + if n == 0 { bytes % VARIABLES } else { 0 };
        (format!("V{n}"), Value::from("x".repeat(length)))
    });
    container("env", Value::Object(env.collect()))
}

/// Who the API server is told that the manifest of a row is from.
const PUBLISHER: &str = "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const POD_ID: &str = "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

impl Row {
    /// The spec that the API server is given first.
    pub fn first(&self) -> Result<Value> {
        match (&self.spec, &self.pod) {
            (Some(spec), _) => Ok(spec.clone()),
            (None, Some(pod)) => Ok(spec_of(pod, PUBLISHER, POD_ID)),
            (None, None) => anyhow::bail!("neither pod nor spec"),
        }
    }

    /// Bounds of the CRD that the spec breaks which the API server judges, and those that it just meets.
    pub fn findings(&self, schema: &Value) -> Result<Findings> {
        let judged = self.then.clone().map_or_else(|| self.first(), Ok)?;
        let mut findings = Findings::default();
        findings.add(&schema["properties"]["spec"], &judged, "spec")?;
        Ok(findings)
    }

    /// `None`: what was said of the row is what it expects; otherwise what is wrong about it.
    pub fn judge(&self, said: Result<(), String>) -> Option<String> {
        match (self.valid, said, self.field.as_deref()) {
            (true, Ok(()), _) => None,
            (true, Err(message), _) => Some(format!("valid, but refused: {message}")),
            (false, Ok(()), _) => Some("invalid, but taken".to_owned()),
            (false, Err(message), Some(field)) if !message.contains(field) => {
                Some(format!("the refusal does not name {field}: {message}"))
            }
            (false, Err(_), _) => None,
        }
    }
}

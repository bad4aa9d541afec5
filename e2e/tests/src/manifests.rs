//! manifests.yaml: manifests and what both doors must say of them.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

const TABLE: &str = include_str!("../manifests.yaml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub name: String,
    pub valid: bool,
    /// Part of the path that the refusal names.
    pub field: Option<String>,
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

impl Row {
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

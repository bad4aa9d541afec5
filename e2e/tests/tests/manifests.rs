//! The table of manifests, as far as it can be judged without a cluster: the wire's parser agrees with it, and it is
//! complete.

use std::collections::BTreeSet;

use apocryph_proto::{json, manifest::Manifest};
use serde::Deserialize;
use serde_json::Value;

const TABLE: &str = include_str!("../manifests.yaml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    valid: bool,
    field: Option<String>,
    #[serde(default)]
    only: Only,
    pod: Option<Value>,
    spec: Option<Value>,
    then: Option<Value>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Only {
    #[default]
    Both,
    Wire,
    Api,
}

fn rows() -> Result<Vec<Row>, serde_saphyr::Error> {
    apocryph_e2e::manifests::read(TABLE)
}

/// As `apocryph deploy` reads a manifest, then as the provider does.
fn by_wire(pod: &Value) -> Result<(), String> {
    let pod = json::pod_from_yaml(&pod.to_string()).map_err(|error| error.to_string())?;
    Manifest::parse(&pod).map(drop).map_err(|invalid| invalid.to_string())
}

#[test]
fn the_wires_parser_agrees_on_every_row() {
    let mut wrong = Vec::new();
    for row in rows().unwrap().iter().filter(|row| row.only != Only::Api) {
        match (row.valid, by_wire(row.pod.as_ref().unwrap())) {
            (true, Err(error)) => wrong.push(format!("{}: refused: {error}", row.name)),
            (false, Ok(())) => wrong.push(format!("{}: taken", row.name)),
            (false, Err(error)) if !error.contains(row.field.as_deref().unwrap()) => {
                wrong.push(format!(
                    "{}: does not name {}: {error}",
                    row.name,
                    row.field.as_deref().unwrap()
                ));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_says_what_it_needs_to() {
    let rows = rows().unwrap();
    assert!(rows.len() >= 60);
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), rows.len(), "every row has its own name");
    for row in &rows {
        let api = row.only == Only::Api;
        assert_eq!((row.pod.is_some(), row.spec.is_some()), (!api, api), "{}", row.name);
        assert!(row.then.is_none() || api, "{}", row.name);
        assert_eq!(
            row.field.is_some(),
            !row.valid,
            "{}: a refusal names its field",
            row.name
        );
    }
}

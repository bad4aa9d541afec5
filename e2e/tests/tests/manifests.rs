//! The table of manifests, as far as it can be judged without a cluster: the wire's parser agrees with it, and it is
//! complete.

use std::collections::BTreeSet;

use apocryph_e2e::manifests::{Only, rows};
use apocryph_proto::{json, manifest::Manifest};
use serde_json::Value;

/// As `apocryph deploy` reads a manifest, then as the provider does.
fn by_wire(pod: &Value) -> Result<(), String> {
    let pod = json::pod_from_yaml(&pod.to_string()).map_err(|error| error.to_string())?;
    Manifest::parse(&pod).map(drop).map_err(|invalid| invalid.to_string())
}

#[test]
fn the_wires_parser_agrees_on_every_row() {
    let mut wrong = Vec::new();
    for row in rows().unwrap().iter().filter(|row| row.only != Only::Api) {
        let said = by_wire(row.pod.as_ref().unwrap());
        wrong.extend(row.judge(said).map(|fault| format!("{}: {fault}", row.name)));
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

//! The table of manifests, as far as it can be judged without a cluster: the wire's parser agrees with it, and it is
//! complete.

use std::collections::BTreeSet;

use apocryph_e2e::manifests::{Only, rows, sized};
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

#[test]
fn the_bounds_in_bytes_are_exact() {
    for row in sized().unwrap() {
        let said = by_wire(row.pod.as_ref().unwrap());
        assert_eq!(row.judge(said), None, "{}", row.name);
    }
}

/// Beginning of the message of the one rule that no row can break: every row has the same name, which is a good one.
const OF_THE_NAME: &str = "the name is the 26 characters";

/// Messages of all CEL rules below `schema`.
fn rules(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let own = fields.get("x-kubernetes-validations").and_then(Value::as_array);
            for rule in own.into_iter().flatten() {
                found.insert(
                    rule["message"]
                        .as_str()
                        .unwrap_or("a rule without a message")
                        .to_owned(),
                );
            }
            fields.values().for_each(|value| rules(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| rules(value, found)),
        _ => {}
    }
}

#[test]
fn every_cel_rule_has_a_row_that_it_refuses() {
    let mut wanted = BTreeSet::new();
    rules(&serde_json::to_value(apocryph_crd::definition()).unwrap(), &mut wanted);
    let all = wanted.len();
    wanted.retain(|message| !message.starts_with(OF_THE_NAME));
    assert_eq!(wanted.len() + 1, all, "just one rule is of the name");
    let rows = rows().unwrap();
    let ruled: Vec<_> = rows.iter().filter_map(|row| Some((row.rule.clone()?, row))).collect();
    for (_, row) in &ruled {
        assert!(
            !row.valid && row.only != Only::Wire,
            "{}: no CEL rule refuses it",
            row.name
        );
    }
    let told: BTreeSet<String> = ruled.into_iter().map(|(rule, _)| rule).collect();
    let (without, unknown): (Vec<_>, Vec<_>) = (wanted.difference(&told).collect(), told.difference(&wanted).collect());
    assert!(
        without.is_empty() && unknown.is_empty(),
        "without a row: {without:#?}; no such rule: {unknown:#?}"
    );
}

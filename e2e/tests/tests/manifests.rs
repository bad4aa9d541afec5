//! The table of manifests, as far as it can be judged without a cluster: the wire's parser agrees with it, and it is
//! complete.

use std::{collections::BTreeSet, fs, path::Path};

use apocryph_e2e::{
    bounds::{self, Bound},
    manifests::{Only, rows, sized},
};
use apocryph_proto::{json, manifest::Manifest};
use apocryph_publisher::manifest;
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

/// Each sample, as `apocryph check` reads it.
#[test]
fn the_samples_are_manifests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/samples");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let checked = manifest::read(&path).and_then(|pod| manifest::check(&pod));
            assert!(checked.is_ok(), "{}: {}", path.display(), checked.err().unwrap());
            names.insert(path.file_stem().unwrap().to_string_lossy().into_owned());
        }
    }
    let expected = ["everything", "guestbook", "hello", "shop", "udp-echo", "worker"];
    assert_eq!(names, expected.map(str::to_owned).into());
}

#[test]
fn the_bounds_in_bytes_are_exact() {
    for row in sized().unwrap() {
        let said = by_wire(row.pod.as_ref().unwrap());
        assert_eq!(row.judge(said), None, "{}", row.name);
    }
}

/// Bounds that no row can break alone, and why they are there.
const NEVER_ALONE: [(&str, &str); 3] = [
    ("spec.publisher maxLength", ONE_LENGTH),
    ("spec.podId maxLength", ONE_LENGTH),
    ("spec.tag maxLength", ONE_LENGTH),
];
const ONE_LENGTH: &str = "the pattern has one length; CEL's estimate of costs reads this alone";

#[test]
fn every_bound_has_a_row_that_breaks_it_alone_and_one_that_just_meets_it() {
    let schema = bounds::schema().unwrap();
    let mut all = BTreeSet::new();
    bounds::all(&schema["properties"]["spec"], "spec", &mut all).unwrap();
    let (mut broken, mut met) = (BTreeSet::new(), BTreeSet::new());
    for row in rows().unwrap().iter().filter(|row| row.only != Only::Wire) {
        let found = row.findings(&schema).unwrap();
        if row.valid {
            assert!(found.broken.is_empty(), "{}: valid, but {:?}", row.name, found.broken);
            met.extend(found.met.iter().map(Bound::anywhere));
        } else if let (1, []) = (found.broken.len(), &*row.rules) {
            broken.extend(found.broken.iter().map(Bound::anywhere));
        } else {
            assert!(
                !(found.broken.is_empty() && row.rules.is_empty()),
                "{}: what refuses it?",
                row.name
            );
        }
    }
    let with_number: BTreeSet<Bound> = all.iter().filter(|bound| bounds::has_number(bound)).cloned().collect();
    let said = |bounds: BTreeSet<Bound>| bounds.iter().map(Bound::to_string).collect::<BTreeSet<_>>();
    let never_alone = NEVER_ALONE.map(|(bound, _)| bound.to_owned());
    assert_eq!(
        said(&all - &broken),
        BTreeSet::from(never_alone),
        "no row breaks it alone (left), no row can break it alone (right)"
    );
    assert_eq!(said(&with_number - &met), BTreeSet::new(), "no valid row just meets it");
}

/// Beginning of the message of the one rule that no row can break: every row has the same name, which is a good one.
const OF_THE_NAME: &str = "the name is the 26 characters";

/// Fields that the CEL rules below `schema` refuse, with the rules' messages.
fn rules(schema: &Value, path: &str, found: &mut BTreeSet<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let field = format!("{path}{}", rule["fieldPath"].as_str().unwrap_or_default());
        let message = rule["message"].as_str().unwrap_or("a rule without a message");
        found.insert((field, message.to_owned()));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        rules(property, &format!("{path}.{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        rules(items, &format!("{path}[0]"), found);
    }
}

#[test]
fn every_cel_rule_has_a_row_that_it_alone_refuses() {
    let schema = bounds::schema().unwrap();
    let mut all = BTreeSet::new();
    rules(&schema, "", &mut all);
    let messages: BTreeSet<&str> = all.iter().map(|(_, message)| message.as_str()).collect();
    let rows = rows().unwrap();
    let mut unbroken = all.clone();
    for row in rows.iter().filter(|row| !row.rules.is_empty()) {
        assert!(
            !row.valid && row.only != Only::Wire,
            "{}: no CEL rule refuses it",
            row.name
        );
        for rule in &row.rules {
            assert!(messages.contains(rule.as_str()), "{}: no such rule: {rule}", row.name);
        }
        let alone = row.rules.len() == 1 && row.findings(&schema).unwrap().broken.is_empty();
        let field = row.field.as_deref().unwrap_or_default();
        unbroken.retain(|(path, message)| !(alone && path.contains(field) && *message == row.rules[0]));
    }
    let unbroken: Vec<_> = unbroken
        .iter()
        .filter(|(_, message)| !message.starts_with(OF_THE_NAME))
        .collect();
    assert!(unbroken.is_empty(), "no row is refused by it alone: {unbroken:#?}");
    assert_eq!(
        all.iter()
            .filter(|(_, message)| message.starts_with(OF_THE_NAME))
            .count(),
        1,
        "just one rule is of the name"
    );
}

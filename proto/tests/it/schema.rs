//! The manifest's JSON Schema: complete, current, and true of the samples.

use std::{collections::BTreeSet, fs, path::Path};

use apocryph_proto::{descriptors, json, schema, v0::pod::Pod};
use prost_reflect::{Kind, MessageDescriptor};
use serde_json::{Value, json};

const COMMITTED: &str = include_str!("../../../deploy/manifest.schema.json");

#[test]
fn the_committed_schema_is_the_one_that_is_made() {
    let committed: Value = serde_json::from_str(COMMITTED).unwrap();
    assert!(committed == schema::manifest(), "run `make generate` and commit it");
}

#[test]
fn every_field_of_a_manifest_is_in_it_and_no_other() {
    fn walk(message: &MessageDescriptor, seen: &mut BTreeSet<String>, schema: &Value) {
        let name = message
            .full_name()
            .trim_start_matches("apocryph.proto.v0.pod.")
            .to_owned();
        if !seen.insert(name.clone()) {
            return;
        }
        let listed = schema["definitions"][&name]["properties"].as_object().unwrap();
        let fields: BTreeSet<_> = message.fields().map(|f| f.json_name().to_owned()).collect();
        assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), fields, "{name}");
        for field in message.fields().filter(|field| !field.is_map()) {
            if let Kind::Message(inner) = field.kind() {
                walk(&inner, seen, schema);
            }
        }
    }
    let (schema, mut seen) = (schema::manifest(), BTreeSet::new());
    walk(&descriptors::message("pod.Pod").unwrap(), &mut seen, &schema);
    let defined: BTreeSet<_> = schema["definitions"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(defined, seen);
}

#[test]
fn the_samples_are_valid_by_it_and_by_the_parser() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/samples");
    let mut read = 0;
    for entry in fs::read_dir(samples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let value: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(fault(&value), None, "{}", path.display());
        json::pod_from_yaml(&text).unwrap();
        read += 1;
    }
    assert!(read > 0);
}

#[test]
fn what_the_parser_refuses_by_shape_the_schema_refuses_too() {
    let container = |fields: Value| json!({"containers": [fields]});
    for (wrong, place) in [
        (json!({"container": []}), ""),
        (json!({"containers": {}}), "/containers"),
        (container(json!({"servicePort": 1})), "/containers/0"),
        (container(json!({"env": {"A": 1}})), "/containers/0/env/A"),
        (
            container(json!({"ports": [{"port": "http"}]})),
            "/containers/0/ports/0/port",
        ),
        (
            container(json!({"ports": [{"protocol": "SCTP"}]})),
            "/containers/0/ports/0/protocol",
        ),
        (
            container(json!({"resourceRequests": [{"amount": 1, "amountMillis": 1}]})),
            "/containers/0/resourceRequests/0",
        ),
        (json!({"fsGroup": -1}), "/fsGroup"),
    ] {
        assert_eq!(fault(&wrong).as_deref(), Some(place), "{wrong}");
        assert!(json::pod_from_yaml(&wrong.to_string()).is_err(), "{wrong}");
    }
    let right = container(json!({"ports": [{"port": 80, "targetPort": "8080", "protocol": "UDP", "hostIP": ""}]}));
    assert_eq!(fault(&right), None);
    let read: Pod = json::pod_from_yaml(&right.to_string()).unwrap();
    assert_eq!(read.containers[0].ports[0].target_port, 8080);
}

/// The place of the first fault. Knows the words that our schema uses and no others.
fn fault(value: &Value) -> Option<String> {
    let schema = schema::manifest();
    let root = json!({"$ref": schema["$ref"]});
    find(&schema, &root, value, "")
}

fn find(all: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    let here = Some(place.to_owned());
    for (word, rule) in schema.as_object().unwrap() {
        let found = match word.as_str() {
            "description" | "contentEncoding" => None,
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                find(all, all.pointer(pointer).unwrap(), value, place)
            }
            "type" => {
                let is = |kind: &Value| match kind.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    other => panic!("type {other}"),
                };
                let right = rule.as_array().map_or_else(|| is(rule), |kinds| kinds.iter().any(is));
                here.clone().filter(|_| !right)
            }
            "enum" => here.clone().filter(|_| !rule.as_array().unwrap().contains(value)),
            "minimum" => here
                .clone()
                .filter(|_| value.as_f64() < rule.as_f64() && value.is_number()),
            "maximum" => here
                .clone()
                .filter(|_| value.as_f64() > rule.as_f64() && value.is_number()),
            "pattern" => {
                let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
                here.clone()
                    .filter(|_| value.as_str().is_some_and(|text| !pattern.is_match(text)))
            }
            "required" => {
                let missing = rule
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|name| value.get(name.as_str().unwrap()).is_none());
                here.clone().filter(|_| missing)
            }
            "not" => here.clone().filter(|_| find(all, rule, value, place).is_none()),
            "allOf" => rule
                .as_array()
                .unwrap()
                .iter()
                .find_map(|each| find(all, each, value, place)),
            "items" => value.as_array().and_then(|items| {
                let mut items = items.iter().enumerate();
                items.find_map(|(index, item)| find(all, rule, item, &format!("{place}/{index}")))
            }),
            "properties" => value.as_object().and_then(|fields| {
                let mut known = fields
                    .iter()
                    .filter_map(|(name, value)| Some((name, value, rule.get(name)?)));
                known.find_map(|(name, value, rule)| find(all, rule, value, &format!("{place}/{name}")))
            }),
            "additionalProperties" => value.as_object().and_then(|fields| {
                let mut others = fields
                    .iter()
                    .filter(|(name, _)| schema["properties"].get(name).is_none());
                others.find_map(|(name, value)| match rule {
                    Value::Bool(false) => here.clone(),
                    rule => find(all, rule, value, &format!("{place}/{name}")),
                })
            }),
            other => panic!("the schema says {other}"),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

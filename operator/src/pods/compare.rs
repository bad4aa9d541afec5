//! Is what lives still what was built? The server adds defaults and others add labels, so whole objects never match: every
//! field that was built must be equal, quantities by their value, lists by what is in them. Some parts must hold nothing else
//! either: one more label in a selector, one more `from` in a rule, and the wall stands elsewhere.

use serde_json::{Map, Value};

use super::objects::quantity;

/// What a write must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// Nothing is to be written.
    None,
    /// A built field is missing or has another value; the path of the first.
    Built(String),
    /// Somebody added what must not be there: server-side apply leaves that to its owner, so this merge patch takes it out.
    Added { path: String, patch: Value },
}

/// Objects below these keys hold exactly what was built. In labels and annotations others may have their own.
const EXACT: [&str; 10] = [
    "selector",
    "podSelector",
    "namespaceSelector",
    "nodeSelector",
    "hard",
    "limits",
    "requests",
    "ipBlock",
    "capabilities",
    "ingress",
];

/// Maps from a name to a quantity, and what is one itself.
const QUANTITIES: [&str; 8] = [
    "limits",
    "requests",
    "hard",
    "min",
    "max",
    "default",
    "defaultRequest",
    "sizeLimit",
];

/// Compares without metadata but for labels and annotations; `status` is not built.
pub fn compare(built: &Value, live: &Value) -> Difference {
    let mut finding = Finding::default();
    walk(
        built,
        live,
        &At {
            path: "",
            exact: false,
            quantity: false,
        },
        &mut finding,
    );
    match finding {
        Finding { added: Some(path), .. } => Difference::Added {
            patch: repair(built, live, false),
            path,
        },
        Finding { built: Some(path), .. } => Difference::Built(path),
        Finding {
            built: None,
            added: None,
        } => Difference::None,
    }
}

#[derive(Default)]
struct Finding {
    built: Option<String>,
    added: Option<String>,
}

#[derive(Clone, Copy)]
struct At<'a> {
    path: &'a str,
    exact: bool,
    quantity: bool,
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn walk(built: &Value, live: &Value, at: &At<'_>, finding: &mut Finding) {
    // The server leaves empty lists and maps out.
    if is_empty(built) && is_empty(live) {
        return;
    }
    match (built, live) {
        (Value::Object(built), Value::Object(live)) => {
            for (key, value) in built {
                let path = format!("{}/{key}", at.path);
                let below = At {
                    path: &path,
                    exact: at.exact || exact(at.path, key),
                    quantity: QUANTITIES.contains(&key.as_str()) || (at.quantity && !value.is_object()),
                };
                walk(value, live.get(key).unwrap_or(&Value::Null), &below, finding);
            }
            if at.exact
                && let Some((key, _)) = live
                    .iter()
                    .find(|(key, value)| !built.contains_key(*key) && !is_empty(value))
            {
                finding.added.get_or_insert_with(|| format!("{}/{key}", at.path));
            }
        }
        (Value::Array(built), Value::Array(live)) => {
            let (want, have) = (identities(built), identities(live));
            let foreign = live.len() > built.len() || have.iter().any(|one| !want.contains(one));
            if foreign || (live.len() == built.len() && want != have) {
                // Items that are keyed on the server, ports for one, would stay beside ours, or in their order.
                finding.added.get_or_insert_with(|| at.path.to_owned());
            } else if live.len() < built.len() {
                finding.built.get_or_insert_with(|| at.path.to_owned());
            } else {
                for (index, (built, live)) in built.iter().zip(live).enumerate() {
                    let path = format!("{}/{index}", at.path);
                    walk(built, live, &At { path: &path, ..*at }, finding);
                }
            }
        }
        (Value::String(built), Value::String(live)) if at.quantity && quantity::same(built, live) => {}
        (Value::Object(built), Value::Null) if built.is_empty() => {}
        _ if built == live => {}
        // Built as "everything" or "nothing in particular", lives as something.
        _ if is_empty(built) => {
            finding.added.get_or_insert_with(|| at.path.to_owned());
        }
        _ => {
            finding.built.get_or_insert_with(|| at.path.to_owned());
        }
    }
}

/// What tells the items of a list apart: the first of these that they have. Empty: they are not keyed.
fn identities(list: &[Value]) -> Vec<&Value> {
    const KEYS: [&str; 5] = ["port", "containerPort", "mountPath", "name", "ip"];
    list.iter()
        .filter_map(|item| KEYS.iter().find_map(|key| item.get(key)))
        .collect()
}

fn exact(path: &str, key: &str) -> bool {
    if path.starts_with("/metadata") {
        return false;
    }
    EXACT.contains(&key) || key == "egress"
}

/// A merge patch that leaves exactly what was built: lists are replaced, what is too much is set to null.
fn repair(built: &Value, live: &Value, exact_here: bool) -> Value {
    let (Value::Object(built), Value::Object(live)) = (built, live) else {
        return built.clone();
    };
    let mut patch: Map<String, Value> = built
        .iter()
        .map(|(key, value)| {
            let exact_below = exact_here || exact("", key) && key != "metadata";
            (
                key.clone(),
                repair(value, live.get(key).unwrap_or(&Value::Null), exact_below),
            )
        })
        .collect();
    if exact_here {
        for key in live.keys() {
            if !patch.contains_key(key) {
                patch.insert(key.clone(), Value::Null);
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Value {
        json!({"metadata": {"name": "pod", "labels": {"a": "1"}},
               "spec": {"selector": {"pod": "x"}, "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}})
    }

    #[test]
    fn defaults_of_the_server_and_labels_of_others_are_no_difference() {
        let mut live = service();
        live["metadata"]["labels"]["theirs"] = json!("2");
        live["metadata"]["uid"] = json!("u");
        live["spec"]["clusterIP"] = json!("10.0.0.7");
        live["spec"]["ports"][0]["nodePort"] = json!(30123);
        live["status"] = json!({"loadBalancer": {}});
        assert_eq!(compare(&service(), &live), Difference::None);
    }

    #[test]
    fn a_changed_or_missing_field_is_applied_again() {
        let mut live = service();
        live["spec"]["ports"][0]["targetPort"] = json!(9);
        assert_eq!(
            compare(&service(), &live),
            Difference::Built("/spec/ports/0/targetPort".into())
        );
        let mut live = service();
        live["metadata"]["labels"].as_object_mut().unwrap().clear();
        assert_eq!(
            compare(&service(), &live),
            Difference::Built("/metadata/labels/a".into())
        );
    }

    #[test]
    fn quantities_are_equal_by_value_only_where_quantities_stand() {
        let built = json!({"spec": {"hard": {"pods": "2", "limits.cpu": "1000m"}, "text": "1000m"}});
        assert_eq!(
            compare(
                &built,
                &json!({"spec": {"hard": {"pods": "2", "limits.cpu": "1"}, "text": "1000m"}})
            ),
            Difference::None
        );
        assert_eq!(
            compare(
                &built,
                &json!({"spec": {"hard": {"pods": "2", "limits.cpu": "1"}, "text": "1"}})
            ),
            Difference::Built("/spec/text".into())
        );
        let built = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "500m"}}]}});
        assert_eq!(
            compare(
                &built,
                &json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "0.5"}}]}})
            ),
            Difference::None
        );
    }

    #[test]
    fn one_more_port_is_taken_out_by_replacing_the_list() {
        let mut live = service();
        live["spec"]["ports"]
            .as_array_mut()
            .unwrap()
            .push(json!({"port": 22, "targetPort": 22, "protocol": "TCP"}));
        let Difference::Added { path, patch } = compare(&service(), &live) else {
            panic!()
        };
        assert_eq!(path, "/spec/ports");
        assert_eq!(patch["spec"]["ports"], service()["spec"]["ports"]);
    }

    #[test]
    fn another_port_in_place_of_ours_is_taken_out_by_replacing_the_list() {
        let mut live = service();
        live["spec"]["ports"][0]["port"] = json!(99);
        let Difference::Added { path, patch } = compare(&service(), &live) else {
            panic!()
        };
        assert_eq!(path, "/spec/ports");
        assert_eq!(patch["spec"]["ports"], service()["spec"]["ports"]);
    }

    #[test]
    fn one_more_label_in_a_selector_is_taken_out() {
        let mut live = service();
        live["spec"]["selector"]["theirs"] = json!("y");
        let Difference::Added { path, patch } = compare(&service(), &live) else {
            panic!()
        };
        assert_eq!(path, "/spec/selector/theirs");
        assert_eq!(patch["spec"]["selector"], json!({"pod": "x", "theirs": null}));
    }

    #[test]
    fn a_wall_that_was_narrowed_widened_or_moved_is_seen() {
        let built = json!({"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]}});
        assert_eq!(
            compare(
                &built,
                &json!({"spec": {"ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]}})
            ),
            Difference::None
        );
        let moved = json!({"spec": {"podSelector": {"matchLabels": {"no": "one"}},
                                    "ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}]}});
        let Difference::Added { path, patch } = compare(&built, &moved) else {
            panic!()
        };
        assert_eq!(path, "/spec/podSelector/matchLabels");
        assert_eq!(patch["spec"]["podSelector"], json!({"matchLabels": null}));
        let narrowed = json!({"spec": {"podSelector": {},
                                       "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80, "protocol": "TCP"}]}]}});
        assert!(matches!(compare(&built, &narrowed), Difference::Added { .. }));
    }
}

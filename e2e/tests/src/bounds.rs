//! The bounds of the CRD's schema: which there are, which of them a spec breaks, and which it just meets. Read here once more,
//! so that the table of manifests is held against every one of them without a cluster; with one, the API server must name
//! what is found here (table.rs).

use std::{cmp::Ordering, collections::BTreeSet, fmt};

use anyhow::{Context, Result, bail};
use k8s_openapi::jiff::Timestamp;
use regex::Regex;
use serde_json::{Map, Value};

/// A keyword of the schema that bounds what stands at a path (`spec.containers[].name`; of a value: `[0]`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bound {
    pub path: String,
    pub keyword: &'static str,
}

impl Bound {
    /// Of the schema, wherever in a list the value stands.
    pub fn anywhere(&self) -> Self {
        let parts = self.path.split('[').map(|part| match part.split_once(']') {
            Some((_, rest)) => format!("]{rest}"),
            None => part.to_owned(),
        });
        Self {
            path: parts.collect::<Vec<_>>().join("["),
            keyword: self.keyword,
        }
    }

    /// How the API server says that it is broken: the cause's reason, and part of its message.
    pub fn cause(&self) -> (&'static str, &'static str) {
        match self.keyword {
            ENUM => ("FieldValueNotSupported", "supported values"),
            FORMAT | TYPE => ("FieldValueTypeInvalid", "must be of type"),
            KEYS => ("FieldValueDuplicate", "Duplicate value"),
            "maxItems" => ("FieldValueTooMany", "must have at most"),
            "maxLength" => ("FieldValueTooLong", "may not be more than"),
            "maximum" => ("FieldValueInvalid", "should be less than or equal to"),
            "minItems" => ("FieldValueInvalid", "should have at least"),
            "minimum" => ("FieldValueInvalid", "should be greater than or equal to"),
            PATTERN => ("FieldValueInvalid", "should match"),
            _ => ("FieldValueRequired", "Required value"),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.keyword)
    }
}

const ENUM: &str = "enum";
const FORMAT: &str = "format";
const KEYS: &str = "x-kubernetes-list-map-keys";
const PATTERN: &str = "pattern";
const REQUIRED: &str = "required";
const TYPE: &str = "type";
/// Keywords with a number, and on which side of it a value breaks them.
const NUMBERS: [(&str, Ordering); 5] = [
    ("maxItems", Ordering::Greater),
    ("maxLength", Ordering::Greater),
    ("maximum", Ordering::Greater),
    ("minItems", Ordering::Less),
    ("minimum", Ordering::Less),
];

/// Has the bound a number that a value can just meet?
pub fn has_number(bound: &Bound) -> bool {
    NUMBERS.iter().any(|(keyword, _)| *keyword == bound.keyword)
}

/// Schema of the whole object.
pub fn schema() -> Result<Value> {
    let definition = serde_json::to_value(apocryph_crd::definition())?;
    let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema");
    schema.cloned().context("a definition without a schema")
}

/// All bounds below `schema`. Types are not among them: each field has one, and no manifest of protobuf can break it.
/// Err: a keyword that is not read here.
pub fn all(schema: &Value, path: &str, found: &mut BTreeSet<Bound>) -> Result<()> {
    for (keyword, value) in fields(schema) {
        let mut add = |path: &str, keyword: &'static str| {
            found.insert(Bound {
                path: path.to_owned(),
                keyword,
            });
        };
        match keyword.as_str() {
            "properties" => {
                for (name, property) in fields(value) {
                    all(property, &format!("{path}.{name}"), found)?;
                }
            }
            "items" => all(value, &format!("{path}[]"), found)?,
            REQUIRED => texts(value).for_each(|name| add(&format!("{path}.{name}"), REQUIRED)),
            KEYS => add(&format!("{path}[]"), KEYS),
            PATTERN => add(path, PATTERN),
            ENUM => add(path, ENUM),
            FORMAT if value == "date-time" => add(path, FORMAT),
            // minimum and maximum lie within them
            FORMAT if value == "int32" || value == "int64" => {}
            TYPE | "default" | "description" | "x-kubernetes-list-type" | "x-kubernetes-validations" => {}
            other => match NUMBERS.iter().find(|(keyword, _)| *keyword == other) {
                Some((keyword, _)) => add(path, keyword),
                None => bail!("{path}: the keyword {other} is not read here"),
            },
        }
    }
    Ok(())
}

/// Bounds that a value breaks, and those with a number that it just meets.
#[derive(Debug, Default)]
pub struct Findings {
    pub broken: BTreeSet<Bound>,
    pub met: BTreeSet<Bound>,
}

impl Findings {
    /// Null is what is not there: the API server takes it out where it is not allowed.
    pub fn add(&mut self, schema: &Value, value: &Value, path: &str) -> Result<()> {
        let is = match value {
            Value::Null => return Ok(()),
            Value::String(_) => "string",
            Value::Number(_) => "integer",
            Value::Bool(_) => "boolean",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if schema[TYPE] != is {
            self.breaks(path, TYPE);
            return Ok(());
        }
        self.number(schema, value, path);
        match value {
            Value::String(text) => self.text(schema, text, path)?,
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    let path = format!("{path}[{n}]");
                    let keys = || texts(&schema[KEYS]).peekable();
                    let same = |other: &Value| keys().all(|key| other[key] == item[key]);
                    if keys().peek().is_some() && items[..n].iter().any(same) {
                        self.breaks(&path, KEYS);
                    }
                    self.add(&schema["items"], item, &path)?;
                }
            }
            Value::Object(fields) => {
                for name in texts(&schema[REQUIRED]).filter(|name| value[*name].is_null()) {
                    self.breaks(&format!("{path}.{name}"), REQUIRED);
                }
                for (name, value) in fields {
                    self.add(&schema["properties"][name], value, &format!("{path}.{name}"))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn breaks(&mut self, path: &str, keyword: &'static str) {
        self.broken.insert(Bound {
            path: path.to_owned(),
            keyword,
        });
    }

    fn number(&mut self, schema: &Value, value: &Value, path: &str) {
        #[expect(clippy::cast_precision_loss, reason = "lengths of what stands in a table")]
        let size = match value {
            Value::String(text) => Some(text.chars().count() as f64),
            Value::Array(items) => Some(items.len() as f64),
            other => other.as_f64(),
        };
        for (keyword, beyond) in NUMBERS {
            let found = match size.partial_cmp(&schema[keyword].as_f64()) {
                _ if schema[keyword].is_null() => continue,
                Some(Ordering::Equal) => &mut self.met,
                Some(side) if side == beyond => &mut self.broken,
                _ => continue,
            };
            found.insert(Bound {
                path: path.to_owned(),
                keyword,
            });
        }
    }

    fn text(&mut self, schema: &Value, text: &str, path: &str) -> Result<()> {
        if let Some(pattern) = schema[PATTERN].as_str()
            && !Regex::new(pattern)?.is_match(text)
        {
            self.breaks(path, PATTERN);
        }
        if schema[ENUM].is_array() && texts(&schema[ENUM]).all(|offered| offered != text) {
            self.breaks(path, ENUM);
        }
        if schema[FORMAT] == "date-time" && text.parse::<Timestamp>().is_err() {
            self.breaks(path, FORMAT);
        }
        Ok(())
    }
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(schema: &Value, value: &Value) -> Findings {
        let mut findings = Findings::default();
        findings.add(schema, value, "a").unwrap();
        findings
    }

    fn said(bounds: &BTreeSet<Bound>) -> Vec<String> {
        bounds.iter().map(Bound::to_string).collect()
    }

    #[test]
    fn each_bound_is_found_where_it_is_broken_and_where_it_is_met() {
        let list = json!({"type": "array", "minItems": 1, "maxItems": 2, "x-kubernetes-list-map-keys": ["k"], "items": {
            "type": "object", "required": ["k"], "properties": {
                "k": {"type": "string", "maxLength": 2, "pattern": "^[a-z]*$"},
                "n": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 3},
                "at": {"type": "string", "format": "date-time"},
                "by": {"type": "string", "enum": ["x", "y"]},
        }}});
        let bad = json!([{"k": "Äöü", "n": 0}, {"k": "a", "n": 4, "at": "now", "by": "z"}, {"k": "a", "n": "1"}, {"k": null}]);
        let bad = found(&list, &bad);
        assert_eq!(
            said(&bad.broken),
            [
                "a maxItems",
                "a[0].k maxLength",
                "a[0].k pattern",
                "a[0].n minimum",
                "a[1].at format",
                "a[1].by enum",
                "a[1].n maximum",
                "a[2] x-kubernetes-list-map-keys",
                "a[2].n type",
                "a[3].k required",
            ]
        );
        assert!(bad.met.is_empty());
        let mut bounds = BTreeSet::new();
        all(&list, "a", &mut bounds).unwrap();
        let broken: BTreeSet<Bound> = bad.broken.iter().map(Bound::anywhere).collect();
        assert_eq!(said(&(&bounds - &broken)), ["a minItems"]);
        assert_eq!(said(&found(&list, &json!([])).broken), ["a minItems"]);

        let good = json!([{"k": "ab", "n": 1, "by": "x"}, {"k": "a", "n": 3, "at": "2026-01-01T00:00:00Z"}]);
        let good = found(&list, &good);
        assert!(good.broken.is_empty());
        assert_eq!(
            said(&good.met),
            ["a maxItems", "a[0].k maxLength", "a[0].n minimum", "a[1].n maximum"]
        );
        all(&json!({"type": "string", "multipleOf": 2}), "a", &mut bounds).unwrap_err();
    }
}

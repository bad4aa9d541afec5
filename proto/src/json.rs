//! Protobuf-JSON: a manifest in YAML or JSON is the `Pod` message with lowerCamel names.
//!
//! Numbers of 64 bits may be written as numbers or text, enums by name or number, bytes in base64; the member of a oneof
//! stands among the other fields. Errors name the place and never repeat a value: it could be a secret.

use std::collections::BTreeSet;

use prost::Name;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions};
use serde_json::{Map, Value};

use crate::{descriptors, v0::pod::Pod};

/// Longest text that is read, in bytes: a manifest at its limits, escaped and with comments.
pub const TEXT_MAX: usize = 4 << 20;
/// Deeper than any message of the schema.
const DEPTH_MAX: usize = 32;
/// Sequences, mappings and scalars, after aliases are replaced.
const NODES_MAX: usize = 50_000;
const ALIASES_MAX: usize = 64;

/// Names of the existing network that are gone, and what is written now. `command` still exists, with another meaning.
const OLD_NAMES: [(&str, &str); 3] = [
    ("entrypoint", "command"),
    ("containerPort", "targetPort"),
    ("servicePort", "port"),
];

/// Why a text is not a manifest; `field` is the path in lowerCamel names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct Error {
    pub field: String,
    pub message: String,
}

impl Error {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Error {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// Reads a manifest written in YAML or JSON.
pub fn pod_from_yaml(text: &str) -> Result<Pod, Error> {
    if text.len() > TEXT_MAX {
        return Err(Error::new(
            "",
            format!("the text has {} bytes; at most {TEXT_MAX} are read", text.len()),
        ));
    }
    // Without snippets: the line at fault may hold a secret.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_aliases: ALIASES_MAX,
            max_documents: 1,
            max_total_scalar_bytes: TEXT_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: NODES_MAX },
        strict_booleans: true,
        with_snippet: false,
    };
    let value: Value =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| Error::new("", error.to_string()))?;
    let message = from_value(descriptor::<Pod>()?, value)?;
    message
        .transcode_to()
        .map_err(|error| Error::new("", error.to_string()))
}

/// Reads any message of the schema from a JSON value; unknown fields are refused with their path.
pub fn from_value(descriptor: MessageDescriptor, value: Value) -> Result<DynamicMessage, Error> {
    message(&descriptor, &value, "")?;
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(value, &mut track);
    DynamicMessage::deserialize(descriptor, deserializer)
        .map_err(|error| Error::new(track.path().to_string(), error.to_string()))
}

/// A message in protobuf-JSON, default values left out; numbers of 64 bits are text, as the standard demands.
pub fn to_json<M: Name>(message: &M) -> Result<Value, Error> {
    write(message, &SerializeOptions::new())
}

/// A message in YAML for people: numbers are numbers. [`pod_from_yaml`] reads it.
pub fn to_yaml<M: Name>(message: &M) -> Result<String, Error> {
    let value = write(message, &SerializeOptions::new().stringify_64_bit_integers(false))?;
    serde_saphyr::to_string(&value).map_err(|error| Error::new("", error.to_string()))
}

fn descriptor<M: Name>() -> Result<MessageDescriptor, Error> {
    let name = M::full_name();
    descriptors::pool()
        .get_message_by_name(&name)
        .ok_or_else(|| Error::new("", format!("the schema has no {name}")))
}

fn write<M: Name>(message: &M, options: &SerializeOptions) -> Result<Value, Error> {
    let mut dynamic = DynamicMessage::new(descriptor::<M>()?);
    dynamic
        .transcode_from(message)
        .map_err(|error| Error::new("", error.to_string()))?;
    dynamic
        .serialize_with_options(serde_json::value::Serializer, options)
        .map_err(|error| Error::new("", error.to_string()))
}

/// Names and shapes, before the values are read: so that errors name the place and what would be right.
fn message(descriptor: &MessageDescriptor, value: &Value, path: &str) -> Result<(), Error> {
    let fields = object(value, path, || format!("the fields are {}", known(descriptor)))?;
    // Null means that a field is not given.
    let (mut seen, mut given) = (BTreeSet::new(), BTreeSet::new());
    for (name, value) in fields {
        let here = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let Some(field) = descriptor
            .get_field_by_json_name(name)
            .or_else(|| descriptor.get_field_by_name(name))
        else {
            return Err(Error::new(here, unknown(descriptor, name)));
        };
        if !seen.insert(field.number()) {
            return Err(Error::new(
                here,
                format!("`{}` is given in both spellings; write it once", field.json_name()),
            ));
        }
        if value.is_null() {
            continue;
        }
        if let Some(oneof) = field.containing_oneof()
            && let Some(other) = oneof
                .fields()
                .find(|other| *other != field && given.contains(&other.number()))
        {
            let other = other.json_name();
            return Err(Error::new(
                here,
                format!("`{other}` is given already, and only one of the two may be"),
            ));
        }
        given.insert(field.number());
        content(&field, value, &here)?;
    }
    Ok(())
}

fn content(field: &FieldDescriptor, value: &Value, path: &str) -> Result<(), Error> {
    if field.is_map() {
        let entries = object(value, path, || "names and their values".into())?;
        return entries
            .iter()
            .try_for_each(|(name, value)| text(value, &format!("{path}[{}]", name.escape_debug())));
    }
    if !field.is_list() {
        return one(field, value, path);
    }
    let Value::Array(items) = value else {
        return Err(Error::new(path, format!("a list is wanted, not {}", kind_of(value))));
    };
    items
        .iter()
        .enumerate()
        .try_for_each(|(index, item)| one(field, item, &format!("{path}[{index}]")))
}

fn one(field: &FieldDescriptor, value: &Value, path: &str) -> Result<(), Error> {
    match field.kind() {
        Kind::Message(descriptor) => message(&descriptor, value, path),
        Kind::String => text(value, path),
        // Numbers, truth values, enums and base64 are read by the protobuf-JSON reader.
        _ => Ok(()),
    }
}

fn text(value: &Value, path: &str) -> Result<(), Error> {
    match value {
        Value::String(_) => Ok(()),
        Value::Null => Err(Error::new(
            path,
            "a text is wanted and nothing is given; write \"\" for an empty one",
        )),
        other => Err(Error::new(
            path,
            format!("a text is wanted, not {}; put the value in quotes", kind_of(other)),
        )),
    }
}

fn object<'a>(value: &'a Value, path: &str, wanted: impl Fn() -> String) -> Result<&'a Map<String, Value>, Error> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(Error::new(
            path,
            format!("a mapping is wanted, not {}: {}", kind_of(other), wanted()),
        )),
    }
}

fn unknown(descriptor: &MessageDescriptor, name: &str) -> String {
    if let Some((_, new)) = OLD_NAMES
        .iter()
        .find(|(old, new)| *old == name && descriptor.get_field_by_json_name(new).is_some())
    {
        return format!("`{name}` is an old name; it is `{new}` now");
    }
    format!(
        "{} has no such field; the fields are {}",
        descriptor.name(),
        known(descriptor)
    )
}

fn known(descriptor: &MessageDescriptor) -> String {
    descriptor
        .fields()
        .map(|field| field.json_name().to_owned())
        .collect::<Vec<_>>()
        .join(", ")
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

//! The manifest's JSON Schema, for editors: names, shapes and the comments of the .proto file, made from the descriptors.
//!
//! It says less than the provider: what is out of bounds, does not fit together or is not served, `apocryph check` tells.

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};
use serde_json::{Map, Value, json};

use crate::descriptors;

/// Draft 7: what editors' language servers know best.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";
const PACKAGE: &str = "apocryph.proto.v0.pod.";

/// The schema of a manifest: the message `Pod` and what is in it.
pub fn manifest() -> Value {
    let mut definitions = Map::new();
    if let Some(pod) = descriptors::message("pod.Pod") {
        define(&pod, &mut definitions);
    }
    json!({
        "$schema": DRAFT,
        "title": "Apocryph pod manifest",
        "$ref": "#/definitions/Pod",
        "definitions": definitions,
    })
}

fn name(message: &MessageDescriptor) -> &str {
    message.full_name().strip_prefix(PACKAGE).unwrap_or(message.full_name())
}

fn define(message: &MessageDescriptor, definitions: &mut Map<String, Value>) {
    if definitions.contains_key(name(message)) {
        return;
    }
    // Before its fields: a message that is in itself ends here.
    definitions.insert(name(message).into(), Value::Null);
    let fields: Map<_, _> = message
        .fields()
        .map(|field| (field.json_name().to_owned(), described(&field, definitions)))
        .collect();
    let mut schema = json!({"type": "object", "properties": fields, "additionalProperties": false});
    let exclusive: Vec<_> = message.oneofs().flat_map(|oneof| at_most_one(&oneof)).collect();
    if !exclusive.is_empty() {
        schema["allOf"] = exclusive.into();
    }
    definitions.insert(name(message).into(), schema);
}

/// No two members at once.
fn at_most_one(oneof: &OneofDescriptor) -> Vec<Value> {
    let names: Vec<_> = oneof.fields().map(|field| field.json_name().to_owned()).collect();
    let pairs = names
        .iter()
        .enumerate()
        .flat_map(|(index, one)| names[..index].iter().map(move |other| [other, one]));
    pairs.map(|pair| json!({"not": {"required": pair}})).collect()
}

/// The field with the comment that stands above it.
fn described(field: &FieldDescriptor, definitions: &mut Map<String, Value>) -> Value {
    let shape = shape(field, definitions);
    match comment(field) {
        None => shape,
        // Beside `$ref` nothing counts in this draft.
        Some(text) if shape.get("$ref").is_some() => json!({"description": text, "allOf": [shape]}),
        Some(text) => {
            let mut shape = shape;
            shape["description"] = text.into();
            shape
        }
    }
}

fn shape(field: &FieldDescriptor, definitions: &mut Map<String, Value>) -> Value {
    if field.is_map() {
        // The schema has text to text alone.
        return json!({"type": "object", "additionalProperties": {"type": "string"}});
    }
    let one = match field.kind() {
        Kind::Message(message) => {
            define(&message, definitions);
            json!({"$ref": format!("#/definitions/{}", name(&message))})
        }
        Kind::Enum(kind) => {
            let names: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
            json!({"enum": names})
        }
        Kind::Bool => json!({"type": "boolean"}),
        Kind::String => json!({"type": "string"}),
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::Uint32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        // Text too: not every writer of JSON keeps 64 bits of a number.
        Kind::Uint64 => json!({"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$"}),
        // No other kind of number is in a manifest.
        _ => json!({"type": ["number", "string"]}),
    };
    match field.cardinality() {
        Cardinality::Repeated => json!({"type": "array", "items": one}),
        _ => one,
    }
}

fn comment(field: &FieldDescriptor) -> Option<String> {
    let file = field.parent_file();
    let info = file.file_descriptor_proto().source_code_info.as_ref()?;
    let place = info.location.iter().find(|place| place.path == field.path())?;
    let words: Vec<_> = place.leading_comments().split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

//! Protobuf-JSON: a manifest in YAML or JSON is the `Pod` message with lowerCamel names.

use prost_reflect::{DynamicMessage, MessageDescriptor};

use crate::{descriptors, v0::pod::Pod};

/// Why a text is not a manifest; `field` is the path in lowerCamel names.
#[derive(Debug, thiserror::Error)]
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
    let value: serde_json::Value = serde_saphyr::from_str(text).map_err(|e| Error::new("", e.to_string()))?;
    let Some(descriptor) = descriptors::message("pod.Pod") else {
        return Err(Error::new("", "the schema has no pod"));
    };
    let message = from_value(descriptor, value)?;
    message.transcode_to().map_err(|e| Error::new("", e.to_string()))
}

/// Reads any message of the schema from a JSON value; unknown fields are refused with their path.
pub fn from_value(descriptor: MessageDescriptor, value: serde_json::Value) -> Result<DynamicMessage, Error> {
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(value, &mut track);
    DynamicMessage::deserialize(descriptor, deserializer)
        .map_err(|e| Error::new(track.path().to_string(), e.to_string()))
}

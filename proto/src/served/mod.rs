//! Which fields of the requests this version serves; every other known field is refused by its code, none is ignored.
//!
//! [`check`] walks the bytes as they came, before anything is decoded: it allocates next to nothing, so that it is also what
//! bounds the decode (an empty message costs two bytes on the wire and hundreds in memory). Besides fields that are unknown
//! or not served it refuses what protobuf would silently drop: a field given twice, two members of a oneof, a number that is
//! cut off. A field that carries its default value counts as not set.

mod path;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use prost::{
    Message,
    encoding::{WireType, decode_key, decode_varint},
};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::{descriptors, outcome::Code, v0};
use path::Path;
use table::{Field, No, Rule};

/// Why a request is not served as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}{}", if field.is_empty() { String::new() } else { format!("{field}: ") }, if remedy.is_empty() { String::new() } else { format!("; {remedy}") })]
pub struct Refused {
    /// `UnknownField`, `Malformed`, or the code of the field's row.
    pub code: Code,
    /// Path in lowerCamel names from the request's root: `pod.containers[0].image.cid`.
    pub field: String,
    /// One sentence. Never contains a value of the request.
    pub message: String,
    /// What to do about it; empty when nothing is to be done.
    pub remedy: String,
}

/// A message that opens an exchange: what an opener may write as its one request.
pub trait Request: Message + Default {
    /// Name without the common prefix, as [`descriptors::message`] takes it.
    const NAME: &'static str;
}

macro_rules! requests {
    ($($type:ty => $name:literal,)+) => { $(impl Request for $type { const NAME: &'static str = $name; })+ };
}

requests! {
    v0::signing::Envelope => "signing.Envelope",
    v0::provision_pod::ProvisionPodRequest => "provisionPod.ProvisionPodRequest",
    v0::manage_pod::ManagePodRequest => "managePod.ManagePodRequest",
    v0::attest::AttestRequest => "attest.AttestRequest",
    v0::provisioning_capacity::CapacityRequest => "provisioningCapacity.CapacityRequest",
}

/// Checks the bytes against the table of served fields, then decodes them: the one way from a stranger's bytes to a request.
pub fn decode<M: Request>(bytes: &[u8]) -> Result<M, Refused> {
    let Some(descriptor) = descriptors::message(M::NAME) else {
        return Err(malformed(&Path::Root, "the schema has no such request"));
    };
    check(descriptor, bytes)?;
    M::decode(bytes).map_err(|error| malformed(&Path::Root, error.to_string()))
}

/// Is every field that is set in these bytes served? For the requests ([`Request`]) and for `pod.Pod`.
pub fn check(descriptor: MessageDescriptor, bytes: &[u8]) -> Result<(), Refused> {
    match table::of(descriptor.full_name()) {
        Some(fields) => message(fields, &descriptor, bytes, &Path::Root),
        None => Err(malformed(
            &Path::Root,
            format!("{} is no request", descriptor.full_name()),
        )),
    }
}

fn malformed(path: &Path<'_>, message: impl Into<String>) -> Refused {
    Refused {
        code: Code::Malformed,
        field: path.to_string(),
        message: message.into(),
        remedy: String::new(),
    }
}

fn refused(path: &Path<'_>, no: &No) -> Refused {
    Refused {
        code: no.code,
        field: path.to_string(),
        message: no.message.into(),
        remedy: no.remedy.into(),
    }
}

/// A field's content on the wire.
enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Fixed width; no field of a request has it.
    Fixed,
}

fn content<'a>(wire: WireType, rest: &mut &'a [u8], path: &Path<'_>) -> Result<Content<'a>, Refused> {
    let cut = || malformed(path, "the message ends in the middle of this field");
    match wire {
        WireType::Varint => Ok(Content::Number(
            decode_varint(rest).map_err(|e| malformed(path, e.to_string()))?,
        )),
        WireType::LengthDelimited => {
            let declared = decode_varint(rest).map_err(|e| malformed(path, e.to_string()))?;
            let length = usize::try_from(declared).map_err(|_| cut())?;
            let (bytes, after) = rest.split_at_checked(length).ok_or_else(cut)?;
            *rest = after;
            Ok(Content::Bytes(bytes))
        }
        WireType::ThirtyTwoBit | WireType::SixtyFourBit => {
            let width = if matches!(wire, WireType::ThirtyTwoBit) { 4 } else { 8 };
            *rest = rest.get(width..).ok_or_else(cut)?;
            Ok(Content::Fixed)
        }
        WireType::StartGroup | WireType::EndGroup => Err(malformed(path, "groups are no part of the schema")),
    }
}

/// The schema has no recursive message (a test holds it), so neither has this more levels than the schema.
fn message(fields: &[Field], descriptor: &MessageDescriptor, bytes: &[u8], path: &Path<'_>) -> Result<(), Refused> {
    let mut seen = Seen::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (number, wire) = decode_key(&mut rest).map_err(|e| malformed(path, e.to_string()))?;
        let Some(field) = descriptor.get_field(number) else {
            return Err(Refused {
                code: Code::UnknownField,
                field: path.to_string(),
                message: format!("{} has no field of number {number}", descriptor.name()),
                remedy: "send only fields of the schema that this provider knows".into(),
            });
        };
        let here = path.field(field.json_name());
        let content = content(wire, &mut rest, &here)?;
        let Some(row) = fields.iter().find(|row| row.name == field.json_name()) else {
            // A test proves that every field has a row.
            return Err(refused(&here, &No::UNLISTED));
        };
        let index = seen.count(&field, &here)?;
        match &row.rule {
            Rule::List { max, beyond, item } => {
                let here = here.index(index);
                if index >= *max {
                    return Err(beyond
                        .as_ref()
                        .map_or_else(|| too_many(&here, *max), |no| refused(&here, no)));
                }
                one(item, &field, content, &here)?;
            }
            Rule::Map { max } => {
                if index >= *max {
                    return Err(too_many(&here, *max));
                }
                let Content::Bytes(entry) = content else {
                    return Err(wrong_type(&here));
                };
                let key = map_entry(&field, entry, &here)?;
                if !seen.keys.insert((number, key)) {
                    return Err(malformed(&here.key(key), "this name is given twice"));
                }
            }
            rule => one(rule, &field, content, &here)?,
        }
    }
    Ok(())
}

/// One occurrence of a field, or of an item of a list.
fn one(rule: &Rule, field: &FieldDescriptor, content: Content<'_>, path: &Path<'_>) -> Result<(), Refused> {
    let set = scalar(field, &content, path)?;
    match rule {
        Rule::Refused(no) if set => Err(refused(path, no)),
        Rule::Refused(_) | Rule::Served => Ok(()),
        Rule::Values(values) => {
            let Content::Number(number) = content else {
                return Err(wrong_type(path));
            };
            if values.iter().any(|value| u64::from(value.number) == number) {
                return Ok(());
            }
            Err(Refused {
                code: Code::InvalidManifest,
                field: path.to_string(),
                message: format!("{number} is no value of this field"),
                remedy: format!("the values are {}", table::names(values)),
            })
        }
        Rule::Message(fields) => match (field.kind(), content) {
            (Kind::Message(descriptor), Content::Bytes(bytes)) => message(fields, &descriptor, bytes, path),
            _ => Err(wrong_type(path)),
        },
        // A list's item is neither.
        Rule::List { .. } | Rule::Map { .. } => Err(refused(path, &No::UNLISTED)),
    }
}

/// Does the content fit the field's type, and does it differ from the default?
fn scalar(field: &FieldDescriptor, content: &Content<'_>, path: &Path<'_>) -> Result<bool, Refused> {
    let set = match (field.kind(), content) {
        (Kind::Bool | Kind::Uint64 | Kind::Enum(_), Content::Number(number)) => *number != 0,
        (Kind::Uint32, Content::Number(number)) => {
            u32::try_from(*number).map_err(|_| malformed(path, "more than a number of 32 bits holds"))? != 0
        }
        (Kind::String, Content::Bytes(bytes)) => {
            std::str::from_utf8(bytes).map_err(|_| malformed(path, "not UTF-8 text"))?;
            !bytes.is_empty()
        }
        (Kind::Bytes, Content::Bytes(bytes)) => !bytes.is_empty(),
        (Kind::Message(_), Content::Bytes(_)) => true,
        _ => return Err(wrong_type(path)),
    };
    Ok(set || field.supports_presence())
}

/// The key of one entry of a map from text to text.
fn map_entry<'a>(field: &FieldDescriptor, entry: &'a [u8], path: &Path<'_>) -> Result<&'a str, Refused> {
    let Kind::Message(descriptor) = field.kind() else {
        return Err(wrong_type(path));
    };
    let mut seen = Seen::default();
    let mut key = "";
    let mut rest = entry;
    while !rest.is_empty() {
        let (number, wire) = decode_key(&mut rest).map_err(|e| malformed(path, e.to_string()))?;
        let Some(part) = descriptor.get_field(number) else {
            return Err(Refused {
                code: Code::UnknownField,
                field: path.to_string(),
                message: format!("an entry has no field of number {number}"),
                remedy: String::new(),
            });
        };
        seen.count(&part, path)?;
        let content = content(wire, &mut rest, path)?;
        scalar(&part, &content, path)?;
        if let (1, Content::Bytes(bytes)) = (number, content) {
            key = std::str::from_utf8(bytes).map_err(|_| malformed(path, "not UTF-8 text"))?;
        }
    }
    Ok(key)
}

fn wrong_type(path: &Path<'_>) -> Refused {
    malformed(path, "this field has another type in the schema")
}

fn too_many(path: &Path<'_>, max: usize) -> Refused {
    Refused {
        code: Code::InvalidManifest,
        field: path.to_string(),
        message: format!("there may be at most {max} of these"),
        remedy: String::new(),
    }
}

/// What one message has had so far.
#[derive(Default)]
struct Seen<'a> {
    /// Field number and how often; as many entries as the message has fields.
    numbers: Vec<(u32, usize)>,
    oneofs: Vec<String>,
    keys: BTreeSet<(u32, &'a str)>,
}

impl Seen<'_> {
    /// Which occurrence of the field this is, from 0; a second one of a field that is not repeated is refused, because
    /// decoders would merge the two or drop the first.
    fn count(&mut self, field: &FieldDescriptor, path: &Path<'_>) -> Result<usize, Refused> {
        let repeated = field.is_list() || field.is_map();
        if let Some((_, count)) = self.numbers.iter_mut().find(|(seen, _)| *seen == field.number()) {
            if !repeated {
                return Err(malformed(path, "this field is given twice"));
            }
            let index = *count;
            *count += 1;
            return Ok(index);
        }
        if let Some(oneof) = field.containing_oneof() {
            if self.oneofs.iter().any(|seen| seen == oneof.name()) {
                return Err(malformed(
                    path,
                    format!("only one member of `{}` may be given", oneof.name()),
                ));
            }
            self.oneofs.push(oneof.name().to_owned());
        }
        self.numbers.push((field.number(), 1));
        Ok(0)
    }
}

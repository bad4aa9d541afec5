//! YAML with the line of every value, read field by field: an error names both.

use std::{collections::BTreeSet, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Longest part of a wrong value that is quoted.
const QUOTED_MAX: usize = 64;

/// What is wrong with the text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditError {
    /// From 1; `None`: of the text as a whole.
    pub line: Option<u64>,
    /// `tables[0].perHour.cpu`; empty: the text as a whole.
    pub field: String,
    pub message: String,
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
            f.write_str(if self.field.is_empty() { ": " } else { ", " })?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for EditError {}

/// Any YAML value.
#[derive(Debug)]
enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Value>>),
    Map(Vec<(Spanned<String>, Spanned<Value>)>),
}

/// A value, where it stands, and how it is reached.
#[derive(Debug)]
pub struct Field {
    path: String,
    line: u64,
    value: Value,
}

/// The fields of a map; what is left over at [`Map::end`] is unknown.
pub struct Map {
    path: String,
    line: u64,
    entries: Vec<(Spanned<String>, Spanned<Value>)>,
    known: BTreeSet<&'static str>,
}

/// Reads the text; says where it is not YAML.
pub fn read(text: &str) -> Result<Field, EditError> {
    let document: Spanned<Value> = serde_saphyr::from_str(text).map_err(|error| EditError {
        line: error.location().map(|location| location.line()),
        field: String::new(),
        message: format!(
            "is not YAML that can be read: {}",
            first_line(&error.without_snippet().to_string())
        ),
    })?;
    Ok(Field {
        path: String::new(),
        line: document.defined.line(),
        value: document.value,
    })
}

/// The fields of a text that must say `apiVersion`.
///
/// # Errors
/// It is longer than `max` bytes, not YAML, not a map, or of another version.
pub fn open(text: &str, max: usize, api_version: &str) -> Result<Map, EditError> {
    if text.len() > max {
        return Err(EditError {
            line: None,
            field: String::new(),
            message: format!("has {} bytes; at most {max}", text.len()),
        });
    }
    let mut root = read(text)?.map()?;
    let version = root.need("apiVersion", &format!("write {api_version}"))?;
    let written = version.text(api_version)?;
    if written != api_version {
        return Err(version.error(format!("is {}; write {api_version}", quote(written))));
    }
    Ok(root)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// A wrong value as it is told: cut, and without what disturbs a terminal.
pub fn quote(text: &str) -> String {
    let shown: String = text.chars().take(QUOTED_MAX).collect();
    let cut = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{}{cut}\"", shown.escape_debug())
}

impl Field {
    pub fn error(&self, message: impl Into<String>) -> EditError {
        EditError {
            line: Some(self.line),
            field: self.path.clone(),
            message: message.into(),
        }
    }

    fn wrong(&self, expected: &str) -> EditError {
        let found = match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("{value}"),
            Value::Integer(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::Text(text) => quote(text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        };
        self.error(format!("is {found}; write {expected}"))
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub fn map(self) -> Result<Map, EditError> {
        match self.value {
            Value::Map(entries) => Ok(Map {
                path: self.path,
                line: self.line,
                entries,
                known: BTreeSet::new(),
            }),
            _ => Err(self.wrong("a map")),
        }
    }

    pub fn list(self, max: usize) -> Result<Vec<Field>, EditError> {
        match self.value {
            Value::List(items) if items.len() > max => Err(EditError {
                line: Some(self.line),
                field: self.path,
                message: format!("has {} entries; at most {max}", items.len()),
            }),
            Value::List(items) => Ok(items
                .into_iter()
                .enumerate()
                .map(|(index, item)| Field {
                    path: format!("{}[{index}]", self.path),
                    line: item.defined.line(),
                    value: item.value,
                })
                .collect()),
            _ => Err(self.wrong("a list")),
        }
    }

    /// `expected` completes "write …".
    pub fn text(&self, expected: &str) -> Result<&str, EditError> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.wrong(expected)),
        }
    }

    pub fn bool(&self) -> Result<bool, EditError> {
        match self.value {
            Value::Bool(value) => Ok(value),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// An Ethereum address; the case of the digits (EIP-55) is not checked.
    pub fn address(&self) -> Result<[u8; 20], EditError> {
        const FORM: &str = "an address in quotes: 0x and 40 hex digits";
        let text = self.text(FORM)?;
        text.strip_prefix("0x")
            .and_then(|digits| data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| self.error(format!("is {}; write {FORM}", quote(text))))
    }

    pub fn integer(&self, min: u64, max: u64) -> Result<u64, EditError> {
        match self.value {
            Value::Integer(value) => u64::try_from(value).ok().filter(|value| (min..=max).contains(value)),
            _ => None,
        }
        .ok_or_else(|| self.wrong(&format!("a whole number from {min} to {max}")))
    }
}

impl Map {
    /// Takes a field out; `None`: absent, or nothing behind the colon.
    pub fn take(&mut self, name: &'static str) -> Option<Field> {
        self.known.insert(name);
        let index = self.entries.iter().position(|(key, _)| key.value == name)?;
        let (_, value) = self.entries.swap_remove(index);
        let field = Field {
            path: join(&self.path, name),
            line: value.defined.line(),
            value: value.value,
        };
        (!field.is_null()).then_some(field)
    }

    pub fn need(&mut self, name: &'static str, why: &str) -> Result<Field, EditError> {
        if let Some(field) = self.take(name) {
            return Ok(field);
        }
        let misspelt = self
            .entries
            .iter()
            .find(|(key, _)| key.value.eq_ignore_ascii_case(name));
        Err(EditError {
            line: Some(misspelt.map_or(self.line, |(key, _)| key.defined.line())),
            field: join(&self.path, name),
            message: match misspelt {
                Some((key, _)) => format!("is written {}; names are spelt exactly so: {name}", quote(&key.value)),
                None => format!("is missing; {why}"),
            },
        })
    }

    pub fn error(&self, message: impl Into<String>) -> EditError {
        EditError {
            line: Some(self.line),
            field: self.path.clone(),
            message: message.into(),
        }
    }

    /// Every entry, whatever its name.
    pub fn all(self, max: usize) -> Result<Vec<(String, Field)>, EditError> {
        if self.entries.len() > max {
            return Err(self.error(format!("has {} entries; at most {max}", self.entries.len())));
        }
        Ok(self
            .entries
            .into_iter()
            .map(|(key, value)| {
                let path = format!("{}[{}]", self.path, quote(&key.value));
                (
                    key.value,
                    Field {
                        path,
                        line: value.defined.line(),
                        value: value.value,
                    },
                )
            })
            .collect())
    }

    /// Everything known has been taken: nothing may be left.
    pub fn end(self) -> Result<(), EditError> {
        let Some((key, _)) = self.entries.iter().min_by_key(|(key, _)| key.defined.line()) else {
            return Ok(());
        };
        let known: Vec<&str> = self.known.iter().copied().collect();
        Err(EditError {
            line: Some(key.defined.line()),
            field: self.path.clone(),
            message: format!("has no field {}; known are {}", quote(&key.value), known.join(", ")),
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
                Value::deserialize(deserializer)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Integer(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Integer(value.into()))
            }
            fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
                Ok(Value::Integer(value))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Float(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }
            fn visit_string<E>(self, value: String) -> Result<Value, E> {
                Ok(Value::Text(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Value::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Value::Map(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

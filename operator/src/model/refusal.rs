//! A "no" with its reason: the same words on the wire, in conditions and in the client.

use std::time::SystemTime;

use apocryph_proto::outcome::Code;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    /// One sentence.
    pub message: String,
    /// What to do about it; empty when nothing is to be done.
    pub remedy: String,
    /// Path of the field at fault, lowerCamel.
    pub field: Option<String>,
    /// The resource that blocks.
    pub resource: Option<&'static str>,
    /// Seconds after which asking again may help.
    pub retry_after: Option<u32>,
    /// Of an ended pod.
    pub ended: Option<EndedLife>,
}

/// Which life ended, why and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedLife {
    pub life: u64,
    pub code: Code,
    pub at: SystemTime,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: message.into(),
            remedy: String::new(),
            field: None,
            resource: None,
            retry_after: None,
            ended: None,
        }
    }

    pub fn remedy(mut self, remedy: impl Into<String>) -> Refusal {
        self.remedy = remedy.into();
        self
    }

    pub fn field(mut self, field: impl Into<String>) -> Refusal {
        self.field = Some(field.into());
        self
    }

    pub fn resource(mut self, resource: &'static str) -> Refusal {
        self.resource = Some(resource);
        self
    }

    pub fn retry_after(mut self, seconds: u32) -> Refusal {
        self.retry_after = Some(seconds);
        self
    }

    pub fn ended(mut self, ended: EndedLife) -> Refusal {
        self.ended = Some(ended);
        self
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

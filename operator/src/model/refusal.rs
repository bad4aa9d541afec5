//! A "no" with its reason: the same words on the wire, in conditions and in the client.

use std::time::SystemTime;

use apocryph_proto::outcome::Code;

/// Seconds after which whoever is refused as `busy` may ask again, where nothing better is known.
pub const BUSY_RETRY_AFTER: u32 = 2;

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
    /// `message` is written as a sentence, as the codes' own words are; the remedy is the code's until one is given that
    /// knows more.
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: sentence(message.into()),
            remedy: code.remedy().to_owned(),
            field: None,
            resource: None,
            retry_after: None,
            ended: None,
        }
    }

    /// Too many at once, of whatever `message` says.
    pub fn busy(message: impl Into<String>) -> Refusal {
        Refusal::new(Code::Busy, message).retry_after(BUSY_RETRY_AFTER)
    }

    pub fn remedy(mut self, remedy: impl Into<String>) -> Refusal {
        self.remedy = sentence(remedy.into());
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

/// The answer about a pod that is not there, or is another publisher's: the two look alike.
pub fn not_found() -> Refusal {
    Refusal::new(Code::NotFound, "This publisher has no pod of that id here.")
}

/// With a capital (but where it begins with a name that has its own letters, such as `pod.containers`) and a full stop.
fn sentence(mut text: String) -> String {
    let word = text.split([' ', ',', ':', ';']).next().unwrap_or_default();
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '\'');
    if plain && let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if !text.is_empty() && !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_speaks_in_sentences_and_has_a_remedy() {
        for (said, told) in [
            ("no pod is given", "No pod is given."),
            ("The pod is there.", "The pod is there."),
            ("afterLife is 3", "afterLife is 3."),
            ("pod.containers: too many", "pod.containers: too many."),
            ("`x` is unknown", "`x` is unknown."),
            ("ä", "ä."),
            ("", ""),
        ] {
            assert_eq!(Refusal::new(Code::Busy, said).message, told);
        }
        let refusal = not_found();
        assert_eq!(refusal.remedy, Code::NotFound.remedy());
        assert_eq!(refusal.remedy("ask the provider").remedy, "Ask the provider.");
    }
}

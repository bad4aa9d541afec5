//! A provider's replies as typed values. What a provider writes is a stranger's text: control characters, which could command
//! a terminal, are replaced, and lengths are bounded, before anything else sees it.

use apocryph_proto::{
    outcome::{Class, Code},
    v0::{pod::Pod, provision_pod as wire},
};

/// Characters of one sentence that are kept.
pub const TEXT_MAX: usize = 2_000;
/// Addresses of one status that are kept.
pub const ADDRESSES_MAX: usize = 256;

/// Keeps a stranger's text to one line of printable characters.
pub fn printable(text: &str) -> String {
    text.chars().take(TEXT_MAX).map(safe).collect()
}

/// A line of a log, of any length, tabs included.
pub fn printable_line(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { c } else { safe(c) }).collect()
}

fn safe(c: char) -> char {
    // Bidirectional controls make a line read otherwise than it is.
    let unsafe_to_print = c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    if unsafe_to_print { '\u{fffd}' } else { c }
}

/// An outcome code as it came; newer providers know more codes than this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub text: String,
    pub known: Option<Code>,
}

impl Outcome {
    pub fn new(text: &str) -> Outcome {
        Outcome {
            text: printable(text),
            known: Code::parse(text),
        }
    }

    pub fn is(&self, code: Code) -> bool {
        self.known == Some(code)
    }

    pub fn class(&self) -> Option<Class> {
        self.known.map(Code::class)
    }
}

impl From<Code> for Outcome {
    fn from(code: Code) -> Outcome {
        Outcome {
            text: code.as_str().to_owned(),
            known: Some(code),
        }
    }
}

pub use wire::pod_status::Phase;

/// lowerCase name of a phase.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Unspecified => "unknown",
        Phase::Accepted => "accepted",
        Phase::Scheduled => "scheduled",
        Phase::Pulling => "pulling",
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Degraded => "degraded",
        Phase::Ending => "ending",
        Phase::Ended => "ended",
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// `Unspecified`: one that this client does not know.
    pub phase: Phase,
    pub code: Outcome,
    pub message: String,
    /// Empty: nothing to do.
    pub remedy: String,
    /// Name of the ApocryphPod at the provider.
    pub name: String,
    pub life: u64,
    pub generation: u64,
    pub addresses: Vec<Address>,
    pub replicas_ready: u32,
    pub replicas: u32,
    /// The manifest with the provider's defaults, in `accepted`.
    pub admitted: Option<Box<Pod>>,
    /// Unix seconds at the provider; 0: not told.
    pub at: u64,
    /// Unix seconds at which the provider's admin ends the pod; 0: no end was announced.
    pub ends_at: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub container: String,
    pub port: String,
    pub multiaddr: String,
}

impl Status {
    /// The pod is in trouble on its way: not running, and not by itself on the way there.
    pub fn in_trouble(&self) -> bool {
        self.code.class() == Some(Class::Trouble)
            && !matches!(self.phase, Phase::Running | Phase::Ending | Phase::Ended)
    }
}

impl From<wire::PodStatus> for Status {
    fn from(status: wire::PodStatus) -> Status {
        Status {
            phase: status.phase(),
            code: Outcome::new(&status.code),
            message: printable(&status.message),
            remedy: printable(&status.remedy),
            name: printable(&status.name),
            life: status.life,
            generation: status.generation,
            addresses: status
                .addresses
                .into_iter()
                .take(ADDRESSES_MAX)
                .map(Address::from)
                .collect(),
            replicas_ready: status.replicas_ready,
            replicas: status.replicas,
            admitted: status.admitted.map(Box::new),
            at: status.at,
            ends_at: status.ends_at,
        }
    }
}

impl From<wire::Address> for Address {
    fn from(address: wire::Address) -> Address {
        Address {
            container: printable(&address.container_name),
            port: printable(&address.port_name),
            multiaddr: printable(&address.multiaddr),
        }
    }
}

/// A "no" with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Outcome,
    pub message: String,
    pub remedy: String,
    /// Path of the field at fault; empty: none.
    pub field: String,
    /// The resource that blocks; empty: none.
    pub resource: String,
    /// Seconds; 0: asking again will not help.
    pub retry_after: u32,
    pub ended: Option<EndedLife>,
}

/// Which life ended, why and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedLife {
    pub life: u64,
    pub code: Outcome,
    /// Unix seconds; 0: not told.
    pub at: u64,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal {
            code: code.into(),
            message: message.into(),
            remedy: String::new(),
            field: String::new(),
            resource: String::new(),
            retry_after: 0,
            ended: None,
        }
    }
}

impl From<wire::Refusal> for Refusal {
    fn from(refusal: wire::Refusal) -> Refusal {
        let ended = (refusal.ended_life > 0).then(|| EndedLife {
            life: refusal.ended_life,
            code: Outcome::new(&refusal.ended_code),
            at: refusal.ended_at,
        });
        Refusal {
            code: Outcome::new(&refusal.code),
            message: printable(&refusal.message),
            remedy: printable(&refusal.remedy),
            field: printable(&refusal.field),
            resource: printable(&refusal.resource),
            retry_after: refusal.retry_after,
            ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_cannot_command_the_terminal() {
        let refusal: Refusal = wire::Refusal {
            code: "busy\u{1b}[2J".into(),
            message: "\u{1b}]0;title\u{7}line\nline \u{202e}reversed".into(),
            ..wire::Refusal::default()
        }
        .into();
        assert_eq!(refusal.code.text, "busy\u{fffd}[2J");
        assert_eq!(refusal.code.known, None);
        assert_eq!(
            refusal.message,
            "\u{fffd}]0;title\u{fffd}line\u{fffd}line \u{fffd}reversed"
        );
        assert_eq!(printable(&"x".repeat(TEXT_MAX + 1)).len(), TEXT_MAX);
    }

    #[test]
    fn a_phase_from_the_future_is_unknown_and_no_end() {
        let status: Status = wire::PodStatus {
            phase: 99,
            code: "from_the_future".into(),
            ..Default::default()
        }
        .into();
        assert_eq!((status.phase, status.code.known), (Phase::Unspecified, None));
        assert!(!status.in_trouble());
    }
}

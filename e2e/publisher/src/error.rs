//! What can go wrong, what to do about it, and which exit status says so to a script.

use std::time::Duration;

use apocryph_proto::outcome::Code;

use crate::{
    attest::{AttestError, NotAccepted},
    capacity::CapacityError,
    credential::SignError,
    delegation::DelegationError,
    exit::Exit,
    key::KeyError,
    known::KnownError,
    manifest::ManifestError,
    net::NetError,
    provider::ProviderError,
    reply::{EndedLife, Outcome, Refusal, Status},
    session::SessionError,
    state::StateError,
};

/// The end of a life, as reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub life: u64,
    /// Why.
    pub code: Outcome,
    pub message: String,
    pub remedy: String,
    /// Unix seconds; 0: not told.
    pub at: u64,
    /// It had ended before this client asked.
    pub already: bool,
}

impl Ended {
    pub(crate) fn from_status(status: &Status, already: bool) -> Ended {
        Ended {
            life: status.life,
            code: status.code.clone(),
            message: status.message.clone(),
            remedy: status.remedy.clone(),
            at: status.at,
            already,
        }
    }

    /// A refusal `ended` says which life ended and why.
    pub(crate) fn from_refusal(refusal: &Refusal, already: bool) -> Option<Ended> {
        let EndedLife { life, code, at } = refusal.ended.clone().filter(|_| refusal.code.is(Code::Ended))?;
        Some(Ended {
            life,
            code,
            at,
            message: refusal.message.clone(),
            remedy: refusal.remedy.clone(),
            already,
        })
    }

    /// The publisher's own delete is the one end that was asked for.
    pub fn exit(&self) -> Exit {
        match self {
            Ended { already: true, .. } => Exit::Conflict,
            ended if ended.code.is(Code::DeletedByPublisher) => Exit::Ok,
            _ => Exit::Ended,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Known(#[from] KnownError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Delegation(#[from] DelegationError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Attest(#[from] AttestError),
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    #[error(transparent)]
    NotAttested(#[from] NotAccepted),
    #[error("{}", refusal_text(.0))]
    Refused(Box<Refusal>),
    #[error("{}", .0.message)]
    Trouble(Box<Status>),
    #[error("life {} of the pod {}: {}", .0.life, if .0.already { "had ended already" } else { "ended" }, .0.message)]
    Ended(Box<Ended>),
    #[error("out of time after {} s; {waiting_for}", after.as_secs())]
    Timeout {
        after: Duration,
        waiting_for: String,
        /// There was a connection.
        reached: bool,
        last: Option<Box<Status>>,
    },
    #[error("{message}")]
    Usage { message: String, remedy: String },
    #[error("the output could not be written: {0}")]
    Output(std::io::Error),
    #[error("interrupted")]
    Interrupted { remedy: String },
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(Box::new(refusal))
    }
}

impl From<Ended> for Error {
    fn from(ended: Ended) -> Error {
        Error::Ended(Box::new(ended))
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    let field = if refusal.field.is_empty() {
        String::new()
    } else {
        format!("{}: ", refusal.field)
    };
    format!("{field}{}", refusal.message)
}

impl Error {
    pub fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Error {
        Error::Usage {
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// The provider's refusal, where this is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::Refused(refusal)
            | Error::Attest(AttestError::Refused(refusal))
            | Error::Capacity(CapacityError::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }

    /// Below this error lies a stream or connection that did not work.
    fn session(&self) -> Option<&SessionError> {
        match self {
            Error::Session(error)
            | Error::Attest(AttestError::Session(error))
            | Error::Capacity(CapacityError::Session(error)) => Some(error),
            _ => None,
        }
    }

    /// The connection failed in a way that dialling again may mend.
    pub(crate) fn is_loss(&self) -> bool {
        match self {
            Error::Net(error) => !error.is_permanent(),
            other => other.session().is_some_and(SessionError::is_retryable),
        }
    }

    /// A stable word for scripts: the outcome code where the provider or the manifest's rules gave one.
    pub fn code(&self) -> String {
        if let Some(refusal) = self.refusal() {
            return refusal.code.text.clone();
        }
        match self {
            Error::Manifest(error) => error.code().to_owned(),
            Error::Trouble(status) => status.code.text.clone(),
            Error::Ended(ended) => ended.code.text.clone(),
            Error::Session(SessionError::Unsendable(_)) => Code::RequestTooLarge.as_str().into(),
            Error::Session(SessionError::Net(_))
            | Error::Capacity(CapacityError::Session(SessionError::Net(_)))
            | Error::Attest(AttestError::Session(SessionError::Net(_)))
            | Error::Net(_) => "unreachable".into(),
            Error::Attest(AttestError::Session(_)) | Error::Capacity(_) | Error::Session(_) => "stream_lost".into(),
            Error::Key(_) => "no_key".into(),
            Error::Known(KnownError::State(_) | KnownError::Broken(_) | KnownError::TooLong) | Error::State(_) => {
                "state_file".into()
            }
            Error::Provider(_) | Error::Known(_) => "no_provider".into(),
            Error::Delegation(_) => "delegation_file".into(),
            Error::Sign(_) => "cannot_sign".into(),
            Error::Attest(_) => "attestation_invalid".into(),
            Error::NotAttested(_) => "not_attested".into(),
            Error::Timeout { .. } => "timeout".into(),
            Error::Usage { .. } => "usage".into(),
            Error::Output(_) => "output".into(),
            Error::Interrupted { .. } => "interrupted".into(),
            Error::Refused(refusal) => refusal.code.text.clone(),
        }
    }

    /// What to do next; empty when there is nothing to say.
    pub fn remedy(&self) -> String {
        if let Some(refusal) = self.refusal() {
            return match refusal.remedy.as_str() {
                "" if refusal.retry_after > 0 => format!("Try again in {} s.", refusal.retry_after),
                "" => refusal.code.known.map(Code::remedy).unwrap_or_default().into(),
                remedy => remedy.to_owned(),
            };
        }
        if let Some(SessionError::Net(error)) = self.session() {
            return error.remedy().to_owned();
        }
        match self {
            Error::Key(error) => error.remedy(),
            Error::Provider(error) => error.remedy(),
            Error::Known(error) => error.remedy(),
            Error::Manifest(error) => error.remedy(),
            Error::State(error) => error.remedy().to_owned(),
            Error::Delegation(error) => error.remedy().to_owned(),
            Error::Net(error) => error.remedy().to_owned(),
            Error::Session(SessionError::Unsendable(_)) => Code::RequestTooLarge.remedy().into(),
            Error::Attest(AttestError::Session(_)) | Error::Capacity(_) | Error::Session(_) => {
                "Run the same command again; what was accepted goes on meanwhile.".into()
            }
            Error::Attest(_) => "Do not use this provider: its answer was not made for this question.".into(),
            Error::NotAttested(_) => {
                "The provider could read the manifest and its secrets. Choose one that proves its stack, or say --allow-unattested."
                    .into()
            }
            Error::Trouble(status) if status.remedy.is_empty() => {
                status.code.known.map(Code::remedy).unwrap_or_default().into()
            }
            Error::Trouble(status) => status.remedy.clone(),
            Error::Ended(ended) if ended.already => {
                "Start it anew with `apocryph deploy --resume POD --restart`; the old volumes' data is gone.".into()
            }
            Error::Ended(ended) if ended.remedy.is_empty() => {
                ended.code.known.map(Code::remedy).unwrap_or_default().into()
            }
            Error::Ended(ended) => ended.remedy.clone(),
            Error::Timeout { last: Some(status), .. } if !status.remedy.is_empty() => status.remedy.clone(),
            Error::Timeout { reached: false, .. } => NetError::Unreachable(String::new()).remedy().to_owned(),
            Error::Timeout { .. } => "Give more time with --timeout, or see where it stands with `apocryph watch POD`.".into(),
            Error::Usage { remedy, .. } | Error::Interrupted { remedy } => remedy.clone(),
            Error::Sign(_) => "Check the key with `apocryph key show`.".into(),
            Error::Output(_) => "Check where the output goes: a full disk or a closed pipe.".into(),
            Error::Refused(_) => String::new(),
        }
    }

    pub fn exit(&self) -> Exit {
        if let Some(refusal) = self.refusal() {
            return Exit::of(&refusal.code);
        }
        match self {
            Error::Key(_) | Error::Provider(_) | Error::Usage { .. } => Exit::Usage,
            Error::Known(KnownError::State(_) | KnownError::Broken(_) | KnownError::TooLong) => Exit::Failure,
            Error::Known(_) => Exit::Usage,
            Error::Manifest(error) => error.exit(),
            Error::Delegation(_) => Exit::Usage,
            Error::State(
                StateError::Unknown(..) | StateError::Ambiguous(..) | StateError::NotAPodId(_) | StateError::NoHome,
            ) => Exit::Usage,
            Error::State(_) | Error::Sign(_) | Error::Output(_) | Error::Refused(_) => Exit::Failure,
            Error::Session(SessionError::Unsendable(_)) => Exit::Invalid,
            Error::Net(_) | Error::Session(_) | Error::Capacity(_) | Error::Attest(AttestError::Session(_)) => {
                Exit::Unreachable
            }
            Error::Attest(_) | Error::NotAttested(_) => Exit::NotAttested,
            Error::Trouble(_) => Exit::Trouble,
            Error::Ended(ended) if ended.already => Exit::Conflict,
            Error::Ended(_) => Exit::Ended,
            Error::Timeout { last: Some(status), .. } if status.in_trouble() => Exit::Trouble,
            Error::Timeout { reached: false, .. } => Exit::Unreachable,
            Error::Timeout { .. } => Exit::Unavailable,
            Error::Interrupted { .. } => Exit::Interrupted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{own_codes::OWN_CODES, reply::Phase};

    fn status(phase: Phase, code: Code) -> Status {
        Status {
            phase,
            code: code.into(),
            message: "message".into(),
            remedy: String::new(),
            name: String::new(),
            life: 1,
            generation: 1,
            addresses: Vec::new(),
            replicas_ready: 0,
            replicas: 1,
            admitted: None,
            at: 0,
            ends_at: 0,
        }
    }

    #[test]
    fn each_class_of_refusal_has_its_status() {
        let exit = |code: Code| Error::from(Refusal::new(code, "x")).exit().status();
        for (code, expected) in [
            (Code::InvalidManifest, 3),
            (Code::LargerThanAnyNode, 3),
            (Code::NotServed, 4),
            (Code::BadSignature, 5),
            (Code::ContentDiffers, 6),
            (Code::NotFound, 6),
            (Code::Ended, 6),
            (Code::Busy, 7),
            (Code::InsufficientCapacity, 7),
            (Code::PublisherNotAllowed, 8),
        ] {
            assert_eq!(exit(code), expected, "{code}");
        }
        let from_the_future = Refusal {
            code: Outcome::new("from_the_future"),
            ..Refusal::new(Code::Busy, "x")
        };
        assert_eq!(Error::from(from_the_future).exit(), Exit::Failure);
    }

    #[test]
    fn every_other_failure_has_its_status() {
        let ended = |code: Code, already| Ended {
            life: 1,
            code: code.into(),
            message: String::new(),
            remedy: String::new(),
            at: 0,
            already,
        };
        let timeout = |last| Error::Timeout {
            after: Duration::from_secs(1),
            waiting_for: String::new(),
            reached: true,
            last,
        };
        let image = || Box::new(status(Phase::Pulling, Code::ImageNotFound));
        for (error, expected) in [
            (Error::Key(KeyError::Missing("key".into())), 2),
            (Error::Provider(ProviderError::None), 2),
            (Error::State(StateError::OtherKey("x".into())), 1),
            (Error::Net(NetError::Unreachable("x".into())), 11),
            (Error::Session(SessionError::StreamLost("x".into())), 11),
            (Error::Attest(AttestError::OtherQuestion), 12),
            (
                Error::Attest(AttestError::Refused(Box::new(Refusal::new(Code::Busy, "x")))),
                7,
            ),
            (Error::NotAttested(NotAccepted(vec![])), 12),
            (Error::Trouble(image()), 9),
            (timeout(Some(image())), 9),
            (timeout(Some(Box::new(status(Phase::Pulling, Code::PullingImage)))), 7),
            (timeout(None), 7),
            (
                Error::Timeout {
                    after: Duration::ZERO,
                    waiting_for: String::new(),
                    reached: false,
                    last: None,
                },
                11,
            ),
            (Error::from(ended(Code::StartTimeout, false)), 10),
            (Error::from(ended(Code::StartTimeout, true)), 6),
            (Error::Interrupted { remedy: String::new() }, 130),
        ] {
            assert_eq!(error.exit().status(), expected, "{error}");
            let code = error.code();
            let explained = OWN_CODES.iter().any(|own| own.code == code) || Code::parse(&code).is_some();
            assert!(explained, "{code} of {error} is in no list");
        }
        assert_eq!(ended(Code::DeletedByPublisher, false).exit(), Exit::Ok);
        assert_eq!(ended(Code::DeletedByAdmin, false).exit(), Exit::Ended);
    }

    #[test]
    fn a_refusal_names_its_field_and_when_to_come_back() {
        let mut refusal = Refusal::new(Code::InvalidManifest, "must not be empty");
        refusal.field = "pod.containers[0].name".into();
        assert_eq!(
            Error::from(refusal).to_string(),
            "pod.containers[0].name: must not be empty"
        );
        let busy = Refusal {
            retry_after: 5,
            ..Refusal::new(Code::Busy, "too many")
        };
        assert_eq!(Error::from(busy).remedy(), "Try again in 5 s.");
    }
}

//! The exit status of `apocryph`: a script's way to tell outcomes apart.

use apocryph_proto::outcome::Class;

use crate::reply::Outcome;

/// Exit status of `apocryph`, by class of outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, running, or ended as asked.
    Ok = 0,
    /// Anything that has no status of its own (a file that cannot be written, a code of a newer provider).
    Failure = 1,
    /// Arguments, key or provider are missing or wrong.
    Usage = 2,
    /// The manifest or the request is not valid.
    Invalid = 3,
    /// Valid, but not served by this provider or this version.
    NotServed = 4,
    /// The signature or what it covers was refused.
    Credential = 5,
    /// The pod as it exists says no: other content, another life, ended already, not found.
    Conflict = 6,
    /// Not now: busy, full, not accepting, or the time given was over.
    Unavailable = 7,
    /// Payment.
    Payment = 8,
    /// The pod is in trouble (image not found, …) and was given up.
    Trouble = 9,
    /// The pod ended, and not because it was asked to.
    Ended = 10,
    /// No connection to the provider.
    Unreachable = 11,
    /// The provider's stack is not proven and --allow-unattested was not given.
    NotAttested = 12,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    pub const ALL: [Exit; 14] = [
        Exit::Ok,
        Exit::Failure,
        Exit::Usage,
        Exit::Invalid,
        Exit::NotServed,
        Exit::Credential,
        Exit::Conflict,
        Exit::Unavailable,
        Exit::Payment,
        Exit::Trouble,
        Exit::Ended,
        Exit::Unreachable,
        Exit::NotAttested,
        Exit::Interrupted,
    ];

    pub fn status(self) -> u8 {
        self as u8
    }

    /// One line of `--help`.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "done, running, or ended as asked",
            Exit::Failure => "any other failure",
            Exit::Usage => "arguments, key or provider missing or wrong",
            Exit::Invalid => "invalid manifest or request",
            Exit::NotServed => "valid, but not served",
            Exit::Credential => "signature refused",
            Exit::Conflict => "conflict with the pod as it is: other content, other life, ended already, not found",
            Exit::Unavailable => "not now: busy, no capacity, not accepting, or out of time",
            Exit::Payment => "payment refused",
            Exit::Trouble => "the pod is in trouble (image not found, ...)",
            Exit::Ended => "the pod ended, and not because it was asked to",
            Exit::Unreachable => "no connection to the provider",
            Exit::NotAttested => "no accepted evidence (see --allow-unattested)",
            Exit::Interrupted => "interrupted",
        }
    }

    /// Of a refusal.
    pub(crate) fn of(outcome: &Outcome) -> Exit {
        match outcome.class() {
            None | Some(Class::Progress) => Exit::Failure,
            Some(Class::Invalid) => Exit::Invalid,
            Some(Class::NotServed) => Exit::NotServed,
            Some(Class::Credential) => Exit::Credential,
            Some(Class::Conflict | Class::Ended) => Exit::Conflict,
            Some(Class::Unavailable) => Exit::Unavailable,
            Some(Class::Payment) => Exit::Payment,
            Some(Class::Trouble) => Exit::Trouble,
        }
    }
}

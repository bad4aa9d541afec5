//! One request to the API server: at most four seconds, its failure named by verb, kind and object.

use std::{fmt, future::Future, time::Duration};

use apocryph_crd::ApocryphPod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};

use super::FIELD_MANAGER;
use crate::{client::REQUEST_DEADLINE, model::key::PodName};

/// First and longest wait between two tries of a request for which somebody waits.
pub const RETRY_MIN: Duration = Duration::from_millis(200);
pub const RETRY_MAX: Duration = Duration::from_secs(5);
/// HTTP status of a server that asks to come again.
const TOO_MANY_REQUESTS: u16 = 429;
/// Characters of the server's words that a sentence quotes.
const WORDS_MAX: usize = 512;

#[derive(Debug, thiserror::Error)]
#[error("{verb} {kind} {name}: {cause}")]
pub struct Failed {
    pub verb: &'static str,
    pub kind: &'static str,
    pub name: String,
    #[source]
    pub cause: Cause,
}

#[derive(Debug)]
pub enum Cause {
    /// Whether it was carried out is not known.
    NoAnswer(String),
    /// The server answered that it did not, and why.
    Refused(Box<kube::core::Status>),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::NoAnswer(why) => write!(f, "no answer: {why}"),
            Cause::Refused(status) => write!(f, "{} ({})", status.message, status.code),
        }
    }
}

impl std::error::Error for Cause {}

impl Failed {
    fn status(&self) -> Option<&kube::core::Status> {
        match &self.cause {
            Cause::NoAnswer(_) => None,
            Cause::Refused(status) => Some(status),
        }
    }

    fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// The server's own words.
    pub fn message(&self) -> String {
        match &self.cause {
            Cause::NoAnswer(why) => why.clone(),
            Cause::Refused(status) => status.message.clone(),
        }
    }

    /// The server's own words where it answered, clipped; `None`: it did not.
    pub fn refusal(&self) -> Option<String> {
        self.status()
            .map(|status| status.message.chars().take(WORDS_MAX).collect())
    }

    /// The field at fault, where the server names one: a path in the object that was written.
    pub fn field(&self) -> Option<String> {
        let causes = &self.status()?.details.as_ref()?.causes;
        let named = causes.iter().map(|cause| &cause.field).find(|field| !field.is_empty());
        named.cloned()
    }

    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// AlreadyExists or a resourceVersion that is no longer the current one.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// The object itself is refused: the same object never passes.
    pub fn is_invalid(&self) -> bool {
        matches!(self.code(), Some(400 | 422))
    }

    /// Whether it was carried out is not known, or the server asks to come again.
    pub fn is_unknown(&self) -> bool {
        match self.code() {
            None => true,
            Some(code) => code >= 500 || code == TOO_MANY_REQUESTS || code == 408,
        }
    }
}

/// Runs one request. `name` is for people.
pub async fn ask<T>(
    verb: &'static str,
    kind: &'static str,
    name: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failed> {
    let cause = match tokio::time::timeout(REQUEST_DEADLINE, request).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Cause::Refused(status),
        Ok(Err(error)) => Cause::NoAnswer(error.to_string()),
        Err(_) => Cause::NoAnswer(format!("none within {} s", REQUEST_DEADLINE.as_secs())),
    };
    Err(Failed {
        verb,
        kind,
        name: name.to_owned(),
        cause,
    })
}

/// Not found is an answer.
pub fn found<T>(answer: Result<T, Failed>) -> Result<Option<T>, Failed> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(failed) if failed.is_not_found() => Ok(None),
        Err(failed) => Err(failed),
    }
}

/// A fresh read of an ApocryphPod.
pub async fn read(api: &Api<ApocryphPod>, name: &PodName) -> Result<Option<ApocryphPod>, Failed> {
    found(ask("get", "ApocryphPod", name.as_str(), api.get(name.as_str())).await)
}

/// A merge patch of an ApocryphPod, not of its status. `patch` carries the resourceVersion that is known: on another version
/// it is a conflict.
pub async fn merge(api: &Api<ApocryphPod>, name: &str, patch: serde_json::Value) -> Result<ApocryphPod, Failed> {
    let by_us = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    ask(
        "patch",
        "ApocryphPod",
        name,
        api.patch(name, &by_us, &Patch::Merge(patch)),
    )
    .await
}

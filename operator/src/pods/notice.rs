//! The end with notice: the admin annotates an ApocryphPod with `apocryph.network/end: "REASON, WHEN"`. The publisher is told at
//! once, and the pod ends then. WHEN is a time (RFC 3339) or a duration; a duration is replaced by the time that it means as
//! soon as it is read, so that a restart of the operator changes nothing. Without the annotation nothing was said.

use std::{sync::Arc, time::Duration};

use apocryph_crd::{ApocryphPod, condition};
use apocryph_proto::outcome::Code;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Condition,
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::{
    annotation,
    api::Failed,
    reconcile::{Context, patch_object},
    status::{At, set},
};
use crate::model::span::span;

/// Characters of the reason.
pub const REASON_MAX: usize = 256;
/// Characters of a wrong value that are quoted.
const QUOTED_MAX: usize = 64;

/// An end that is to come, or has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// One line, not empty.
    pub reason: String,
    pub at: Timestamp,
}

impl Notice {
    /// As it stands in the annotation.
    pub fn written(&self) -> String {
        format!("{}, {}", self.reason, self.at)
    }

    /// For people.
    pub fn sentence(&self) -> String {
        format!("The provider's admin ends the pod at {}: {}.", self.at, self.plain())
    }

    /// The reason without a full stop of its own.
    pub fn plain(&self) -> &str {
        self.reason.trim_end_matches('.')
    }
}

/// When an end is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    At(Timestamp),
    After(Duration),
}

impl When {
    /// Whole seconds.
    ///
    /// # Errors
    /// It is later than times go.
    pub fn from(self, now: Timestamp) -> Result<Timestamp, String> {
        let at = match self {
            When::At(at) => at,
            When::After(wait) => SignedDuration::try_from(wait)
                .ok()
                .and_then(|wait| now.checked_add(wait).ok())
                .ok_or("is later than any date")?,
        };
        Timestamp::from_second(at.as_second()).map_err(|_| "is not a time".to_owned())
    }
}

/// `REASON, WHEN`; the last comma divides.
///
/// # Errors
/// What is wrong, as it goes on after the annotation's name.
pub fn parse(text: &str) -> Result<(String, When), String> {
    let Some((reason, when)) = text.rsplit_once(',') else {
        return Err(format!(
            "is {}, without a comma: write REASON, WHEN (maintenance, 2h)",
            quoted(text)
        ));
    };
    let (reason, when) = (reason.trim(), when.trim());
    if reason.is_empty() {
        return Err("has no reason before the comma: write REASON, WHEN (maintenance, 2h)".to_owned());
    }
    if reason.chars().count() > REASON_MAX {
        return Err(format!("has a reason of more than {REASON_MAX} characters"));
    }
    if reason.chars().any(char::is_control) {
        return Err("has a line break or another control character in its reason".to_owned());
    }
    let when = when.parse().map(When::At).ok().or_else(|| span(when).map(When::After)).ok_or_else(|| {
        format!(
            "has {} after the last comma, which is neither a time (2026-11-24T17:00:00Z) nor a duration (90s, 2h, 1h30m, 7d)",
            quoted(when)
        )
    })?;
    Ok((reason.to_owned(), when))
}

fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(QUOTED_MAX).collect();
    let cut = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{}{cut}\"", shown.escape_debug())
}

/// What an object's annotation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Nothing,
    /// Why it is not understood; nothing ends for it.
    Wrong(String),
    /// From when it is read.
    After(String, Duration),
    At(Notice),
}

pub fn said(object: &ApocryphPod) -> Said {
    let Some(text) = object.annotations().get(annotation::END) else {
        return Said::Nothing;
    };
    match parse(text) {
        Err(fault) => Said::Wrong(format!(
            "The annotation {} {fault}. Nothing ends for it.",
            annotation::END
        )),
        Ok((reason, When::After(wait))) => Said::After(reason, wait),
        Ok((reason, when)) => match when.from(Timestamp::UNIX_EPOCH) {
            Ok(at) => Said::At(Notice { reason, at }),
            Err(fault) => Said::Wrong(format!("The annotation {} {fault}.", annotation::END)),
        },
    }
}

/// The notice of an object, once its time is known.
pub fn notice(object: &ApocryphPod) -> Option<Notice> {
    match said(object) {
        Said::At(notice) => Some(notice),
        Said::Nothing | Said::Wrong(_) | Said::After(..) => None,
    }
}

/// What follows from the annotation now.
pub(super) enum Heeded {
    /// It is time.
    Due(Arc<ApocryphPod>),
    /// The pod goes on; look again after the time that is left.
    Left(Arc<ApocryphPod>, Option<Duration>),
}

/// # Errors
/// The time could not be written down.
pub(super) async fn heed(context: &Context, object: Arc<ApocryphPod>) -> Result<Heeded, Failed> {
    let now = (context.clock)();
    let (object, at) = match said(&object) {
        Said::Nothing | Said::Wrong(_) => return Ok(Heeded::Left(object, None)),
        Said::At(notice) => (object, notice.at),
        Said::After(reason, wait) => {
            // It was bounded when it was read.
            let Ok(at) = When::After(wait).from(now) else {
                return Ok(Heeded::Left(object, None));
            };
            let notice = Notice { reason, at };
            let patch = serde_json::json!({"metadata": {
                "resourceVersion": object.metadata.resource_version,
                "annotations": {annotation::END: notice.written()},
            }});
            let object = Arc::new(patch_object(context, &object, patch).await?);
            tracing::info!(pod = %object.name_any(), at = %notice.at, reason = %notice.reason, "the admin announced the end");
            (object, at)
        }
    };
    let left = at.duration_since(now);
    if left <= SignedDuration::ZERO {
        return Ok(Heeded::Due(object));
    }
    Ok(Heeded::Left(object, Duration::try_from(left).ok()))
}

/// The condition that tells of it. One that was called off stays, so that an Event of before is not the last word.
pub(super) fn tell(object: &ApocryphPod, conditions: &mut Vec<Condition>, at: At) {
    if object.spec.end.is_some() {
        return;
    }
    let before = conditions.iter().position(|one| one.type_ == condition::END_ANNOUNCED);
    let wrong = before.filter(|index| conditions[*index].reason == Code::InvalidEndAnnotation.reason());
    let (status, code, message) = match said(object) {
        Said::At(notice) => (true, Code::EndAnnounced, notice.sentence()),
        Said::Wrong(fault) => (false, Code::InvalidEndAnnotation, fault),
        // In a moment its time is known.
        Said::After(..) => return,
        Said::Nothing => match (before, wrong) {
            (_, Some(index)) => {
                conditions.remove(index);
                return;
            }
            (Some(_), None) => (
                false,
                Code::EndCalledOff,
                "The end that was announced was called off.".to_owned(),
            ),
            (None, None) => return,
        },
    };
    set(conditions, condition::END_ANNOUNCED, status, code, &message, at);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_reason_and_a_time_or_a_duration() {
        let hours = |hours: u64| When::After(Duration::from_secs(hours * 3600));
        for (text, reason, when) in [
            ("maintenance, 2h", "maintenance", hours(2)),
            ("moving house, sorry,2d", "moving house, sorry", hours(48)),
            ("now, 0s", "now", hours(0)),
            ("x, 2026-11-24T17:00:00Z", "x", When::At(time("2026-11-24T17:00:00Z"))),
            (
                "x, 2026-11-24T18:00:00+01:00",
                "x",
                When::At(time("2026-11-24T17:00:00Z")),
            ),
        ] {
            assert_eq!(parse(text), Ok((reason.to_owned(), when)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("", "is \"\", without a comma"),
            ("maintenance", "is \"maintenance\", without a comma"),
            (" , 2h", "has no reason"),
            ("x, tomorrow", "has \"tomorrow\" after the last comma"),
            ("x, 2", "has \"2\" after the last comma"),
            ("x, ", "has \"\" after the last comma"),
            ("x, 2h, please", "has \"please\" after the last comma"),
            ("x, 2026-11-24", "has \"2026-11-24\" after the last comma"),
            ("a\nb, 2h", "has a line break"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.starts_with(says), "{text}: {fault}");
        }
        let long = format!("{}, 2h", "x".repeat(REASON_MAX + 1));
        assert!(parse(&long).unwrap_err().contains("256"));
    }

    proptest! {
        #[test]
        fn what_is_written_down_is_read_again(reason in "[^\\p{C}]{1,40}", seconds in 0i64..4_000_000_000) {
            let reason = reason.trim().to_owned();
            prop_assume!(!reason.is_empty());
            let notice = Notice { reason, at: Timestamp::from_second(seconds).unwrap() };
            let (reason, when) = parse(&notice.written()).unwrap();
            prop_assert_eq!(Notice { reason, at: when.from(Timestamp::UNIX_EPOCH).unwrap() }, notice);
        }

        #[test]
        fn no_text_is_a_crash(text in any::<String>()) {
            if let Ok((reason, when)) = parse(&text) {
                prop_assert!(!reason.is_empty() && reason.chars().count() <= REASON_MAX);
                let _at = when.from(time("2026-01-01T00:00:00Z"));
            }
        }
    }
}

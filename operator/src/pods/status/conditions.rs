//! Conditions through one setter.

use apocryph_crd::{ApocryphPodStatus, MESSAGE_MAX, clip};
use apocryph_proto::outcome::Code;
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// When and of what a condition speaks.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub generation: Option<i64>,
    pub now: Timestamp,
}

/// Sets one condition. The transition time changes with the status or the reason alone.
pub fn set(conditions: &mut Vec<Condition>, type_: &str, status: bool, reason: Code, message: &str, at: At) {
    let status = if status { "True" } else { "False" };
    let message = clip(message, MESSAGE_MAX);
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(there) => {
            // The reason is what a publisher is told: "since" speaks of it.
            if there.status != status || there.reason != reason.reason() {
                there.last_transition_time = Time(at.now);
            }
            there.status = status.to_owned();
            there.reason = reason.reason().to_owned();
            there.message = message;
            there.observed_generation = at.generation;
        }
        None => conditions.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.reason().to_owned(),
            message,
            last_transition_time: Time(at.now),
            observed_generation: at.generation,
        }),
    }
}

pub fn condition_of<'a>(status: &'a ApocryphPodStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// Is the Pod's condition True?
pub(super) fn pod_is(pod: &Pod, type_: &str) -> bool {
    pod.status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| condition.type_ == type_ && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> At {
        At {
            generation: Some(second),
            now: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn the_transition_time_is_kept_while_status_and_reason_stay() {
        let mut conditions = Vec::new();
        set(&mut conditions, "Ready", false, Code::Starting, "a", at(1));
        set(&mut conditions, "Ready", false, Code::Starting, "b", at(2));
        let now = |conditions: &[Condition]| conditions[0].last_transition_time.0.as_second();
        assert_eq!(
            (
                now(&conditions),
                conditions[0].message.as_str(),
                conditions[0].observed_generation
            ),
            (1, "b", Some(2))
        );
        set(&mut conditions, "Ready", false, Code::Degraded, "b", at(3));
        assert_eq!(now(&conditions), 3);
        set(&mut conditions, "Ready", true, Code::Running, "c", at(4));
        assert_eq!((now(&conditions), conditions.len()), (4, 1));
    }
}

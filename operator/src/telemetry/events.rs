//! Kubernetes Events: what `kubectl describe` tells of an ApocryphPod, the admin's ConfigMaps and the operator's own Pod. They tell; nothing depends
//! on them, so one that cannot be written is logged and forgotten.

use std::time::Duration;

use apocryph_crd::ApocryphPod;
use apocryph_proto::outcome::Code;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

/// Who reports.
pub const REPORTER: &str = "apocryph-provider";
/// An Event is not worth more than this.
const TIMEOUT: Duration = Duration::from_secs(4);
/// The API server's bound on a note, in bytes.
const NOTE_MAX: usize = 1024;

/// Cheap to clone. Events of cluster-scoped objects go into the namespace `default`.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// `instance`: the operator Pod's name.
    pub fn new(client: Client, instance: Option<String>) -> Events {
        Events {
            recorder: Recorder::new(
                client,
                Reporter {
                    controller: REPORTER.to_owned(),
                    instance,
                },
            ),
        }
    }

    /// What came to be of a pod.
    pub async fn of_pod(&self, pod: &ApocryphPod, code: Code, message: &str, warning: bool) {
        self.publish(pod.object_ref(&()), code.reason(), message, "Reconcile", warning)
            .await;
    }

    /// How a ConfigMap of the admin was read.
    pub async fn of_edit(&self, config: &ConfigMap, reason: &str, message: &str, action: &'static str, warning: bool) {
        self.publish(config.object_ref(&()), reason, message, action, warning)
            .await;
    }

    /// What is wrong with this process' own surroundings.
    pub async fn of_own_pod(&self, pod: &ObjectReference, code: Code, message: &str) {
        self.publish(pod.clone(), code.reason(), message, "Check", true).await;
    }

    async fn publish(&self, about: ObjectReference, reason: &str, message: &str, action: &str, warning: bool) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(clipped(message)),
            action: action.to_owned(),
            secondary: None,
        };
        match tokio::time::timeout(TIMEOUT, self.recorder.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, reason, "event could not be written"),
            Err(_) => tracing::warn!(reason, "event could not be written in time"),
        }
    }
}

fn clipped(message: &str) -> String {
    let mut end = message.len().min(NOTE_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_clipped_between_characters() {
        assert_eq!(clipped("short"), "short");
        let long = format!("{}ä", "x".repeat(NOTE_MAX - 1));
        assert_eq!(clipped(&long), "x".repeat(NOTE_MAX - 1));
    }
}

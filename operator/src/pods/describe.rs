//! Everything that a publisher may learn of one pod of his: pure functions of what was read.

use std::{sync::Arc, time::SystemTime};

use apocryph_crd::ApocryphPod;
use apocryph_proto::{
    limits::{REASONS_DESCRIBED, REPLICAS_DESCRIBED},
    outcome::Code,
};
use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Node, PersistentVolumeClaim, Pod},
    apimachinery::pkg::apis::meta::v1::{self, Time},
    jiff::Timestamp,
};
use kube::ResourceExt;

use super::{
    annotation,
    status::{of_replica, of_this_life},
    view::{self, system_time},
};
use crate::model::description::{Condition, ContainerState, Description, Exit, Reason, Replica, State};

/// What was read of the pod.
pub struct Read<'a> {
    pub object: &'a ApocryphPod,
    /// By name.
    pub pods: &'a [Arc<Pod>],
    pub claims: &'a [Arc<PersistentVolumeClaim>],
    /// Where the Pods are.
    pub nodes: &'a [Arc<Node>],
    /// Of the ApocryphPod.
    pub events: &'a [Event],
    pub now: Timestamp,
}

/// `None`: not a pod that a publisher could have.
pub fn describe(read: &Read<'_>) -> Option<Description> {
    let Read {
        object,
        pods,
        claims,
        nodes,
        events,
        now,
    } = *read;
    let status = of_this_life(object);
    let started = object
        .annotations()
        .get(annotation::STARTED)
        .and_then(|at| at.parse::<Timestamp>().ok())
        .or_else(|| object.creation_timestamp().map(|created| created.0));
    Some(Description {
        record: view::record(object)?,
        status: view::status(object)?,
        started: started.map(system_time),
        ready_since: status.and_then(|status| time(status.ready_since.as_ref())),
        conditions: status
            .iter()
            .flat_map(|status| &status.conditions)
            .map(condition)
            .collect(),
        replicas: pods
            .iter()
            .take(REPLICAS_DESCRIBED)
            .map(|pod| replica(pod, claims, nodes, now))
            .collect(),
        reasons: reasons(events),
    })
}

fn time(time: Option<&Time>) -> Option<SystemTime> {
    time.map(|time| system_time(time.0))
}

fn condition(condition: &v1::Condition) -> Condition {
    let code = Code::parse(&condition.reason);
    Condition {
        type_: condition.type_.clone(),
        holds: condition.status == "True",
        code: code.map_or_else(|| condition.reason.clone(), |code| code.as_str().to_owned()),
        message: condition.message.clone(),
        since: system_time(condition.last_transition_time.0),
    }
}

fn replica(pod: &Pod, claims: &[Arc<PersistentVolumeClaim>], nodes: &[Arc<Node>], now: Timestamp) -> Replica {
    let (finding, ready) = of_replica(pod, claims, nodes, now);
    let status = pod.status.as_ref();
    Replica {
        name: pod.name_any(),
        ready,
        code: finding.code.as_str(),
        message: finding.message,
        remedy: finding.remedy,
        started: time(status.and_then(|status| status.start_time.as_ref())),
        containers: status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten())
            .map(container)
            .collect(),
    }
}

fn container(container: &ContainerStatus) -> ContainerState {
    let state = container.state.as_ref();
    let terminated = state.and_then(|state| state.terminated.as_ref());
    let running = state.and_then(|state| state.running.as_ref());
    let before = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    ContainerState {
        name: container.name.clone(),
        state: match (running, terminated) {
            (Some(running), _) => State::Running(time(running.started_at.as_ref())),
            (None, Some(terminated)) => State::Exited(time(terminated.finished_at.as_ref())),
            (None, None) => State::Waiting,
        },
        restarts: u32::try_from(container.restart_count).unwrap_or(0),
        last_exit: terminated.or(before).map(exit),
    }
}

fn exit(terminated: &ContainerStateTerminated) -> Exit {
    Exit {
        code: terminated.exit_code,
        at: time(terminated.finished_at.as_ref()),
        out_of_memory: terminated.reason.as_deref() == Some("OOMKilled"),
    }
}

/// Our own Events alone, whose words are ours; others tell of the cluster's inside.
fn reasons(events: &[Event]) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = events
        .iter()
        .filter(|event| event.reporting_component.as_deref() == Some(crate::telemetry::events::REPORTER))
        .filter_map(|event| {
            let series = event.series.as_ref();
            let at = series
                .and_then(|series| series.last_observed_time.as_ref())
                .or(event.event_time.as_ref())
                .map(|time| time.0)
                .or_else(|| Some(event.metadata.creation_timestamp.as_ref()?.0))?;
            Some(Reason {
                code: Code::parse(event.reason.as_deref()?)?.as_str(),
                message: event.message.clone().unwrap_or_default(),
                at: system_time(at),
                count: series
                    .and_then(|series| series.count)
                    .and_then(|count| u32::try_from(count).ok())
                    .unwrap_or(1),
            })
        })
        .collect();
    reasons.sort_by_key(|one| std::cmp::Reverse(one.at));
    reasons.truncate(REASONS_DESCRIBED);
    reasons
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const AT: &str = "2026-01-01T00:00:00Z";

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn event(component: &str, reason: &str, minute: u32, count: Option<u32>) -> Event {
        let at = format!("2026-01-01T00:{minute:02}:00.000000Z");
        let series = count.map(|count| json!({"count": count, "lastObservedTime": at}));
        read(json!({
            "metadata": {"name": "x"}, "involvedObject": {}, "reportingComponent": component, "reason": reason,
            "message": format!("it is {reason}"), "eventTime": "2026-01-01T00:00:00.000000Z", "series": series,
        }))
    }

    #[test]
    fn reasons_are_our_own_words_the_newest_first_and_a_bounded_number() {
        let ours = crate::telemetry::events::REPORTER;
        let mut events = vec![
            event("kubelet", "Running", 9, Some(1)),
            event(ours, "FromTheFuture", 9, Some(1)),
            event(ours, "PullingImage", 1, Some(1)),
            event(ours, "ContainerExited", 3, Some(4)),
            event(ours, "Accepted", 0, None),
        ];
        let told = reasons(&events);
        let told: Vec<_> = told.iter().map(|reason| (reason.code, reason.count)).collect();
        assert_eq!(told, [("container_exited", 4), ("pulling_image", 1), ("accepted", 1)]);
        events.extend((0..50).map(|minute| event(ours, "Running", minute, Some(1))));
        assert_eq!(reasons(&events).len(), REASONS_DESCRIBED);
    }

    #[test]
    fn a_container_that_comes_and_goes_is_told_with_its_last_exit() {
        let pod: Pod = read(json!({
            "metadata": {"name": "workload-1"},
            "spec": {"nodeName": "n", "containers": [{"name": "web", "image": "x"}]},
            "status": {"startTime": AT, "containerStatuses": [{
                "name": "web", "image": "x", "imageID": "", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": AT}},
            }]},
        }));
        let at = AT.parse::<Timestamp>().unwrap();
        let told = replica(&pod, &[], &[], at);
        let container = ContainerState {
            name: "web".to_owned(),
            state: State::Waiting,
            restarts: 3,
            last_exit: Some(Exit {
                code: 137,
                at: Some(system_time(at)),
                out_of_memory: true,
            }),
        };
        assert_eq!(
            (told.code, told.ready, told.containers),
            ("out_of_memory", false, vec![container])
        );
        assert!(!told.remedy.is_empty());

        let mut going = pod;
        going.metadata.deletion_timestamp = Some(Time(at));
        assert_eq!(replica(&going, &[], &[], at).code, "ending");
    }

    #[test]
    fn the_status_of_an_older_life_is_not_told() {
        let object = |life: i64| -> ApocryphPod {
            let key = crate::model::key::PodKey {
                publisher: crate::model::key::Publisher([0x11; 20]),
                pod_id: crate::model::key::PodId([0x22; 32]),
            };
            read(json!({
                "apiVersion": "apocryph.network/v1alpha1", "kind": "ApocryphPod",
                "metadata": {"name": key.name().as_str(), "annotations": {annotation::STARTED: AT}},
                "spec": {"publisher": key.publisher.to_string(), "podId": key.pod_id.to_string(), "life": life,
                    "payment": {"free": {"table": "open"}}, "containers": [], "replicas": 1},
                "status": {"life": 1, "readySince": AT, "conditions": [{"type": "Ready", "status": "False",
                    "reason": "ImageNotFound", "message": "there is none", "lastTransitionTime": AT}]},
            }))
        };
        let told = |life: i64| {
            describe(&Read {
                object: &object(life),
                pods: &[],
                claims: &[],
                nodes: &[],
                events: &[],
                now: AT.parse().unwrap(),
            })
            .unwrap()
        };
        let (present, new) = (told(1), told(2));
        let ready: Vec<_> = present
            .conditions
            .iter()
            .map(|one| (one.code.as_str(), one.holds))
            .collect();
        assert_eq!(ready, [("image_not_found", false)]);
        assert!(present.ready_since.is_some() && present.started.is_some());
        assert_eq!((new.conditions.len(), new.ready_since), (0, None));
    }
}

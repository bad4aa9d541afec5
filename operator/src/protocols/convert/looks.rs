//! Out: what a publisher learns of pods that exist, beside their status.

use apocryph_proto::v0::provision_pod::{self as wire, pod_reply::Message};

use super::{
    replies::{phase, status_message},
    unix_seconds,
};
use crate::model::{
    description::{Condition, ContainerState, Description, Exit, Reason, Replica, State},
    logs::{LogLine, LogLines},
    pod::{End, LifeState, Listed, Terms},
    status::PodStatus,
};

fn reply(message: Message, last: bool) -> wire::PodReply {
    wire::PodReply {
        r#final: last,
        message: Some(message),
    }
}

/// Not final.
pub fn log_lines(lines: LogLines) -> wire::PodReply {
    let LogLines {
        replica,
        container,
        lines,
    } = lines;
    let line = |LogLine { at, text, cut }| wire::LogLine { at, text, cut };
    let message = wire::LogLines {
        replica,
        container_name: container,
        lines: lines.into_iter().map(line).collect(),
    };
    reply(Message::Log(message), false)
}

/// How the pod stands, in between the lines.
pub fn log_status(status: &PodStatus, at: u64) -> wire::PodReply {
    reply(Message::Status(status_message(status, at)), false)
}

/// How the pod stood after the last line; final.
pub fn log_end(status: &PodStatus, at: u64) -> wire::PodReply {
    reply(Message::Status(status_message(status, at)), true)
}

pub fn list_page(pods: &[Listed], last: bool) -> wire::PodReply {
    let entry = |Listed { key, status }: &Listed| wire::PodEntry {
        name: status.name.to_string(),
        pod_id: key.pod_id.0.to_vec(),
        phase: phase(status.phase).into(),
        code: status.code.as_str().to_owned(),
        since: unix_seconds(status.since),
        life: status.life,
        replicas_ready: status.replicas_ready,
        replicas: status.replicas,
    };
    let page = wire::PodList {
        pods: pods.iter().map(entry).collect(),
    };
    reply(Message::List(page), last)
}

/// Final.
pub fn description(description: Description, at: u64) -> wire::PodReply {
    let Description {
        record,
        status,
        started,
        ready_since,
        conditions,
        replicas,
        reasons,
    } = description;
    let Terms::Free { table } = record.terms;
    let end = match record.state {
        LifeState::Alive => None,
        LifeState::Ending(end) | LifeState::Ended(end) => Some(end),
    };
    let message = wire::PodDescription {
        since: unix_seconds(status.since),
        status: Some(status_message(&status, at)),
        pod_id: record.key.pod_id.0.to_vec(),
        started_at: started.map_or(0, unix_seconds),
        ready_since: ready_since.map_or(0, unix_seconds),
        terms: Some(wire::Terms {
            payment: Some(wire::terms::Payment::Free(wire::FreeTerms { table })),
        }),
        conditions: conditions.into_iter().map(condition).collect(),
        replicas: replicas.into_iter().map(replica).collect(),
        reasons: reasons.into_iter().map(reason).collect(),
        end: end.map(|End { at, reason, by }| wire::End {
            code: reason.as_str().to_owned(),
            at: unix_seconds(at),
            by: by.as_str().to_owned(),
        }),
    };
    reply(Message::Description(message), true)
}

fn condition(condition: Condition) -> wire::Condition {
    let Condition {
        type_,
        holds,
        code,
        message,
        since,
    } = condition;
    wire::Condition {
        r#type: type_,
        holds,
        code,
        message,
        since: unix_seconds(since),
    }
}

fn replica(replica: Replica) -> wire::Replica {
    let Replica {
        name,
        ready,
        code,
        message,
        remedy,
        started,
        containers,
    } = replica;
    wire::Replica {
        name,
        ready,
        code: code.to_owned(),
        message,
        remedy,
        started_at: started.map_or(0, unix_seconds),
        containers: containers.into_iter().map(container).collect(),
    }
}

fn container(container: ContainerState) -> wire::ContainerState {
    use wire::container_state::State as Wire;
    let ContainerState {
        name,
        state,
        restarts,
        last_exit,
    } = container;
    let (state, since) = match state {
        State::Waiting => (Wire::Waiting, None),
        State::Running(since) => (Wire::Running, since),
        State::Exited(since) => (Wire::Exited, since),
    };
    wire::ContainerState {
        name,
        state: state.into(),
        since: since.map_or(0, unix_seconds),
        restarts,
        last_exit: last_exit.map(
            |Exit {
                 code,
                 at,
                 out_of_memory,
             }| wire::Exit {
                exit_code: code,
                at: at.map_or(0, unix_seconds),
                out_of_memory,
            },
        ),
    }
}

fn reason(reason: Reason) -> wire::Reason {
    let Reason {
        code,
        message,
        at,
        count,
    } = reason;
    wire::Reason {
        code: code.to_owned(),
        message,
        at: unix_seconds(at),
        count,
    }
}

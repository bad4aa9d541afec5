//! An ApocryphPod as sessions see it: pure functions of the object alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apocryph_crd::{ApocryphPod, condition};
use apocryph_proto::outcome::{Class, Code};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{
    notice,
    status::{condition_of, of_this_life},
};
use crate::model::{
    key::{PodId, PodKey, PodName, Publisher},
    pod::{End, EndedBy, LifeState, PodRecord, Tag, Terms},
    status::{Address, Phase, PodStatus},
};

/// `None`: not a pod that a publisher could have (its name is not the one derived from publisher and pod id).
pub fn record(object: &ApocryphPod) -> Option<PodRecord> {
    let spec = &object.spec;
    let key = PodKey {
        publisher: Publisher::parse(&spec.publisher)?,
        pod_id: PodId::parse(&spec.pod_id)?,
    };
    let name = PodName::parse(&object.name_any()).filter(|name| *name == key.name())?;
    Some(PodRecord {
        key,
        name,
        life: u64::try_from(spec.life).ok()?,
        tag: spec.tag.clone().map(Tag),
        terms: Terms::Free {
            table: spec.payment.free.table.clone().unwrap_or_default(),
        },
        state: state(object),
        generation: object.metadata.generation.unwrap_or(0),
        delegations_not_before: spec
            .delegations_not_before
            .and_then(|at| u64::try_from(at).ok())
            .unwrap_or(0),
        version: object.resource_version().unwrap_or_default(),
    })
}

fn state(object: &ApocryphPod) -> LifeState {
    match (end(object), &object.metadata.deletion_timestamp) {
        // Until it is gone nothing new can take its place.
        (Some(end), Some(_)) => LifeState::Ending(end),
        (Some(end), None) if is_ended(object) => LifeState::Ended(end),
        (Some(end), None) => LifeState::Ending(end),
        (None, _) => LifeState::Alive,
    }
}

/// The order to end. `kubectl delete` is one, before the controller has written it down.
fn end(object: &ApocryphPod) -> Option<End> {
    match (&object.spec.end, &object.metadata.deletion_timestamp) {
        (Some(end), _) => Some(End {
            at: system_time(end.at.0),
            // A reason of a newer version still is an end.
            reason: Code::parse(&end.reason).unwrap_or(Code::Ended),
            by: [EndedBy::Publisher, EndedBy::Admin]
                .into_iter()
                .find(|by| by.as_str() == end.by)
                .unwrap_or(EndedBy::Controller),
        }),
        (None, Some(at)) => Some(End {
            at: system_time(at.0),
            reason: Code::DeletedByAdmin,
            by: EndedBy::Admin,
        }),
        (None, None) => None,
    }
}

/// Has the ordered end been carried out, in this life?
pub fn is_ended(object: &ApocryphPod) -> bool {
    of_this_life(object)
        .and_then(|status| condition_of(status, condition::ENDED))
        .is_some_and(|ended| object.spec.end.is_some() && ended.status == "True")
}

/// What a session is told. `None`: see [`record`].
pub fn status(object: &ApocryphPod) -> Option<PodStatus> {
    let PodRecord {
        name,
        life,
        generation,
        state,
        ..
    } = record(object)?;
    let seen = of_this_life(object);
    let condition = |type_| seen.and_then(|status| condition_of(status, type_));
    let created = object
        .metadata
        .creation_timestamp
        .as_ref()
        .map_or(UNIX_EPOCH, |at| system_time(at.0));
    let told = PodStatus {
        name,
        life,
        generation,
        phase: Phase::Accepted,
        code: Code::Accepted,
        message: "The pod is accepted.".to_owned(),
        remedy: String::new(),
        addresses: Vec::new(),
        replicas: u32::try_from(object.spec.replicas).unwrap_or(0),
        replicas_ready: 0,
        since: created,
        ends_at: None,
    };
    match state {
        LifeState::Ended(end) => Some(PodStatus {
            phase: Phase::Ended,
            code: end.reason,
            message: condition(condition::ENDED).map_or_else(String::new, |ended| ended.message.clone()),
            since: condition(condition::ENDED).map_or(end.at, |ended| system_time(ended.last_transition_time.0)),
            ..told
        }),
        LifeState::Ending(end) => Some(PodStatus {
            phase: Phase::Ending,
            code: Code::Ending,
            message: condition(condition::ENDED)
                .filter(|ended| ended.status != "True")
                .map_or_else(|| "The end was ordered.".to_owned(), |ended| ended.message.clone()),
            since: end.at,
            ..told
        }),
        LifeState::Alive => Some(announced(
            object,
            match (seen, condition(condition::READY)) {
                (Some(seen), Some(ready)) => {
                    let code = Code::parse(&ready.reason).unwrap_or(Code::Preparing);
                    let is_ready = ready.status == "True";
                    PodStatus {
                        phase: phase(code, is_ready, seen.ready_since.is_some()),
                        code,
                        message: ready.message.clone(),
                        remedy: seen.remedy.clone().unwrap_or_default(),
                        addresses: seen.addresses.iter().map(address).collect(),
                        replicas_ready: seen
                            .ready_replicas
                            .and_then(|ready| u32::try_from(ready).ok())
                            .unwrap_or(0),
                        since: system_time(ready.last_transition_time.0),
                        ..told
                    }
                }
                _ => told,
            },
        )),
    }
}

/// An announced end is what matters most; what else there is to say follows it.
fn announced(object: &ApocryphPod, told: PodStatus) -> PodStatus {
    let Some(notice) = notice::notice(object) else {
        return told;
    };
    let (message, remedy) = if told.code == Code::Running {
        (notice.sentence(), Code::EndAnnounced.remedy().to_owned())
    } else {
        (
            format!("{} {}", notice.sentence(), told.message),
            format!("{} {}", Code::EndAnnounced.remedy(), told.remedy)
                .trim_end()
                .to_owned(),
        )
    };
    PodStatus {
        code: Code::EndAnnounced,
        message,
        remedy,
        ends_at: Some(system_time(notice.at)),
        ..told
    }
}

fn phase(code: Code, ready: bool, was_ready: bool) -> Phase {
    match code {
        _ if ready => Phase::Running,
        _ if was_ready => Phase::Degraded,
        Code::Scheduled => Phase::Scheduled,
        Code::PullingImage
        | Code::ImageNotFound
        | Code::RegistryUnreachable
        | Code::ImageUnauthorized
        | Code::ImageOtherPlatform
        | Code::ImagePullFailed
        | Code::InvalidImageName => Phase::Pulling,
        Code::Unschedulable | Code::VolumeUnbound | Code::PodRefused | Code::InvalidSpec | Code::WrongName => {
            Phase::Accepted
        }
        code if code.class() == Class::Trouble => Phase::Starting,
        Code::Starting | Code::Running => Phase::Starting,
        _ => Phase::Accepted,
    }
}

fn address(address: &apocryph_crd::Address) -> Address {
    Address {
        container: address.container.clone(),
        port: address.port.clone(),
        multiaddr: address.multiaddr.clone(),
    }
}

/// Times before 1970 do not occur.
pub(super) fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::try_from(at.as_duration()).unwrap_or_default()
}

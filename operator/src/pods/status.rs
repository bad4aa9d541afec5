//! What is seen of a pod, as the status that kubectl and the publisher read: pure functions of what lives. Each state has
//! one code, one sentence and the remedy; sentences have no counters, times or ids of requests in them, so a state that lasts
//! is written once.

mod addresses;
mod cause;
mod conditions;
mod image;

use std::{sync::Arc, time::Duration};

use apocryph_crd::{Address, ApocryphPod, ApocryphPodStatus, condition};
use apocryph_proto::outcome::{Class, Code};
use k8s_openapi::{
    api::core::v1::{Node, PersistentVolumeClaim, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

use super::{Exposure, apply::Applied, notice, validate::ValidatedPod};

pub use conditions::{At, condition_of, set};

/// One state: its code, one sentence, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    pub message: String,
    /// Empty: nothing is to be done.
    pub remedy: String,
}

impl Finding {
    pub fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            code,
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    fn is_trouble(&self) -> bool {
        self.code.class() == Class::Trouble
    }
}

/// What the judgement is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub pod: &'a ValidatedPod,
    pub applied: &'a Applied,
    pub pods: &'a [Arc<Pod>],
    pub claims: &'a [Arc<PersistentVolumeClaim>],
    /// Where the Pods are.
    pub nodes: &'a [Arc<Node>],
    pub exposure: &'a Exposure,
    /// Status of this life so far.
    pub before: Option<&'a ApocryphPodStatus>,
    /// This life was Ready once.
    pub was_ready: bool,
    pub now: Timestamp,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub finding: Finding,
    pub ready: bool,
    /// `None`: not known in this state.
    pub scheduled: Option<bool>,
    pub replicas: Option<i32>,
    pub ready_replicas: Option<i32>,
    pub addresses: Vec<Address>,
    /// Judge again then, although nothing changes.
    pub recheck: Option<Duration>,
}

impl Judgement {
    /// Of a pod of which nothing runs (yet).
    pub fn only(finding: Finding) -> Judgement {
        Judgement {
            finding,
            ready: false,
            scheduled: None,
            replicas: None,
            ready_replicas: None,
            addresses: Vec::new(),
            recheck: None,
        }
    }
}

/// A Pod that is meant to run: neither going nor done.
fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Failed" | "Succeeded"))
}

pub fn judge(facts: &Facts<'_>) -> Judgement {
    let Facts {
        pod,
        applied,
        pods,
        claims,
        nodes,
        exposure,
        before,
        was_ready,
        now,
    } = *facts;
    let active: Vec<&Pod> = pods.iter().map(Arc::as_ref).filter(|pod| is_active(pod)).collect();
    let wanted = usize::try_from(pod.replicas).unwrap_or(usize::MAX);
    let placed = active
        .iter()
        .filter(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()))
        .count();
    let ready_replicas = active
        .iter()
        .filter(|pod| conditions::pod_is(pod, "Ready"))
        .count()
        .min(wanted);

    let mut recheck = cause::Recheck::default();
    let found = if active.len() < wanted {
        cause::of_missing(&applied.deployment, pod)
    } else {
        worst(
            active
                .iter()
                .map(|one| cause::of_pod(one, claims, nodes, before, now, &mut recheck)),
        )
    };
    // The caches of Deployments and of Pods do not move together.
    let ready = is_available(applied, pod.replicas) && placed >= wanted && !found.is_trouble();
    let (finding, addresses) = if ready {
        let addresses = addresses::tell(pod, applied.service.as_deref(), nodes, exposure);
        let unreachable = pod.has_ports() && addresses.is_empty();
        (if unreachable { no_public_address() } else { running() }, addresses)
    } else {
        let known = before.map(|before| before.addresses.clone()).unwrap_or_default();
        (
            if was_ready && !found.is_trouble() {
                degraded()
            } else {
                found
            },
            known,
        )
    };
    let count = |number: usize| Some(i32::try_from(number).unwrap_or(i32::MAX));
    Judgement {
        finding,
        ready,
        scheduled: Some(placed >= wanted),
        replicas: count(wanted),
        ready_replicas: count(ready_replicas),
        addresses,
        recheck: recheck.after(),
    }
}

/// What is to be said of one Pod alone, and whether it is ready.
pub fn of_replica(
    pod: &Pod,
    claims: &[Arc<PersistentVolumeClaim>],
    nodes: &[Arc<Node>],
    now: Timestamp,
) -> (Finding, bool) {
    if pod.metadata.deletion_timestamp.is_some() {
        return (Finding::new(Code::Ending, "The replica is being stopped.", ""), false);
    }
    let found = cause::of_pod(pod, claims, nodes, None, now, &mut cause::Recheck::default());
    if conditions::pod_is(pod, "Ready") && !found.is_trouble() {
        return (Finding::new(Code::Running, "The replica is ready.", ""), true);
    }
    (found, false)
}

/// Is the Deployment as it was applied complete, by its controller's own word?
fn is_available(applied: &Applied, replicas: u32) -> bool {
    let Some(status) = &applied.deployment.status else {
        return false;
    };
    let wanted = i32::try_from(replicas).unwrap_or(i32::MAX);
    status.observed_generation >= applied.deployment.metadata.generation
        && status.available_replicas.unwrap_or(0) >= wanted
        && status.updated_replicas.unwrap_or(0) >= wanted
}

/// Trouble before progress; of progress the least.
fn worst(findings: impl Iterator<Item = Finding>) -> Finding {
    let rank = |finding: &Finding| match finding.code {
        Code::Preparing => 1,
        Code::WaitingForVolume => 2,
        Code::Scheduled => 3,
        Code::PullingImage => 4,
        Code::Starting => 5,
        _ => 0,
    };
    findings.min_by_key(rank).unwrap_or_else(preparing)
}

pub fn preparing() -> Finding {
    Finding::new(Code::Preparing, "The pod is being made.", "")
}

fn running() -> Finding {
    Finding::new(Code::Running, "Every replica is ready.", "")
}

fn degraded() -> Finding {
    Finding::new(
        Code::Degraded,
        "Fewer replicas are ready than asked for; they are being started again.",
        "",
    )
}

fn no_public_address() -> Finding {
    Finding::new(
        Code::NoPublicAddress,
        "Every replica is ready, but the provider has no address for its ports that it may tell.",
        "Ask the provider: its exposure has no addresses (chart value exposure).",
    )
}

/// The status that says so. What was there before of this life stays: when conditions changed, and since when it was ready.
pub fn tell(object: &ApocryphPod, judgement: &Judgement, now: Timestamp) -> ApocryphPodStatus {
    let Judgement {
        finding,
        ready,
        scheduled,
        replicas,
        ready_replicas,
        addresses,
        recheck: _,
    } = judgement;
    let before = of_this_life(object);
    let mut status = ApocryphPodStatus {
        observed_generation: object.metadata.generation,
        life: Some(object.spec.life),
        conditions: before.map(|before| before.conditions.clone()).unwrap_or_default(),
        addresses: addresses.clone(),
        replicas: *replicas,
        ready_replicas: *ready_replicas,
        remedy: (!finding.remedy.is_empty()).then(|| finding.remedy.clone()),
        ready_since: before.and_then(|before| before.ready_since.clone()),
    };
    if *ready && status.ready_since.is_none() {
        status.ready_since = Some(Time(now));
    }
    let at = At {
        generation: object.metadata.generation,
        now,
    };
    if let Some(scheduled) = *scheduled {
        let (reason, message) = if scheduled {
            (Code::Scheduled, "Every replica has a node.")
        } else {
            (
                if finding.is_trouble() {
                    finding.code
                } else {
                    Code::Preparing
                },
                "Not every replica has a node.",
            )
        };
        set(
            &mut status.conditions,
            condition::SCHEDULED,
            scheduled,
            reason,
            message,
            at,
        );
    }
    set(
        &mut status.conditions,
        condition::READY,
        *ready,
        finding.code,
        &finding.message,
        at,
    );
    notice::tell(object, &mut status.conditions, at);
    status
}

/// Status of an older life is ignored.
pub fn of_this_life(object: &ApocryphPod) -> Option<&ApocryphPodStatus> {
    object
        .status
        .as_ref()
        .filter(|status| status.life == Some(object.spec.life))
}

//! The start deadline: a pod that does not become ready gives its capacity back.

use std::{sync::Arc, time::Duration};

use apocryph_crd::{ApocryphPod, condition};
use apocryph_proto::outcome::Code;
use k8s_openapi::{
    api::apps::v1::Deployment,
    jiff::{SignedDuration, Timestamp},
};
use kube::{Api, ResourceExt};

use super::{
    annotation,
    api::{ask, found},
    apply::{Applied, is_built, was_ready},
    finalize,
    objects::WORKLOAD,
    reconcile::{Context, Error, Looked, Outcome},
    status::{condition_of, of_this_life},
};
use crate::model::{key::NAMESPACE_PREFIX, pod::EndedBy};

/// A pod over its deadline whose Deployment is available after all: the caches are behind, or its Pods are in trouble again.
const AVAILABLE_RETRY: Duration = Duration::from_secs(5);

/// Looks again when the start deadline is over; ends the pod when it is.
pub async fn or_overdue(
    context: &Context,
    object: &ApocryphPod,
    applied: Option<&Applied>,
    looked: Looked,
) -> Result<Looked, Error> {
    if was_ready(object) {
        return Ok(looked);
    }
    match overdue(context, object, applied.map(|applied| applied.deployment.as_ref())) {
        Some(left) if left.is_zero() => give_up(context, object).await,
        Some(left) => Ok(Looked::new(looked.outcome, looked.again.min(left))),
        None => Ok(looked),
    }
}

/// What is left of the start deadline. It runs from when the Deployment was made; before there is one, from when the life was
/// asked for, admitted, or this process began to look, whichever is latest.
pub fn overdue(context: &Context, object: &ApocryphPod, deployment: Option<&Deployment>) -> Option<Duration> {
    let made = deployment
        .and_then(|deployment| deployment.metadata.creation_timestamp.as_ref())
        .map(|at| at.0);
    let asked = object
        .annotations()
        .get(annotation::STARTED)
        .and_then(|at| at.parse::<Timestamp>().ok())
        .or_else(|| object.metadata.creation_timestamp.as_ref().map(|at| at.0));
    // An own pod may have waited long for room.
    let admitted = of_this_life(object)
        .and_then(|status| condition_of(status, condition::ADMITTED))
        .map(|admitted| admitted.last_transition_time.0);
    let from = made.or_else(|| asked.into_iter().chain(admitted).chain([context.since]).max())?;
    let deadline = SignedDuration::try_from(context.settings.start_deadline).ok()?;
    let left = deadline - (context.clock)().duration_since(from);
    Some(Duration::try_from(left.max(SignedDuration::ZERO)).unwrap_or_default())
}

/// Orders the end `start_timeout`, unless a fresh look shows that the pod made it.
pub async fn give_up(context: &Context, object: &ApocryphPod) -> Result<Looked, Error> {
    // A Deployment in a namespace that was not made for this life says nothing of this life.
    if is_built(object) && is_available(context, object).await? {
        return Ok(Looked::new(Outcome::Waiting, AVAILABLE_RETRY));
    }
    let ordered = finalize::order(context, object, Code::StartTimeout, EndedBy::Controller).await?;
    finalize::finalize(context, Arc::new(ordered)).await
}

/// By a fresh read.
async fn is_available(context: &Context, object: &ApocryphPod) -> Result<bool, Error> {
    let space = format!("{}{}", NAMESPACE_PREFIX, object.name_any());
    let api = Api::<Deployment>::namespaced(context.client.clone(), &space);
    let fresh = found(ask("get", "Deployment", WORKLOAD, api.get(WORKLOAD)).await)?;
    let available = fresh
        .and_then(|deployment| deployment.status?.available_replicas)
        .unwrap_or(0);
    // Of zero replicas (a spec that does not validate) none is available.
    Ok(available >= object.spec.replicas.max(1))
}

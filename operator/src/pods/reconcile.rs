//! One look at an ApocryphPod: gather what is there, validate what is asked, build, apply the difference, tell the status; or
//! carry out the end. Idempotent; every look starts from the API alone.

use std::{sync::Arc, time::Duration};

use apocryph_crd::{ApocryphPod, FINALIZER};
use apocryph_proto::outcome::Code;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Namespace},
    jiff::Timestamp,
};
use kube::{Api, Client, ResourceExt, runtime::reflector::ObjectRef};

use super::{
    Clock, Settings,
    admit::{Admission, admit, write_admitted},
    annotation,
    api::{Failed, merge},
    apply::{self, Hands, Stop, annotate, apply, is_built, was_ready},
    deadline::{give_up, or_overdue, overdue},
    finalize,
    gather::{fresh_namespace, gather, nodes_of},
    notice::{self, Heeded},
    objects::{self, Decided, namespace},
    owned::Owned,
    report::write_status,
    status::{Facts, Finding, Judgement, judge, of_this_life},
    validate::{Invalid, ValidatedPod, validate},
    written::Written,
};
use crate::{
    model::{pod::EndedBy, services::Capacity},
    telemetry::events::Events,
    watches::Watches,
};

/// Everything is looked at again by then, whatever was missed.
pub const RESYNC: Duration = Duration::from_secs(600);
/// A cache that has not yet seen our own write.
pub(super) const SOON: Duration = Duration::from_millis(200);
/// Rights of a fresh RoleBinding.
const RIGHTS_RETRY: Duration = Duration::from_millis(500);
/// What the admin may have mended meanwhile is looked for again.
const MENDED_RETRY: Duration = Duration::from_secs(30);

/// What a look works with.
pub struct Context {
    pub client: Client,
    pub watches: Watches,
    pub owned: Owned,
    pub settings: Settings,
    pub capacity: Arc<dyn Capacity>,
    pub events: Events,
    pub written: Written,
    pub clock: Clock,
    /// Since when this process looks at pods: nobody's start deadline counts a time in which nobody looked.
    pub since: Timestamp,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something was written in the tenant's namespace.
    Applied,
    /// Nothing was to be written there.
    Unchanged,
    /// For something that is not an error: rights, an end being carried out, a spec that must change.
    Waiting,
    /// The pod has ended.
    Ended,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Unchanged => "unchanged",
            Outcome::Waiting => "waiting",
            Outcome::Ended => "ended",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    pub outcome: Outcome,
    /// Look again then, although nothing changes.
    pub again: Duration,
}

impl Looked {
    pub(super) fn new(outcome: Outcome, again: Duration) -> Looked {
        Looked {
            outcome,
            again: again.min(RESYNC),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Api(#[from] Failed),
    /// Something else writes the same field.
    #[error("{kind}{path} does not stay as it was written: something else writes it too")]
    Contested { kind: &'static str, path: String },
}

/// How long a failure waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Growing with each failure in a row.
    Growing,
    /// The object was changed meanwhile; the cache has the change in a moment.
    Moment,
}

impl Error {
    /// Metric label.
    pub fn category(&self) -> &'static str {
        match self {
            Error::Api(failed) if failed.is_conflict() => "conflict",
            Error::Api(failed) if failed.is_unknown() => "no_answer",
            Error::Api(failed) if failed.is_forbidden() => "forbidden",
            Error::Api(failed) if failed.is_invalid() => "invalid",
            Error::Api(_) => "refused",
            Error::Contested { .. } => "contested",
        }
    }

    pub fn wait(&self) -> Wait {
        match self {
            Error::Api(failed) if failed.is_conflict() => Wait::Moment,
            _ => Wait::Growing,
        }
    }
}

/// # Errors
/// The API server did not answer, refused, or something contests what is written. Nothing was ended for it.
pub async fn reconcile(context: &Context, object: Arc<ApocryphPod>) -> Result<Looked, Error> {
    let name = object.name_any();
    if context
        .written
        .behind(&name, "ApocryphPod", &name, object.metadata.resource_version.as_deref())
    {
        return Ok(Looked::new(Outcome::Waiting, SOON));
    }
    if object.spec.end.is_some() {
        return finalize::finalize(context, object).await;
    }
    if object.metadata.deletion_timestamp.is_some() {
        let ordered = finalize::order(context, &object, Code::DeletedByAdmin, EndedBy::Admin).await?;
        return finalize::finalize(context, Arc::new(ordered)).await;
    }
    let (object, left) = match notice::heed(context, object).await? {
        Heeded::Left(object, left) => (object, left),
        Heeded::Due(object) => {
            let ordered = finalize::order(context, &object, Code::DeletedByAdmin, EndedBy::Admin).await?;
            return finalize::finalize(context, Arc::new(ordered)).await;
        }
    };
    let looked = go_on(context, object).await?;
    Ok(Looked::new(
        looked.outcome,
        left.map_or(looked.again, |left| looked.again.min(left)),
    ))
}

/// A pod whose end nobody has ordered.
async fn go_on(context: &Context, object: Arc<ApocryphPod>) -> Result<Looked, Error> {
    let pod = match validate(&object, &context.settings) {
        Ok(pod) => pod,
        Err(Invalid { code, message, remedy }) => {
            let finding = Finding::new(code, message.clone(), remedy);
            if object.spec.tag.is_none() && !is_built(&object) {
                // What admission would have said to a publisher.
                write_admitted(context, object, finding, (false, code, &message)).await?;
                return Ok(Looked::new(Outcome::Waiting, RESYNC));
            }
            return refuse(context, object, finding).await;
        }
    };
    let object = with_finalizer(context, object).await?;
    match admit(context, object, &pod).await? {
        Admission::Admitted(object) => run(context, object, pod).await,
        Admission::NotYet(looked) => Ok(looked),
    }
}

/// Builds what the pod needs and says how it fares.
async fn run(context: &Context, mut object: Arc<ApocryphPod>, pod: ValidatedPod) -> Result<Looked, Error> {
    let namespace = match ground(context, &object, &pod).await? {
        Ground::Free(namespace) => namespace,
        Ground::Lost => {
            let ordered = finalize::order(context, &object, Code::NamespaceDeleted, EndedBy::Controller).await?;
            return finalize::finalize(context, Arc::new(ordered)).await;
        }
        Ground::Taken(finding) => {
            write_status(context, object.clone(), &Judgement::only(finding)).await?;
            return or_overdue(context, &object, None, Looked::new(Outcome::Waiting, RESYNC)).await;
        }
    };
    let decided = Decided::kept(namespace.as_deref(), decide(context));
    let seen = gather(
        &context.client,
        &context.watches,
        &context.owned,
        &context.written,
        &context.settings,
        &pod.name,
    )
    .await?;
    let objects = objects::build(&pod, &context.settings, decided);
    let hands = hands(context);
    let applied = match apply(&hands, &pod, &mut object, namespace.as_deref(), &seen, objects).await {
        Ok(applied) => applied,
        Err(stop) => return stopped(context, object, seen.deployment.as_deref(), stop).await,
    };
    let was_ready = ran(&object);
    let nodes = nodes_of(&context.watches, &seen.pods);
    let judgement = judge(&Facts {
        pod: &pod,
        applied: &applied,
        pods: &seen.pods,
        claims: &seen.claims,
        nodes: &nodes,
        exposure: &context.settings.exposure,
        before: of_this_life(&object),
        was_ready,
        now: hands.now,
    });
    if judgement.ready && !apply::was_ready(&object) {
        // Before the status, which may get lost: from here on no start deadline.
        let life = object.spec.life.to_string();
        object = Arc::new(annotate(&hands, &object, annotation::READY, &life).await?);
    }
    let object = write_status(context, object, &judgement).await?;
    let outcome = if applied.wrote {
        Outcome::Applied
    } else {
        Outcome::Unchanged
    };
    let looked = Looked::new(outcome, judgement.recheck.unwrap_or(RESYNC));
    if judgement.ready || was_ready {
        return Ok(looked);
    }
    or_overdue(context, &object, Some(&applied), looked).await
}

fn hands(context: &Context) -> Hands<'_> {
    Hands {
        client: &context.client,
        settings: &context.settings,
        written: &context.written,
        now: (context.clock)(),
    }
}

/// From the nodes as they are now, for a life that begins.
fn decide(context: &Context) -> Decided {
    let nodes = context.watches.nodes.state();
    Decided::by_nodes(
        context.capacity.report().images_may_run_as_root,
        nodes.iter().map(Arc::as_ref),
    )
}

/// Of a pod that was admitted and whose spec does not validate (any more): what runs goes on running, and a publisher is told
/// of it as before, since it is not his to correct. What never ran is told, and holds its capacity no longer than the start
/// deadline.
async fn refuse(context: &Context, object: Arc<ApocryphPod>, finding: Finding) -> Result<Looked, Error> {
    let looked = Looked::new(Outcome::Waiting, RESYNC);
    if object.spec.tag.is_some() && ran(&object) {
        tracing::warn!(pod = %object.name_any(), code = %finding.code, fault = %finding.message, "a pod that runs is left as it is");
        context
            .events
            .of_pod(&object, finding.code, &finding.message, true)
            .await;
        return Ok(looked);
    }
    let object = write_status(context, object, &Judgement::only(finding)).await?;
    if ran(&object) {
        return Ok(looked);
    }
    or_overdue(context, &object, None, looked).await
}

/// Was this life Ready once, by the mark or (before the mark is written) by the status?
fn ran(object: &ApocryphPod) -> bool {
    was_ready(object) || of_this_life(object).is_some_and(|status| status.ready_since.is_some())
}

/// An object made by kubectl comes without.
async fn with_finalizer(context: &Context, object: Arc<ApocryphPod>) -> Result<Arc<ApocryphPod>, Error> {
    if object.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(object);
    }
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    Ok(Arc::new(set_finalizers(context, &object, finalizers).await?))
}

pub(super) async fn set_finalizers(
    context: &Context,
    object: &ApocryphPod,
    finalizers: Vec<String>,
) -> Result<ApocryphPod, Failed> {
    let patch = serde_json::json!({"metadata": {
        "resourceVersion": object.metadata.resource_version,
        "finalizers": finalizers,
    }});
    patch_object(context, object, patch).await
}

/// A merge patch of the object (not its status) by its known version.
pub(super) async fn patch_object(
    context: &Context,
    object: &ApocryphPod,
    patch: serde_json::Value,
) -> Result<ApocryphPod, Failed> {
    let name = object.name_any();
    let api = Api::<ApocryphPod>::all(context.client.clone());
    let answer = merge(&api, &name, patch).await?;
    context.written.note(&name, &answer);
    Ok(answer)
}

enum Ground {
    /// Ours, or not yet there.
    Free(Option<Arc<Namespace>>),
    /// The namespace of this life was made and is gone, or going: so are its volumes.
    Lost,
    /// Something else is where it would be.
    Taken(Finding),
}

/// Where the pod's namespace stands. Decided by a fresh read wherever it is not simply there.
async fn ground(context: &Context, object: &ApocryphPod, pod: &ValidatedPod) -> Result<Ground, Error> {
    let space = pod.name.namespace();
    let going = |namespace: &Namespace| namespace.metadata.deletion_timestamp.is_some();
    let cached = context.owned.namespaces.get(&ObjectRef::new(&space));
    let behind = context.written.behind(
        pod.name.as_str(),
        "Namespace",
        &space,
        cached
            .as_deref()
            .and_then(|namespace| namespace.metadata.resource_version.as_deref()),
    );
    if is_built(object) {
        if let Some(namespace) = cached.filter(|namespace| !behind && !going(namespace)) {
            return Ok(Ground::Free(Some(namespace)));
        }
        let fresh = fresh_namespace(&context.client, &pod.name).await?;
        return Ok(match fresh {
            Some(namespace) if !going(&namespace) => Ground::Free(Some(Arc::new(namespace))),
            _ => Ground::Lost,
        });
    }
    Ok(match fresh_namespace(&context.client, &pod.name).await? {
        None => Ground::Free(None),
        Some(namespace) if going(&namespace) => Ground::Taken(Finding::new(
            Code::Preparing,
            "A former namespace of the pod is still going.",
            "",
        )),
        // Made before a crash.
        Some(namespace) if namespace::is_of(&namespace, pod.name.as_str(), pod.life) => {
            Ground::Free(Some(Arc::new(namespace)))
        }
        Some(_) => Ground::Taken(Finding::new(
            Code::PodRefused,
            format!("The namespace {space} exists and was not made for this life of the pod."),
            "Ask the provider: the namespace, with what is in it, has to be looked at and deleted by hand.",
        )),
    })
}

/// An apply that did not go through: says why, and fails where the server failed us.
async fn stopped(
    context: &Context,
    object: Arc<ApocryphPod>,
    deployment: Option<&Deployment>,
    stop: Stop,
) -> Result<Looked, Error> {
    let ran = ran(&object);
    let finding = match &stop {
        Stop::WaitingForRights => Finding::new(
            Code::WaitingForRights,
            "The cluster does not yet let the provider act in the new namespace.",
            "",
        ),
        Stop::VolumeLost(volume) => Finding::new(
            Code::VolumeUnbound,
            format!("The volume `{volume}` was deleted in the cluster; it is not made again, since it would be empty."),
            "Ask the provider; or delete the pod and deploy it anew, with an empty volume.",
        ),
        Stop::StorageWithdrawn(volume) => Finding::new(
            Code::StorageNotOffered,
            format!("The volume `{volume}` was not made yet, and this provider no longer offers storage."),
            "Ask the provider (chart value storage.class), or deploy without volumes.",
        ),
        Stop::SecretMissing(message) => Finding::new(
            Code::InvalidSpec,
            message.clone(),
            "Put the Secret with the keys env.CONTAINER.NAME and volume.NAME into the operator's namespace, or name another one.",
        ),
        Stop::Contested { kind, .. } => Finding::new(
            Code::PodRefused,
            format!("Something in the cluster changes the pod's {kind} back."),
            "Ask the provider: an admission webhook or another controller writes the same fields.",
        ),
        Stop::Failed(failed) if failed.is_invalid() || failed.is_forbidden() => Finding::new(
            Code::PodRefused,
            format!("The cluster refuses the pod's {}.", failed.kind),
            "Ask the provider: the operator's log says why.",
        ),
        // Changed meanwhile; or nothing is known of a pod that ran that was not known before.
        Stop::Failed(failed) if failed.is_conflict() || (ran && failed.refusal().is_none()) => {
            return Err(failure(stop));
        }
        Stop::Failed(failed) => match failed.refusal() {
            Some(words) => Finding::new(
                Code::PodRefused,
                format!("The cluster does not make the pod's {}: {words}", failed.kind),
                "Wait: it is tried again until the start deadline. If it lasts, tell the provider, or choose another one.",
            ),
            None => Finding::new(
                Code::ApiUnavailable,
                format!(
                    "The cluster does not answer whether it makes the pod's {}.",
                    failed.kind
                ),
                "Wait: it is tried again until the start deadline.",
            ),
        },
    };
    // What ran goes on and is told of as before; that it is no longer looked after is for the admin to see.
    if ran && matches!(stop, Stop::Contested { .. } | Stop::Failed(_)) {
        let error = failure(stop);
        context
            .events
            .of_pod(&object, finding.code, &error.to_string(), true)
            .await;
        return Err(error);
    }
    write_status(context, object.clone(), &Judgement::only(finding)).await?;
    let looked = match stop {
        // Bounded by itself: when the grace is over it fails.
        Stop::WaitingForRights => return Ok(Looked::new(Outcome::Waiting, RIGHTS_RETRY)),
        Stop::VolumeLost(_) | Stop::StorageWithdrawn(_) | Stop::SecretMissing(_) => {
            Ok(Looked::new(Outcome::Waiting, MENDED_RETRY))
        }
        Stop::Contested { .. } | Stop::Failed(_) => Err(failure(stop)),
    };
    if overdue(context, &object, deployment).is_some_and(|left| left.is_zero()) && !ran {
        return give_up(context, &object).await;
    }
    looked
}

fn failure(stop: Stop) -> Error {
    match stop {
        Stop::Failed(failed) => Error::Api(failed),
        Stop::Contested { kind, path } => Error::Contested { kind, path },
        Stop::WaitingForRights => Error::Contested {
            kind: "RoleBinding",
            path: String::new(),
        },
        Stop::VolumeLost(name) | Stop::StorageWithdrawn(name) | Stop::SecretMissing(name) => Error::Contested {
            kind: "Pod",
            path: name,
        },
    }
}

//! The end: ordered in the spec, carried out here, final within a life. Workloads first, then the namespace with all that is
//! in it; only when it is seen gone has the pod ended. Nothing is forced.

use std::{sync::Arc, time::Duration};

use apocryph_crd::{ApocryphPod, End, FINALIZER, condition};
use apocryph_proto::outcome::{Class, Code};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Secret},
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::SignedDuration,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};

use super::{
    api::{Failed, ask, found},
    apply::is_built,
    gather::fresh_namespace,
    notice,
    objects::{WORKLOAD, meta, namespace},
    reconcile::{Context, Error, Looked, Outcome, RESYNC, patch_object, set_finalizers},
    report::put_status,
    status::{self, Finding, Judgement, condition_of, of_this_life, tell},
    view,
};
use crate::model::{key::PodName, pod::EndedBy};

/// The Ready condition's message where nothing was in the way of the pod that ends.
const UNDER_WAY: &str = "The end is being carried out.";
/// The namespace's watch tells when it is gone; this is for a watch that lost its tongue.
const HANGING: Duration = Duration::from_secs(30);

/// Orders the end. The version that is known must be the current one: a new life or another order wins.
pub async fn order(context: &Context, object: &ApocryphPod, reason: Code, by: EndedBy) -> Result<ApocryphPod, Failed> {
    let end = End {
        at: Time((context.clock)()),
        reason: reason.reason().to_owned(),
        by: by.as_str().to_owned(),
    };
    let patch = serde_json::json!({
        "metadata": {"resourceVersion": object.metadata.resource_version},
        "spec": {"end": end},
    });
    let ordered = patch_object(context, object, patch).await?;
    tracing::info!(pod = %object.name_any(), %reason, by = by.as_str(), "end ordered");
    Ok(ordered)
}

/// Carries the ordered end out, as far as it goes now.
pub async fn finalize(context: &Context, object: Arc<ApocryphPod>) -> Result<Looked, Error> {
    let Some(name) = PodName::parse(&object.name_any()) else {
        // Not a name that anything was ever made for.
        return conclude(context, object).await;
    };
    if view::is_ended(&object) {
        return after_the_end(context, object).await;
    }
    match fresh_namespace(&context.client, &name).await? {
        Some(namespace) if is_ours(&object, &namespace) => {
            let hangs_on = hangs_on(&namespace);
            if namespace.metadata.deletion_timestamp.is_none() {
                take_down(context, &name, &namespace).await?;
            }
            let (_, why) = sentence(&object);
            let message = match hangs_on {
                Some(hangs_on) => format!("{why} The namespace is going: {hangs_on}"),
                None => format!("{why} The namespace is going."),
            };
            say(context, object, Code::Ending, false, &message).await?;
            Ok(Looked::new(Outcome::Waiting, HANGING))
        }
        // None, or one that was not made for this life: it has to be looked at and deleted by hand.
        _ => conclude(context, object).await,
    }
}

/// Was the namespace made for this life? By its marks; one that the object says was made may have lost them by hand, but does
/// not bear those of another.
fn is_ours(object: &ApocryphPod, there: &Namespace) -> bool {
    let (pod, life) = (object.name_any(), object.spec.life);
    namespace::is_of(there, &pod, life) || (is_built(object) && !namespace::is_of_another(there, &pod, life))
}

async fn take_down(context: &Context, name: &PodName, namespace: &Namespace) -> Result<(), Error> {
    let space = name.namespace();
    let deployments = Api::<Deployment>::namespaced(context.client.clone(), &space);
    match ask(
        "delete",
        "Deployment",
        WORKLOAD,
        deployments.delete(WORKLOAD, &DeleteParams::foreground()),
    )
    .await
    {
        Ok(_) => {}
        // It was never made, or our rights there are gone: the namespace takes it along.
        Err(failed) if failed.is_not_found() || failed.is_forbidden() => {}
        Err(failed) => return Err(failed.into()),
    }
    let this_one = DeleteParams::foreground().preconditions(Preconditions {
        uid: namespace.metadata.uid.clone(),
        resource_version: None,
    });
    let namespaces = Api::<Namespace>::all(context.client.clone());
    found(ask("delete", "Namespace", &space, namespaces.delete(&space, &this_one)).await)?;
    tracing::info!(pod = %name, "namespace deleted");
    Ok(())
}

/// What a namespace that does not go away hangs on, in the API server's words.
fn hangs_on(namespace: &Namespace) -> Option<String> {
    let mut hangs: Vec<&str> = namespace
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .filter(|condition| condition.status == "True")
        .filter_map(|condition| condition.message.as_deref())
        .collect();
    hangs.sort_unstable();
    (!hangs.is_empty()).then(|| hangs.join("; "))
}

/// The namespace is gone: the Secret goes, and the pod has ended.
async fn conclude(context: &Context, object: Arc<ApocryphPod>) -> Result<Looked, Error> {
    remove_source(context, &object).await?;
    let (reason, message) = sentence(&object);
    let object = say(context, object, reason, true, &message).await?;
    tracing::info!(pod = %object.name_any(), %reason, "ended");
    after_the_end(context, object).await
}

/// The publisher's Secret in the operator's namespace. An admin's own Secret is the admin's.
async fn remove_source(context: &Context, object: &ApocryphPod) -> Result<(), Error> {
    let (Some(_), Some(name)) = (&object.spec.tag, &object.spec.secret_name) else {
        return Ok(());
    };
    let api = Api::<Secret>::namespaced(context.client.clone(), &context.settings.operator_namespace);
    let Some(source) = found(ask("get", "Secret", name, api.get_metadata(name)).await)? else {
        return Ok(());
    };
    if !source.labels().contains_key(meta::STAGED) {
        return Ok(());
    }
    // This one: a delete that lands late must not take what a new life has put there since.
    let this_one = DeleteParams::default().preconditions(Preconditions {
        uid: source.uid(),
        resource_version: None,
    });
    found(ask("delete", "Secret", name, api.delete(name, &this_one)).await)?;
    Ok(())
}

/// Why it ended; and of a pod that never was ready, what was in its way.
fn sentence(object: &ApocryphPod) -> (Code, String) {
    let code = object
        .spec
        .end
        .as_ref()
        .and_then(|end| Code::parse(&end.reason))
        .unwrap_or(Code::Ended);
    let why = match code {
        Code::DeletedByPublisher => "Its publisher deleted the pod.",
        Code::DeletedByAdmin => match notice::notice(object) {
            Some(notice) => return (code, format!("The provider's admin ended the pod: {}.", notice.plain())),
            None => "The cluster's admin deleted the pod.",
        },
        Code::StartTimeout => "The pod was not ready within the provider's start deadline.",
        Code::NamespaceDeleted => "The pod's namespace was deleted in the cluster, and its volumes with it.",
        _ => "The pod has ended.",
    };
    match cause(object).filter(|_| code == Code::StartTimeout) {
        Some(cause) => (code, format!("{why} {cause}")),
        None => (code, why.to_owned()),
    }
}

/// The last trouble, which the Ready condition carries through the end.
fn cause(object: &ApocryphPod) -> Option<String> {
    let ready = of_this_life(object).and_then(|status| condition_of(status, condition::READY))?;
    let code = Code::parse(&ready.reason)?;
    let carried = code == Code::Ending && ready.message != UNDER_WAY;
    (code.class() == Class::Trouble || carried).then(|| ready.message.clone())
}

async fn say(
    context: &Context,
    object: Arc<ApocryphPod>,
    reason: Code,
    ended: bool,
    message: &str,
) -> Result<Arc<ApocryphPod>, Error> {
    let now = (context.clock)();
    let ready = if ended {
        message.to_owned()
    } else {
        cause(&object).unwrap_or_else(|| UNDER_WAY.to_owned())
    };
    let mut status = tell(&object, &Judgement::only(Finding::new(reason, ready, "")), now);
    status.conditions.retain(|one| one.type_ != condition::SCHEDULED);
    let at = status::At {
        generation: object.metadata.generation,
        now,
    };
    status::set(&mut status.conditions, condition::ENDED, ended, reason, message, at);
    put_status(context, object, status).await
}

/// The finalizer goes only when the object is being deleted; else the object goes when it has told long enough why it ended.
async fn after_the_end(context: &Context, object: Arc<ApocryphPod>) -> Result<Looked, Error> {
    let name = object.name_any();
    if object.metadata.deletion_timestamp.is_some() {
        let others: Vec<String> = object
            .finalizers()
            .iter()
            .filter(|one| *one != FINALIZER)
            .cloned()
            .collect();
        if others.len() < object.finalizers().len() {
            match set_finalizers(context, &object, others).await {
                Ok(_) => {}
                Err(failed) if failed.is_not_found() => {}
                Err(failed) => return Err(failed.into()),
            }
        }
        context.written.forget(&name);
        return Ok(Looked::new(Outcome::Ended, RESYNC));
    }
    let ended = of_this_life(&object).and_then(|status| condition_of(status, condition::ENDED));
    let since = ended.map_or((context.clock)(), |ended| ended.last_transition_time.0);
    let ttl = SignedDuration::try_from(context.settings.ended_ttl).unwrap_or(SignedDuration::MAX);
    let age = (context.clock)().duration_since(since);
    if age < ttl {
        return Ok(Looked::new(
            Outcome::Ended,
            Duration::try_from(ttl - age).unwrap_or(RESYNC),
        ));
    }
    // Exactly as it was seen: a new life would be another version.
    let this_one = DeleteParams::default().preconditions(Preconditions {
        uid: object.uid(),
        resource_version: object.resource_version(),
    });
    let api = Api::<ApocryphPod>::all(context.client.clone());
    found(ask("delete", "ApocryphPod", &name, api.delete(&name, &this_one)).await)?;
    tracing::info!(pod = %name, "ended long ago: deleted");
    Ok(Looked::new(Outcome::Ended, RESYNC))
}

//! The status as it is written, only when it is another one, and the Event that goes with a new reason.

use std::sync::Arc;

use apocryph_crd::{ApocryphPod, ApocryphPodStatus, condition};
use apocryph_proto::outcome::{Class, Code};
use kube::{
    Api, CustomResourceExt, ResourceExt,
    api::{Patch, PatchParams},
};

use super::{
    FIELD_MANAGER,
    api::ask,
    reconcile::{Context, Error},
    status::{self, Judgement, of_this_life, tell},
};

pub(super) async fn write_status(
    context: &Context,
    object: Arc<ApocryphPod>,
    judgement: &Judgement,
) -> Result<Arc<ApocryphPod>, Error> {
    let status = tell(&object, judgement, (context.clock)());
    put_status(context, object, status).await
}

/// Writes the status if it is another one, and an Event if the Ready condition's reason is.
pub(super) async fn put_status(
    context: &Context,
    object: Arc<ApocryphPod>,
    status: ApocryphPodStatus,
) -> Result<Arc<ApocryphPod>, Error> {
    if object.status.as_ref() == Some(&status) {
        return Ok(object);
    }
    let name = object.name_any();
    let resource = ApocryphPod::api_resource();
    let patch = serde_json::json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        // Of this object, not of one that took its place.
        "metadata": {"uid": object.metadata.uid},
        "status": status,
    });
    let api = Api::<ApocryphPod>::all(context.client.clone());
    let by_us = PatchParams::apply(FIELD_MANAGER).force();
    let answer = ask(
        "apply",
        "ApocryphPod",
        &name,
        api.patch_status(&name, &by_us, &Patch::Apply(patch)),
    )
    .await?;
    context.written.note(&name, &answer);
    tell_news(context, of_this_life(&object), &status, &answer).await;
    Ok(Arc::new(answer))
}

/// An Event for the Ready condition when its reason is another one than before, and for an announced end when anything of it is.
async fn tell_news(
    context: &Context,
    before: Option<&ApocryphPodStatus>,
    status: &ApocryphPodStatus,
    object: &ApocryphPod,
) {
    for (type_, by_message) in [(condition::READY, false), (condition::END_ANNOUNCED, true)] {
        let Some(now) = status::condition_of(status, type_) else {
            continue;
        };
        let before = before.and_then(|before| status::condition_of(before, type_));
        if before.is_some_and(|before| before.reason == now.reason && (!by_message || before.message == now.message)) {
            continue;
        }
        let code = Code::parse(&now.reason).unwrap_or(Code::Preparing);
        // While a pod is ending its Ready condition still carries what was in its way.
        let ending = status::condition_of(status, condition::ENDED).filter(|_| code == Code::Ending);
        let message = ending.map_or(now.message.as_str(), |ended| ended.message.as_str());
        tracing::info!(pod = %object.name_any(), code = %code, "{message}");
        context.events.of_pod(object, code, message, is_warning(code)).await;
    }
}

fn is_warning(code: Code) -> bool {
    !matches!(code.class(), Class::Progress | Class::Ended)
}

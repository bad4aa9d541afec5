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
    let reason =
        |status: &ApocryphPodStatus| status::condition_of(status, condition::READY).map(|ready| ready.reason.clone());
    let before = of_this_life(&object).and_then(reason);
    if let Some(ready) = status::condition_of(&status, condition::READY)
        && before.as_deref() != Some(ready.reason.as_str())
    {
        let code = Code::parse(&ready.reason).unwrap_or(Code::Preparing);
        // While a pod is ending its Ready condition still carries what was in its way.
        let message = if code == Code::Ending {
            "The end is being carried out."
        } else {
            ready.message.as_str()
        };
        tracing::info!(pod = %name, code = %code, "{message}");
        context.events.of_pod(&answer, code, message, is_warning(code)).await;
    }
    Ok(Arc::new(answer))
}

fn is_warning(code: Code) -> bool {
    !matches!(code.class(), Class::Progress | Class::Ended)
}

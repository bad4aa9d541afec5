//! The admission of an admin's own pod, made by kubectl: what a publisher's pod was asked before it became an object is asked
//! here, and told by a condition. Nothing runs until it is True.

use std::{sync::Arc, time::Duration};

use apocryph_crd::{ApocryphPod, condition};
use apocryph_proto::outcome::Code;

use super::{
    apply::is_built,
    reconcile::{Context, Error, Looked, Outcome, SOON},
    report::put_status,
    status::{self, Finding, Judgement, of_this_life, tell},
    validate::ValidatedPod,
};
use crate::model::services::Held;

/// A pod that does not fit asks again.
const ADMISSION_RETRY: Duration = Duration::from_secs(30);

const WAITS_FOR_ROOM: &str = "Ask for less in spec.containers, or give more room (chart values capacity, placement and \
                              storage); it is asked again every 30 s.";

/// May the pod run?
pub(super) enum Admission {
    Admitted(Arc<ApocryphPod>),
    NotYet(Looked),
}

/// What admission asked of a publisher's pod is asked here of an admin's own: capacity. Its name has been checked.
pub(super) async fn admit(context: &Context, object: Arc<ApocryphPod>, pod: &ValidatedPod) -> Result<Admission, Error> {
    let told = of_this_life(&object).and_then(|status| status::condition_of(status, condition::ADMITTED));
    // What runs was admitted, even if the status got lost.
    if pod.tag.is_some() || is_built(&object) || told.is_some_and(|admitted| admitted.status == "True") {
        return Ok(Admission::Admitted(object));
    }
    match context.capacity.hold(&pod.name, &pod.demand()).await {
        Ok(Held::Hold(hold)) => {
            let said = (
                true,
                Code::Accepted,
                "Name and capacity are as admission would have asked.",
            );
            let first = write_admitted(context, object.clone(), status::preparing(), said).await;
            let unknown = matches!(&first, Err(Error::Api(failed)) if failed.is_unknown());
            let told = if unknown {
                // Once more, as long as the room is ours: it says the same.
                write_admitted(context, object, status::preparing(), said).await
            } else {
                first
            };
            // Where it may have been written the room is taken: the hold stays until the watch shows it, or a
            // fresh read shows that it was not.
            if told.is_ok() || unknown {
                hold.commit();
            }
            Ok(Admission::Admitted(told?))
        }
        Ok(Held::LookAgain) => Ok(Admission::NotYet(Looked::new(Outcome::Waiting, SOON))),
        Err(refusal) => {
            // The refusal's remedy is for a publisher, who could go elsewhere.
            let message = format!("The pod waits to be admitted. {}", refusal.message);
            let said = (false, refusal.code, message.as_str());
            let finding = Finding::new(refusal.code, message.clone(), WAITS_FOR_ROOM);
            write_admitted(context, object, finding, said).await?;
            Ok(Admission::NotYet(Looked::new(Outcome::Waiting, ADMISSION_RETRY)))
        }
    }
}

/// Says `finding`, and what came of admission.
pub(super) async fn write_admitted(
    context: &Context,
    object: Arc<ApocryphPod>,
    finding: Finding,
    (admitted, code, message): (bool, Code, &str),
) -> Result<Arc<ApocryphPod>, Error> {
    let now = (context.clock)();
    let mut status = tell(&object, &Judgement::only(finding), now);
    let at = status::At {
        generation: object.metadata.generation,
        now,
    };
    status::set(&mut status.conditions, condition::ADMITTED, admitted, code, message, at);
    put_status(context, object, status).await
}

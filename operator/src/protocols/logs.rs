//! Lines of a pod's containers: as fast as the reader takes them, and no faster.

use super::{
    convert::{self, PodReplies},
    session::{Exchanged, Outcome, Replies, Session, Step, Turn},
};
use crate::model::{
    key::PodName,
    logs::{Logged, LogsWanted},
    refusal::not_found,
    services::Pods,
};

/// Sends what is wanted; the final message is how the pod stood after the last line.
pub async fn logs(session: Session<PodReplies>, pods: &dyn Pods, name: &PodName, wanted: LogsWanted) -> Exchanged {
    let lines = match pods.logs(name, wanted).await {
        Ok(lines) => lines,
        Err(refusal) => return session.refuse(refusal).await,
    };
    let mut newest = None;
    let session = session
        .relay(lines, |turn| match turn {
            Turn::News(Ok(Logged::Lines(lines))) => Some(Step::More(convert::log_lines(lines))),
            Turn::News(Ok(Logged::Status(status))) => {
                let reply = convert::log_status(&status, convert::now());
                newest = Some(status);
                Some(Step::More(reply))
            }
            Turn::News(Ok(Logged::End(status))) => {
                Some(Step::Last(convert::log_end(&status, convert::now()), Outcome::Ok))
            }
            Turn::News(Err(refusal)) => Some(Step::Last(PodReplies::refusal(&refusal), refusal.code.into())),
            // Programs may be silent for days.
            Turn::Quiet => newest
                .as_ref()
                .map(|status| Step::More(convert::log_status(status, convert::now()))),
        })
        .await?;
    session.refuse(not_found()).await
}

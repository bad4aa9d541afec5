//! The status stream that provision, watch and delete share: each change, until the life has ended.

use apocryph_proto::outcome::Code;
use futures::{StreamExt, future, stream};

use super::{
    convert::{self, PodReplies},
    session::{Exchanged, Replies, Session, Step},
};
use crate::model::{
    key::PodName,
    manifest::Complete,
    pod::PodRecord,
    refusal::{Refusal, not_found},
    services::Pods,
    status::{Phase, PodStatus},
};

/// Seconds after which the own watch shows what a fresh read shows.
const CATCH_UP_RETRY: u32 = 2;

/// What a provision tells first, and again until there is news.
pub struct Accepted {
    pub record: PodRecord,
    /// For the request that made it.
    pub pod: Option<Complete>,
}

enum Item {
    Accepted(Accepted),
    Status(PodStatus),
}

/// Which statuses a stream is about.
#[derive(Clone, Copy)]
pub enum Lives {
    Any,
    /// Those before are ignored, one after it ends the stream.
    One(u64),
}

/// Status of the life that was accepted.
pub async fn accepted(session: Session<PodReplies>, pods: &dyn Pods, accepted: Accepted) -> Exchanged {
    let (name, life) = (accepted.record.name.clone(), accepted.record.life);
    follow(session, pods, &name, Lives::One(life), Some(accepted)).await
}

/// Status from now on.
pub async fn watch(session: Session<PodReplies>, pods: &dyn Pods, name: &PodName, lives: Lives) -> Exchanged {
    follow(session, pods, name, lives, None).await
}

async fn follow(
    session: Session<PodReplies>,
    pods: &dyn Pods,
    name: &PodName,
    lives: Lives,
    first: Option<Accepted>,
) -> Exchanged {
    let first = stream::iter(first.map(Item::Accepted));
    let news = pods.watch(name).filter(move |status| {
        future::ready(match lives {
            Lives::Any => true,
            // The cache may still show the life before.
            Lives::One(life) => status.life >= life,
        })
    });
    let (session, _newest) = session
        .stream(first.chain(news.map(Item::Status)), |item| render(item, lives))
        .await?;
    let refusal = match pods.find(name).await {
        Ok(None) => not_found(),
        Ok(Some(_)) => Refusal::new(Code::ApiUnavailable, "the pod was lost sight of; it exists")
            .remedy("watch it again")
            .retry_after(CATCH_UP_RETRY),
        Err(refusal) => refusal,
    };
    session.refuse(refusal).await
}

fn render(item: &Item, lives: Lives) -> Step<<PodReplies as Replies>::Message> {
    let at = convert::now();
    match (item, lives) {
        (Item::Accepted(Accepted { record, pod }), _) => Step::More(convert::accepted(record, pod.as_ref(), false, at)),
        (Item::Status(status), Lives::One(life)) if status.life > life => {
            let refusal = Refusal::new(
                Code::OtherLife,
                format!("life {life} of this pod has ended and life {} has begun", status.life),
            )
            .remedy("watch the pod that runs");
            Step::Last(PodReplies::refusal(&refusal), refusal.code.into())
        }
        (Item::Status(status), _) => {
            let reply = convert::status(status, at);
            if status.phase == Phase::Ended {
                Step::Last(reply, convert::outcome(status))
            } else {
                Step::More(reply)
            }
        }
    }
}

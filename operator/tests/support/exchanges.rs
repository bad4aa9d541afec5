//! Protocols that exist in tests only.

use apocryph_proto::{
    outcome::Code,
    v0::{
        attest::AttestRequest,
        provision_pod::{PodReply, PodStatus, Refusal as RefusalMessage, pod_reply::Message},
    },
};
use apocryph_provider::{
    model::refusal::Refusal,
    protocols::session::{Exchange, Exchanged, Outcome, Replies, Session, Step},
};
use futures::{Stream, stream};
use tokio::sync::watch;

/// Bytes of a request.
pub const LIMIT: usize = 16 << 10;

pub struct PodReplies;

impl Replies for PodReplies {
    type Message = PodReply;

    fn refusal(refusal: &Refusal) -> PodReply {
        let message = RefusalMessage {
            code: refusal.code.as_str().to_owned(),
            message: refusal.message.clone(),
            retry_after: refusal.retry_after.unwrap_or_default(),
            ..Default::default()
        };
        PodReply {
            message: Some(Message::Refusal(message)),
            r#final: true,
        }
    }
}

/// A status with this code.
pub fn status(code: &str, last: bool) -> PodReply {
    let status = PodStatus {
        code: code.to_owned(),
        ..Default::default()
    };
    PodReply {
        message: Some(Message::Status(status)),
        r#final: last,
    }
}

/// A request that every test protocol takes.
pub fn request() -> AttestRequest {
    AttestRequest {
        nonce: vec![7; 32],
        want_capacity: false,
    }
}

/// The code of a reply, of either kind.
pub fn code(reply: &PodReply) -> &str {
    match &reply.message {
        Some(Message::Status(status)) => &status.code,
        Some(Message::Refusal(refusal)) => &refusal.code,
        _ => "",
    }
}

/// What a stream has been told: the code of its one final message; `None` when there was none.
pub fn verdict(replies: &[PodReply]) -> Option<String> {
    let last = replies.last()?;
    assert!(last.r#final, "the last message is not final: {replies:?}");
    assert_eq!(replies.iter().filter(|reply| reply.r#final).count(), 1, "{replies:?}");
    Some(code(last).to_owned())
}

/// Answers `running` once its gate is open.
pub struct Held {
    pub open: watch::Receiver<bool>,
}

impl Held {
    pub const PROTOCOL: &'static str = "/test/held/0.0.1";

    pub fn new() -> (Held, watch::Sender<bool>) {
        let (sender, open) = watch::channel(false);
        (Held { open }, sender)
    }
}

impl Exchange for Held {
    const PROTOCOL: &'static str = Held::PROTOCOL;
    type Replies = PodReplies;

    async fn serve(&self, mut session: Session<PodReplies>) -> Exchanged {
        let _request: AttestRequest = session.read(LIMIT).await?;
        session.send(status("accepted", false)).await?;
        let mut open = self.open.clone();
        // Err: the test is over.
        drop(open.wait_for(|open| *open).await.map(|_| ()));
        session.finish(status("running", true), Outcome::Ok).await
    }
}

/// Streams what a watch channel holds, until it is `ended`.
pub struct Watched {
    pub statuses: watch::Receiver<&'static str>,
}

impl Watched {
    pub const PROTOCOL: &'static str = "/test/watched/0.0.1";
}

impl Exchange for Watched {
    const PROTOCOL: &'static str = Watched::PROTOCOL;
    type Replies = PodReplies;

    async fn serve(&self, mut session: Session<PodReplies>) -> Exchanged {
        let _request: AttestRequest = session.read(LIMIT).await?;
        let statuses = changes(self.statuses.clone());
        let (session, newest) = session
            .stream(statuses, |code| match *code {
                "ended" => Step::Last(status(code, true), Outcome::Code(Code::Ended)),
                code => Step::More(status(code, false)),
            })
            .await?;
        session
            .finish(status(newest.unwrap_or("nothing"), true), Outcome::Ok)
            .await
    }
}

/// The value now and each change; ends with the sender.
pub fn changes<T: Clone + Send + Sync + 'static>(mut receiver: watch::Receiver<T>) -> impl Stream<Item = T> + Send {
    receiver.mark_changed();
    stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        let value = receiver.borrow_and_update().clone();
        Some((value, receiver))
    })
}

/// Panics as soon as it has read its request.
pub struct Panics;

impl Panics {
    pub const PROTOCOL: &'static str = "/test/panics/0.0.1";
}

impl Exchange for Panics {
    const PROTOCOL: &'static str = Panics::PROTOCOL;
    type Replies = PodReplies;

    async fn serve(&self, mut session: Session<PodReplies>) -> Exchanged {
        let request: AttestRequest = session.read(LIMIT).await?;
        panic!(
            "a test asked for this panic with a nonce of {} bytes",
            request.nonce.len()
        );
    }
}

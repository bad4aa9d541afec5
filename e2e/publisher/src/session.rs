//! One exchange on one stream: a request, then replies up to the final one. A stream that closes without a final message has
//! failed, however politely it closed.

use std::time::Duration;

use apocryph_proto::{
    codec::{self, Codec},
    limits::MESSAGE_MAX,
    v0::{provision_pod as wire, signing::Envelope},
};
use asynchronous_codec::Framed;
use futures::{SinkExt, StreamExt};
use libp2p::Stream;
use prost::Message;
use tokio::time::timeout;

use crate::{
    dry_run::DryRun,
    net::{Connection, NetError},
    reply::{Refusal, Status},
};

/// A provider repeats its status at least every 30 s; three times that without a word is a lost stream.
pub const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Sending one request.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// The reply of attest and provisioning-capacity.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("the stream ended before its final message ({0})")]
    StreamLost(String),
    #[error("the request cannot be sent: {0}")]
    Unsendable(codec::Error),
    #[error("the provider's reply is not one: {0}")]
    BadReply(String),
}

impl SessionError {
    /// Dialling again may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            SessionError::Net(error) => !error.is_permanent(),
            SessionError::StreamLost(_) | SessionError::BadReply(_) => true,
            SessionError::Unsendable(_) => false,
        }
    }
}

/// One message of a status stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub body: Body,
    /// Nothing follows.
    pub last: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Status(Status),
    /// Always the last.
    Refusal(Refusal),
    Log(wire::LogLines),
    List(wire::PodList),
    Description(Box<wire::PodDescription>),
    DryRun(Box<DryRun>),
    /// Delegations that expire at or before are void.
    Revoked(u64),
}

/// A stream of replies to one envelope.
pub struct Session {
    framed: Framed<Stream, Codec<Envelope, wire::PodReply>>,
    silence: Duration,
    finished: bool,
}

impl Session {
    /// Opens a stream and sends the request.
    pub async fn open(
        connection: &Connection,
        protocol: &'static str,
        envelope: Envelope,
        silence: Duration,
    ) -> Result<Session, SessionError> {
        Session::send(connection.open(protocol).await?, envelope, silence).await
    }

    /// Sends the request on a stream that was opened for it.
    pub async fn send(stream: Stream, envelope: Envelope, silence: Duration) -> Result<Session, SessionError> {
        let mut framed = Framed::new(stream, Codec::new(MESSAGE_MAX));
        send(&mut framed, envelope).await?;
        Ok(Session {
            framed,
            silence,
            finished: false,
        })
    }

    /// The next message. After the final one, or an error, nothing more is to be asked for.
    pub async fn next(&mut self) -> Result<Reply, SessionError> {
        if self.finished {
            return Err(SessionError::StreamLost("nothing follows the final message".into()));
        }
        let reply = match timeout(self.silence, receive(&mut self.framed)).await {
            Err(_) => Err(SessionError::StreamLost(format!(
                "no word for {} s",
                self.silence.as_secs()
            ))),
            Ok(Ok(reply)) => typed(reply),
            Ok(Err(error)) => Err(error),
        };
        self.finished = reply.as_ref().map_or(true, |r| r.last);
        reply
    }
}

fn typed(reply: wire::PodReply) -> Result<Reply, SessionError> {
    let body = match reply.message {
        Some(wire::pod_reply::Message::Status(status)) => Body::Status(status.into()),
        Some(wire::pod_reply::Message::Refusal(refusal)) => Body::Refusal(refusal.into()),
        Some(wire::pod_reply::Message::Log(lines)) => Body::Log(lines),
        Some(wire::pod_reply::Message::List(list)) => Body::List(list),
        Some(wire::pod_reply::Message::Description(description)) => Body::Description(Box::new(description)),
        Some(wire::pod_reply::Message::DryRun(told)) => Body::DryRun(Box::new(told.into())),
        Some(wire::pod_reply::Message::Revoked(revoked)) => Body::Revoked(revoked.not_before),
        None => return Err(SessionError::BadReply("a reply with nothing in it".into())),
    };
    match (&body, reply.r#final) {
        (Body::Refusal(_), false) => Err(SessionError::BadReply("a refusal that is not the final message".into())),
        (_, last) => Ok(Reply { body, last }),
    }
}

/// One request, one reply.
pub(crate) async fn exchange<Request: Message, Answer: Message + Default>(
    connection: &Connection,
    protocol: &'static str,
    request: Request,
) -> Result<Answer, SessionError> {
    let mut framed = Framed::new(
        connection.open(protocol).await?,
        Codec::<Request, Answer>::new(MESSAGE_MAX),
    );
    send(&mut framed, request).await?;
    timeout(ANSWER_TIMEOUT, receive(&mut framed))
        .await
        .map_err(|_| NetError::Timeout {
            what: "waiting for the answer",
            after: ANSWER_TIMEOUT,
        })?
}

async fn send<Request: Message, Answer: Message + Default>(
    framed: &mut Framed<Stream, Codec<Request, Answer>>,
    request: Request,
) -> Result<(), SessionError> {
    match timeout(SEND_TIMEOUT, framed.send(request)).await {
        Err(_) => Err(NetError::Timeout {
            what: "sending the request",
            after: SEND_TIMEOUT,
        }
        .into()),
        Ok(Err(error @ codec::Error::Unsendable { .. })) => Err(SessionError::Unsendable(error)),
        // A provider may answer `busy` and close before a large request is through; its answer is then waiting to be read.
        Ok(Err(error)) => {
            tracing::debug!(%error, "the request was not taken in full");
            Ok(())
        }
        Ok(Ok(())) => Ok(()),
    }
}

async fn receive<Request: Message, Answer: Message + Default>(
    framed: &mut Framed<Stream, Codec<Request, Answer>>,
) -> Result<Answer, SessionError> {
    match framed.next().await {
        Some(Ok(answer)) => Ok(answer),
        None => Err(SessionError::StreamLost("closed by the provider".into())),
        Some(Err(codec::Error::Io(e))) => Err(SessionError::StreamLost(e.to_string())),
        Some(Err(other)) => Err(SessionError::BadReply(other.to_string())),
    }
}

//! One exchange on one stream: one request, read under a deadline and a size limit; then replies, of which the last is final.
//!
//! A stream that closes is never by itself a success or a refusal, so every exchange ends by a final message, by the peer's
//! leaving, or by its not reading. [`Ended`] is made here alone: an [`Exchange`] cannot return without having ended its session.

use std::{
    convert::Infallible,
    future::{Future, pending, ready},
    io,
    marker::PhantomData,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use apocryph_proto::{
    codec::{self, Codec},
    limits::MESSAGE_MAX,
    outcome::Code,
};
use asynchronous_codec::{Decoder, Encoder};
use bytes::{Bytes, BytesMut};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, Stream, StreamExt, future::BoxFuture};
use prost::Message;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    model::refusal::Refusal,
    telemetry::metrics::{ActiveSession, Metrics},
};

/// Bytes read from a stream at once.
const READ_CHUNK: usize = 8 << 10;
/// Told to peers of a process that goes down, in seconds: about how long another needs to take over.
const SHUTTING_DOWN_RETRY_AFTER: u32 = 5;

/// Times and sizes of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The whole request has to be there within, counted from the opening of the stream.
    pub request_deadline: Duration,
    /// One reply has to be taken within, or the reader has stalled.
    pub write_deadline: Duration,
    /// After the final message, what the peer still sends is read and dropped for at most this long: see [`goodbye`].
    pub linger: Duration,
    /// A status is repeated after this long without a change.
    pub heartbeat: Duration,
    /// Bytes of all requests in memory together.
    pub request_bytes: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            request_deadline: Duration::from_secs(15),
            write_deadline: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            heartbeat: Duration::from_secs(30),
            request_bytes: 64 << 20,
        }
    }
}

/// What all sessions of the process share.
#[derive(Clone, Debug)]
pub struct Environment {
    settings: Arc<Settings>,
    metrics: Metrics,
    budget: Arc<Semaphore>,
    drain: CancellationToken,
}

impl Environment {
    /// `drain`: when cancelled, unread requests are refused and status streams end, both with `shutting_down`.
    pub fn new(settings: Settings, metrics: Metrics, drain: CancellationToken) -> Environment {
        let budget = Arc::new(Semaphore::new(settings.request_bytes.min(Semaphore::MAX_PERMITS)));
        Environment {
            settings: Arc::new(settings),
            metrics,
            budget,
            drain,
        }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn drain(&self) -> &CancellationToken {
        &self.drain
    }
}

/// Who asks, as the transport proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Names this exchange in logs and on the object that it makes.
    pub request_id: Arc<str>,
    /// Peer id, base58btc.
    pub peer: String,
    /// Peer id as multihash bytes.
    pub peer_bytes: Vec<u8>,
}

/// The replies of one protocol.
pub trait Replies: Send + Sync + 'static {
    type Message: Message;

    /// The final message that says no.
    fn refusal(refusal: &Refusal) -> Self::Message;
}

/// What one protocol does with a session.
pub trait Exchange: Send + Sync + 'static {
    /// Name on the wire.
    const PROTOCOL: &'static str;
    type Replies: Replies;

    fn serve(&self, session: Session<Self::Replies>) -> impl Future<Output = Exchanged> + Send;
}

/// How an exchange returns: always with the proof that its session has ended.
pub type Exchanged = Result<Infallible, Ended>;

/// The session has ended, well or not; nothing more can be said on it. Already logged and counted.
///
/// Made by sessions alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended(Outcome);

impl Ended {
    pub fn outcome(&self) -> Outcome {
        self.0
    }
}

/// How a session ended: the label `code` of `apocryph_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The final message answered what was asked.
    Ok,
    /// The final message had this code.
    Code(Code),
    /// The peer closed without sending a byte.
    NoRequest,
    /// The peer reset the stream or its connection closed.
    PeerGone,
    /// The peer did not take a reply within the write deadline.
    PeerStalled,
    /// The process went down before the exchange came to its end.
    CutOff,
    /// A reply larger than any peer reads: a bug.
    Unsendable,
    /// The exchange was dropped before its end: a bug.
    Abandoned,
    /// The exchange panicked: a bug.
    Panicked,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Code(code) => code.as_str(),
            Outcome::NoRequest => "no_request",
            Outcome::PeerGone => "peer_gone",
            Outcome::PeerStalled => "peer_stalled",
            Outcome::CutOff => "cut_off",
            Outcome::Unsendable => "unsendable",
            Outcome::Abandoned => "abandoned",
            Outcome::Panicked => "panicked",
        }
    }
}

impl From<Code> for Outcome {
    fn from(code: Code) -> Outcome {
        Outcome::Code(code)
    }
}

/// One message of a stream of replies.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<M> {
    More(M),
    /// The final message.
    Last(M, Outcome),
}

/// What happens on a stream of replies.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn<T> {
    News(T),
    /// Nothing was sent for as long as a heartbeat.
    Quiet,
}

/// Both directions of a stream.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What a stream holds of the limits at the edge; dropping it gives it back.
pub trait Slot: Send + Sync {
    /// The stream is about to last, for days maybe.
    ///
    /// # Errors
    /// Whose share of such streams is used up, in words for the peer. The stream keeps what it had.
    fn last(&mut self) -> Result<(), &'static str>;
}

/// Nothing limits it.
impl Slot for () {
    fn last(&mut self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// An open stream on which one request is answered.
pub struct Session<R: Replies> {
    /// Gone once the session has ended.
    io: Option<Box<dyn Duplex>>,
    protocol: &'static str,
    caller: Caller,
    environment: Environment,
    /// The connection under the stream has closed.
    gone: CancellationToken,
    opened: Instant,
    request_read: Option<Instant>,
    /// The peer has closed its side or sent more than its request: nothing is read any more.
    read_no_more: bool,
    /// Share of the byte budget.
    bytes: Option<OwnedSemaphorePermit>,
    /// See [`Session::until`].
    until: BoxFuture<'static, Refusal>,
    ended: bool,
    _active: ActiveSession,
    slot: Box<dyn Slot>,
    replies: PhantomData<fn() -> R>,
}

impl<R: Replies> Session<R> {
    /// `slot` is dropped with the session; `gone` says that the connection under the stream has closed.
    pub fn new(
        io: impl Duplex + 'static,
        protocol: &'static str,
        caller: Caller,
        environment: Environment,
        gone: CancellationToken,
        slot: impl Slot + 'static,
    ) -> Session<R> {
        Session {
            io: Some(Box::new(io)),
            protocol,
            caller,
            gone,
            opened: Instant::now(),
            request_read: None,
            read_no_more: false,
            bytes: None,
            until: pending().boxed(),
            ended: false,
            _active: environment.metrics.session(protocol),
            slot: Box::new(slot),
            environment,
            replies: PhantomData,
        }
    }

    /// What [`Session::stream`] sends ends with this refusal as soon as there is one.
    pub fn until(&mut self, over: BoxFuture<'static, Refusal>) {
        self.until = over;
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn metrics(&self) -> &Metrics {
        &self.environment.metrics
    }

    /// Time since the request was read (zero before).
    pub fn since_request(&self) -> Duration {
        self.request_read.map(|at| at.elapsed()).unwrap_or_default()
    }

    /// The one request, of at most `limit` bytes. What is not that is refused here by its code: `malformed`,
    /// `request_too_large`, `request_timeout`, `busy` (byte budget), `shutting_down`. A peer that leaves without a byte is
    /// only counted.
    pub async fn read<Request: Message + Default>(&mut self, limit: usize) -> Result<Request, Ended> {
        let drain = self.environment.drain.clone();
        let gone = self.gone.clone();
        let deadline = self.opened + self.environment.settings.request_deadline;
        let unread = tokio::select! {
            biased;
            received = self.receive(limit) => match received {
                Ok(request) => {
                    self.request_read = Some(Instant::now());
                    return Ok(request);
                }
                Err(unread) => unread,
            },
            () = gone.cancelled() => Unread::Silent(Outcome::PeerGone),
            () = drain.cancelled() => Unread::no(shutting_down()),
            () = sleep_until(deadline) => Unread::no(
                Refusal::new(
                    Code::RequestTimeout,
                    format!(
                        "the request was not complete within {} s",
                        self.environment.settings.request_deadline.as_secs()
                    ),
                )
                .remedy("send the whole request at once"),
            ),
        };
        Err(match unread {
            Unread::Refused(refusal) => self.say_no(*refusal).await,
            Unread::Silent(outcome) => self.end(outcome),
        })
    }

    async fn receive<Request: Message + Default>(&mut self, limit: usize) -> Result<Request, Unread> {
        let mut codec = Codec::<R::Message, Request>::new(limit);
        let mut buffer = BytesMut::new();
        let mut chunk = vec![0; READ_CHUNK];
        loop {
            let Some(io) = &mut self.io else {
                return Err(Unread::Silent(Outcome::Abandoned));
            };
            let count = match io.read(&mut chunk).await {
                Ok(0) if buffer.is_empty() => return Err(Unread::Silent(Outcome::NoRequest)),
                Ok(0) => {
                    self.read_no_more = true;
                    return Err(malformed("the stream ended inside the request"));
                }
                Ok(count) => count,
                Err(_) => return Err(Unread::Silent(Outcome::PeerGone)),
            };
            self.charge(count)?;
            buffer.extend_from_slice(&chunk[..count]);
            match codec.decode(&mut buffer) {
                Ok(Some(request)) => return Ok(request),
                Ok(None) => {}
                Err(too_large @ codec::Error::TooLarge { .. }) => {
                    return Err(Unread::no(Refusal::new(Code::RequestTooLarge, too_large.to_string())));
                }
                Err(error) => return Err(malformed(error.to_string())),
            }
        }
    }

    /// Takes `count` bytes of the budget, for as long as the request is in memory.
    fn charge(&mut self, count: usize) -> Result<(), Unread> {
        let share = u32::try_from(count)
            .ok()
            .and_then(|count| self.environment.budget.clone().try_acquire_many_owned(count).ok());
        match (share, &mut self.bytes) {
            (None, _) => Err(Unread::no(Refusal::busy("too many requests are being read"))),
            (Some(share), Some(bytes)) => {
                bytes.merge(share);
                Ok(())
            }
            (Some(share), bytes) => {
                *bytes = Some(share);
                Ok(())
            }
        }
    }

    /// One reply that is not the last.
    pub async fn send(&mut self, message: R::Message) -> Result<(), Ended> {
        let bytes = match frame(message) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "a reply cannot be sent");
                return Err(self.end(Outcome::Unsendable));
            }
        };
        let Some(io) = &mut self.io else {
            return Err(self.end(Outcome::Abandoned));
        };
        let written = timeout(self.environment.settings.write_deadline, async move {
            io.write_all(&bytes).await?;
            io.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.end(Outcome::PeerGone)),
            Err(_) => Err(self.end(Outcome::PeerStalled)),
        }
    }

    /// The final message: sent, then the stream is closed.
    pub async fn finish(mut self, message: R::Message, outcome: impl Into<Outcome> + Send) -> Exchanged {
        let outcome = outcome.into();
        Err(self.last(message, outcome).await)
    }

    /// The final message that says no.
    pub async fn refuse(mut self, refusal: Refusal) -> Exchanged {
        Err(self.say_no(refusal).await)
    }

    /// Sends what `source` yields as `render` puts it, repeats the newest after each heartbeat without a change, and ends
    /// with the first `Step::Last`. `render` is asked anew for each message, so that a repeated one carries the time of its
    /// sending. A drain ends it with `shutting_down`; where the share of streams that last is used up, `busy` follows what can
    /// be told at once.
    ///
    /// When the source ends first, the session comes back with the newest item: the final message is the caller's.
    pub async fn stream<T: Send>(
        self,
        source: impl Stream<Item = T> + Send,
        mut render: impl FnMut(&T) -> Step<R::Message> + Send,
    ) -> Result<(Session<R>, Option<T>), Ended> {
        let mut newest = None;
        let session = self
            .relay(source, |turn| {
                if let Turn::News(item) = turn {
                    newest = Some(item);
                }
                newest.as_ref().map(&mut render)
            })
            .await?;
        Ok((session, newest))
    }

    /// Sends what `render` makes of each item of `source`, and of each heartbeat without one; nothing when it gives `None`.
    /// The source is asked for its next item only when the one before has been taken by the transport. Ends as
    /// [`Session::stream`] does.
    pub async fn relay<T: Send>(
        mut self,
        source: impl Stream<Item = T> + Send,
        mut render: impl FnMut(Turn<T>) -> Option<Step<R::Message>> + Send,
    ) -> Result<Session<R>, Ended> {
        // The request has been acted upon; a watcher may stay for days.
        self.bytes = None;
        let drain = self.environment.drain.clone();
        let gone = self.gone.clone();
        let heartbeat = self.environment.settings.heartbeat;
        let mut until = std::mem::replace(&mut self.until, pending().boxed());
        let full = self.slot.last().err();
        let mut source = pin!(source);
        let mut repeat = pin!(sleep(heartbeat));
        loop {
            let turn = tokio::select! {
                biased;
                () = drain.cancelled() => return Err(self.say_no(shutting_down()).await),
                () = gone.cancelled() => return Err(self.end(Outcome::PeerGone)),
                refusal = &mut until => return Err(self.say_no(refusal).await),
                item = source.next() => match item {
                    Some(item) => Turn::News(item),
                    None => return Ok(self),
                },
                () = ready(()), if full.is_some() => {
                    return Err(self.say_no(too_many_that_last(full.unwrap_or_default())).await);
                }
                // A reset is seen at once where the transport tells it; a half-close is a peer that only listens.
                read = more(&mut self.io), if !self.read_no_more => match read {
                    Ok(_) => {
                        self.read_no_more = true;
                        continue;
                    }
                    Err(_) => return Err(self.end(Outcome::PeerGone)),
                },
                () = &mut repeat => Turn::Quiet,
            };
            match render(turn) {
                Some(Step::More(message)) => self.send(message).await?,
                Some(Step::Last(message, outcome)) => return Err(self.last(message, outcome).await),
                None => {}
            }
            repeat.as_mut().reset(Instant::now() + heartbeat);
        }
    }

    async fn say_no(&mut self, refusal: Refusal) -> Ended {
        self.environment.metrics.refused(refusal.code.as_str());
        self.last(R::refusal(&refusal), refusal.code.into()).await
    }

    async fn last(&mut self, message: R::Message, outcome: Outcome) -> Ended {
        if let Err(ended) = self.send(message).await {
            return ended;
        }
        // Counted before the goodbye: the peer has its answer, and the slot is still held.
        let io = self.io.take();
        let ended = self.end(outcome);
        if let Some(mut io) = io {
            let deadline = Instant::now() + self.environment.settings.linger;
            goodbye(&mut io, self.request_read.is_some(), deadline).await;
        }
        ended
    }

    fn end(&mut self, outcome: Outcome) -> Ended {
        self.io = None;
        self.bytes = None;
        if std::mem::replace(&mut self.ended, true) {
            // Used after its end: counted once.
            return Ended(outcome);
        }
        self.environment.metrics.request(self.protocol, outcome.as_str());
        let ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        match outcome {
            Outcome::Abandoned | Outcome::Panicked | Outcome::Unsendable => {
                tracing::error!(outcome = outcome.as_str(), ms, "exchange ended by a bug");
            }
            _ => tracing::info!(outcome = outcome.as_str(), ms, "exchange ended"),
        }
        Ended(outcome)
    }
}

impl<R: Replies> Drop for Session<R> {
    fn drop(&mut self) {
        if !self.ended {
            let outcome = if std::thread::panicking() {
                Outcome::Panicked
            } else if self.environment.drain.is_cancelled() {
                Outcome::CutOff
            } else {
                Outcome::Abandoned
            };
            self.end(outcome);
        }
    }
}

/// A byte that a peer sends after its request, or the end of what it sends.
async fn more(io: &mut Option<Box<dyn Duplex>>) -> io::Result<usize> {
    match io {
        Some(io) => io.read(&mut [0]).await,
        None => Ok(0),
    }
}

/// Why there is no request.
enum Unread {
    Refused(Box<Refusal>),
    Silent(Outcome),
}

impl Unread {
    fn no(refusal: Refusal) -> Unread {
        Unread::Refused(Box::new(refusal))
    }
}

fn malformed(why: impl Into<String>) -> Unread {
    Unread::no(
        Refusal::new(Code::Malformed, why)
            .remedy("send one protobuf message with its length before it, as an unsigned varint"),
    )
}

fn too_many_that_last(whose: &str) -> Refusal {
    Refusal::busy(format!(
        "too many pods are being watched ({whose}): this stream ends, what was ordered on it stands"
    ))
    .remedy("watch the pod later, on fewer streams")
}

/// The answer of a process that goes down.
pub fn shutting_down() -> Refusal {
    Refusal::new(
        Code::ShuttingDown,
        "this provider process is going down; another takes over",
    )
    .remedy("dial again and resume")
    .retry_after(SHUTTING_DOWN_RETRY_AFTER)
}

/// A message as it goes over the wire, its length before it.
pub fn frame<M: Message>(message: M) -> Result<Bytes, codec::Error> {
    let mut bytes = BytesMut::new();
    Codec::<M, ()>::new(0).encode(message, &mut bytes)?;
    Ok(bytes.freeze())
}

/// Answers a stream whose request is not read. `Err`: the peer did not take the answer until `deadline`. [`goodbye`] follows.
pub async fn answer_unread(io: &mut impl Duplex, last: &[u8], deadline: Instant) -> io::Result<()> {
    timeout_at(deadline, async {
        io.write_all(last).await?;
        io.flush().await
    })
    .await
    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))
    .flatten()
}

/// Reads and drops what still comes, until the peer closes, has sent more than any request, or `deadline`.
///
/// Our side closes at once when the whole request has been read, else only after the peer's. A peer that is still sending may
/// be out of flow control credit; on yamux only a reset wakes it, and dropping a stream resets it only when we have not
/// closed. What was written before a reset is read before it.
pub async fn goodbye(io: &mut impl Duplex, whole_request: bool, deadline: Instant) {
    // Whatever happens here, the final message has been handed to the transport; nothing is left to tell anybody.
    let _past_deadline = timeout_at(deadline, async {
        if whole_request {
            io.close().await?;
        }
        let mut waste = vec![0; READ_CHUNK];
        let mut left = MESSAGE_MAX;
        while left > 0 {
            match io.read(&mut waste).await? {
                0 if whole_request => break,
                0 => return io.close().await,
                count => left = left.saturating_sub(count),
            }
        }
        Ok(())
    })
    .await;
}

//! From a protocol's name to its handler: every admitted stream becomes one tracked task, every refused one a short answer.
//!
//! Nothing is bounded here by itself: each task carries the permits that `inbound` gave its stream, so there are never more
//! tasks than permits.

use std::{collections::BTreeMap, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{
    inbound::{Admitted, Arrival, Refused},
    limits::Settings,
};
use crate::{
    model::refusal::Refusal,
    protocols::session::{
        Caller, Environment, Exchange, Replies, Session, answer_unread, frame, goodbye, shutting_down,
    },
};

/// One protocol, as the router sees it. [`Exchange`]s are handlers.
pub trait Handler: Send + Sync + 'static {
    /// Name on the wire.
    fn protocol(&self) -> &'static str;

    /// The protocol's refusal as it goes over the wire.
    fn refusal(&self, refusal: &Refusal) -> Bytes;

    /// Serves one stream to its end.
    fn handle(self: Arc<Self>, stream: Admitted, caller: Caller, environment: Environment) -> BoxFuture<'static, ()>;
}

impl<E: Exchange> Handler for E {
    fn protocol(&self) -> &'static str {
        E::PROTOCOL
    }

    fn refusal(&self, refusal: &Refusal) -> Bytes {
        // A refusal is a few hundred bytes; were it not, the stream would close without a word, which no peer takes for a yes.
        frame(E::Replies::refusal(refusal)).unwrap_or_default()
    }

    fn handle(self: Arc<Self>, admitted: Admitted, caller: Caller, environment: Environment) -> BoxFuture<'static, ()> {
        let Admitted {
            stream, permit, gone, ..
        } = admitted;
        async move {
            let session = Session::new(stream, E::PROTOCOL, caller, environment, gone, permit);
            // The session has logged and counted its own end.
            let Err(_ended) = self.serve(session).await;
        }
        .boxed()
    }
}

/// Which protocols are served, and by what.
#[derive(Clone)]
pub struct Router {
    handlers: BTreeMap<&'static str, Arc<dyn Handler>>,
    environment: Environment,
    tasks: TaskTracker,
    /// Cuts sessions off that a drain did not end in time.
    cut: CancellationToken,
}

impl Router {
    pub fn new(environment: Environment) -> Router {
        Router {
            handlers: BTreeMap::new(),
            environment,
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
        }
    }

    /// Serves a protocol; the last handler of a name wins.
    pub fn with(mut self, handler: Arc<dyn Handler>) -> Router {
        self.handlers.insert(handler.protocol(), handler);
        self
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Names that are negotiated.
    pub fn protocols(&self) -> Vec<StreamProtocol> {
        self.handlers.keys().map(|name| StreamProtocol::new(name)).collect()
    }

    /// Streams that are served or refused now.
    pub fn active(&self) -> usize {
        self.tasks.len()
    }

    /// Serves what arrives until the sender is gone.
    pub(super) async fn run(self, mut arrivals: mpsc::Receiver<Arrival>, settings: Arc<Settings>) {
        while let Some(arrival) = arrivals.recv().await {
            match arrival {
                Arrival::Admitted(admitted) => self.serve(admitted),
                Arrival::Refused(refused) => self.refuse(refused, settings.refuse_deadline),
            }
        }
    }

    fn serve(&self, admitted: Admitted) {
        let Some(handler) = self.handlers.get(admitted.protocol.as_ref()).cloned() else {
            return; // never negotiated
        };
        let caller = caller(admitted.peer);
        let span = span(&caller, handler.protocol(), &admitted.remote);
        let served = handler.handle(admitted, caller, self.environment.clone());
        self.spawn(served.instrument(span));
    }

    fn refuse(&self, refused: Refused, deadline: Duration) {
        let Refused {
            mut stream,
            protocol,
            limit,
            permit,
        } = refused;
        let Some(handler) = self.handlers.get(protocol.as_ref()) else {
            return; // never negotiated
        };
        let last = handler.refusal(&if self.environment.drain().is_cancelled() {
            shutting_down()
        } else {
            Refusal::busy(format!("too many streams are open ({})", limit.explain()))
                .remedy("ask again later, on fewer streams")
        });
        let metrics = self.environment.metrics().clone();
        self.spawn(async move {
            let deadline = Instant::now() + deadline;
            match answer_unread(&mut stream, &last, deadline).await {
                Ok(()) => {
                    metrics.stream_refused(limit.as_str());
                    goodbye(&mut stream, false, deadline).await;
                }
                Err(_) => metrics.stream_reset(limit.as_str()),
            }
            drop(permit);
        });
    }

    /// A panic ends its own stream (reset by the drop) and is counted; the other streams are not at fault.
    fn spawn(&self, served: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        let metrics = self.environment.metrics().clone();
        self.tasks.spawn(async move {
            tokio::select! {
                done = AssertUnwindSafe(served).catch_unwind() => if done.is_err() {
                    metrics.panicked();
                },
                () = cut.cancelled() => {}
            }
        });
    }

    /// Waits until every stream has ended, at most until `deadline`; then cuts the rest off. Returns how many were cut off.
    pub(super) async fn drained(&self, deadline: Instant) -> usize {
        self.tasks.close();
        if tokio::time::timeout_at(deadline, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let rest = self.tasks.len();
        self.cut.cancel();
        self.tasks.wait().await;
        rest
    }
}

/// Of everything that an exchange logs.
fn span(caller: &Caller, protocol: &str, remote: &Multiaddr) -> tracing::Span {
    tracing::info_span!(
        "exchange",
        request_id = %caller.request_id,
        protocol,
        peer = caller.peer,
        %remote,
    )
}

fn caller(peer: PeerId) -> Caller {
    Caller {
        request_id: format!("{:016x}", rand::random::<u64>()).into(),
        peer: peer.to_base58(),
        peer_bytes: peer.to_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_an_exchange_logs_has_its_callers_id() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let (one, other) = (caller(PeerId::random()), caller(PeerId::random()));
        assert_ne!(one.request_id, other.request_id);
        tracing::subscriber::with_default(subscriber, || {
            span(&one, "/p", &Multiaddr::empty()).in_scope(|| tracing::info!("served"));
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains(&format!("request_id={}", one.request_id)), "{log}");
    }
}

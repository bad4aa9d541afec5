//! What the tests share: a provider's network side in this process, a client that opens streams and sends any bytes, and a
//! session over memory. Each test file uses a part of it.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

pub mod client;
pub mod exchanges;
pub mod server;

use std::{sync::Arc, time::Duration};

use apocryph_proto::{codec::Codec, limits::MESSAGE_MAX};
use apocryph_provider::{
    protocols::session::{Caller, Environment, Replies, Session},
    telemetry::metrics::Metrics,
};
use asynchronous_codec::{Decoder, Encoder};
use bytes::BytesMut;
use futures::{AsyncRead, AsyncReadExt};
use prost::Message;
use tokio_util::{
    compat::{Compat, TokioAsyncReadCompatExt},
    sync::CancellationToken,
};

/// Ends a test that hangs; no test measures time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// `future`, or the test fails.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing happened"),
    }
}

/// Waits until `condition` holds, or the test fails. Only for what tells nobody of its changes: counters and what is remembered.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A message with its length before it.
pub fn framed<M: Message>(message: M) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    Codec::<M, ()>::new(0).encode(message, &mut bytes).unwrap();
    bytes.to_vec()
}

/// The next message; `None` at the end of the stream or on its reset.
pub async fn next<M: Message + Default>(io: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Option<M> {
    let mut codec = Codec::<M, M>::new(MESSAGE_MAX);
    let mut chunk = [0; 4096];
    loop {
        if let Some(message) = codec.decode(buffer).expect("the provider's messages decode") {
            return Some(message);
        }
        match io.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Every message until the stream ends.
pub async fn all<M: Message + Default>(io: &mut (impl AsyncRead + Unpin)) -> Vec<M> {
    let mut buffer = BytesMut::new();
    let mut messages = Vec::new();
    while let Some(message) = next(io, &mut buffer).await {
        messages.push(message);
    }
    messages
}

/// A session over memory and the peer's end of it.
pub struct InMemory<R: Replies> {
    pub session: Session<R>,
    pub peer: Compat<tokio::io::DuplexStream>,
    /// Cancel it to close the connection under the stream.
    pub gone: CancellationToken,
}

pub const PROTOCOL: &str = "/test/0.0.1";

/// `window`: bytes that one side sends before the other reads.
pub fn in_memory<R: Replies>(environment: &Environment, window: usize) -> InMemory<R> {
    let (ours, theirs) = tokio::io::duplex(window);
    let gone = CancellationToken::new();
    let session = Session::new(ours.compat(), PROTOCOL, caller(), environment.clone(), gone.clone(), ());
    InMemory {
        session,
        peer: theirs.compat(),
        gone,
    }
}

pub fn caller() -> Caller {
    let peer = libp2p::identity::Keypair::generate_ed25519().public().to_peer_id();
    Caller {
        request_id: Arc::from("0123456789abcdef"),
        peer: peer.to_base58(),
        peer_bytes: peer.to_bytes(),
    }
}

pub fn environment() -> Environment {
    Environment::new(Default::default(), Metrics::unregistered(), CancellationToken::new())
}

//! What a hostile peer sends, over TCP and QUIC: refused within limits by its code, while another stream of the same connection
//! is served as if nothing were.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{sync::Arc, time::Duration};

use apocryph_proto::v0::provision_pod::PodReply;
use apocryph_provider::{net::limits::Settings, protocols::session};
use bytes::BytesMut;
use futures::{AsyncReadExt, AsyncWriteExt};
use support::{
    all,
    client::Client,
    eventually,
    exchanges::{Held, LIMIT, code, request, verdict},
    framed, next,
    server::{QUIC, Server, TCP},
    within,
};
use tokio::{sync::watch, time::sleep};

struct Scene {
    server: Server,
    client: Client,
    gate: watch::Sender<bool>,
}

/// A server whose requests have to be there soon, and a peer of it.
async fn scene(transport: &str) -> Scene {
    let (held, gate) = Held::new();
    let session = session::Settings {
        request_deadline: Duration::from_millis(300),
        ..Default::default()
    };
    let server = Server::start(&[transport], Settings::default(), session, vec![Arc::new(held)]).await;
    let client = Client::connected(&server.addresses[0]).await;
    Scene { server, client, gate }
}

async fn hostile(transport: &str) {
    let Scene { server, client, gate } = scene(transport).await;
    let peer = server.peer;
    // The bystander: accepted before, served after.
    let mut bystander = client.open(peer, Held::PROTOCOL).await.unwrap();
    bystander.write_all(&framed(request())).await.unwrap();
    let mut buffer = BytesMut::new();
    let accepted: PodReply = within("accepted", next(&mut bystander, &mut buffer)).await.unwrap();
    assert_eq!(code(&accepted), "accepted");

    let whole = framed(request());
    let oversized = [&[0x80, 0x80, 0x80, 0x01][..], &vec![0; 2 << 20]].concat(); // 2 MiB, all of it sent
    let cases: [(&str, &[u8], &str); 6] = [
        ("random bytes", &[0xa7; 100], "malformed"),
        ("a length without end", &[0xff; 16], "malformed"),
        ("truncated", &whole[..whole.len() - 1], "malformed"),
        ("too large, declared", &[0x81, 0x80, 0x01], "request_too_large"),
        ("too large, real", &oversized, "request_too_large"),
        ("a body that is no message", &[3, 0x0a, 0x7f, 0], "malformed"),
    ];
    for (what, bytes, expected) in cases {
        let replies: Vec<PodReply> = client.say(peer, Held::PROTOCOL, bytes).await;
        assert_eq!(verdict(&replies).as_deref(), Some(expected), "{what}");
    }
    // What the table declares is one byte over.
    const { assert!(LIMIT == 0x4000) };

    // Half-open: a stream on which nothing is ever said.
    let mut silent = client.open(peer, Held::PROTOCOL).await.unwrap();
    silent.flush().await.unwrap();
    assert_eq!(
        verdict(&within("half-open", all(&mut silent)).await).as_deref(),
        Some("request_timeout")
    );

    // One byte at a time, for ever.
    let (mut from, mut to) = client.open(peer, Held::PROTOCOL).await.unwrap().split();
    let drip = async {
        for byte in std::iter::once(127).chain(std::iter::repeat(0)) {
            // The provider may have hung up already.
            if to.write_all(&[byte]).await.is_err() || to.flush().await.is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    let replies = tokio::select! {
        replies = within("slow", all(&mut from)) => replies,
        () = drip => unreachable!(),
    };
    assert_eq!(verdict(&replies).as_deref(), Some("request_timeout"));

    // Opened and closed without a byte: nobody to answer, but counted.
    let mut shy = client.open(peer, Held::PROTOCOL).await.unwrap();
    shy.close().await.unwrap();
    eventually("the shy one is counted", || {
        server.metrics.requests(Held::PROTOCOL, "no_request") == 1
    })
    .await;

    gate.send(true).unwrap();
    bystander.close().await.unwrap();
    let last: PodReply = within("the bystander", next(&mut bystander, &mut buffer))
        .await
        .unwrap();
    assert_eq!(verdict(&[last]).as_deref(), Some("running"));
    assert_eq!(client.connections_closed(), 0);
    for (expected, count) in [("malformed", 4), ("request_too_large", 2), ("request_timeout", 2)] {
        assert_eq!(server.metrics.requests(Held::PROTOCOL, expected), count, "{expected}");
    }
}

#[tokio::test]
async fn hostile_bytes_over_tcp_get_their_code_and_harm_nobody() {
    hostile(TCP).await;
}

#[tokio::test]
async fn hostile_bytes_over_quic_get_their_code_and_harm_nobody() {
    hostile(QUIC).await;
}

#[tokio::test]
async fn streams_opened_too_fast_are_told_so() {
    let (held, gate) = Held::new();
    gate.send(true).unwrap();
    let mut settings = Settings::default();
    (settings.streams.burst, settings.streams.per_second) = (3, 1);
    // A token needs an hour.
    let server = Server::start(&[TCP], settings, Default::default(), vec![Arc::new(held)]).await;
    let client = Client::connected(&server.addresses[0]).await;
    let mut codes = Vec::new();
    for _ in 0..40 {
        let replies: Vec<PodReply> = client.call(server.peer, Held::PROTOCOL, request()).await;
        codes.push(verdict(&replies).unwrap());
    }
    assert_eq!(codes[..3], ["running", "running", "running"]);
    assert!(codes.contains(&"busy".to_owned()), "{codes:?}");
    assert!(server.metrics.streams_over("rate").0 > 0);
}

/// yamux keeps each frame that waits as an allocation of its own: see `net::frames`.
#[tokio::test]
async fn a_window_filled_byte_by_byte_costs_its_own_connection_alone() {
    let (held, gate) = Held::new();
    let server = Server::start(&[TCP], Settings::default(), Default::default(), vec![Arc::new(held)]).await;
    let [client, other] = [
        Client::connected(&server.addresses[0]).await,
        Client::connected(&server.addresses[0]).await,
    ];
    let mut bystander = other.open(server.peer, Held::PROTOCOL).await.unwrap();
    bystander.write_all(&framed(request())).await.unwrap();
    bystander.flush().await.unwrap();

    let mut stream = client.open(server.peer, Held::PROTOCOL).await.unwrap();
    stream.write_all(&framed(request())).await.unwrap();
    let mut sent = 0;
    while sent < 20_000 && stream.write_all(&[0]).await.is_ok() && stream.flush().await.is_ok() {
        sent += 1;
    }
    assert!(sent < 20_000);
    client.until_closed(1).await;

    gate.send(true).unwrap();
    bystander.close().await.unwrap();
    let replies: Vec<PodReply> = all(&mut bystander).await;
    assert_eq!(verdict(&replies).as_deref(), Some("running"));
    assert_eq!(other.connections_closed(), 0);
}

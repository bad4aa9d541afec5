//! What strangers' streams took comes back when they are gone: resident memory is what connections are denied by.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{sync::Arc, time::Duration};

use apocryph_proto::v0::provision_pod::PodReply;
use apocryph_provider::net::limits::Settings;
use futures::AsyncWriteExt;
use support::{
    client::Client,
    eventually,
    exchanges::{Held, request},
    framed,
    server::{Server, TCP},
};

const CONNECTIONS: usize = 4;
const STREAMS: usize = 24;
/// Bytes of each stream that nobody reads, in frames as small as may come all the time: each waits as an allocation.
const UNREAD: usize = 240_000;
const FRAME: usize = 160;
const PAGE: usize = 4096;
/// Bound of the wait, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE
}

#[tokio::test]
async fn memory_of_streams_comes_back_when_they_are_gone() {
    let (held, gate) = Held::new();
    let mut settings = Settings::default();
    (settings.streams.per_connection, settings.streams.per_peer) = (STREAMS, STREAMS);
    settings.streams.per_address = CONNECTIONS * STREAMS;
    let server = Server::start(&[TCP], settings, Default::default(), vec![Arc::new(held)]).await;
    let before = resident();

    let (mut clients, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let client = Client::connected(&server.addresses[0]).await;
        for _ in 0..STREAMS {
            let mut stream = client.open(server.peer, Held::PROTOCOL).await.unwrap();
            stream.write_all(&framed(request())).await.unwrap();
            for _ in 0..UNREAD / FRAME {
                stream.write_all(&[0; FRAME]).await.unwrap();
            }
            stream.flush().await.unwrap();
            streams.push(stream);
        }
        clients.push(client);
    }
    let taken = resident() - before;
    assert!(taken > CONNECTIONS * STREAMS * UNREAD / 2, "{taken}");

    gate.send(true).unwrap();
    drop(streams);
    for client in clients {
        client.disconnect(server.peer).await;
    }
    eventually("they are gone", || server.running.memory.remembered() == (0, 0)).await;
    // Pages go back while the process works, after a delay of the allocator's.
    let given_back = async {
        loop {
            let client = Client::connected(&server.addresses[0]).await;
            let _replies: Vec<PodReply> = client.call(server.peer, Held::PROTOCOL, request()).await;
            client.disconnect(server.peer).await;
            if resident().saturating_sub(before) < taken / 2 {
                return;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, given_back).await.is_ok() {
        return;
    }
    panic!("{} of {taken} bytes are still held", resident() - before);
}

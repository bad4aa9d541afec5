//! Swarms in this process, over TCP and QUIC: who is served, who is told no, and what is left of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apocryph_proto::v0::provision_pod::PodReply;
use apocryph_provider::net::{
    limits::{AGENT, Settings},
    router::Handler,
};
use bytes::BytesMut;
use futures::{AsyncReadExt, AsyncWriteExt, future::join_all};
use libp2p::{Multiaddr, Stream};
use support::{
    all,
    client::Client,
    eventually,
    exchanges::{Held, Panics, Watched, code, request, verdict},
    framed, next,
    server::{QUIC, Server, TCP},
    within,
};
use tokio::sync::{Barrier, watch};

const PEERS: usize = 16;
const STREAMS: usize = 12;

async fn start(listen: &[&str], settings: Settings, handlers: Vec<Arc<dyn Handler>>) -> Server {
    Server::start(listen, settings, Default::default(), handlers).await
}

/// 16 peers open 12 streams each at one barrier; how many got which verdict. The gate opens when all but the held ones have
/// their answer.
async fn burst(transport: &str, settings: Settings, held: usize) -> BTreeMap<String, usize> {
    let (exchange, gate) = Held::new();
    let server = start(&[transport], settings, vec![Arc::new(exchange)]).await;
    let (address, peer) = (server.addresses[0].clone(), server.peer);
    let clients: Vec<Arc<Client>> = join_all((0..PEERS).map(|_| Client::connected(&address)))
        .await
        .into_iter()
        .map(Arc::new)
        .collect();
    let barrier = Arc::new(Barrier::new(PEERS * STREAMS));
    let (answered, count) = watch::channel(0);
    let calls = clients
        .iter()
        .flat_map(|client| std::iter::repeat_n(client, STREAMS))
        .map(|client| {
            let (client, barrier, answered) = (client.clone(), barrier.clone(), answered.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                let replies: Vec<PodReply> = client.call(peer, Held::PROTOCOL, request()).await;
                answered.send_modify(|count| *count += 1);
                verdict(&replies)
            })
        });
    let calls: Vec<_> = calls.collect();
    let mut count = count;
    within("refusals", count.wait_for(|count| *count >= PEERS * STREAMS - held))
        .await
        .unwrap();
    gate.send(true).unwrap();
    let mut verdicts = BTreeMap::new();
    for call in calls {
        *verdicts
            .entry(call.await.unwrap().unwrap_or("none".to_owned()))
            .or_default() += 1;
    }
    for client in &clients {
        assert_eq!(client.connections_closed(), 0);
    }
    server.stop().await.unwrap();
    verdicts
}

async fn bursts(transport: &str) {
    let mut roomy = Settings::default();
    // All peers have one address here.
    roomy.connections.per_address = PEERS;
    roomy.streams.per_address = PEERS * STREAMS;
    let all = PEERS * STREAMS;
    assert_eq!(
        burst(transport, roomy, all).await,
        BTreeMap::from([("running".to_owned(), all)])
    );

    let mut tight = Settings::default();
    tight.connections.per_address = PEERS;
    tight.streams.per_address = 50;
    tight.streams.refuser = all;
    tight.streams.refuser_per_connection = STREAMS;
    let verdicts = BTreeMap::from([("running".to_owned(), 50), ("busy".to_owned(), all - 50)]);
    assert_eq!(burst(transport, tight, 50).await, verdicts);
}

#[tokio::test]
async fn every_stream_of_a_burst_gets_one_verdict_over_tcp() {
    bursts(TCP).await;
}

#[tokio::test]
async fn every_stream_of_a_burst_gets_one_verdict_over_quic() {
    bursts(QUIC).await;
}

/// A stream that has asked and then waits, neither closing nor reading.
async fn ask(client: &Client, server: &Server) -> Stream {
    let mut stream = client.open(server.peer, Held::PROTOCOL).await.unwrap();
    stream.write_all(&framed(request())).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

async fn first_code(stream: &mut Stream) -> Option<String> {
    let reply: Option<PodReply> = within("a reply", next(stream, &mut BytesMut::new())).await;
    reply.map(|reply| code(&reply).to_owned())
}

async fn more_streams_than_permits_and_refuser(transport: &str) {
    let (exchange, gate) = Held::new();
    // The refuser's slots stay taken until this test lets go.
    let settings = Settings {
        refuse_deadline: Duration::from_secs(600),
        ..Settings::default()
    };
    let limits = settings.streams;
    let server = start(&[transport], settings, vec![Arc::new(exchange)]).await;
    let client = Client::connected(&server.addresses[0]).await;

    let mut served = Vec::new();
    for _ in 0..limits.per_connection {
        let mut stream = ask(&client, &server).await;
        assert_eq!(first_code(&mut stream).await.as_deref(), Some("accepted"));
        served.push(stream);
    }
    let mut refused = Vec::new();
    for _ in 0..limits.refuser_per_connection {
        let mut stream = ask(&client, &server).await;
        assert_eq!(first_code(&mut stream).await.as_deref(), Some("busy"));
        refused.push(stream);
    }
    // One more: reset, without an answer. Whether opening or writing or reading says so is the transport's.
    if let Ok(mut stream) = client.open(server.peer, Held::PROTOCOL).await {
        let _reset = stream.write_all(&framed(request())).await;
        assert_eq!(first_code(&mut stream).await, None);
    }
    assert_eq!(
        server.metrics.streams_over("connection"),
        (limits.refuser_per_connection as u64, 1)
    );

    // The connection lives: its streams come to their end, and it takes new ones.
    assert_eq!(client.connections_closed(), 0);
    drop(refused);
    gate.send(true).unwrap();
    for mut stream in served {
        stream.close().await.unwrap();
        assert_eq!(verdict(&all(&mut stream).await).as_deref(), Some("running"));
    }
    let again: Vec<PodReply> = client.call(server.peer, Held::PROTOCOL, request()).await;
    assert_eq!(verdict(&again).as_deref(), Some("running"));
    assert_eq!(client.connections_closed(), 0);
}

#[tokio::test]
async fn one_stream_more_than_permits_and_refuser_does_not_end_a_tcp_connection() {
    more_streams_than_permits_and_refuser(TCP).await;
}

#[tokio::test]
async fn one_stream_more_than_permits_and_refuser_does_not_end_a_quic_connection() {
    more_streams_than_permits_and_refuser(QUIC).await;
}

#[tokio::test]
async fn watched_pods_leave_streams_for_short_exchanges() {
    let (held, gate) = Held::new();
    gate.send(true).unwrap();
    let (_status, statuses) = watch::channel("running");
    let handlers: Vec<Arc<dyn Handler>> = vec![Arc::new(held), Arc::new(Watched { statuses })];
    let mut settings = Settings::default();
    settings.streams.total = 4;
    let server = start(&[TCP], settings, handlers).await;
    let client = Client::connected(&server.addresses[0]).await;
    let mut watching = Vec::new();
    for _ in 0..3 {
        let mut stream = client.open(server.peer, Watched::PROTOCOL).await.unwrap();
        stream.write_all(&framed(request())).await.unwrap();
        assert_eq!(first_code(&mut stream).await.as_deref(), Some("running"));
        watching.push(stream);
    }
    // One more is told how the pod stands, and no more.
    let replies: Vec<PodReply> = client.call(server.peer, Watched::PROTOCOL, request()).await;
    let codes: Vec<&str> = replies.iter().map(code).collect();
    assert_eq!(
        (codes, verdict(&replies).as_deref()),
        (vec!["running", "busy"], Some("busy"))
    );
    let short: Vec<PodReply> = client.call(server.peer, Held::PROTOCOL, request()).await;
    assert_eq!(verdict(&short).as_deref(), Some("running"));
}

#[tokio::test]
async fn a_drain_gives_every_stream_its_last_word_and_takes_no_new_one() {
    let (held, gate) = Held::new();
    let (_status, statuses) = watch::channel("running");
    let handlers: Vec<Arc<dyn Handler>> = vec![Arc::new(held), Arc::new(Watched { statuses })];
    let server = start(&[TCP, QUIC], Settings::default(), handlers).await;
    let client = Client::connected(&server.addresses[0]).await;
    let over_quic = Client::connected(&server.addresses[1]).await;

    let mut watching = over_quic.open(server.peer, Watched::PROTOCOL).await.unwrap();
    watching.write_all(&framed(request())).await.unwrap();
    assert_eq!(first_code(&mut watching).await.as_deref(), Some("running"));
    let mut unread = client.open(server.peer, Held::PROTOCOL).await.unwrap();
    unread.write_all(&framed(request())[..3]).await.unwrap();
    unread.flush().await.unwrap();
    let mut deciding = ask(&client, &server).await;
    assert_eq!(first_code(&mut deciding).await.as_deref(), Some("accepted"));

    server.drain.cancel();
    for address in &server.addresses {
        assert!(
            Client::new().dial(address).await.is_err(),
            "a new connection to {address}"
        );
    }
    for (what, stream) in [("watching", &mut watching), ("unread", &mut unread)] {
        assert_eq!(
            verdict(&within(what, all(stream)).await).as_deref(),
            Some("shutting_down"),
            "{what}"
        );
        stream.close().await.unwrap();
    }
    // What is being decided is decided; a stream opened meanwhile is answered.
    let late: Vec<PodReply> = client.call(server.peer, Held::PROTOCOL, request()).await;
    assert_eq!(verdict(&late).as_deref(), Some("shutting_down"));
    gate.send(true).unwrap();
    deciding.close().await.unwrap();
    assert_eq!(
        verdict(&within("the decision", all(&mut deciding)).await).as_deref(),
        Some("running")
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_does_not_end_is_cut_off_at_the_drain_deadline() {
    let (exchange, _gate) = Held::new();
    let settings = Settings {
        drain_deadline: Duration::from_millis(50),
        ..Settings::default()
    };
    let server = start(&[TCP], settings, vec![Arc::new(exchange)]).await;
    let client = Client::connected(&server.addresses[0]).await;
    let mut stream = ask(&client, &server).await;
    assert_eq!(first_code(&mut stream).await.as_deref(), Some("accepted"));
    let metrics = server.metrics.clone();
    server.stop().await.unwrap();
    assert_eq!(verdict(&all(&mut stream).await), None);
    assert_eq!(metrics.requests(Held::PROTOCOL, "cut_off"), 1);
}

#[tokio::test]
async fn nothing_is_remembered_of_peers_that_left() {
    let (exchange, gate) = Held::new();
    gate.send(true).unwrap();
    let mut settings = Settings::default();
    settings.connections.per_address = 64;
    settings.connections.pending_per_address = 64;
    let server = start(&[TCP, QUIC], settings, vec![Arc::new(exchange)]).await;
    for address in &server.addresses {
        let clients = join_all((0..30).map(|_| Client::connected(address))).await;
        let calls = clients
            .iter()
            .map(|client| client.call::<PodReply>(server.peer, Held::PROTOCOL, request()));
        for replies in join_all(calls).await {
            assert_eq!(verdict(&replies).as_deref(), Some("running"));
        }
        assert_eq!(server.running.memory.remembered(), (30, 1));
        join_all(clients.iter().map(|client| client.disconnect(server.peer))).await;
        eventually("peers are forgotten", || server.running.memory.remembered() == (0, 0)).await;
    }
}

#[tokio::test]
async fn connections_of_one_address_are_limited_and_counted() {
    let mut settings = Settings::default();
    settings.connections.per_address = 2;
    let server = start(&[TCP], settings, vec![]).await;
    let _first = Client::connected(&server.addresses[0]).await;
    let second = Client::connected(&server.addresses[0]).await;
    assert!(Client::new().dial(&server.addresses[0]).await.is_err());
    assert_eq!(server.metrics.denied("address"), 1);
    drop(second);
    eventually("the second is forgotten", || server.running.memory.remembered().0 == 1).await;
    let _third = Client::connected(&server.addresses[0]).await;
}

#[tokio::test]
async fn noise_on_the_socket_harms_nobody() {
    let (exchange, gate) = Held::new();
    gate.send(true).unwrap();
    let server = start(&[TCP], Settings::default(), vec![Arc::new(exchange)]).await;
    let port = server.addresses[0].iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let mut sockets = Vec::new();
    for bytes in [
        &b""[..],
        &[0xff; 4096],
        b"\x13/multistream/1.0.0\n\x07/noise\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port.unwrap()))
            .await
            .unwrap();
        // The provider may have hung up already.
        let _hung_up = tokio::io::AsyncWriteExt::write_all(&mut socket, bytes).await;
        sockets.push(socket);
    }
    let client = Client::connected(&server.addresses[0]).await;
    let replies: Vec<PodReply> = client.call(server.peer, Held::PROTOCOL, request()).await;
    assert_eq!(verdict(&replies).as_deref(), Some("running"));
}

#[tokio::test]
async fn only_announced_addresses_are_told_and_a_change_is_told_to_whoever_comes_next() {
    let server = start(&[TCP], Settings::default(), vec![]).await;
    for announced in [
        vec!["/ip4/203.0.113.7/tcp/30401"],
        vec!["/ip4/203.0.113.8/tcp/30401", "/dns4/example.org/tcp/1"],
    ] {
        let announced: Vec<Multiaddr> = announced.iter().map(|text| text.parse().unwrap()).collect();
        server.external.send(announced.clone()).unwrap();
        // The loop takes the change before it identifies itself to a connection that comes after it: tried until it shows.
        within("identify", async {
            loop {
                let mut client = Client::connected(&server.addresses[0]).await;
                let identified = client
                    .identified
                    .wait_for(Option::is_some)
                    .await
                    .unwrap()
                    .clone()
                    .unwrap();
                assert_eq!(identified.0, AGENT);
                let mut told = identified.1;
                let mut wanted = announced.clone();
                told.sort();
                wanted.sort();
                if told == wanted {
                    break;
                }
                assert!(!told.contains(&server.addresses[0]), "{told:?}");
            }
        })
        .await;
    }
    assert!(
        !server.exposition().contains("local_observed_addresses{"),
        "no label is a stranger's"
    );
}

#[tokio::test]
async fn a_panic_ends_its_own_stream_only() {
    let (held, gate) = Held::new();
    let server = start(
        &[TCP, QUIC],
        Settings::default(),
        vec![Arc::new(held), Arc::new(Panics)],
    )
    .await;
    for address in &server.addresses {
        let client = Client::connected(address).await;
        let mut other = ask(&client, &server).await;
        assert_eq!(first_code(&mut other).await.as_deref(), Some("accepted"));
        let replies: Vec<PodReply> = client.call(server.peer, Panics::PROTOCOL, request()).await;
        assert_eq!(verdict(&replies), None);
        gate.send(true).unwrap();
        other.close().await.unwrap();
        assert_eq!(verdict(&all(&mut other).await).as_deref(), Some("running"));
        gate.send(false).unwrap();
    }
    assert_eq!(server.metrics.requests(Panics::PROTOCOL, "panicked"), 2);
    assert!(server.exposition().contains("apocryph_panics_total 2\n"));
}

#[tokio::test]
async fn a_protocol_that_is_not_served_is_not_negotiated() {
    let server = start(&[TCP], Settings::default(), vec![]).await;
    let client = Client::connected(&server.addresses[0]).await;
    assert!(client.open(server.peer, Held::PROTOCOL).await.is_err());
    let mut rest = Vec::new();
    if let Ok(mut stream) = client.open(server.peer, "/nobody/1").await {
        let _reset = stream.read_to_end(&mut rest).await;
    }
    assert!(rest.is_empty());
    assert_eq!(client.connections_closed(), 0);
}

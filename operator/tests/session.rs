//! One exchange over memory, in paused time: what a peer is told whatever it does.

mod support;

use std::time::Duration;

use apocryph_proto::v0::{attest::AttestRequest, provision_pod::PodReply};
use apocryph_provider::{
    protocols::session::{Environment, Outcome, Settings, Step, answer_unread, frame, goodbye, shutting_down},
    telemetry::metrics::Metrics,
};
use bytes::BytesMut;
use futures::{AsyncReadExt, AsyncWriteExt, stream};
use support::{
    InMemory, PROTOCOL, all, environment,
    exchanges::{LIMIT, PodReplies, changes, code, request, status, verdict},
    framed, in_memory, next,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::{compat::TokioAsyncReadCompatExt, sync::CancellationToken};

const WINDOW: usize = 1 << 16;

/// Reads a request from what the peer does with its end; the code of the verdict and how the session ended.
async fn told<F: Future<Output = ()>>(
    environment: &Environment,
    peer: impl FnOnce(tokio_util::compat::Compat<tokio::io::DuplexStream>) -> F,
) -> Outcome {
    let InMemory {
        mut session, peer: end, ..
    } = in_memory::<PodReplies>(environment, WINDOW);
    let (read, ()) = tokio::join!(session.read::<AttestRequest>(LIMIT), peer(end));
    let ended = read.expect_err("the request was read");
    assert_eq!(environment.metrics().requests(PROTOCOL, ended.outcome.as_str()), 1);
    ended.outcome
}

/// Sends bytes, leaves the stream open, and expects this code as the one verdict.
async fn refused(bytes: &[u8], expected: &str) {
    let outcome = told(&environment(), async |mut peer| {
        peer.write_all(bytes).await.unwrap();
        assert_eq!(verdict(&all(&mut peer).await).as_deref(), Some(expected));
    })
    .await;
    assert_eq!(outcome.as_str(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_a_request_is_refused_by_its_code() {
    refused(&[0xff; 64], "malformed").await; // a length that never ends
    refused(&[4, 0xff, 0xff, 0xff, 0xff], "malformed").await; // a body that is no message
    refused(&framed(request())[1..], "malformed").await; // no length before it
    refused(&[0x80, 0x80, 0x04], "request_too_large").await; // 64 KiB declared, not a byte of it sent
    refused(&[], "request_timeout").await; // half-open
    refused(&[30, 1], "request_timeout").await; // the rest never comes
}

#[tokio::test(start_paused = true)]
async fn one_byte_a_second_is_refused_at_the_deadline_of_the_whole_request() {
    let opened = Instant::now();
    let outcome = told(&environment(), async |peer| {
        let (mut from, mut to) = peer.split();
        let drip = async {
            for byte in [100].into_iter().chain([0; 100]) {
                to.write_all(&[byte]).await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
        };
        let mut buffer = BytesMut::new();
        let reply: Option<PodReply> = tokio::select! {
            reply = next(&mut from, &mut buffer) => reply,
            () = drip => panic!("every byte was taken"),
        };
        assert_eq!(verdict(reply.as_slice()).as_deref(), Some("request_timeout"));
        // Time is paused: exact, whatever the machine does.
        assert_eq!(opened.elapsed(), Settings::default().request_deadline);
    })
    .await;
    assert_eq!(outcome.as_str(), "request_timeout");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_early_is_told_so_unless_nothing_was_said() {
    let outcome = told(&environment(), async |mut peer| {
        peer.write_all(&framed(request())[..5]).await.unwrap();
        peer.close().await.unwrap();
        let replies: Vec<PodReply> = all(&mut peer).await;
        assert_eq!(verdict(&replies).as_deref(), Some("malformed"));
    })
    .await;
    assert_eq!(outcome.as_str(), "malformed");

    let outcome = told(&environment(), async |peer| drop(peer)).await;
    assert_eq!(outcome, Outcome::NoRequest);
}

#[tokio::test(start_paused = true)]
async fn bytes_in_memory_are_bounded_over_all_requests() {
    let settings = Settings {
        request_bytes: 30,
        ..Settings::default()
    };
    let environment = Environment::new(settings, Metrics::unregistered(), CancellationToken::new());
    let InMemory {
        session: mut first,
        peer: mut waiting,
        ..
    } = in_memory::<PodReplies>(&environment, WINDOW);
    let part = framed(request())[..20].to_vec();
    waiting.write_all(&part).await.unwrap();
    // The first request is half read and keeps its share.
    tokio::select! {
        biased;
        _ = first.read::<AttestRequest>(LIMIT) => panic!("half a request was read"),
        () = tokio::task::yield_now() => {}
    }
    let busy = told(&environment, async |mut peer| {
        peer.write_all(&part).await.unwrap();
        assert_eq!(verdict(&all(&mut peer).await).as_deref(), Some("busy"));
    })
    .await;
    assert_eq!(busy.as_str(), "busy");
    drop(first);
    let InMemory {
        session: mut third,
        mut peer,
        ..
    } = in_memory::<PodReplies>(&environment, WINDOW);
    peer.write_all(&framed(AttestRequest {
        nonce: vec![1; 16],
        want_capacity: false,
    }))
    .await
    .unwrap();
    assert!(
        third.read::<AttestRequest>(LIMIT).await.is_ok(),
        "the share has come back"
    );
}

#[tokio::test(start_paused = true)]
async fn an_unread_request_is_refused_when_the_process_goes_down() {
    let drain = CancellationToken::new();
    let environment = Environment::new(Settings::default(), Metrics::unregistered(), drain.clone());
    let outcome = told(&environment, async |mut peer| {
        drain.cancel();
        assert_eq!(verdict(&all(&mut peer).await).as_deref(), Some("shutting_down"));
    })
    .await;
    assert_eq!(outcome.as_str(), "shutting_down");
}

#[tokio::test(start_paused = true)]
async fn replies_come_in_order_and_the_last_one_closes_the_stream() {
    let environment = environment();
    let InMemory {
        mut session, mut peer, ..
    } = in_memory::<PodReplies>(&environment, WINDOW);
    peer.write_all(&framed(request())).await.unwrap();
    peer.close().await.unwrap();
    let exchange = async {
        let asked: AttestRequest = session.read(LIMIT).await.unwrap();
        assert_eq!(asked, request());
        session.send(status("accepted", false)).await.unwrap();
        session.finish(status("running", true), Outcome::Ok).await.unwrap_err()
    };
    let (ended, replies) = tokio::join!(exchange, all::<PodReply>(&mut peer));
    assert_eq!(replies, [status("accepted", false), status("running", true)]);
    assert_eq!(ended.outcome, Outcome::Ok);
    assert_eq!(environment.metrics().requests(PROTOCOL, "ok"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_loses_its_stream() {
    let environment = environment();
    let InMemory {
        mut session, mut peer, ..
    } = in_memory::<PodReplies>(&environment, 64);
    let exchange = async {
        let _asked: AttestRequest = session.read(LIMIT).await.unwrap();
        loop {
            if let Err(ended) = session.send(status("running", false)).await {
                return ended;
            }
        }
    };
    let asking = framed(request());
    let (ended, sent) = tokio::join!(exchange, peer.write_all(&asking));
    sent.unwrap();
    assert_eq!(ended.outcome, Outcome::PeerStalled);
}

#[tokio::test(start_paused = true)]
async fn a_status_is_repeated_while_nothing_changes_and_put_anew_each_time() {
    let environment = environment();
    let InMemory {
        mut session, mut peer, ..
    } = in_memory::<PodReplies>(&environment, WINDOW);
    let (changed, statuses) = watch::channel("accepted");
    let exchange = async {
        let _asked: AttestRequest = session.read(LIMIT).await.unwrap();
        let mut count = 0;
        let streamed = session
            .stream(changes(statuses), |code| {
                count += 1;
                match *code {
                    "ended" => Step::Last(status("ended", true), Outcome::Ok),
                    code => Step::More(status(&format!("{code} {count}"), false)),
                }
            })
            .await;
        streamed.err().unwrap()
    };
    let reader = async {
        peer.write_all(&framed(request())).await.unwrap();
        // A peer that only listens from here on.
        peer.close().await.unwrap();
        let mut buffer = BytesMut::new();
        let mut seen = Vec::new();
        for then in [None, Some("running"), None, Some("ended")] {
            let reply: PodReply = next(&mut peer, &mut buffer).await.unwrap();
            seen.push((code(&reply).to_owned(), Instant::now()));
            if let Some(then) = then {
                changed.send(then).unwrap();
            }
        }
        let last: PodReply = next(&mut peer, &mut buffer).await.unwrap();
        assert_eq!(verdict(&[last]).as_deref(), Some("ended"));
        assert_eq!(next::<PodReply>(&mut peer, &mut buffer).await, None);
        seen
    };
    let (ended, seen) = tokio::join!(exchange, reader);
    let codes: Vec<&str> = seen.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes, ["accepted 1", "accepted 2", "running 3", "running 4"]);
    let pauses: Vec<u64> = seen
        .windows(2)
        .map(|pair| pair[1].1.duration_since(pair[0].1).as_secs())
        .collect();
    assert_eq!(pauses, [30, 0, 30], "paused time: seconds between messages");
    assert_eq!(ended.outcome, Outcome::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_status_stream_ends_on_purpose_whoever_ends_it() {
    // The process goes down.
    let drain = CancellationToken::new();
    let environment = Environment::new(Settings::default(), Metrics::unregistered(), drain.clone());
    let InMemory { session, mut peer, .. } = in_memory::<PodReplies>(&environment, WINDOW);
    let forever = stream::pending::<&str>();
    let streamed = session.stream(forever, |code| Step::More(status(code, false)));
    let reader = async {
        drain.cancel();
        all::<PodReply>(&mut peer).await
    };
    let (ended, replies) = tokio::join!(streamed, reader);
    assert_eq!(verdict(&replies).as_deref(), Some("shutting_down"));
    assert_eq!(ended.err().unwrap().outcome.as_str(), "shutting_down");

    // The source ends: the last word is the caller's.
    let environment = support::environment();
    let InMemory {
        session, peer: _peer, ..
    } = in_memory::<PodReplies>(&environment, WINDOW);
    let two = stream::iter(["accepted", "running"]);
    let (session, newest) = session
        .stream(two, |code| Step::More(status(code, false)))
        .await
        .unwrap();
    assert_eq!(newest, Some("running"));
    let refused = session.refuse(shutting_down()).await.unwrap_err();
    assert_eq!(refused.outcome.as_str(), "shutting_down");

    // The connection closes.
    let InMemory {
        session,
        peer: _peer,
        gone,
    } = in_memory::<PodReplies>(&environment, WINDOW);
    gone.cancel();
    let ended = session
        .stream(stream::pending::<&str>(), |code| Step::More(status(code, false)))
        .await;
    assert_eq!(ended.err().unwrap().outcome, Outcome::PeerGone);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_still_sending_gets_the_final_message_first() {
    let environment = environment();
    let InMemory { session, peer, .. } = in_memory::<PodReplies>(&environment, 64);
    let (mut from, mut to) = peer.split();
    let sending = async {
        to.write_all(&vec![0; 10_000]).await.unwrap();
        to.close().await.unwrap();
    };
    let (ended, replies, ()) = tokio::join!(session.refuse(shutting_down()), all::<PodReply>(&mut from), sending);
    assert_eq!(verdict(&replies).as_deref(), Some("shutting_down"));
    assert_eq!(ended.unwrap_err().outcome.as_str(), "shutting_down");
}

#[tokio::test(start_paused = true)]
async fn the_refuser_holds_nobody_past_its_deadline() {
    let (ours, theirs) = tokio::io::duplex(16);
    let (mut ours, mut theirs) = (ours.compat(), theirs.compat());
    let last = frame(status("busy", true)).unwrap();
    let started = Instant::now();
    let deadline = started + Duration::from_secs(5);
    let refuser = async {
        answer_unread(&mut ours, &last, deadline).await.unwrap();
        goodbye(&mut ours, false, deadline).await;
    };
    // The peer takes the answer, closes nothing, and sends nothing.
    let mut buffer = BytesMut::new();
    let ((), first) = tokio::join!(refuser, next::<PodReply>(&mut theirs, &mut buffer));
    assert_eq!(code(&first.unwrap()), "busy");
    assert_eq!(started.elapsed(), Duration::from_secs(5));

    // This one does not even take the answer.
    let (ours, _theirs) = tokio::io::duplex(2);
    let deadline = Instant::now() + Duration::from_secs(5);
    assert!(answer_unread(&mut ours.compat(), &last, deadline).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_forgets_its_peer_is_counted_as_a_bug() {
    let environment = environment();
    let InMemory { session, mut peer, .. } = in_memory::<PodReplies>(&environment, WINDOW);
    drop(session);
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    assert_eq!(environment.metrics().requests(PROTOCOL, "abandoned"), 1);

    let InMemory { session, .. } = in_memory::<PodReplies>(&environment, WINDOW);
    let panicked = tokio::spawn(async move {
        let _session = session;
        panic!("on purpose");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(environment.metrics().requests(PROTOCOL, "panicked"), 1);
}

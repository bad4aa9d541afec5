//! list, describe and logs: of the publisher's own pods, as fast as he reads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use apocryph_proto::{
    limits,
    outcome::Code,
    protocol,
    v0::{
        manage_pod::{Describe, List, Logs, manage_pod_request::Operation},
        provision_pod::{PodReply, pod_reply::Message},
        signing::Envelope,
    },
};
use apocryph_provider::model::{
    description::{Condition, ContainerState, Description, Exit, Reason, Replica, State},
    key::{PodId, PodKey, Publisher},
    logs::{LogLine, LogLines, Logged, LogsWanted},
    pod::{LifeState, Listed},
    refusal::Refusal,
    status::Phase,
};
use futures::{StreamExt, stream};

use super::support::*;

/// Of all pods: the podId is all zero.
fn list() -> Envelope {
    let mut envelope = signed_manage(Operation::List(List {}));
    envelope.pod_id = vec![0; 32];
    publisher().sign(&mut envelope);
    envelope
}

fn describe() -> Envelope {
    signed_manage(Operation::Describe(Describe {}))
}

fn logs(wanted: Logs) -> Envelope {
    signed_manage(Operation::Logs(wanted))
}

async fn answer(world: &Arc<World>, request: Envelope) -> PodReply {
    let mut client = open(manage_pod(world), request).await;
    let reply = client.next().await.expect("a message");
    assert!(reply.r#final, "{reply:?}");
    assert_eq!(client.next().await, None);
    reply
}

fn pod(publisher: Publisher, number: u8) -> Listed {
    let key = PodKey {
        publisher,
        pod_id: PodId([number; 32]),
    };
    Listed {
        key,
        status: status(1, Phase::Running, Code::Running),
    }
}

#[tokio::test]
async fn a_list_comes_in_pages_and_the_last_one_is_final() {
    let own = Publisher(publisher().address());
    for (count, expected) in [
        (0, vec![0]),
        (limits::LIST_PAGE, vec![limits::LIST_PAGE]),
        (limits::LIST_PAGE + 1, vec![limits::LIST_PAGE, 1]),
    ] {
        let world = World::new();
        *world.listed.lock().unwrap() = (0..count).map(|number| pod(own, number as u8)).collect();
        world.listed.lock().unwrap().push(pod(Publisher([9; 20]), 1));
        let mut client = open(manage_pod(&world), list()).await;
        let mut pages = Vec::new();
        while let Some(reply) = client.next().await {
            let Some(Message::List(page)) = reply.message else {
                panic!("no page")
            };
            pages.push(page.pods.len());
            assert_eq!(reply.r#final, pages.len() == expected.len());
        }
        assert_eq!(pages, expected);
        assert_eq!(world.calls(), ["list"]);
    }
}

#[tokio::test]
async fn a_list_is_of_all_pods_and_everything_else_of_one() {
    let world = World::new();
    let of_one = signed_manage(Operation::List(List {}));
    for (request, code) in [
        (of_one, "wrong_pod"),
        (zero(describe()), "wrong_pod"),
        (zero(logs(Logs::default())), "wrong_pod"),
    ] {
        let refusal = open(manage_pod(&world), request).await.refusal().await;
        assert_eq!((refusal.code.as_str(), refusal.field.as_str()), (code, "podId"));
    }
    assert_eq!(world.calls(), Vec::<&str>::new());
}

fn zero(mut envelope: Envelope) -> Envelope {
    envelope.pod_id = vec![0; 32];
    publisher().sign(&mut envelope);
    envelope
}

fn described() -> Description {
    let at = |second| UNIX_EPOCH + Duration::from_secs(second);
    Description {
        record: record(2, LifeState::Ending(end())),
        status: status(2, Phase::Ending, Code::Ending),
        started: Some(at(1)),
        ready_since: Some(at(2)),
        conditions: vec![Condition {
            type_: "Ready".to_owned(),
            holds: false,
            code: "container_exited".to_owned(),
            message: "it exited".to_owned(),
            since: at(3),
        }],
        replicas: vec![Replica {
            name: "workload-1".to_owned(),
            ready: false,
            code: "container_exited",
            message: "it exited".to_owned(),
            remedy: "mend it".to_owned(),
            started: Some(at(4)),
            containers: vec![ContainerState {
                name: "web".to_owned(),
                state: State::Exited(Some(at(5))),
                restarts: 6,
                last_exit: Some(Exit {
                    code: 7,
                    at: Some(at(5)),
                    out_of_memory: true,
                }),
            }],
        }],
        reasons: vec![Reason {
            code: "running",
            message: "it ran".to_owned(),
            at: at(8),
            count: 9,
        }],
    }
}

#[tokio::test]
async fn a_description_is_one_message_with_everything_in_it() {
    let world = World::new();
    *world.described.lock().unwrap() = Ok(Some(described()));
    let reply = answer(&world, describe()).await;
    let Some(Message::Description(mut told)) = reply.message else {
        panic!("{reply:?}")
    };
    if let Some(status) = &mut told.status {
        status.at = 0;
    }
    insta::assert_debug_snapshot!(told);
}

#[tokio::test]
async fn a_pod_that_is_not_there_is_not_described_and_an_api_in_silence_is_not_taken_for_that() {
    let world = World::new();
    let refusal = open(manage_pod(&world), describe()).await.refusal().await;
    assert_eq!(refusal.code, "not_found");
    *world.described.lock().unwrap() = Err(Refusal::new(Code::ApiUnavailable, "no answer"));
    let refusal = open(manage_pod(&world), describe()).await.refusal().await;
    assert_eq!(refusal.code, "api_unavailable");
}

fn lines(count: usize) -> Logged {
    Logged::Lines(LogLines {
        replica: "workload-1".to_owned(),
        container: "web".to_owned(),
        lines: (0..count)
            .map(|number| LogLine {
                at: 1 + number as u64,
                text: vec![b'x'; 1000],
                cut: number == 0,
            })
            .collect(),
    })
}

fn give(world: &World, items: impl stream::Stream<Item = Result<Logged, Refusal>> + Send + 'static) {
    *world.logged.lock().unwrap() = Some(Ok(items.boxed()));
}

#[tokio::test]
async fn lines_come_with_their_names_and_the_status_closes_them() {
    let world = World::new();
    let end = Logged::End(status(1, Phase::Running, Code::Running));
    give(&world, stream::iter([Ok(lines(2)), Ok(end)]));
    let wanted = Logs {
        container_name: "web".to_owned(),
        tail_lines: 3,
        since: 4,
        previous: true,
        follow: false,
    };
    let mut client = open(manage_pod(&world), logs(wanted)).await;
    let Some(Message::Log(told)) = client.next().await.unwrap().message else {
        panic!("no lines")
    };
    assert_eq!(
        (told.replica.as_str(), told.container_name.as_str()),
        ("workload-1", "web")
    );
    let shape: Vec<_> = told
        .lines
        .iter()
        .map(|line| (line.at, line.text.len(), line.cut))
        .collect();
    assert_eq!(shape, [(1, 1000, true), (2, 1000, false)]);
    // Running, and final all the same.
    assert_eq!(client.last_status().await.code, "running");
    let asked = LogsWanted {
        container: Some("web".to_owned()),
        follow: false,
        tail: Some(3),
        since: Some(4),
        previous: true,
    };
    assert_eq!(*world.logs_wanted.lock().unwrap(), [asked]);
}

#[tokio::test]
async fn what_ends_a_log_early_is_its_final_message() {
    let world = World::new();
    let refusal = open(manage_pod(&world), logs(Logs::default())).await.refusal().await;
    assert_eq!(refusal.code, "not_found");

    let broken = Refusal::new(Code::ApiUnavailable, "the node is gone");
    give(&world, stream::iter([Ok(lines(1)), Err(broken)]));
    let mut client = open(manage_pod(&world), logs(Logs::default())).await;
    client.next().await.unwrap();
    assert_eq!(client.refusal().await.code, "api_unavailable");

    // The object went away under it.
    give(&world, stream::iter([Ok(lines(1))]));
    let mut client = open(manage_pod(&world), logs(Logs::default())).await;
    client.next().await.unwrap();
    assert_eq!(client.refusal().await.code, "not_found");
}

#[tokio::test]
async fn what_cannot_be_asked_names_its_field() {
    let world = World::new();
    let ahead = Logs {
        since: unix_now() + limits::CLOCK_SKEW + 60,
        ..Logs::default()
    };
    let both = Logs {
        follow: true,
        previous: true,
        ..Logs::default()
    };
    for (wanted, field) in [(ahead, "logs.since"), (both, "logs.previous")] {
        let refusal = open(manage_pod(&world), logs(wanted)).await.refusal().await;
        assert_eq!(
            (refusal.code.as_str(), refusal.field.as_str()),
            ("invalid_request", field)
        );
    }
    assert_eq!(world.calls(), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn a_program_in_silence_is_told_by_its_status() {
    let world = World::new();
    let first = stream::iter([
        Ok(Logged::Status(status(1, Phase::Running, Code::Running))),
        Ok(lines(1)),
    ]);
    give(&world, first.chain(stream::pending()));
    let follow = Logs {
        follow: true,
        ..Logs::default()
    };
    let mut client = open(manage_pod(&world), logs(follow)).await;
    assert_eq!(client.status().await.code, "running");
    assert!(matches!(client.next().await.unwrap().message, Some(Message::Log(_))));
    for _ in 0..3 {
        assert_eq!(client.status().await.code, "running", "lines are never repeated");
    }
    client.drain.cancel();
    assert_eq!(client.refusal().await.code, "shutting_down");
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_stops_is_given_up_and_no_more_is_read_for_him() {
    let world = World::new();
    let read = Arc::new(AtomicUsize::new(0));
    let counter = read.clone();
    let flood = stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(lines(32))
    });
    give(&world, flood);
    let client = open(manage_pod(&world), logs(Logs::default())).await;
    let stalled = async {
        while client.metrics.requests(protocol::MANAGE_POD, "peer_stalled") == 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), stalled)
        .await
        .expect("it is given up");
    // What fits into the pipe, and the message that did not.
    let pipe = PIPE / 32_000 + 2;
    assert!(
        read.load(Ordering::SeqCst) <= pipe,
        "{} of {pipe}",
        read.load(Ordering::SeqCst)
    );
}

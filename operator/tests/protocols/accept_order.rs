//! The order of DESIGN 4 with all its answers: who is asked, in which order, and what is given back.

use std::{sync::Arc, time::Duration};

use apocryph_proto::{
    outcome::Code,
    v0::provision_pod::{PodStatus, ProvisionPodRequest},
};
use apocryph_provider::{
    admission,
    model::{
        key::Publisher,
        pod::{LifeState, Offer, PodRecord},
        refusal::{BUSY_RETRY_AFTER, Refusal},
        services::{HoldEnd, Verdict},
    },
    protocols::convert,
};
use tokio_util::sync::CancellationToken;

use super::support::*;

/// A new pod, from the first question to the last write.
const WHOLE: [&str; 6] = ["find", "door", "payment", "door", "hold", "submit"];

fn after(life: u64) -> ProvisionPodRequest {
    ProvisionPodRequest {
        after_life: life,
        detach: true,
        ..provision()
    }
}

/// The final `accepted`.
async fn accepted(world: &Arc<World>, request: ProvisionPodRequest) -> PodStatus {
    open(provision_pod(world), signed_provision(&request))
        .await
        .last_status()
        .await
}

/// The request as admission gets it.
fn parsed() -> admission::Request {
    convert::provision(after(0), publisher().key(), Offer::Free, "0123").unwrap()
}

#[tokio::test]
async fn a_new_pod_goes_the_whole_way_in_order() {
    let world = World::new();
    let status = accepted(&world, after(0)).await;
    assert_eq!(
        (status.code.as_str(), status.life, status.generation),
        ("accepted", 1, 1)
    );
    assert_eq!(status.name, publisher().key().name().to_string());
    assert!(status.at.abs_diff(unix_now()) < 60);
    assert_eq!(world.calls(), WHOLE);
    assert_eq!(*world.hold_ends.borrow(), [HoldEnd::Committed]);
}

#[tokio::test]
async fn accepted_tells_the_manifest_with_its_defaults_and_without_its_secrets() {
    let world = World::new();
    let status = accepted(&world, after(0)).await;
    let admitted = status.admitted.expect("the manifest");
    insta::assert_debug_snapshot!(admitted);
    assert_eq!(admitted.containers[0].env["TOKEN"], "");
    let demand = world.demands.lock().unwrap()[0];
    assert_eq!(
        (demand.replicas, demand.per_replica, demand.storage),
        (1, DEFAULTS.requests, 0)
    );
}

#[tokio::test]
async fn a_pod_without_an_object_continues_the_life_that_its_request_names() {
    let world = World::new();
    let status = accepted(&world, after(6)).await;
    assert_eq!(status.life, 7);
}

#[tokio::test]
async fn the_same_request_attaches_and_asks_neither_door_nor_payment_nor_capacity() {
    for code in [Code::WallsMissing, Code::Cordoned, Code::PublisherDenied] {
        let world = World::with_record(record(1, LifeState::Alive));
        *world.door.lock().unwrap() = Err(Refusal::new(code, "closed"));
        let status = accepted(&world, after(0)).await;
        assert_eq!(
            (status.code.as_str(), status.life, status.generation),
            ("accepted", 1, 4)
        );
        assert_eq!(status.admitted, None, "the defaults of then are not known here");
        assert_eq!(world.calls(), ["find"]);
    }
}

#[tokio::test]
async fn an_object_that_says_no_costs_one_read() {
    let other = PodRecord {
        tag: other_tag(),
        ..record(1, LifeState::Alive)
    };
    let admins = PodRecord {
        tag: None,
        ..record(1, LifeState::Alive)
    };
    for (there, request, code) in [
        (other.clone(), after(0), "content_differs"),
        (admins, after(0), "content_differs"),
        (record(1, LifeState::Alive), after(1), "other_life"),
        (record(2, LifeState::Alive), after(0), "other_life"),
        (record(1, LifeState::Ending(end())), after(0), "terminating"),
        (record(1, LifeState::Ending(end())), after(1), "terminating"),
        (record(1, LifeState::Ended(end())), after(0), "ended"),
        (record(3, LifeState::Ended(end())), after(1), "ended"),
        (other, after(7), "other_life"),
    ] {
        let world = World::with_record(there.clone());
        let refusal = refused(&world, signed_provision(&request)).await;
        assert_eq!(refusal.code, code, "{there:?}");
        assert_eq!(world.calls(), ["find"]);
        assert_eq!(refusal.retry_after > 0, code == "terminating");
    }
}

#[tokio::test]
async fn ended_tells_which_life_why_and_when() {
    let world = World::with_record(record(3, LifeState::Ended(end())));
    let refusal = refused(&world, signed_provision(&after(0))).await;
    assert_eq!(
        (refusal.ended_life, refusal.ended_code.as_str(), refusal.ended_at),
        (3, "deleted_by_publisher", 1_700_000_000)
    );
}

#[tokio::test]
async fn the_right_after_life_starts_anew_with_other_content_too() {
    let ended = PodRecord {
        tag: other_tag(),
        ..record(3, LifeState::Ended(end()))
    };
    let world = World::with_record(ended);
    let status = accepted(&world, after(3)).await;
    assert_eq!(status.life, 4);
    assert_eq!(world.calls(), WHOLE);
    let record = world.record.lock().unwrap().clone().unwrap().unwrap();
    assert_eq!(record.version, "77", "the update is of the object that was read");
}

#[tokio::test]
async fn a_closed_door_is_told_with_its_reason_and_nobody_asks_about_money() {
    for code in [
        Code::NotSynced,
        Code::WallsMissing,
        Code::NoPriceTable,
        Code::Cordoned,
        Code::PublisherDenied,
    ] {
        let world = World::new();
        *world.door.lock().unwrap() = Err(Refusal::new(code, "closed"));
        assert_eq!(refused(&world, signed_provision(&after(0))).await.code, code.as_str());
        assert_eq!(world.calls(), ["find", "door"]);
    }
}

#[tokio::test]
async fn a_payment_that_is_not_enough_holds_nothing() {
    let world = World::new();
    *world.verdict.lock().unwrap() = Some(Verdict::NotEnough(Refusal::new(
        Code::PublisherNotAllowed,
        "not listed",
    )));
    assert_eq!(
        refused(&world, signed_provision(&after(0))).await.code,
        "publisher_not_allowed"
    );
    assert_eq!(world.calls(), ["find", "door", "payment"]);
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_cannot_be_found_out_says_when_to_ask_again() {
    for verdict in [Some(Verdict::Unknown("the chain does not answer".to_owned())), None] {
        let world = World::new();
        *world.verdict.lock().unwrap() = verdict;
        let refusal = refused(&world, signed_provision(&after(0))).await;
        assert_eq!(
            (refusal.code.as_str(), refusal.retry_after),
            ("payment_unknown", admission::facts::PAYMENT_RETRY)
        );
        assert_eq!(world.calls(), ["find", "door", "payment"]);
    }
}

#[tokio::test]
async fn no_room_names_the_resource_and_writes_nothing() {
    let world = World::new();
    let full = Refusal::new(Code::InsufficientCapacity, "no node has so much").resource("memory");
    world.holds.lock().unwrap().push_back(HoldAnswer::Refuse(full));
    let refusal = refused(&world, signed_provision(&after(0))).await;
    assert_eq!(
        (refusal.code.as_str(), refusal.resource.as_str()),
        ("insufficient_capacity", "memory")
    );
    assert_eq!(world.calls(), ["find", "door", "payment", "door", "hold"]);
}

#[tokio::test]
async fn who_waited_for_another_request_looks_again_and_pays_the_question_once() {
    let world = World::new();
    world.holds.lock().unwrap().push_back(HoldAnswer::LookAgain);
    let status = accepted(&world, after(0)).await;
    assert_eq!(status.code, "accepted");
    assert_eq!(
        world.calls(),
        [
            "find", "door", "payment", "door", "hold", "find", "door", "hold", "submit"
        ]
    );
}

#[tokio::test]
async fn who_came_second_is_answered_by_what_the_first_wrote() {
    for (first, answer) in [
        (record(1, LifeState::Alive), "accepted"),
        (
            PodRecord {
                tag: other_tag(),
                ..record(1, LifeState::Alive)
            },
            "content_differs",
        ),
    ] {
        let world = World::new();
        world.submits.lock().unwrap().push_back(SubmitAnswer::Raced(first));
        let reply = open(provision_pod(&world), signed_provision(&after(0)))
            .await
            .next()
            .await
            .unwrap();
        assert!(reply.r#final);
        assert!(format!("{reply:?}").contains(answer), "{reply:?}");
        assert_eq!(world.calls().last(), Some(&"find"));
        assert_eq!(*world.hold_ends.borrow(), [HoldEnd::Released]);
    }
}

#[tokio::test]
async fn a_name_that_is_fought_over_is_given_up_after_some_rounds() {
    let world = World::new();
    world
        .holds
        .lock()
        .unwrap()
        .extend((0..admission::ROUNDS_MAX).map(|_| HoldAnswer::LookAgain));
    let refusal = refused(&world, signed_provision(&after(0))).await;
    assert_eq!((refusal.code.as_str(), refusal.retry_after), ("busy", BUSY_RETRY_AFTER));
}

#[tokio::test]
async fn an_api_that_does_not_answer_changes_nothing() {
    let down = || Refusal::new(Code::ApiUnavailable, "no answer").retry_after(5);
    let world = World::new();
    *world.record.lock().unwrap() = Err(down());
    assert_eq!(
        refused(&world, signed_provision(&after(0))).await.code,
        "api_unavailable"
    );
    assert_eq!(world.calls(), ["find"]);

    let world = World::new();
    world.submits.lock().unwrap().push_back(SubmitAnswer::Refuse(down()));
    assert_eq!(
        refused(&world, signed_provision(&after(0))).await.code,
        "api_unavailable"
    );
    assert_eq!(*world.hold_ends.borrow(), [HoldEnd::Released]);
}

#[tokio::test]
async fn a_gateway_that_panics_is_an_answer_and_gives_the_hold_back() {
    let world = World::new();
    world.submits.lock().unwrap().push_back(SubmitAnswer::Panic);
    assert_eq!(
        refused(&world, signed_provision(&after(0))).await.code,
        "api_unavailable"
    );
    assert_eq!(*world.hold_ends.borrow(), [HoldEnd::Released]);
}

#[tokio::test]
async fn a_stream_that_dies_during_the_writes_leaves_them_to_run_to_their_end() {
    let world = World::new();
    let go_on = CancellationToken::new();
    world
        .submits
        .lock()
        .unwrap()
        .push_back(SubmitAnswer::After(go_on.clone()));
    let admission = admission(&world);
    {
        let provision = admission.provision(parsed());
        tokio::pin!(provision);
        while !world.calls().contains(&"submit") {
            assert!(futures::poll!(&mut provision).is_pending());
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(*world.hold_ends.borrow(), []);
    go_on.cancel();
    tokio::time::timeout(Duration::from_secs(60), admission.finish())
        .await
        .expect("the writes end");
    assert_eq!(*world.hold_ends.borrow(), [HoldEnd::Committed]);
}

#[tokio::test]
async fn writes_under_way_are_bounded_and_the_one_too_many_gives_its_hold_back() {
    let world = World::new();
    let go_on = CancellationToken::new();
    world
        .submits
        .lock()
        .unwrap()
        .extend((0..admission::COMMITS_MAX).map(|_| SubmitAnswer::After(go_on.clone())));
    let admission = admission(&world);
    let provision = || admission.provision(parsed());
    let mut writing: Vec<_> = (0..admission::COMMITS_MAX).map(|_| Box::pin(provision())).collect();
    for one in &mut writing {
        assert!(futures::poll!(one).is_pending());
    }
    let refusal = provision().await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.retry_after),
        (Code::Busy, Some(BUSY_RETRY_AFTER))
    );
    assert_eq!(*world.hold_ends.borrow(), [HoldEnd::Released]);
    go_on.cancel();
    for one in writing {
        assert!(matches!(one.await, Ok(admission::Outcome::Accepted { .. })));
    }
    *world.record.lock().unwrap() = Ok(None);
    assert!(provision().await.is_ok(), "there is room again");
}

#[tokio::test]
async fn new_pods_come_no_faster_than_the_pace_and_only_those_count() {
    use apocryph_provider::admission::{
        Outcome,
        pace::{PUBLISHER_BURST, TOTAL_BURST},
    };
    let world = World::new();
    let admission = admission(&world);
    let of = |publisher: u8| {
        let mut request = parsed();
        request.key.publisher = Publisher([publisher; 20]);
        *world.record.lock().unwrap() = Ok(None);
        admission.provision(request)
    };
    let full = || HoldAnswer::Refuse(Refusal::new(Code::InsufficientCapacity, "full"));
    world.holds.lock().unwrap().extend((0..TOTAL_BURST).map(|_| full()));
    for _ in 0..TOTAL_BURST {
        of(1).await.unwrap_err();
    }
    for publisher in [1, 2] {
        for _ in 0..PUBLISHER_BURST {
            of(publisher).await.unwrap();
        }
    }
    let before = world.calls().len();
    let refusal = of(1).await.unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after), (Code::Busy, Some(10)), "{refusal}");
    let refusal = of(3).await.unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after), (Code::Busy, Some(1)), "{refusal}");
    assert!(
        !world.calls()[before..].contains(&"hold"),
        "refused before capacity is counted"
    );

    *world.record.lock().unwrap() = Ok(Some(record(1, LifeState::Alive)));
    let attached = admission.provision(parsed()).await;
    assert!(matches!(attached, Ok(Outcome::Attached { .. })), "{attached:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_dies_while_the_payment_is_asked_leaves_nothing() {
    let world = World::new();
    *world.verdict.lock().unwrap() = None;
    let admission = admission(&world);
    let waiting = tokio::time::timeout(Duration::from_secs(1), admission.provision(parsed())).await;
    assert!(waiting.is_err());
    admission.finish().await;
    assert_eq!(world.calls(), ["find", "door", "payment"]);
}

#[tokio::test]
async fn faults_of_the_request_are_named_before_anybody_is_asked() {
    let mut cases: Vec<(ProvisionPodRequest, &str, &str)> = Vec::new();
    let mut case = |change: fn(&mut ProvisionPodRequest), code, field| {
        let mut request = after(0);
        change(&mut request);
        cases.push((request, code, field));
    };
    case(|request| request.pod = None, "invalid_request", "pod");
    case(|request| request.payment = None, "invalid_request", "payment");
    case(|request| request.after_life = u64::MAX, "invalid_request", "afterLife");
    case(
        |request| request.payment.as_mut().unwrap().publisher_address.truncate(19),
        "invalid_request",
        "payment.publisherAddress",
    );
    case(
        |request| request.payment.as_mut().unwrap().pod_id.clear(),
        "invalid_request",
        "payment.podID",
    );
    case(
        |request| request.payment.as_mut().unwrap().pod_id = vec![0; 32],
        "invalid_request",
        "payment.podID",
    );
    case(
        |request| request.pod.as_mut().unwrap().containers[0].name = "Web".to_owned(),
        "invalid_manifest",
        "pod.containers[0].name",
    );
    case(
        |request| request.pod.as_mut().unwrap().containers[0].image.as_mut().unwrap().cid = vec![1],
        "not_served",
        "pod.containers[0].image.cid",
    );
    case(
        |request| request.pod.as_mut().unwrap().containers.clear(),
        "invalid_manifest",
        "pod.containers",
    );
    for (request, code, field) in cases {
        let world = World::new();
        let refusal = refused(&world, signed_provision(&request)).await;
        assert_eq!(
            (refusal.code.as_str(), refusal.field.as_str()),
            (code, field),
            "{refusal:?}"
        );
        assert_eq!(world.calls(), Vec::<&str>::new());
    }
}

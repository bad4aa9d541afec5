use std::sync::atomic::{AtomicU32, Ordering};

use apocryph_crd::ApocryphPod;
use apocryph_proto::outcome::Code;

use super::*;
use crate::{
    capacity::{
        holds::{HOLDS_MAX, WAITERS_MAX},
        nodes::tests::seen,
    },
    fake_api::{client, fail},
};

const MIB: u64 = 1 << 20;

/// One node: 1 core, 64 MiB, 10 slots.
const NODE: &str = "kind: Node\nmetadata: {name: one}\nstatus:\n  \
                    allocatable: {cpu: '1', memory: 64Mi, ephemeral-storage: 1Gi, pods: '10'}\n  \
                    conditions: [{type: Ready, status: 'True'}]\n";

/// Caches that a test writes.
#[derive(Clone)]
struct World(Arc<Mutex<String>>);

impl World {
    fn new(text: &str) -> World {
        World(Arc::new(Mutex::new(text.to_owned())))
    }

    fn set(&self, parts: &[&str]) {
        *self.0.lock().unwrap() = parts.join("\n---\n");
    }

    fn tracker(&self, settings: Settings) -> Arc<Tracker> {
        let world = self.clone();
        Tracker::of(settings, Box::new(move || seen(&world.0.lock().unwrap())))
    }
}

fn name(n: u32) -> PodName {
    let letter = |i: u32| char::from(b'a' + u8::try_from(n / 26u32.pow(i) % 26).unwrap());
    PodName::parse(&format!("{}{}{}{}", letter(2), letter(1), letter(0), "a".repeat(23))).unwrap()
}

fn demand(cpu_millis: u64) -> Demand {
    let per_replica = Resources {
        cpu_millis,
        memory: MIB,
        ephemeral_storage: MIB,
    };
    Demand {
        replicas: 1,
        per_replica,
        ..Demand::default()
    }
}

fn object(name: &PodName, life: u32, cpu_millis: u64, end: &str) -> String {
    let text = format!(
        "apiVersion: apocryph.network/v1alpha1\nkind: ApocryphPod\nmetadata: {{name: {name}}}\nspec:\n  \
         publisher: '0x0000000000000000000000000000000000000001'\n  \
         podId: '0x0000000000000000000000000000000000000000000000000000000000000001'\n  \
         life: {life}\n  tag: 0123456789abcdef\n  payment: {{free: {{table: t}}}}\n  \
         containers: [{{name: c, image: i, resources: {{cpuMillis: {cpu_millis}, memory: {MIB}, ephemeralStorage: {MIB}}}}}]\n{end}"
    );
    let _: ApocryphPod = serde_saphyr::from_str(&text).unwrap();
    text
}

const ENDED: &str = "  end: {at: '2026-01-01T00:00:00Z', reason: StartTimeout, by: controller}\n\
                     status: {life: 1, conditions: [{type: Ended, status: 'True', reason: StartTimeout, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}]}\n";

fn held(tracker: &Tracker) -> usize {
    lock(&tracker.state).holds.count()
}

/// Free cpu, once the last answer is too old to be given again.
async fn left(tracker: &Tracker) -> u64 {
    tokio::time::advance(ANSWER_AGE_MAX).await;
    tracker.report().free.cpu_millis
}

async fn hold(tracker: &Tracker, name: &PodName, demand: Demand) -> Hold {
    match tracker.hold(name, &demand).await {
        Ok(Held::Hold(hold)) => hold,
        Ok(Held::LookAgain) => panic!("somebody holds {name}"),
        Err(refusal) => panic!("{refusal}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_forty_that_want_room_for_five_five_get_it() {
    for settings in [
        Settings {
            max_pods: Some(5),
            ..Settings::default()
        },
        Settings::default(),
    ] {
        // By capacity.max, and by the node: 5 × 200m = 1 core.
        let cpu = if settings.max_pods.is_some() { 1 } else { 200 };
        let resource = if settings.max_pods.is_some() { "pods" } else { "cpu" };
        let tracker = World::new(NODE).tracker(settings);
        let start = Arc::new(tokio::sync::Barrier::new(40));
        let tasks: Vec<_> = (0..40)
            .map(|n| {
                let (tracker, start) = (tracker.clone(), start.clone());
                tokio::spawn(async move {
                    start.wait().await;
                    tracker.hold(&name(n), &demand(cpu)).await
                })
            })
            .collect();
        let (mut holds, mut refused) = (Vec::new(), 0);
        for task in tasks {
            match task.await.unwrap() {
                Ok(Held::Hold(hold)) => holds.push(hold),
                Ok(Held::LookAgain) => panic!("names are their own"),
                Err(refusal) => {
                    assert_eq!(
                        (refusal.code, refusal.resource),
                        (Code::InsufficientCapacity, Some(resource))
                    );
                    refused += 1;
                }
            }
        }
        assert_eq!((holds.len(), refused), (5, 35));
        drop(holds);
        assert_eq!(held(&tracker), 0);
        assert!(tracker.answer(&demand(cpu)).fits.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_counts_until_the_watch_shows_its_object_and_never_twice() {
    let world = World::new(NODE);
    let tracker = world.tracker(Settings {
        max_pods: Some(2),
        ..Settings::default()
    });
    let one = hold(&tracker, &name(1), demand(600)).await;
    assert_eq!(left(&tracker).await, 400);
    assert_eq!(tracker.answer(&demand(600)).fits.unwrap_err().resource, Some("cpu"));

    // The watch is faster than the answer to the create.
    world.set(&[NODE, &object(&name(1), 1, 600, "")]);
    assert_eq!(left(&tracker).await, 400);
    one.commit();
    assert_eq!(left(&tracker).await, 400);
    assert_eq!(held(&tracker), 0);

    // The answer is faster than the watch.
    world.set(&[NODE]);
    // What did not fit is refused from the last count until that is too old.
    tokio::time::advance(ANSWER_AGE_MAX).await;
    let two = hold(&tracker, &name(2), demand(600)).await;
    two.commit();
    assert_eq!(left(&tracker).await, 400);
    world.set(&[NODE, &object(&name(2), 1, 600, "")]);
    assert_eq!(left(&tracker).await, 400);
    assert_eq!(held(&tracker), 0);

    // Nothing came of it: free at once.
    drop(hold(&tracker, &name(3), demand(400)).await);
    assert_eq!(left(&tracker).await, 400);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_ended_at_once_counts_until_its_namespace_is_gone() {
    let ending = ENDED.split("status").next().unwrap();
    let world = World::new("");
    let tracker = world.tracker(Settings {
        max_pods: Some(1),
        max_cpu_millis: Some(600),
        ..Settings::default()
    });
    world.set(&[NODE, &object(&name(1), 1, 600, ending)]);
    let refusal = tracker.hold(&name(2), &demand(1)).await.err().unwrap();
    assert_eq!(refusal.code, Code::InsufficientCapacity);
    world.set(&[NODE, &object(&name(1), 1, 600, ENDED)]);
    tokio::time::advance(ANSWER_AGE_MAX).await;
    hold(&tracker, &name(2), demand(600)).await;
}

#[tokio::test]
async fn with_as_many_ended_pods_as_are_remembered_only_a_new_life_of_one_is_taken() {
    let world = World::new("");
    let tracker = world.tracker(Settings {
        max_ended: Some(2),
        ..Settings::default()
    });
    let (one, two) = (object(&name(1), 1, 1, ENDED), object(&name(2), 1, 1, ENDED));
    world.set(&[NODE, &one, &object(&name(2), 1, 1, "")]);
    hold(&tracker, &name(3), demand(1)).await;
    world.set(&[NODE, &one, &two]);
    let refusal = tracker.hold(&name(3), &demand(1)).await.err().unwrap();
    assert_eq!(
        (refusal.code, refusal.resource),
        (Code::InsufficientCapacity, Some("pods"))
    );
    hold(&tracker, &name(2), demand(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_for_a_new_life_outlasts_the_ended_object() {
    let world = World::new(NODE);
    world.set(&[NODE, &object(&name(1), 1, 600, ENDED)]);
    let tracker = world.tracker(Settings::default());
    hold(&tracker, &name(1), demand(600)).await.commit();
    assert_eq!(left(&tracker).await, 400);
    assert_eq!(held(&tracker), 1);
    world.set(&[NODE, &object(&name(1), 2, 600, "")]);
    assert_eq!(left(&tracker).await, 400);
    assert_eq!(held(&tracker), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_has_its_node_is_not_counted_beside_its_hold() {
    let world = World::new(NODE);
    let tracker = world.tracker(Settings::default());
    hold(&tracker, &name(1), demand(600)).await.commit();
    let pod = format!(
        "kind: Pod\nmetadata: {{name: p, namespace: {}}}\nspec: {{nodeName: one, containers: [{{name: c, resources: {{requests: {{cpu: 600m}}}}}}]}}",
        name(1).namespace()
    );
    world.set(&[NODE, &pod]);
    assert_eq!(left(&tracker).await, 400);
}

#[tokio::test(start_paused = true)]
async fn the_second_for_a_name_waits_for_the_outcome_of_the_first() {
    let tracker = World::new(NODE).tracker(Settings::default());
    let (a, d) = (name(1), demand(100));
    for commit in [false, true] {
        let first = hold(&tracker, &a, d).await;
        let mut second = tracker.hold(&a, &d);
        assert!(futures::poll!(&mut second).is_pending());
        if commit {
            first.commit()
        } else {
            drop(first)
        }
        assert!(matches!(second.await, Ok(Held::LookAgain)));
    }
    // Committed and not yet seen: look again as well, after a moment.
    assert!(matches!(tracker.hold(&a, &d).await, Ok(Held::LookAgain)));
    assert_eq!(left(&tracker).await, 900);
}

#[tokio::test]
async fn waiters_and_holds_are_bounded() {
    let tracker = World::new(NODE).tracker(Settings::default());
    let (a, nothing) = (name(0), Demand::default());
    let first = hold(&tracker, &a, nothing).await;
    let mut waiting: Vec<_> = (0..WAITERS_MAX).map(|_| tracker.hold(&a, &nothing)).collect();
    for waiter in &mut waiting {
        assert!(futures::poll!(waiter).is_pending());
    }
    assert_eq!(tracker.hold(&a, &nothing).await.err().unwrap().code, Code::Busy);
    // Who leaves makes room.
    waiting.pop();
    let mut next = tracker.hold(&a, &nothing);
    assert!(futures::poll!(&mut next).is_pending());
    drop((first, waiting, next));

    let mut holds = Vec::new();
    for n in 0..u32::try_from(HOLDS_MAX).unwrap() {
        holds.push(hold(&tracker, &name(n), nothing).await);
    }
    assert_eq!(
        tracker.hold(&name(5000), &nothing).await.err().unwrap().code,
        Code::Busy
    );
    holds.pop();
    hold(&tracker, &name(5000), nothing).await;
}

#[test]
fn a_report_tells_what_is_free_kinds_of_nodes_and_storage() {
    let nodes: Vec<String> = (1..=40)
        .map(|n| {
            NODE.replace("name: one", &format!("name: n{n}"))
                .replace("cpu: '1'", &format!("cpu: '{}'", n.min(36)))
        })
        .collect();
    let world = World::new("");
    world.set(&nodes.iter().map(String::as_str).collect::<Vec<_>>());
    let settings = Settings {
        max_memory: Some(100 * MIB),
        storage: Some(7),
        reserve: Resources {
            cpu_millis: 100,
            ..Resources::default()
        },
        ..Settings::default()
    };
    let report = world.tracker(settings.clone()).report();
    assert_eq!(
        report.free.cpu_millis,
        (1..=40).map(|n: u64| n.min(36) * 1000 - 100).sum::<u64>()
    );
    assert_eq!((report.free.memory, report.storage), (100 * MIB, Some(7)));
    assert_eq!(report.shapes.len(), SHAPES_MAX);
    assert_eq!((report.shapes[0].count, report.shapes[0].free.cpu_millis), (5, 35_900));
    assert_eq!((report.shapes[31].count, report.shapes[31].free.cpu_millis), (1, 4_900));
    assert!(!report.images_may_run_as_root);

    world.set(&[&format!(
        "{NODE}  runtimeHandlers: [{{features: {{userNamespaces: true}}}}]\n"
    )]);
    assert!(world.tracker(settings.clone()).report().images_may_run_as_root);
    assert!(
        !world
            .tracker(Settings {
                force_restricted: true,
                ..settings
            })
            .report()
            .images_may_run_as_root
    );
}

#[test]
fn refusals_name_what_blocks() {
    let tracker = World::new(NODE).tracker(Settings {
        storage: Some(10 * MIB),
        ..Settings::default()
    });
    let refusals: Vec<_> = [
        demand(2000),
        Demand {
            replicas: 2,
            ..demand(600)
        },
        Demand {
            storage: 11 * MIB,
            ..demand(1)
        },
        Demand {
            per_replica: Resources {
                memory: u64::MAX,
                ..demand(1).per_replica
            },
            ..demand(1)
        },
    ]
    .iter()
    .map(|demand| tracker.answer(demand).fits.unwrap_err().to_string())
    .collect();
    let none = World::new(NODE).tracker(Settings::default());
    let unoffered = none
        .answer(&Demand {
            storage: 1,
            ..demand(1)
        })
        .fits
        .unwrap_err()
        .to_string();
    insta::assert_yaml_snapshot!((refusals, unoffered));
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_questions_counts_the_cluster_once() {
    let world = World::new(NODE);
    let counts = Arc::new(AtomicU32::new(0));
    let counter = counts.clone();
    let tracker = Tracker::of(
        Settings::default(),
        Box::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            seen(&world.0.lock().unwrap())
        }),
    );
    for _ in 0..1000 {
        let answer = tracker.answer(&demand(600));
        assert_eq!((answer.fits, answer.report.free.cpu_millis), (Ok(()), 1000));
        tracker.report();
    }
    for n in 0..1000 {
        assert!(tracker.hold(&name(n), &demand(1001)).await.is_err());
    }
    assert_eq!(
        counts.load(Ordering::SeqCst),
        1,
        "what does not fit is refused from the same count"
    );
    // What is promised counts at once, given back as well.
    let held = hold(&tracker, &name(1), demand(600)).await;
    let answer = tracker.answer(&demand(600));
    assert_eq!((answer.fits.is_ok(), answer.report.free.cpu_millis), (false, 400));
    let (one, wanted) = (name(1), demand(600));
    let mut again = tracker.hold(&one, &wanted);
    // It does not fit beside itself, and is not refused for that.
    assert!(futures::poll!(&mut again).is_pending());
    drop(again);
    drop(held);
    assert_eq!(tracker.answer(&demand(600)).fits, Ok(()));
    tokio::time::advance(ANSWER_AGE_MAX).await;
    let before = counts.load(Ordering::SeqCst);
    tracker.report();
    assert_eq!(
        counts.load(Ordering::SeqCst),
        before + 1,
        "and nothing is answered from long ago"
    );
}

/// The own watch has broken off and shows nothing any more.
#[tokio::test(start_paused = true)]
async fn room_for_an_object_that_the_watch_does_not_show_is_free_only_when_a_fresh_read_says_so() {
    let as_json = |text: &str| serde_json::to_value(serde_saphyr::from_str::<ApocryphPod>(text).unwrap()).unwrap();
    let there = as_json(&object(&name(1), 1, 600, ""));
    let answer = Arc::new(Mutex::new((503, there.clone())));
    let asked = Arc::new(AtomicU32::new(0));
    let (given, count) = (answer.clone(), asked.clone());
    let client = client("apocryph", move |_, path, _| {
        assert!(path.ends_with(&format!("/apocryphpods/{}", name(1))), "{path}");
        count.fetch_add(1, Ordering::SeqCst);
        let (code, body) = given.lock().unwrap().clone();
        match code {
            200 => (code, body),
            404 => fail(code, "NotFound"),
            _ => fail(code, "ServiceUnavailable"),
        }
    });
    let tracker = World::new(NODE).tracker(Settings::default());
    hold(&tracker, &name(1), demand(600)).await.commit();
    let looking = tracker.clone();
    let _looks = tokio::spawn(async move { looking.look_after_holds(client).await });
    for (round, (code, object, free)) in (1..).zip([
        // Away; there; there and ended; gone.
        (503, there.clone(), 400),
        (200, there, 400),
        (200, as_json(&object(&name(1), 1, 600, ENDED)), 400),
        (404, serde_json::Value::Null, 1000),
    ]) {
        *answer.lock().unwrap() = (code, object);
        sleep(ASKED_AFTER + Duration::from_secs(1)).await;
        assert_eq!(asked.load(Ordering::SeqCst), round);
        assert_eq!(left(&tracker).await, free, "{code}");
    }
    assert_eq!(held(&tracker), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_read_that_shows_the_life_before_frees_what_was_held_for_the_next() {
    let ended = object(&name(1), 1, 600, ENDED);
    let body = serde_json::to_value(serde_saphyr::from_str::<ApocryphPod>(&ended).unwrap()).unwrap();
    let world = World::new(NODE);
    world.set(&[NODE, &ended]);
    let tracker = world.tracker(Settings::default());
    hold(&tracker, &name(1), demand(600)).await.commit();
    assert_eq!(left(&tracker).await, 400);
    let client = client("apocryph", move |_, _, _| (200, body.clone()));
    let looks = tokio::time::timeout(2 * ASKED_AFTER, tracker.look_after_holds(client));
    assert!(looks.await.is_err());
    assert_eq!(left(&tracker).await, 1000);
}

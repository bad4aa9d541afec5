//! Logs from nodes that a test plays.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body as AnyBody;
use futures::{FutureExt, StreamExt, stream};
use kube::{
    client::Body,
    runtime::{reflector, watcher::Event},
};
use serde_json::{Value, json};

use super::*;
use crate::{
    model::key::{PodId, PodKey},
    pods::view,
    watches::Changes,
};

type Lines = BoxStream<'static, Result<Logged, Refusal>>;

fn key() -> PodKey {
    PodKey {
        publisher: Publisher([0x11; 20]),
        pod_id: PodId([0x22; 32]),
    }
}

/// What a node answers.
enum Answer {
    Text(&'static str),
    /// Lines, then the connection breaks.
    Broken(&'static str),
    /// Lines, then nothing more.
    Open(&'static str),
    Refused(u16),
    Body(AnyBody),
}

impl Answer {
    fn response(self) -> http::Response<AnyBody> {
        let chunk = |text: &'static str| stream::iter([Ok(bytes::Bytes::from_static(text.as_bytes()))]);
        let (code, body) = match self {
            Answer::Text(text) => (200, AnyBody::from(text)),
            Answer::Broken(text) => {
                let broken = stream::iter([Err(std::io::Error::other("reset"))]);
                (200, AnyBody::from_stream(chunk(text).chain(broken)))
            }
            Answer::Open(text) => {
                let open = chunk(text).chain(stream::pending::<std::io::Result<_>>());
                (200, AnyBody::from_stream(open))
            }
            Answer::Body(body) => (200, body),
            Answer::Refused(code) => {
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "code": code, "reason": "x", "message": "no"});
                (code, AnyBody::from(status.to_string()))
            }
        };
        http::Response::builder().status(code).body(body).unwrap()
    }
}

#[derive(Default)]
struct Node {
    answers: Mutex<VecDeque<Answer>>,
    /// POD?QUERY of each log that was opened.
    opened: Mutex<Vec<String>>,
    object: Mutex<Value>,
}

struct Bench {
    node: Arc<Node>,
    reader: LogReader,
    pods: reflector::store::Writer<Pod>,
    objects: reflector::store::Writer<ApocryphPod>,
}

fn bench(answers: impl IntoIterator<Item = Answer>) -> Bench {
    let node = Arc::new(Node::default());
    node.answers.lock().unwrap().extend(answers);
    let served = node.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let response = match path.strip_suffix("/log") {
            Some(path) => {
                let pod = path.rsplit('/').next().unwrap_or_default();
                served.opened.lock().unwrap().push(format!("{pod}{query}"));
                let answer = served.answers.lock().unwrap().pop_front();
                answer.unwrap_or(Answer::Refused(404)).response()
            }
            None => {
                let object = served.object.lock().unwrap().to_string();
                http::Response::new(AnyBody::from(object))
            }
        };
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let ((nodes, _), (claims, _)) = (reflector::store(), reflector::store());
    let ((pods, pods_writer), (apocryph_pods, objects)) = (reflector::store(), reflector::store());
    let watches = Watches {
        nodes,
        pods,
        apocryph_pods,
        claims,
        changes: Changes::default(),
    };
    let mut bench = Bench {
        node,
        reader: LogReader {
            client: Client::new(service, "default"),
            watches,
            permits: Permits::default(),
        },
        pods: pods_writer,
        objects,
    };
    bench.object(json!({}), json!({}));
    bench
}

impl Bench {
    /// The ApocryphPod as it is from now on.
    fn object(&mut self, spec: Value, status: Value) {
        let mut object = json!({
            "apiVersion": "apocryph.network/v1alpha1", "kind": "ApocryphPod",
            "metadata": {"name": key().name().as_str(), "generation": 1},
            "spec": {
                "publisher": key().publisher.to_string(), "podId": key().pod_id.to_string(), "life": 1,
                "payment": {"free": {}}, "replicas": 1,
                "containers": [{"name": "web", "image": "x", "resources": {"cpuMillis": 1, "memory": 1, "ephemeralStorage": 1}}],
            },
            "status": status,
        });
        for (field, value) in spec.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        *self.node.object.lock().unwrap() = object.clone();
        self.objects
            .apply_watcher_event(&Event::Apply(serde_json::from_value(object).unwrap()));
        self.reader.watches.changes.of(key().name().as_str());
    }

    fn ended(&mut self) {
        self.object(
            json!({"end": {"at": "2026-01-01T00:00:00Z", "reason": "DeletedByPublisher", "by": "publisher"}}),
            json!({"life": 1, "conditions": [{"type": "Ended", "status": "True", "reason": "Ended", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
        );
    }

    fn pod(name: &str, state: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": key().name().namespace(), "uid": format!("uid-{name}"),
                "labels": {meta::POD: key().name().as_str()}},
            "status": {"containerStatuses": [{"name": "web", "image": "x", "imageID": "", "ready": true,
                "restartCount": 0, "containerID": state["id"], "state": state["now"], "lastState": state["last"]}]},
        }))
        .unwrap()
    }

    /// A Pod whose container is in its `run`-th run.
    fn runs(&mut self, name: &str, run: u32) {
        let mut state = json!({"id": format!("run-{run}"), "now": {"running": {}}, "last": {}});
        if run > 1 {
            state["last"] = json!({"terminated": {"exitCode": 1, "containerID": format!("run-{}", run - 1)}});
        }
        self.apply(Bench::pod(name, state));
    }

    /// Its run is over.
    fn exited(&mut self, name: &str, run: u32) {
        let id = format!("run-{run}");
        let state = json!({"id": id, "now": {"terminated": {"exitCode": 1, "containerID": id}}, "last": {}});
        self.apply(Bench::pod(name, state));
    }

    fn apply(&mut self, pod: Pod) {
        self.pods.apply_watcher_event(&Event::Apply(pod.clone()));
        self.reader.watches.changes.of_replica(Some(&pod));
    }

    fn gone(&mut self, name: &str) {
        let pod = Bench::pod(name, json!({}));
        self.pods.apply_watcher_event(&Event::Delete(pod.clone()));
        self.reader.watches.changes.of_replica(Some(&pod));
    }

    fn try_read(&self, wanted: LogsWanted) -> Result<Lines, Refusal> {
        let object: ApocryphPod = serde_json::from_value(self.node.object.lock().unwrap().clone()).unwrap();
        let record = view::record(&object).unwrap();
        self.reader.read(&object, record, wanted)
    }

    fn read(&self, wanted: LogsWanted) -> Lines {
        self.try_read(wanted).unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    fn opened(&self) -> Vec<String> {
        std::mem::take(&mut self.node.opened.lock().unwrap())
    }
}

fn wanted() -> LogsWanted {
    LogsWanted {
        container: None,
        follow: false,
        tail: None,
        since: None,
        previous: false,
    }
}

fn follow() -> LogsWanted {
    LogsWanted {
        follow: true,
        ..wanted()
    }
}

/// The next lines as `REPLICA: TEXT`, a status as its code.
async fn next(lines: &mut Lines) -> Vec<String> {
    match lines.next().await {
        None => vec!["over".to_owned()],
        Some(Err(refusal)) => vec![format!("refused: {}", refusal.code)],
        Some(Ok(Logged::Status(status))) => vec![format!("status: {}", status.code)],
        Some(Ok(Logged::End(status))) => vec![format!("end: {}", status.code)],
        Some(Ok(Logged::Lines(lines))) => lines
            .lines
            .iter()
            .map(|line| format!("{}: {}", lines.replica, String::from_utf8_lossy(&line.text)))
            .collect(),
    }
}

async fn rest(lines: &mut Lines) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let next = next(lines).await;
        if next == ["over"] {
            return all;
        }
        all.extend(next);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_there_of_every_replica_then_how_the_pod_stands() {
    let mut bench = bench([
        Answer::Text("2026-01-01T00:00:01Z one\n2026-01-01T00:00:02Z two\n"),
        Answer::Text("2026-01-01T00:00:01Z other\n"),
    ]);
    bench.runs("b", 1);
    bench.runs("a", 1);
    let mut foreign = Bench::pod("admins-own", json!({"id": "x", "now": {"running": {}}, "last": {}}));
    foreign.metadata.labels = None;
    bench.apply(foreign);
    let mut lines = bench.read(LogsWanted {
        tail: Some(2),
        since: Some(1_767_225_600),
        ..wanted()
    });
    assert_eq!(
        rest(&mut lines).await,
        ["a: one", "a: two", "b: other", "end: accepted"]
    );
    let query = "&container=web&sinceTime=2026-01-01T00%3A00%3A00Z&tailLines=2&timestamps=true";
    assert_eq!(bench.opened(), [format!("a{query}"), format!("b{query}")]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_hides_no_other_and_is_told() {
    let line = "2026-01-01T00:00:01Z x\n";
    let mut bench = bench([
        Answer::Refused(500),
        Answer::Broken(line),
        Answer::Refused(400),
        Answer::Text(line),
    ]);
    for name in ["a", "b", "c", "d"] {
        bench.runs(name, 1);
    }
    let lines = rest(&mut bench.read(wanted())).await;
    assert_eq!(lines, ["b: x", "d: x", "refused: api_unavailable"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_has_to_be_there_and_to_be_named_when_there_are_several() {
    let mut bench = bench([]);
    let named = |name: &str| LogsWanted {
        container: Some(name.to_owned()),
        ..wanted()
    };
    assert!(bench.try_read(named("web")).is_ok() && bench.try_read(wanted()).is_ok());
    let refused = |bench: &Bench, wanted: LogsWanted| bench.try_read(wanted).err().unwrap();
    let resources = json!({"cpuMillis": 1, "memory": 1, "ephemeralStorage": 1});
    let containers = ["web", "db"].map(|name| json!({"name": name, "image": "x", "resources": resources}));
    bench.object(json!({"containers": containers}), json!({}));
    for wanted in [named("cache"), wanted()] {
        let refusal = refused(&bench, wanted);
        assert_eq!(refusal.code, Code::InvalidRequest);
        assert_eq!(refusal.field.as_deref(), Some("logs.containerName"));
        assert!(refusal.remedy.contains("web, db"), "{refusal:?}");
    }
    assert!(bench.try_read(named("db")).is_ok());
    let previous = LogsWanted {
        previous: true,
        ..named("web")
    };
    bench.runs("a", 1);
    assert_eq!(refused(&bench, previous.clone()).code, Code::NotFound);
    bench.runs("a", 2);
    assert!(bench.try_read(previous).is_ok());
}

#[tokio::test(start_paused = true)]
async fn following_goes_on_through_a_restart_a_broken_connection_and_a_new_replica() {
    let mut bench = bench([
        // Breaks off, and goes on behind what was told; the kubelet counts whole seconds.
        Answer::Broken("2026-01-01T00:00:01.1Z one\n2026-01-01T00:00:01.2Z two\n"),
        Answer::Text("2026-01-01T00:00:01.1Z one\n2026-01-01T00:00:01.2Z two\n2026-01-01T00:00:03Z three\n"),
    ]);
    bench.runs("a", 1);
    let mut lines = bench.read(LogsWanted {
        tail: Some(9),
        ..follow()
    });
    let mut told = [next(&mut lines).await, next(&mut lines).await].concat();
    told.sort();
    assert_eq!(told, ["a: one", "a: two", "status: accepted"]);
    assert_eq!(next(&mut lines).await, ["a: three"]);
    let opened = bench.opened();
    assert!(
        opened[0].contains("tailLines=9") && !opened[0].contains("sinceTime"),
        "{opened:?}"
    );
    assert!(opened[1].contains("sinceTime=2026-01-01T00%3A00%3A01Z") && !opened[1].contains("tailLines"));

    // The run is over: nothing is asked until there is another.
    bench.exited("a", 1);
    assert!(
        tokio::time::timeout(Duration::from_secs(600), next(&mut lines))
            .await
            .is_err()
    );
    let asked = bench.opened();
    assert!(asked.len() <= 1, "{asked:?}");
    bench.node.answers.lock().unwrap().extend([
        Answer::Open("2026-01-01T00:00:05Z second run\n"),
        Answer::Open("2026-01-01T00:00:04Z new\n"),
    ]);
    bench.runs("a", 2);
    assert_eq!(next(&mut lines).await, ["a: second run"]);
    bench.runs("b", 1);
    assert_eq!(next(&mut lines).await, ["b: new"]);

    // The end is told when nothing can come any more.
    bench.ended();
    assert!(
        tokio::time::timeout(Duration::from_secs(60), next(&mut lines))
            .await
            .is_err()
    );
    bench.gone("a");
    bench.gone("b");
    assert_eq!(rest(&mut lines).await, ["end: deleted_by_publisher"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_that_nobody_asks_for() {
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = pulled.clone();
    let flood = stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(bytes::Bytes::from(format!(
            "2026-01-01T00:00:01Z {}\n",
            "x".repeat(999)
        )))
    });
    let mut bench = bench([Answer::Body(AnyBody::from_stream(flood))]);
    bench.runs("a", 1);
    let mut lines = bench.read(wanted());
    for chunk in 1..=10 {
        let Some(Ok(Logged::Lines(told))) = lines.next().await else {
            panic!("no lines")
        };
        assert!(told.lines.len() < 40, "{}", told.lines.len());
        let pulled = pulled.load(Ordering::SeqCst);
        assert!(pulled <= 40 * chunk, "{pulled} lines were read for {chunk} messages");
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_logs_of_one_publisher_are_busy_and_come_back() {
    let mut bench = bench([]);
    bench.runs("a", 1);
    let mut taken = Vec::new();
    let refusal = loop {
        match bench.try_read(wanted()) {
            Ok(lines) => taken.push(lines),
            Err(refusal) => break refusal,
        }
        assert!(taken.len() < 100);
    };
    assert_eq!(refusal.code, Code::Busy);
    taken.clear();
    assert!(bench.try_read(wanted()).is_ok());
    // Followed, each replica takes one.
    for replica in 0..100 {
        bench.runs(&format!("r{replica}"), 1);
    }
    assert_eq!(
        next(&mut bench.read(follow())).now_or_never(),
        Some(vec!["refused: busy".to_owned()])
    );
}

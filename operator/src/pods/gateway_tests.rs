//! The order of writes at an API server that loses answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use apocryph_proto::json::pod_from_yaml;
use futures::{FutureExt, StreamExt};
use kube::runtime::{reflector, watcher::Event};
use serde_json::{Value, json};

use super::*;
use crate::{
    model::{
        key::{PodId, PodKey, Publisher},
        manifest::{Complete, Defaults, Manifest, Resources as Amounts},
        pod::{LifeState, Tag, Terms},
        services::{Hold, HoldEnd},
        status::Phase,
    },
    pods::{Dns, Exposure, ExposureKind, Settings, validate::validate},
    watches::Changes,
};

#[path = "../../tests/pods_support/fake_api.rs"]
mod fake_api;
use fake_api::{FakeApi, Fault};

const MANIFEST: &str = "
containers:
- name: web
  image: {url: 'docker.io/library/nginx:1'}
  ports: [{name: http, port: 80, targetPort: 8080}]
  env: {TOKEN: s3cr3t-value}
";
const WITHOUT_SECRETS: &str = "
containers:
- name: web
  image: {url: 'docker.io/library/nginx:1'}
";

/// Several containers, every kind of volume, everything that is secret.
const WHOLE: &str = "
containers:
- name: web
  image: {url: 'registry.example/web:1', pullSecret: {username: robot, password: s3cr3t-password}}
  ports: [{port: 53, protocol: UDP}]
  env: {TOKEN: s3cr3t-value}
  user: {uid: 1000, gid: 1001}
  volumes:
  - {name: scratch, mountPath: /scratch}
  - {name: key, mountPath: /etc/key}
- name: cache
  image: {url: redis, pullSecret: {username: other, password: s3cr3t-other}}
  resourceRequests: [{resource: memory, amountMebi: 32}]
volumes:
- name: scratch
- {name: key, type: VOLUME_SECRET, secret: {contentsString: s3cr3t-contents}}
- name: shared
  type: VOLUME_FILESYSTEM
  accessMode: VOLUME_RW_MANY
  filesystem: {resourceRequests: [{resource: storage, amountMebi: 10}]}
replicas: {min: 3}
fsGroup: 1002
";

struct Bench {
    api: FakeApi,
    gateway: Arc<Gateway>,
    writer: reflector::store::Writer<ApocryphPod>,
    released: Arc<AtomicUsize>,
    committed: Arc<AtomicUsize>,
}

fn bench() -> Bench {
    let api = FakeApi::default();
    let (apocryph_pods, writer) = reflector::store();
    let (nodes, pods, claims) = (reflector::store().0, reflector::store().0, reflector::store().0);
    let watches = Watches {
        nodes,
        pods,
        apocryph_pods,
        claims,
        changes: Changes::default(),
    };
    let gateway = Arc::new(Gateway {
        client: api.client(),
        watches,
        operator_namespace: "apocryph".to_owned(),
        staging: Staging::default(),
        log_permits: Permits::default(),
    });
    Bench {
        api,
        gateway,
        writer,
        released: Arc::default(),
        committed: Arc::default(),
    }
}

fn key() -> PodKey {
    PodKey {
        publisher: Publisher([0x11; 20]),
        pod_id: PodId([0x22; 32]),
    }
}

fn path() -> String {
    format!("/apis/apocryph.network/v1alpha1/apocryphpods/{}", key().name())
}

fn settings() -> Settings {
    Settings {
        operator_namespace: "apocryph".to_owned(),
        service_account: "apocryph-provider".to_owned(),
        storage_class: Some("one".to_owned()),
        shared_storage_class: Some("many".to_owned()),
        exposure: Exposure {
            kind: ExposureKind::NodePort,
            addresses: Vec::new(),
            tell_internal: false,
        },
        node_selector: Default::default(),
        runtime_class: None,
        dns: Dns::Addresses(Vec::new()),
        egress_deny: Vec::new(),
        start_deadline: Duration::from_secs(600),
        sweep_after: Duration::from_secs(600),
        ended_ttl: Duration::from_secs(600),
        ended_per_publisher: 64,
    }
}

const COLLECTION: &str = "/apis/apocryph.network/v1alpha1/apocryphpods";
const SECRETS: &str = "/api/v1/namespaces/apocryph/secrets";

impl Bench {
    fn admitted(&self, manifest: &str, life: u64, replaces: Option<String>) -> Admitted {
        let manifest = Manifest::parse(&pod_from_yaml(manifest).unwrap()).unwrap();
        let requests = Amounts {
            cpu_millis: 100,
            memory: 128 << 20,
            ephemeral_storage: 256 << 20,
        };
        let request = AdmittedRequest {
            key: key(),
            life,
            tag: Tag("00000000000000aa".to_owned()),
            terms: Terms::Free {
                table: "open".to_owned(),
            },
            pod: Complete::new(
                manifest,
                &Defaults {
                    requests,
                    empty_volume: 64 << 20,
                },
            ),
            replaces,
            request_id: format!("req-{life}"),
        };
        let (released, committed) = (self.released.clone(), self.committed.clone());
        let hold = Hold::new(move |end| {
            match end {
                HoldEnd::Released => released.fetch_add(1, Ordering::SeqCst),
                HoldEnd::Committed => committed.fetch_add(1, Ordering::SeqCst),
            };
        });
        Admitted::for_tests(request, hold)
    }

    async fn submit(&self) -> Result<Submitted, Refusal> {
        self.gateway.submit(self.admitted(MANIFEST, 1, None)).await
    }

    fn holds(&self) -> (usize, usize) {
        (
            self.released.load(Ordering::SeqCst),
            self.committed.load(Ordering::SeqCst),
        )
    }

    /// The cache hears of the object as it is.
    fn sync(&mut self) {
        self.writer.apply_watcher_event(&Event::Init);
        for pod in self.api.all::<ApocryphPod>("apocryphpods") {
            self.writer.apply_watcher_event(&Event::InitApply(pod));
        }
        self.writer.apply_watcher_event(&Event::InitDone);
        self.gateway.watches.changes.of(key().name().as_str());
    }

    /// As the controller leaves an ended pod.
    fn ended(&self) -> String {
        self.api.edit(&path(), |pod| {
            pod["metadata"]["annotations"]["apocryph.network/built"] = json!("1");
            pod["spec"]["end"] = json!({"at": "2026-01-01T00:00:00Z", "reason": "DeletedByPublisher", "by": "publisher"});
            pod["status"] = json!({"life": 1, "conditions": [{"type": "Ended", "status": "True", "reason": "DeletedByPublisher",
                "message": "Its publisher deleted the pod.", "lastTransitionTime": "2026-01-01T00:00:09Z"}]});
        });
        self.api.get(&path()).unwrap()["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

fn is_created(submitted: &Result<Submitted, Refusal>) -> bool {
    matches!(submitted, Ok(Submitted::Created(record)) if record.name == key().name())
}

#[tokio::test(start_paused = true)]
async fn the_secret_comes_before_the_pod_that_names_it_and_no_value_is_in_the_pod() {
    let bench = bench();
    assert!(is_created(&bench.submit().await));
    assert_eq!(
        bench.api.requests(),
        [format!("POST {SECRETS}"), format!("POST {COLLECTION}")]
    );
    assert_eq!(bench.holds(), (0, 1));
    let pod = bench.api.get(&path()).unwrap();
    insta::assert_json_snapshot!(pod, {".metadata.annotations[\"apocryph.network/started\"]" => "[now]"});
    assert!(!pod.to_string().contains("s3cr3t-value"));
    let secret = bench
        .api
        .get(&format!("{SECRETS}/{}-00000000000000aa", key().name()))
        .unwrap();
    assert_eq!(secret["immutable"], true);
    assert_eq!(secret["data"], json!({"env.web.TOKEN": "czNjcjN0LXZhbHVl"}));
    assert_eq!(secret["metadata"]["labels"]["apocryph.network/staged"], "true");
}

#[tokio::test(start_paused = true)]
async fn a_whole_manifest_keeps_its_secrets_apart_and_is_counted_alike_everywhere() {
    let bench = bench();
    let admitted = bench.admitted(WHOLE, 1, None);
    let (request, hold) = admitted.into_parts();
    let demand = request.pod.demand().unwrap();
    let submitted = bench.gateway.submit(Admitted::for_tests(request, hold)).await;
    assert!(is_created(&submitted));
    let object = bench.api.get(&path()).unwrap();
    insta::assert_json_snapshot!(object["spec"]);
    assert!(!object.to_string().contains("s3cr3t"));

    let object: ApocryphPod = serde_json::from_value(object).unwrap();
    assert_eq!(demand.replicas, 3);
    assert_eq!(crate::capacity::nodes::demand(&object), Some(demand));
    let pod = validate(&object, &settings()).unwrap();
    assert_eq!(pod.demand(), demand);

    let secret = format!("{SECRETS}/{}-00000000000000aa", key().name());
    let staged: Secret = serde_json::from_value(bench.api.get(&secret).unwrap()).unwrap();
    assert_eq!(staged.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
    let data = staged.data.clone().unwrap();
    assert_eq!(data["volume.key"].0, b"s3cr3t-contents");
    let config: Value = serde_json::from_slice(&data[".dockerconfigjson"].0).unwrap();
    assert_eq!(
        config,
        json!({"auths": {
            "registry.example/web": {"username": "robot", "password": "s3cr3t-password"},
            "docker.io/library/redis": {"username": "other", "password": "s3cr3t-other"},
        }})
    );
    // The tenant's copy is the same.
    let copy = secret::copy(&pod, &staged).unwrap();
    assert_eq!((copy.data, copy.type_), (Some(data), staged.type_));
}

#[tokio::test(start_paused = true)]
async fn nothing_secret_makes_no_secret() {
    let bench = bench();
    let submitted = bench.gateway.submit(bench.admitted(WITHOUT_SECRETS, 1, None)).await;
    assert!(is_created(&submitted));
    assert_eq!(bench.api.requests(), [format!("POST {COLLECTION}")]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_left_by_an_earlier_try_is_taken_as_it_is() {
    let bench = bench();
    bench.api.fault(&format!("POST {SECRETS}"), Fault::Lost);
    assert!(is_created(&bench.submit().await));
    let posts = bench.api.requests();
    assert_eq!(
        posts,
        [
            format!("POST {SECRETS}"),
            format!("POST {SECRETS}"),
            format!("POST {COLLECTION}")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn somebody_else_was_first() {
    let bench = bench();
    assert!(is_created(&bench.submit().await));
    bench.api.edit(&path(), |pod| {
        pod["metadata"]["annotations"]["apocryph.network/request-id"] = json!("another")
    });
    let again = bench.submit().await;
    assert!(matches!(again, Ok(Submitted::Raced)), "{again:?}");
    assert_eq!(bench.holds(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_lost_is_found() {
    let bench = bench();
    bench.api.fault(&format!("POST {COLLECTION}"), Fault::Lost);
    assert!(is_created(&bench.submit().await));
    let last = bench.api.requests().split_off(1);
    assert_eq!(last, [format!("POST {COLLECTION}"), format!("GET {}", path())]);
    assert_eq!(bench.holds(), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_never_arrived_is_sent_again() {
    let bench = bench();
    bench.api.fault(&format!("POST {COLLECTION}"), Fault::Silent);
    bench
        .api
        .fault(&format!("GET {}", path()), Fault::Refuse(503, "not now"));
    assert!(is_created(&bench.submit().await));
    assert_eq!(bench.holds(), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_definite_no_is_told_in_the_servers_words_and_frees_the_capacity() {
    for (code, expected) in [(422, Code::InvalidManifest), (403, Code::PodRefused)] {
        let bench = bench();
        bench.api.fault(
            &format!("POST {COLLECTION}"),
            Fault::Refuse(code, "spec.containers: too many"),
        );
        let refusal = bench.submit().await.unwrap_err();
        assert_eq!(refusal.code, expected);
        assert!(refusal.message.contains("spec.containers: too many"));
        assert_eq!(bench.holds(), (1, 0));
    }
}

#[test]
fn a_no_names_the_field_that_the_server_names() {
    let status = json!({"status": "Failure", "code": 422, "reason": "Invalid", "message": "invalid", "details": {"causes": [
        {"reason": "FieldValueInvalid", "message": "no"},
        {"reason": "FieldValueTooLong", "message": "too long", "field": "spec.containers[0].image"}]}});
    let refusal = rejected(&Failed {
        verb: "create",
        kind: "ApocryphPod",
        name: key().name().to_string(),
        cause: crate::pods::api::Cause::Refused(serde_json::from_value(status).unwrap()),
    });
    assert_eq!(refusal.field.as_deref(), Some("spec.containers[0].image"));
    assert!(refusal.remedy.contains("tell the provider"));
}

/// Every request of the next minutes goes unanswered.
fn silence(bench: &Bench) {
    for _ in 0..40 {
        bench.api.fault(&format!("POST {COLLECTION}"), Fault::Silent);
        bench.api.fault(&format!("GET {}", path()), Fault::Silent);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_keeps_the_capacity_until_it_is_known() {
    let bench = bench();
    silence(&bench);
    let refusal = bench.submit().await.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.retry_after.is_some()),
        (Code::ApiUnavailable, true)
    );
    assert_eq!(bench.holds(), (0, 0), "neither given back nor taken");
    assert!(
        bench.gateway.staging.try_enter(&key().name()).is_none(),
        "and the sweeper stays away from the Secret"
    );
    // The object comes to be after all, by the write that was on its way.
    let late = object(
        &bench.admitted(MANIFEST, 1, None).into_parts().0,
        Some(format!("{}-00000000000000aa", key().name())),
        Timestamp::UNIX_EPOCH,
    );
    bench.api.put(&path(), serde_json::to_value(late).unwrap());
    let released_by_the_request_made_for_its_bytes = bench.released.swap(0, Ordering::SeqCst);
    assert_eq!(released_by_the_request_made_for_its_bytes, 1);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(bench.holds(), (0, 1));
    assert!(bench.gateway.staging.try_enter(&key().name()).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_that_comes_to_nothing_gives_the_capacity_back() {
    let bench = bench();
    silence(&bench);
    bench.submit().await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(bench.holds(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_new_life_is_one_update_of_the_version_that_was_seen_ended() {
    let bench = bench();
    bench.submit().await.unwrap();
    let version = bench.ended();
    bench.api.requests();
    let submitted = bench
        .gateway
        .submit(bench.admitted(MANIFEST, 2, Some(version.clone())))
        .await;
    let Ok(Submitted::Created(record)) = submitted else {
        panic!("{submitted:?}")
    };
    assert_eq!((record.life, record.state), (2, LifeState::Alive));
    assert_eq!(
        bench.api.writes(),
        [format!("POST {SECRETS}"), format!("PUT {}", path())]
    );
    let pod = bench.api.get(&path()).unwrap();
    assert_eq!((&pod["spec"]["life"], &pod["spec"]["end"]), (&json!(2), &Value::Null));
    assert_eq!(pod["metadata"]["annotations"]["apocryph.network/built"], Value::Null);
    assert_eq!(pod["metadata"]["annotations"]["apocryph.network/request-id"], "req-2");
    assert_eq!(pod["metadata"]["finalizers"], json!(["apocryph.network/pod"]));
    // The same update again: another version by now.
    let again = bench.gateway.submit(bench.admitted(MANIFEST, 3, Some(version))).await;
    assert!(matches!(again, Ok(Submitted::Raced)), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn an_update_whose_answer_was_lost_is_found() {
    let bench = bench();
    bench.submit().await.unwrap();
    let version = bench.ended();
    bench.api.fault(&format!("PUT {}", path()), Fault::Lost);
    assert!(is_created(
        &bench
            .gateway
            .submit(bench.admitted(MANIFEST, 2, Some(version.clone())))
            .await
    ));

    bench.api.edit(&path(), |pod| pod["spec"]["life"] = json!(1));
    let version = bench.ended();
    bench.api.fault(&format!("PUT {}", path()), Fault::Silent);
    assert!(is_created(
        &bench.gateway.submit(bench.admitted(MANIFEST, 2, Some(version))).await
    ));
}

#[tokio::test(start_paused = true)]
async fn find_tells_the_state_and_silence_is_not_absence() {
    let bench = bench();
    let name = key().name();
    assert_eq!(bench.gateway.find(&name).await, Ok(None));
    bench.submit().await.unwrap();
    let state = |found: Result<Option<PodRecord>, Refusal>| found.unwrap().unwrap().state;
    assert_eq!(state(bench.gateway.find(&name).await), LifeState::Alive);
    bench.ended();
    assert!(matches!(state(bench.gateway.find(&name).await), LifeState::Ended(_)));
    bench.api.edit(&path(), |pod| pod["status"] = Value::Null);
    assert!(matches!(state(bench.gateway.find(&name).await), LifeState::Ending(_)));
    for fault in [Fault::Silent, Fault::Refuse(500, "etcd")] {
        bench.api.fault(&format!("GET {}", path()), fault);
        assert_eq!(bench.gateway.find(&name).await.unwrap_err().code, Code::ApiUnavailable);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_is_ordered_once_and_for_that_life_alone() {
    let bench = bench();
    let name = key().name();
    assert_eq!(bench.gateway.end(&name, 1).await.unwrap_err().code, Code::NotFound);
    bench.submit().await.unwrap();
    assert_eq!(bench.gateway.end(&name, 2).await.unwrap_err().code, Code::OtherLife);
    bench.api.requests();
    // Its status changed between our read and our write; then the answer is lost.
    bench
        .api
        .fault(&format!("PATCH {}", path()), Fault::Refuse(409, "changed"));
    bench.api.fault(&format!("PATCH {}", path()), Fault::Lost);
    bench.gateway.end(&name, 1).await.unwrap();
    assert_eq!(bench.api.writes().len(), 2);
    let end = bench.api.get(&path()).unwrap()["spec"]["end"].clone();
    assert_eq!(
        (&end["reason"], &end["by"]),
        (&json!("DeletedByPublisher"), &json!("publisher"))
    );
    bench.gateway.end(&name, 1).await.unwrap();
    assert_eq!(bench.api.writes(), Vec::<String>::new());
    assert_eq!(
        bench.api.get(&path()).unwrap()["spec"]["end"],
        end,
        "the first order stays"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_revoked_only_grows_is_seen_by_who_waits_and_outlives_the_life() {
    let mut bench = bench();
    let name = key().name();
    assert_eq!(bench.gateway.revoke(&name, 9).await.unwrap_err().code, Code::NotFound);
    bench.submit().await.unwrap();
    bench.sync();
    let mut waiting = bench.gateway.revoked(&name, 1000);
    bench.api.requests();
    // Changed between our read and our write; then the answer is lost.
    bench
        .api
        .fault(&format!("PATCH {}", path()), Fault::Refuse(409, "changed"));
    bench.api.fault(&format!("PATCH {}", path()), Fault::Lost);
    assert_eq!(bench.gateway.revoke(&name, 999).await, Ok(999));
    assert_eq!(bench.api.writes().len(), 2);
    bench.sync();
    assert!((&mut waiting).now_or_never().is_none(), "it expires later");
    assert_eq!(bench.gateway.revoke(&name, 1000).await, Ok(1000));
    assert_eq!(bench.gateway.revoke(&name, 5).await, Ok(1000));
    assert_eq!(bench.api.writes().len(), 1, "what is void already is not written again");
    bench.sync();
    assert_eq!(waiting.now_or_never(), Some(1000));

    let version = bench.ended();
    let next = bench.gateway.submit(bench.admitted(MANIFEST, 2, Some(version))).await;
    assert!(is_created(&next), "{next:?}");
    assert_eq!(
        bench.api.get(&path()).unwrap()["spec"]["delegationsNotBefore"],
        1000,
        "a new life forgot it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_what_is_then_what_changes_and_ends_when_it_is_gone() {
    let mut bench = bench();
    bench.sync();
    bench.submit().await.unwrap();
    // The cache has not heard of it: the first message is of a fresh read.
    let mut stream = bench.gateway.watch(&key().name());
    let first = stream.next().await.unwrap();
    assert_eq!(
        (first.phase, first.code, first.life),
        (Phase::Accepted, Code::Accepted, 1)
    );
    bench.sync();
    assert!(stream.next().now_or_never().is_none(), "the same is not told twice");

    for (reason, status, since, phase) in [
        ("PullingImage", "False", Value::Null, Phase::Pulling),
        ("Running", "True", json!("2026-01-01T00:00:05Z"), Phase::Running),
        (
            "ContainerExited",
            "False",
            json!("2026-01-01T00:00:05Z"),
            Phase::Degraded,
        ),
    ] {
        bench.api.edit(&path(), |pod| {
            pod["status"] = json!({"life": 1, "readySince": since, "conditions": [{"type": "Ready", "status": status,
                "reason": reason, "message": "m", "lastTransitionTime": "2026-01-01T00:00:05Z"}]});
        });
        bench.sync();
        assert_eq!(stream.next().await.unwrap().phase, phase);
    }
    bench.ended();
    bench.sync();
    let last = stream.next().await.unwrap();
    assert_eq!((last.phase, last.code), (Phase::Ended, Code::DeletedByPublisher));

    bench.api.remove(&path());
    bench.sync();
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_a_new_life_never_tells_of_the_old_one() {
    let mut bench = bench();
    bench.submit().await.unwrap();
    let version = bench.ended();
    bench.sync();
    bench
        .gateway
        .submit(bench.admitted(MANIFEST, 2, Some(version)))
        .await
        .unwrap();
    let mut stream = bench.gateway.watch(&key().name());
    let first = stream.next().await.unwrap();
    assert_eq!((first.life, first.phase), (2, Phase::Accepted));
    bench.gateway.watches.changes.of(key().name().as_str());
    assert!(
        stream.next().now_or_never().is_none(),
        "the cache still has the old life"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_lost_the_object_does_not_end_a_stream() {
    let mut bench = bench();
    bench.submit().await.unwrap();
    let mut stream = bench.gateway.watch(&key().name());
    stream.next().await.unwrap();
    bench.writer.apply_watcher_event(&Event::Init);
    bench.writer.apply_watcher_event(&Event::InitDone);
    bench.gateway.watches.changes.of(key().name().as_str());
    assert!(stream.next().now_or_never().is_none());
    bench.sync();
    bench.api.edit(
        &path(),
        |pod| {
            pod["spec"]["end"] =
                json!({"at": "2026-01-01T00:00:00Z", "reason": "DeletedByPublisher", "by": "publisher"})
        },
    );
    bench.sync();
    assert_eq!(stream.next().await.unwrap().phase, Phase::Ending);
}

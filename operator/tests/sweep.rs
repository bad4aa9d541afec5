//! What nobody names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has told its story"
)]

#[path = "pods_support/mod.rs"]
mod support;

use apocryph_provider::{
    model::key::{PodId, PodKey, PodName, Publisher},
    pods::{Metrics, Settings, staging::Staging, sweep::Sweeper},
};
use serde_json::json;
use support::{
    apocryph_pod, fake_api::FakeApi, fake_api::Fault, name, namespace_path, now, object_path, set_now, settings,
};

/// Ended pods of the publisher that are kept.
const KEPT: usize = 64;
const SECRETS: &str = "/api/v1/namespaces/apocryph/secrets";

struct Bench {
    api: FakeApi,
    sweeper: Sweeper,
    staging: Staging,
    metrics: Metrics,
    fills: Vec<support::Fill>,
}

fn bench() -> Bench {
    let api = FakeApi::default();
    set_now("2026-01-01T01:00:00Z");
    let mut fills = Vec::new();
    let (staging, metrics) = (Staging::default(), Metrics::default());
    let sweeper = Sweeper::new(
        api.client(),
        support::watches(&mut fills),
        Settings {
            ended_per_publisher: KEPT,
            ..settings()
        },
        staging.clone(),
        metrics.clone(),
        now,
    );
    Bench {
        api,
        sweeper,
        staging,
        metrics,
        fills,
    }
}

fn secret_name() -> String {
    format!("{}-00000000000000aa", name())
}

fn path() -> String {
    format!("{SECRETS}/{}", secret_name())
}

/// Name of the publisher's pod of that number.
fn numbered(number: usize) -> PodName {
    PodKey {
        publisher: Publisher::parse(support::PUBLISHER).unwrap(),
        pod_id: PodId::parse(&format!("0x{number:064x}")).unwrap(),
    }
    .name()
}

fn path_of(number: usize) -> String {
    format!("/apis/apocryph.network/v1alpha1/apocryphpods/{}", numbered(number))
}

impl Bench {
    /// A pod that ended so many minutes after midnight.
    fn ended_at(&self, minutes: usize) {
        let at = format!("2026-01-01T{:02}:{:02}:00Z", minutes / 60, minutes % 60);
        let spec = "tag: 00000000000000aa\npayment: {free: {table: open}}\ncontainers: []";
        let mut pod = serde_json::to_value(apocryph_pod(spec)).unwrap();
        pod["metadata"]["name"] = json!(numbered(minutes).as_str());
        pod["spec"]["podId"] = json!(format!("0x{minutes:064x}"));
        pod["spec"]["end"] = json!({"at": at, "reason": "StartTimeout", "by": "controller"});
        pod["status"] = json!({"life": 1, "conditions": [{"type": "Ended", "status": "True", "reason": "StartTimeout",
            "message": "", "lastTransitionTime": at}]});
        self.api.put(&path_of(minutes), pod);
    }

    /// The caches hear of everything.
    fn sync(&mut self) {
        for fill in &mut self.fills {
            fill(&self.api);
        }
    }

    fn stage(&self, created: &str) {
        self.api.put(
            &path(),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret_name(), "namespace": "apocryph",
                "creationTimestamp": created,
                "labels": {"apocryph.network/staged": "true", "apocryph.network/pod": name().as_str()}}}),
        );
    }

    fn pod(&self, ended: bool) {
        let spec = "tag: 00000000000000aa\npayment: {free: {table: open}}\ncontainers: []";
        let mut pod = serde_json::to_value(apocryph_pod(spec)).unwrap();
        pod["spec"]["secretName"] = json!(secret_name());
        if ended {
            pod["spec"]["end"] = json!({"at": "2026-01-01T00:00:00Z", "reason": "StartTimeout", "by": "controller"});
            pod["status"] = json!({"life": 1, "conditions": [{"type": "Ended", "status": "True", "reason": "StartTimeout",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        }
        self.api.put(&object_path(), pod);
    }
}

#[tokio::test]
async fn an_old_secret_of_no_pod_goes_after_asking_once_more() {
    let bench = bench();
    bench.stage("2026-01-01T00:00:00Z");
    bench.api.put(
        &format!("{SECRETS}/identity"),
        json!({"metadata": {"name": "identity", "creationTimestamp": "2025-01-01T00:00:00Z"}}),
    );
    bench.sweeper.secrets().await.unwrap();
    let asked = bench.api.requests();
    assert_eq!(
        asked,
        [
            format!("GET {SECRETS}"),
            format!("GET {}", object_path()),
            format!("DELETE {}", path())
        ]
    );
    assert_eq!(
        bench.api.paths(),
        [format!("{SECRETS}/identity")],
        "only those with our label"
    );
    assert_eq!(bench.metrics.swept_secrets.get(), 1);
}

#[tokio::test]
async fn what_is_young_named_or_being_worked_on_stays() {
    let bench = bench();
    bench.stage("2026-01-01T00:55:00Z");
    bench.sweeper.secrets().await.unwrap();
    assert_eq!(
        bench.api.requests(),
        [format!("GET {SECRETS}")],
        "young: not even asked about"
    );

    bench.api.remove(&path());
    bench.stage("2026-01-01T00:00:00Z");
    let entered = bench.staging.try_enter(&name()).unwrap();
    bench.sweeper.secrets().await.unwrap();
    drop(entered);
    assert!(bench.api.get(&path()).is_some());

    bench.pod(false);
    bench.sweeper.secrets().await.unwrap();
    assert!(bench.api.get(&path()).is_some());

    bench.pod(true);
    bench.sweeper.secrets().await.unwrap();
    assert!(bench.api.get(&path()).is_none(), "its pod has ended");
}

#[tokio::test]
async fn what_could_not_be_found_out_stays() {
    let bench = bench();
    bench.stage("2026-01-01T00:00:00Z");
    bench
        .api
        .fault(&format!("GET {}", object_path()), Fault::Refuse(500, "etcd is away"));
    bench.sweeper.secrets().await.unwrap();
    assert!(bench.api.get(&path()).is_some());
}

#[tokio::test]
async fn a_namespace_without_its_pod_is_reported_and_left_alone() {
    let mut bench = bench();
    bench
        .api
        .put(&namespace_path(), json!({"metadata": {"name": name().namespace()}}));
    bench.api.put(
        "/api/v1/namespaces/kube-system",
        json!({"metadata": {"name": "kube-system"}}),
    );
    bench.sweeper.namespaces().await.unwrap();
    assert_eq!(bench.metrics.orphan_namespaces.get(), 1);
    assert_eq!(bench.api.writes(), Vec::<String>::new());
    bench.pod(false);
    bench.sweeper.namespaces().await.unwrap();
    assert_eq!(bench.metrics.orphan_namespaces.get(), 0);
}

#[tokio::test]
async fn of_a_publishers_ended_pods_the_longest_ended_go_when_there_are_too_many() {
    let mut bench = bench();
    bench.api.set_time("2026-01-01T04:00:00Z");
    for minutes in 0..KEPT {
        bench.ended_at(minutes);
    }
    bench.sync();
    bench.sweeper.ended().await.unwrap();
    assert_eq!(bench.api.requests(), Vec::<String>::new(), "as many as may be");

    for minutes in 0..4 {
        bench.ended_at(KEPT + minutes);
    }
    bench.sync();
    // Meanwhile: a new life, another object of the same name, a submit under way. The last one is what it was.
    bench.api.edit(&path_of(0), |pod| {
        pod["spec"]["life"] = json!(2);
        pod["spec"].as_object_mut().unwrap().remove("end");
    });
    bench.api.remove(&path_of(1));
    bench.ended_at(1);
    let entered = bench.staging.try_enter(&numbered(2)).unwrap();
    bench.sweeper.ended().await.unwrap();
    drop(entered);
    let asked = bench.api.requests();
    assert_eq!(
        asked,
        [
            format!("GET {}", path_of(0)),
            format!("GET {}", path_of(1)),
            format!("GET {}", path_of(3)),
            format!("DELETE {}", path_of(3))
        ]
    );
    let deleted = bench.api.get(&path_of(3)).unwrap();
    assert!(
        deleted["metadata"]["deletionTimestamp"].is_string(),
        "the controller takes the finalizer off"
    );
    for minutes in [0, 1, 2, 4] {
        let there = bench.api.get(&path_of(minutes)).unwrap();
        assert!(there["metadata"]["deletionTimestamp"].is_null(), "{minutes}");
    }
}

#[tokio::test]
async fn an_ended_pod_of_which_nothing_can_be_found_out_stays() {
    let mut bench = bench();
    for minutes in 0..KEPT + 2 {
        bench.ended_at(minutes);
    }
    bench.sync();
    bench
        .api
        .fault(&format!("GET {}", path_of(0)), Fault::Refuse(500, "etcd is away"));
    bench.sweeper.ended().await.unwrap_err();
    assert_eq!(bench.api.writes(), Vec::<String>::new());
}

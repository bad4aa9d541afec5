//! What nobody names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has told its story"
)]

#[path = "pods_support/mod.rs"]
mod support;

use apocryph_provider::pods::{Metrics, staging::Staging, sweep::Sweeper};
use serde_json::json;
use support::{
    apocryph_pod, fake_api::FakeApi, fake_api::Fault, name, namespace_path, now, object_path, set_now, settings,
};

const SECRETS: &str = "/api/v1/namespaces/apocryph/secrets";

struct Bench {
    api: FakeApi,
    sweeper: Sweeper,
    staging: Staging,
    metrics: Metrics,
}

fn bench() -> Bench {
    let api = FakeApi::default();
    set_now("2026-01-01T01:00:00Z");
    let mut fills = Vec::new();
    let (staging, metrics) = (Staging::default(), Metrics::default());
    let sweeper = Sweeper::new(
        api.client(),
        support::watches(&mut fills),
        settings(),
        staging.clone(),
        metrics.clone(),
        now,
    );
    Bench {
        api,
        sweeper,
        staging,
        metrics,
    }
}

fn secret_name() -> String {
    format!("{}-00000000000000aa", name())
}

fn path() -> String {
    format!("{SECRETS}/{}", secret_name())
}

impl Bench {
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

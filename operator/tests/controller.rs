//! The controller as the program runs it: caches, queue, looks, and the way out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has told its story"
)]

#[path = "pods_support/mod.rs"]
mod support;

use std::{sync::Arc, time::Duration};

use apocryph_provider::{
    pods::{Metrics, controller},
    telemetry::events::Events,
    watches::Watches,
};
use support::{
    FakeCapacity, apocryph_pod,
    fake_api::{FakeApi, Fault},
    name, namespace_path, object_path, settings,
};
use tokio_util::sync::CancellationToken;

const SPEC: &str = "
tag: 00000000000000aa
payment: {free: {table: open}}
containers:
- name: web
  image: nginx
  resources: {cpuMillis: 100, memory: 134217728, ephemeralStorage: 268435456}
";

#[tokio::test(start_paused = true)]
async fn it_looks_at_what_is_there_tries_again_and_ends_when_told() {
    let api = FakeApi::default();
    // The controller runs by the real clock.
    api.set_time(&k8s_openapi::jiff::Timestamp::now().to_string());
    api.put(&object_path(), serde_json::to_value(apocryph_pod(SPEC)).unwrap());
    api.fault(&format!("GET {}", namespace_path()), Fault::Refuse(500, "etcd is away"));
    let token = CancellationToken::new();
    let (watches, tasks) = Watches::start(&api.client(), &token);
    watches.synced().await.unwrap();
    let metrics = Metrics::default();
    let controller = tokio::spawn(controller::run(
        api.client(),
        watches,
        settings(),
        Arc::new(FakeCapacity {
            root: true,
            full: false,
        }),
        Events::new(api.client(), None),
        metrics.clone(),
        token.clone(),
    ));
    let deployment = format!("/apis/apps/v1/namespaces/{}/deployments/pod", name().namespace());
    let built = api.until(|api| api.get(&deployment).is_some());
    let waited = tokio::time::timeout(Duration::from_secs(60), built).await;
    assert!(waited.is_ok(), "{:#?}", api.requests());
    token.cancel();
    controller.await.unwrap().unwrap();
    tasks.ended().await.unwrap();
    let count = |outcome| {
        metrics
            .reconciles
            .get_or_create(&apocryph_provider::pods::metrics::OutcomeLabel { outcome })
            .get()
    };
    assert_eq!((count("failed"), count("applied")), (1, 1));
}

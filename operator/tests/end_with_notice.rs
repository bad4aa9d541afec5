//! The admin's annotation `apocryph.network/end`, from the words to the end, against an API server in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has told its story"
)]

#[path = "pods_support/mod.rs"]
mod support;

use std::time::{Duration, UNIX_EPOCH};

use apocryph_crd::condition;
use apocryph_proto::outcome::Code;
use apocryph_provider::{
    model::status::{Phase, PodStatus},
    pods::view,
};
use serde_json::json;
use support::{World, apocryph_pod, object_path, settings};

const SPEC: &str = "
tag: 00000000000000aa
payment: {free: {table: open}}
containers:
- name: web
  image: nginx
  resources: {cpuMillis: 100, memory: 134217728, ephemeralStorage: 268435456}
";

const END: &str = "apocryph.network/end";

async fn running() -> World {
    let mut world = World::new(settings());
    world.put_pod(&apocryph_pod(SPEC));
    world.look().await.unwrap();
    world.all_goes_well();
    world.look().await.unwrap();
    world.look().await.unwrap();
    assert_eq!(told(&world).code, Code::Running);
    world.api.requests();
    world
}

fn annotate(world: &World, value: &str) {
    world
        .api
        .edit(&object_path(), |pod| pod["metadata"]["annotations"][END] = json!(value));
}

/// `kubectl annotate … apocryph.network/end-`
fn take_back(world: &World) {
    world.api.edit(&object_path(), |pod| {
        pod["metadata"]["annotations"].as_object_mut().unwrap().remove(END);
    });
}

fn annotation(world: &World) -> Option<String> {
    world.pod()?.metadata.annotations?.remove(END)
}

/// What the publisher's stream says.
fn told(world: &World) -> PodStatus {
    view::status(&world.pod().unwrap()).unwrap()
}

fn announced(world: &World) -> Option<(String, String, String)> {
    let conditions = world.pod()?.status?.conditions;
    let one = conditions
        .into_iter()
        .find(|one| one.type_ == condition::END_ANNOUNCED)?;
    Some((one.status, one.reason, one.message))
}

fn said(status: &str, reason: &str, message: &str) -> Option<(String, String, String)> {
    Some((status.to_owned(), reason.to_owned(), message.to_owned()))
}

fn ordered(world: &World) -> Option<(String, String)> {
    world.pod()?.spec.end.map(|end| (end.reason, end.by))
}

/// Reasons and notes of the Events since the last call.
fn events(world: &World) -> Vec<String> {
    world
        .api
        .requests()
        .into_iter()
        .filter(|request| request.contains("/events"))
        .collect()
}

#[tokio::test]
async fn the_publisher_is_told_at_once_and_the_pod_ends_then_by_the_admin() {
    let mut world = running().await;
    annotate(&world, "moving house, 2h");
    let looked = world.look().await.unwrap();
    assert_eq!(
        annotation(&world).unwrap(),
        "moving house, 2026-01-01T02:00:00Z",
        "the duration is now a time"
    );
    let words = "The provider's admin ends the pod at 2026-01-01T02:00:00Z: moving house.";
    let status = told(&world);
    assert_eq!((status.phase, status.code), (Phase::Running, Code::EndAnnounced));
    assert_eq!(status.message, words);
    let at = UNIX_EPOCH + Duration::from_secs(1_767_232_800);
    assert_eq!(status.ends_at, Some(at));
    assert_eq!(announced(&world), said("True", "EndAnnounced", words));
    assert_eq!(events(&world).len(), 1);
    assert!(looked.again <= Duration::from_secs(600));

    // A restart and the time in between change nothing.
    world.at("2026-01-01T01:59:30Z");
    let looked = world.look().await.unwrap();
    assert_eq!(ordered(&world), None);
    assert_eq!(looked.again, Duration::from_secs(30));

    world.at("2026-01-01T02:00:00Z");
    world.look().await.unwrap();
    assert_eq!(ordered(&world), Some(("DeletedByAdmin".into(), "admin".into())));
    assert_eq!(told(&world).phase, Phase::Ending);
    assert_eq!(
        told(&world).message,
        "The provider's admin ended the pod: moving house. The namespace is going."
    );
}

#[tokio::test]
async fn without_the_annotation_nothing_ends_and_it_is_said_that_it_was_called_off() {
    let mut world = running().await;
    annotate(&world, "moving house, 2026-01-01T02:00:00+00:00");
    world.look().await.unwrap();
    take_back(&world);
    world.look().await.unwrap();
    assert_eq!((told(&world).code, told(&world).ends_at), (Code::Running, None));
    assert_eq!(
        announced(&world),
        said("False", "EndCalledOff", "The end that was announced was called off.")
    );
    world.at("2026-01-01T03:00:00Z");
    world.look().await.unwrap();
    assert_eq!(ordered(&world), None);
}

#[tokio::test]
async fn a_wrong_annotation_ends_nothing_and_is_told_to_the_admin_alone() {
    let mut world = running().await;
    annotate(&world, "moving house");
    world.look().await.unwrap();
    let (status, reason, message) = announced(&world).unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "InvalidEndAnnotation"));
    assert!(message.contains("without a comma"), "{message}");
    assert_eq!(events(&world).len(), 1);
    world.look().await.unwrap();
    assert_eq!(events(&world).len(), 0, "told once");
    assert_eq!((told(&world).code, ordered(&world)), (Code::Running, None));
    take_back(&world);
    world.look().await.unwrap();
    assert_eq!(announced(&world), None);
}

/// What the controller cannot build can still be ended.
#[tokio::test]
async fn a_pod_that_cannot_be_built_ends_all_the_same() {
    let mut world = running().await;
    world.api.edit(&object_path(), |pod| pod["spec"]["replicas"] = json!(0));
    annotate(&world, "broken, 0s");
    world.look().await.unwrap();
    assert_eq!(ordered(&world), Some(("DeletedByAdmin".into(), "admin".into())));
}

/// A trouble is not hidden behind the notice.
#[tokio::test]
async fn what_is_in_the_way_is_told_beside_the_notice() {
    let mut world = World::new(settings());
    world.put_pod(&apocryph_pod(SPEC));
    world.look().await.unwrap();
    annotate(&world, "moving house, 1m");
    world.look().await.unwrap();
    let status = told(&world);
    assert_eq!((status.phase, status.code), (Phase::Accepted, Code::EndAnnounced));
    assert!(
        status.message.ends_with("moving house. The pod is being made."),
        "{}",
        status.message
    );
}

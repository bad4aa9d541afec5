//! watch and delete: of the publisher's own pods, asking neither door nor payment nor capacity.

use std::sync::Arc;

use apocryph_proto::{
    outcome::Code,
    v0::manage_pod::{Delete, Watch, manage_pod_request::Operation},
};
use apocryph_provider::model::{pod::LifeState, refusal::Refusal, status::Phase};

use super::support::*;

fn watch() -> Operation {
    Operation::Watch(Watch {})
}

fn delete(life: u64) -> Operation {
    Operation::Delete(Delete { life })
}

/// The code of the final refusal.
async fn code(world: &Arc<World>, operation: Operation) -> String {
    open(manage_pod(world), signed_manage(operation))
        .await
        .refusal()
        .await
        .code
}

#[tokio::test]
async fn watch_tells_the_current_status_first_and_ends_with_the_pod() {
    let world = World::with_record(record(1, LifeState::Alive));
    world.publish(status(1, Phase::Running, Code::Running)).await;
    let mut client = open(manage_pod(&world), signed_manage(watch())).await;
    assert_eq!(client.status().await.code, "running");
    world.publish(status(1, Phase::Ended, Code::StartTimeout)).await;
    assert_eq!(client.last_status().await.code, "start_timeout");
    assert_eq!(world.calls(), ["find", "watch"]);
}

#[tokio::test]
async fn watch_of_an_ended_pod_is_its_end() {
    let world = World::with_record(record(2, LifeState::Ended(end())));
    world.publish(status(2, Phase::Ended, Code::NamespaceDeleted)).await;
    let status = open(manage_pod(&world), signed_manage(watch()))
        .await
        .last_status()
        .await;
    assert_eq!((status.code.as_str(), status.life), ("namespace_deleted", 2));
}

#[tokio::test]
async fn watch_goes_on_through_a_new_life() {
    let world = World::with_record(record(1, LifeState::Alive));
    let mut client = open(manage_pod(&world), signed_manage(watch())).await;
    for life in [1, 2] {
        world.publish(status(life, Phase::Running, Code::Running)).await;
        assert_eq!(client.status().await.life, life);
    }
}

#[tokio::test]
async fn a_pod_that_is_not_there_is_not_found_for_watch_and_delete() {
    for operation in [watch(), delete(0), delete(1)] {
        let world = World::new();
        assert_eq!(code(&world, operation).await, "not_found");
    }
}

#[tokio::test]
async fn another_publishers_pod_of_the_same_id_has_another_name() {
    let theirs = stranger().key().name();
    let ours = publisher().key().name();
    assert_ne!(theirs, ours);
}

#[tokio::test]
async fn an_api_that_does_not_answer_is_not_taken_for_no_pod() {
    for operation in [watch(), delete(0), delete(1)] {
        let world = World::new();
        *world.record.lock().unwrap() = Err(Refusal::new(Code::ApiUnavailable, "no answer"));
        assert_eq!(code(&world, operation).await, "api_unavailable");
    }
}

#[tokio::test]
async fn delete_orders_the_end_of_whichever_life_runs_and_tells_until_it_has_ended() {
    let world = World::with_record(record(3, LifeState::Alive));
    world.publish(status(3, Phase::Running, Code::Running)).await;
    let mut client = open(manage_pod(&world), signed_manage(delete(0))).await;
    assert_eq!(client.status().await.code, "running");
    world.publish(status(3, Phase::Ending, Code::Ending)).await;
    assert_eq!(client.status().await.code, "ending");
    world.publish(status(3, Phase::Ended, Code::DeletedByPublisher)).await;
    assert_eq!(client.last_status().await.code, "deleted_by_publisher");
    assert_eq!(world.calls(), ["find", "end", "watch"]);
}

#[tokio::test]
async fn delete_of_a_named_life_never_touches_another() {
    let world = World::with_record(record(3, LifeState::Alive));
    assert_eq!(code(&world, delete(2)).await, "other_life");
    assert_eq!(world.calls(), ["end"]);

    world.publish(status(3, Phase::Ended, Code::DeletedByPublisher)).await;
    let status = open(manage_pod(&world), signed_manage(delete(3)))
        .await
        .last_status()
        .await;
    assert_eq!(status.life, 3);
}

#[tokio::test]
async fn delete_of_what_has_ended_tells_its_end() {
    let world = World::with_record(record(3, LifeState::Ended(end())));
    world.publish(status(3, Phase::Ended, Code::StartTimeout)).await;
    assert_eq!(
        open(manage_pod(&world), signed_manage(delete(0)))
            .await
            .last_status()
            .await
            .code,
        "start_timeout"
    );
}

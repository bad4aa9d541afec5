//! What a provision's stream tells after `accepted`, and each way in which it ends.

use std::time::Duration;

use apocryph_proto::{
    outcome::Code,
    v0::provision_pod::{PodStatus as WireStatus, pod_status::Phase as WirePhase},
};
use apocryph_provider::model::{
    pod::LifeState,
    refusal::Refusal,
    status::{Address, Phase, PodStatus},
};

use super::support::*;

fn told(status: &WireStatus) -> (WirePhase, &str, u64) {
    (status.phase(), status.code.as_str(), status.life)
}

#[tokio::test]
async fn every_change_is_told_until_the_end_which_is_final() {
    let world = World::new();
    let mut client = open(provision_pod(&world), signed_provision(&provision())).await;
    let accepted = client.status().await;
    assert_eq!(told(&accepted), (WirePhase::Accepted, "accepted", 1));
    assert!(accepted.admitted.is_some());

    let address = Address {
        container: "web".to_owned(),
        port: "http".to_owned(),
        multiaddr: "/ip4/203.0.113.7/tcp/30432".to_owned(),
    };
    let running = PodStatus {
        addresses: vec![address],
        replicas_ready: 1,
        remedy: "nothing".to_owned(),
        ..status(1, Phase::Running, Code::Running)
    };
    world.publish(status(1, Phase::Scheduled, Code::Scheduled)).await;
    assert_eq!(told(&client.status().await), (WirePhase::Scheduled, "scheduled", 1));
    world.publish(running).await;
    let running = WireStatus {
        at: 0,
        ends_at: 0,
        ..client.status().await
    };
    insta::assert_debug_snapshot!(running);

    world.publish(status(1, Phase::Ending, Code::Ending)).await;
    assert_eq!(told(&client.status().await), (WirePhase::Ending, "ending", 1));
    world.publish(status(1, Phase::Ended, Code::DeletedByAdmin)).await;
    let metrics = client.metrics.clone();
    assert_eq!(
        told(&client.last_status().await),
        (WirePhase::Ended, "deleted_by_admin", 1)
    );
    assert_eq!(metrics.requests("/apocryph/provision-pod/0.0.1", "deleted_by_admin"), 1);
}

#[tokio::test(start_paused = true)]
async fn accepted_is_repeated_until_there_is_news() {
    let world = World::new();
    let mut client = open(provision_pod(&world), signed_provision(&provision())).await;
    let began = tokio::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(client.status().await.code, "accepted");
    }
    assert!(began.elapsed() <= Duration::from_secs(90));
    world.publish(status(1, Phase::Pulling, Code::PullingImage)).await;
    assert_eq!(client.status().await.code, "pulling_image");
}

#[tokio::test]
async fn the_end_of_the_life_before_is_not_the_end_of_this_one() {
    let world = World::with_record(record(2, LifeState::Ended(end())));
    let request = apocryph_proto::v0::provision_pod::ProvisionPodRequest {
        after_life: 2,
        ..provision()
    };
    let mut client = open(provision_pod(&world), signed_provision(&request)).await;
    assert_eq!(told(&client.status().await), (WirePhase::Accepted, "accepted", 3));
    world.publish(status(2, Phase::Ended, Code::DeletedByPublisher)).await;
    world.publish(status(3, Phase::Scheduled, Code::Scheduled)).await;
    assert_eq!(told(&client.status().await), (WirePhase::Scheduled, "scheduled", 3));
}

#[tokio::test]
async fn a_later_life_ends_the_stream_of_the_one_before() {
    let world = World::new();
    let mut client = open(provision_pod(&world), signed_provision(&provision())).await;
    client.status().await;
    world.publish(status(2, Phase::Running, Code::Running)).await;
    assert_eq!(client.refusal().await.code, "other_life");
}

#[tokio::test]
async fn a_pod_that_is_gone_is_not_found() {
    let world = World::new();
    let mut client = open(provision_pod(&world), signed_provision(&provision())).await;
    client.status().await;
    world.gone();
    assert_eq!(client.refusal().await.code, "not_found");
}

#[tokio::test]
async fn a_watch_that_ends_by_itself_is_not_taken_for_the_end_of_the_pod() {
    let world = World::new();
    let mut client = open(provision_pod(&world), signed_provision(&provision())).await;
    client.status().await;
    world.lost_sight();
    let refusal = client.refusal().await;
    assert_eq!(refusal.code, "api_unavailable");
    assert!(refusal.retry_after > 0);
}

#[tokio::test]
async fn a_pod_that_cannot_be_found_out_about_is_not_called_gone() {
    let world = World::new();
    let mut client = open(provision_pod(&world), signed_provision(&provision())).await;
    client.status().await;
    *world.record.lock().unwrap() = Err(Refusal::new(Code::ApiUnavailable, "no answer"));
    world.lost_sight();
    assert_eq!(client.refusal().await.code, "api_unavailable");
}

#[tokio::test]
async fn a_process_that_goes_down_says_so_and_when_to_come_back() {
    let world = World::new();
    let mut client = open(provision_pod(&world), signed_provision(&provision())).await;
    client.status().await;
    client.drain.cancel();
    let refusal = client.refusal().await;
    assert_eq!(refusal.code, "shutting_down");
    assert!(refusal.retry_after > 0);
}

#[tokio::test]
async fn with_detach_accepted_is_final_and_nobody_watches() {
    let world = World::new();
    let request = apocryph_proto::v0::provision_pod::ProvisionPodRequest {
        detach: true,
        ..provision()
    };
    let client = open(provision_pod(&world), signed_provision(&request)).await;
    let metrics = client.metrics.clone();
    assert_eq!(client.last_status().await.code, "accepted");
    assert!(!world.calls().contains(&"watch"));
    assert_eq!(metrics.requests("/apocryph/provision-pod/0.0.1", "accepted"), 1);
}

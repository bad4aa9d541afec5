//! How a life ends, how it is ended, and that nothing that has ended starts by itself.

use apocryph_proto::v0::{
    manage_pod::{ManagePodRequest, manage_pod_request::Operation},
    provision_pod::{PodReply, ProvisionPodRequest, Refusal, pod_reply::Message as Body, pod_status::Phase},
};
use apocryph_publisher::{Deployment, Error, Exit, PodId, Reached, Until, delete::delete, deploy, watch::watch};
use prost::Message;

use super::{
    Publisher, accepted,
    support::{self, Act, FakeProvider, ended, refusal, refuse, running, status},
};

#[tokio::test]
async fn who_lost_the_answer_waits_for_the_end_and_gets_its_outcome() {
    let end = || {
        refuse(Refusal {
            code: "ended".into(),
            message: "Life 1 has ended.".into(),
            ended_life: 1,
            ended_code: "start_timeout".into(),
            ended_at: 7,
            ..Refusal::default()
        })
    };
    let publisher = Publisher::new();

    let provider = FakeProvider::start(move |n, _| match n {
        0 => vec![Act::Cut],
        1 => vec![refusal("terminating")],
        _ => vec![end()],
    })
    .await;
    let mut deployment = publisher.deployment(&provider.provider);
    let error = publisher.deploy(&mut deployment, Until::Running).await.unwrap_err();
    assert!(
        matches!(&error, Error::Ended(end) if end.code.text == "start_timeout"),
        "{error:?}"
    );
    assert_eq!(provider.operations(), ["provision"; 3]);

    // A first request meets another life's end, which is the answer; the next run cannot know that.
    let provider = FakeProvider::start(move |n, _| match n {
        0 | 1 => vec![refusal("terminating")],
        _ => vec![end()],
    })
    .await;
    let mut deployment = publisher.deployment(&provider.provider);
    let error = publisher.deploy(&mut deployment, Until::Running).await.unwrap_err();
    assert_eq!((error.code().as_str(), provider.calls().len()), ("terminating", 1));
    let mut again = Deployment::load(&publisher.store, &publisher.key, deployment.pod())
        .unwrap()
        .unwrap();
    let error = publisher.deploy(&mut again, Until::Running).await.unwrap_err();
    assert!(matches!(error, Error::Ended(_)), "{error:?}");
    assert_eq!(provider.calls().len(), 3);
}

#[tokio::test]
async fn what_has_ended_is_never_restarted_unless_asked_to() {
    let provider = FakeProvider::start(|_, call| match call.envelope.operation.as_str() {
        "watch" => vec![ended("start_timeout", 3)],
        _ => {
            let request = ProvisionPodRequest::decode(call.envelope.request.as_slice()).unwrap();
            if request.after_life != 3 {
                return vec![refuse(Refusal {
                    code: "ended".into(),
                    message: "Life 3 has ended.".into(),
                    ended_life: 3,
                    ended_code: "start_timeout".into(),
                    ended_at: 7,
                    ..Refusal::default()
                })];
            }
            let mut status = support::pod_status(Phase::Running, "running", 4);
            status.replicas_ready = 1;
            let body = Body::Status(status);
            vec![
                Act::Send(PodReply {
                    message: Some(body),
                    r#final: false,
                }),
                Act::Hang,
            ]
        }
    })
    .await;
    let publisher = Publisher::new();
    let mut deployment = publisher.deployment(&provider.provider);

    let error = publisher.deploy(&mut deployment, Until::Running).await.unwrap_err();
    let Error::Ended(end) = &error else { panic!("{error:?}") };
    assert_eq!(
        (end.life, end.code.text.as_str(), end.at, end.already),
        (3, "start_timeout", 7, true)
    );
    assert_eq!(error.exit(), Exit::Conflict);
    assert_eq!(provider.operations(), ["provision"]);

    let link = publisher.link(&provider.provider);
    assert_eq!(deploy::restart(link, &mut deployment, &mut |_| {}).await.unwrap(), 3);
    assert_eq!(deployment.life(), 4);
    publisher.deploy(&mut deployment, Until::Running).await.unwrap();
    assert_eq!(provider.operations(), ["provision", "watch", "provision"]);
}

#[tokio::test]
async fn a_pod_that_lives_is_not_restarted_and_one_that_is_ending_is_waited_for() {
    let provider = FakeProvider::start(|n, _| match n {
        0 => vec![running(), Act::Hang],
        1 => vec![status(Phase::Ending, "ending"), ended("deleted_by_publisher", 1)],
        _ => vec![refusal("not_found")],
    })
    .await;
    let publisher = Publisher::new();
    let mut deployment = publisher.deployment(&provider.provider);
    let link = publisher.link(&provider.provider);
    let lives = deploy::restart(link, &mut deployment, &mut |_| {}).await.unwrap_err();
    assert_eq!(lives.exit(), Exit::Conflict);
    assert_eq!(deploy::restart(link, &mut deployment, &mut |_| {}).await.unwrap(), 1);
    // Nothing is known of it any more: the last life that this client knows of was 1.
    assert_eq!(deploy::restart(link, &mut deployment, &mut |_| {}).await.unwrap(), 1);
}

#[tokio::test]
async fn an_end_on_the_way_is_an_error_and_the_end_that_was_asked_for_is_not() {
    let publisher = Publisher::new();
    let script = |code: &'static str| move |_: usize, _: &support::Call| vec![accepted(), running(), ended(code, 1)];

    let provider = FakeProvider::start(|_, _| vec![accepted(), ended("start_timeout", 1)]).await;
    let error = publisher
        .deploy(&mut publisher.deployment(&provider.provider), Until::Running)
        .await
        .unwrap_err();
    assert_eq!((error.exit(), error.code().as_str()), (Exit::Ended, "start_timeout"));

    for (code, exit) in [("deleted_by_publisher", Exit::Ok), ("deleted_by_admin", Exit::Ended)] {
        let provider = FakeProvider::start(script(code)).await;
        let mut deployment = publisher.deployment(&provider.provider);
        let reached = publisher.deploy(&mut deployment, Until::Ended).await.unwrap();
        assert!(
            matches!(&reached, Reached::Ended(end) if end.exit() == exit),
            "{reached:?}"
        );
        assert!(
            Deployment::load(&publisher.store, &publisher.key, deployment.pod())
                .unwrap()
                .unwrap()
                .has_ended()
        );
    }
}

#[tokio::test]
async fn delete_ends_the_life_that_it_was_told_first_however_often_it_must_ask() {
    let provider = FakeProvider::start(|n, _| match n {
        0 => vec![status(Phase::Ending, "ending"), Act::Cut],
        _ => vec![ended("deleted_by_publisher", 1)],
    })
    .await;
    let publisher = Publisher::new();
    let end = delete(publisher.link(&provider.provider), PodId::random(), 0, 0, &mut |_| {})
        .await
        .unwrap();
    assert_eq!((end.life, end.code.text.as_str()), (1, "deleted_by_publisher"));
    let lives: Vec<_> = provider
        .calls()
        .iter()
        .map(|call| {
            match ManagePodRequest::decode(call.envelope.request.as_slice())
                .unwrap()
                .operation
            {
                Some(Operation::Delete(delete)) => delete.life,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert_eq!(lives, [0, 1]);
}

#[tokio::test]
async fn watch_reports_to_the_end_and_a_pod_that_is_not_there_is_said_so() {
    let provider = FakeProvider::start(|n, _| match n {
        0 => vec![running(), ended("namespace_deleted", 1)],
        _ => vec![refusal("not_found")],
    })
    .await;
    let publisher = Publisher::new();
    let link = publisher.link(&provider.provider);
    let reached = watch(link, PodId::random(), 0, Until::Ended, &mut |_| {})
        .await
        .unwrap();
    assert!(matches!(reached, Reached::Ended(end) if end.exit() == Exit::Ended));
    let error = watch(link, PodId::random(), 0, Until::Ended, &mut |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.exit(), Exit::Conflict);
}

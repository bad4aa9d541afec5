//! What is sent again, what is watched, what is tried again and what is waited for.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use apocryph_proto::{
    protocol,
    v0::{
        manage_pod::{ManagePodRequest, manage_pod_request::Operation},
        provision_pod::{PodReply, ProvisionPodRequest, Refusal, pod_reply::Message as Body, pod_status::Phase},
    },
};
use apocryph_publisher::{
    Deployment, Error, Exit, PodId, Reached, Until,
    backoff::Backoff,
    deploy::{Options, deploy},
    follow::Point,
};
use prost::Message;

use super::{
    Publisher, accepted, pod,
    support::{self, Act, FakeProvider, ended, refusal, running, status},
};

#[tokio::test]
async fn a_stream_cut_before_accepted_sends_the_same_bytes_signed_anew() {
    let provider = FakeProvider::start(|n, _| {
        if n == 0 {
            vec![Act::Cut]
        } else {
            vec![accepted(), running(), Act::Hang]
        }
    })
    .await;
    let publisher = Publisher::new();
    let mut deployment = publisher.deployment(&provider.provider);
    let bytes = deployment.request().to_vec();

    let reached = publisher.deploy(&mut deployment, Until::Running).await.unwrap();

    assert!(
        matches!(reached, Reached::Running(status) if status.addresses[0].multiaddr == "/ip4/203.0.113.7/tcp/30432")
    );
    let calls = provider.calls();
    assert_eq!(provider.operations(), ["provision", "provision"]);
    for call in &calls {
        assert_eq!(call.protocol, protocol::PROVISION_POD);
        assert_eq!(call.envelope.request, bytes);
        assert_eq!(call.envelope.pod_id, deployment.pod().0);
        assert_eq!(call.signer(provider.peer()), Some(publisher.key.address()));
    }
    assert!(
        Deployment::load(&publisher.store, &publisher.key, deployment.pod())
            .unwrap()
            .unwrap()
            .is_accepted()
    );
}

#[tokio::test]
async fn a_stream_cut_after_accepted_is_watched_and_nothing_is_sent_again() {
    let provider = FakeProvider::start(|n, _| {
        if n == 0 {
            vec![accepted(), Act::Cut]
        } else {
            vec![running(), Act::Hang]
        }
    })
    .await;
    let publisher = Publisher::new();
    let mut deployment = publisher.deployment(&provider.provider);

    publisher.deploy(&mut deployment, Until::Running).await.unwrap();

    assert_eq!(provider.operations(), ["provision", "watch"]);
    let watch = &provider.calls()[1];
    assert_eq!(
        (watch.protocol.as_str(), watch.signer(provider.peer())),
        (protocol::MANAGE_POD, Some(publisher.key.address()))
    );
    let request = ManagePodRequest::decode(watch.envelope.request.as_slice()).unwrap();
    assert!(matches!(request.operation, Some(Operation::Watch(_))));
}

#[tokio::test]
async fn a_message_that_never_arrived_was_no_accept_and_one_that_was_noted_is() {
    for (cut_before, operations) in [(true, ["provision", "provision"]), (false, ["provision", "watch"])] {
        let provider = FakeProvider::start(|_, _| vec![accepted(), running(), Act::Hang]).await;
        let mut publisher = Publisher::new();
        publisher.cut_when(move |point| match point {
            Point::Received { index: 0, .. } => cut_before,
            Point::Handled { index: 0, .. } => !cut_before,
            _ => false,
        });
        let mut deployment = publisher.deployment(&provider.provider);
        publisher.deploy(&mut deployment, Until::Running).await.unwrap();
        assert_eq!(provider.operations(), operations);
    }
}

#[tokio::test]
async fn the_state_file_is_there_before_the_request_and_a_new_client_goes_on_from_it() {
    let publisher = Publisher::new();
    let store = publisher.store.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let provider = FakeProvider::start(move |n, call| {
        let pod = PodId(call.envelope.pod_id.clone().try_into().unwrap());
        noted.lock().unwrap().push(std::fs::read(store.path(pod)).unwrap());
        if n == 0 {
            vec![refusal("payment_not_offered")]
        } else {
            vec![accepted(), running(), Act::Hang]
        }
    })
    .await;
    let mut deployment = publisher.deployment(&provider.provider);
    let first = publisher.deploy(&mut deployment, Until::Running).await.unwrap_err();
    assert_eq!(first.exit(), Exit::Payment);

    let mut again = Deployment::load(&publisher.store, &publisher.key, deployment.pod())
        .unwrap()
        .unwrap();
    assert_eq!(
        (again.request(), again.is_accepted(), again.provider()),
        (deployment.request(), false, &provider.provider)
    );
    assert!(again.is_of(&pod()));
    publisher.deploy(&mut again, Until::Running).await.unwrap();
    let mut third = Deployment::load(&publisher.store, &publisher.key, deployment.pod())
        .unwrap()
        .unwrap();
    publisher.deploy(&mut third, Until::Running).await.unwrap();
    assert_eq!(provider.operations(), ["provision", "provision", "watch"]);

    for content in seen.lock().unwrap().iter() {
        assert!(
            !content.windows(7).any(|w| w == b"battery"),
            "the secret stands in the state file"
        );
    }
}

#[tokio::test]
async fn busy_is_tried_again_and_what_will_not_pass_is_told_at_once() {
    let provider = FakeProvider::start(|n, _| match n {
        0 => vec![refusal("busy")],
        1 => vec![refusal("shutting_down")],
        _ => vec![accepted(), running(), Act::Hang],
    })
    .await;
    let publisher = Publisher::new();
    publisher
        .deploy(&mut publisher.deployment(&provider.provider), Until::Running)
        .await
        .unwrap();
    assert_eq!(provider.calls().len(), 3);

    for (code, exit) in [
        ("content_differs", Exit::Conflict),
        ("insufficient_capacity", Exit::Unavailable),
        ("bad_signature", Exit::Credential),
        ("not_served", Exit::NotServed),
        ("publisher_not_allowed", Exit::Payment),
        ("from_the_future", Exit::Failure),
    ] {
        let provider = FakeProvider::start(move |_, _| vec![refusal(code)]).await;
        let error = publisher
            .deploy(&mut publisher.deployment(&provider.provider), Until::Running)
            .await
            .unwrap_err();
        assert_eq!(
            (error.exit(), error.code().as_str(), provider.calls().len()),
            (exit, code, 1)
        );
    }
}

#[tokio::test]
async fn who_waits_for_capacity_gets_it() {
    let provider = FakeProvider::start(|n, _| {
        if n < 2 {
            vec![refusal("insufficient_capacity")]
        } else {
            vec![accepted(), running()]
        }
    })
    .await;
    let mut publisher = Publisher::new();
    publisher.settings.wait = true;
    publisher
        .deploy(&mut publisher.deployment(&provider.provider), Until::Running)
        .await
        .unwrap();
    assert_eq!(provider.calls().len(), 3);
}

#[tokio::test]
async fn patience_ends_with_the_timeout() {
    let provider = FakeProvider::start(|_, _| vec![refusal("busy")]).await;
    let mut publisher = Publisher::new();
    publisher.settings.timeout = Some(Duration::from_secs(1));
    publisher.settings.backoff = Backoff {
        first: Duration::from_millis(50),
        most: Duration::from_millis(50),
    };
    let error = publisher
        .deploy(&mut publisher.deployment(&provider.provider), Until::Running)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_stream_without_a_proper_end_has_failed_and_is_taken_up_again() {
    let empty = || {
        Act::Send(PodReply {
            message: None,
            r#final: true,
        })
    };
    let final_but_alive = || {
        let body = Body::Status(support::pod_status(Phase::Running, "running", 1));
        Act::Send(PodReply {
            message: Some(body),
            r#final: true,
        })
    };
    let refusal_not_final = || {
        let body = Body::Refusal(Refusal::default());
        Act::Send(PodReply {
            message: Some(body),
            r#final: false,
        })
    };
    let provider = FakeProvider::start(move |n, _| match n {
        0 => vec![accepted(), running(), Act::Close],
        1 => vec![empty()],
        2 => vec![final_but_alive()],
        3 => vec![refusal_not_final()],
        _ => vec![ended("deleted_by_publisher", 1)],
    })
    .await;
    let publisher = Publisher::new();
    let reached = publisher
        .deploy(&mut publisher.deployment(&provider.provider), Until::Ended)
        .await
        .unwrap();
    assert!(matches!(reached, Reached::Ended(_)));
    assert_eq!(provider.operations(), ["provision", "watch", "watch", "watch", "watch"]);
}

#[tokio::test]
async fn detached_it_leaves_with_accepted() {
    let provider = FakeProvider::start(|_, call| {
        assert!(
            ProvisionPodRequest::decode(call.envelope.request.as_slice())
                .unwrap()
                .detach
        );
        let body = Body::Status(support::pod_status(Phase::Accepted, "accepted", 1));
        vec![Act::Send(PodReply {
            message: Some(body),
            r#final: true,
        })]
    })
    .await;
    let publisher = Publisher::new();
    let mut deployment = Deployment::free(pod(), PodId::random(), &publisher.key, &provider.provider, 0, true);
    assert!(matches!(
        publisher.deploy(&mut deployment, Until::Accepted).await.unwrap(),
        Reached::Accepted(_)
    ));
}

#[tokio::test]
async fn trouble_is_waited_on_unless_told_to_fail_fast() {
    let script = |_: usize, _: &support::Call| {
        vec![
            accepted(),
            status(Phase::Pulling, "image_not_found"),
            running(),
            Act::Hang,
        ]
    };
    let provider = FakeProvider::start(script).await;
    let publisher = Publisher::new();
    publisher
        .deploy(&mut publisher.deployment(&provider.provider), Until::Running)
        .await
        .unwrap();

    let options = Options {
        until: Until::Running,
        fail_fast: true,
    };
    let mut deployment = publisher.deployment(&provider.provider);
    let link = publisher.link(&provider.provider);
    let error = deploy(link, &mut deployment, None, options, &mut |_| {})
        .await
        .unwrap_err();
    assert_eq!(
        (error.exit(), error.code().as_str()),
        (Exit::Trouble, "image_not_found")
    );
}

#[tokio::test]
async fn what_was_written_down_and_not_sent_cannot_have_been_taken() {
    let mut publisher = Publisher::new();
    let (store, key) = (publisher.store.clone(), publisher.key_again());
    let unsent = Arc::new(Mutex::new(Vec::new()));
    let noted = unsent.clone();
    let provider = FakeProvider::start(move |_, call| {
        let pod = PodId(call.envelope.pod_id.clone().try_into().unwrap());
        let saved = Deployment::load(&store, &key, pod).unwrap().unwrap();
        noted.lock().unwrap().push(saved.is_unsent());
        vec![refusal("terminating")]
    })
    .await;
    let mut deployment = publisher.deployment(&provider.provider);
    let load = |publisher: &Publisher| {
        Deployment::load(&publisher.store, &publisher.key, deployment.pod())
            .unwrap()
            .unwrap()
    };

    // No evidence: it is given up before anything is sent.
    publisher.settings.allow_unattested = false;
    let error = publisher.deploy(&mut deployment.clone(), Until::Running).await;
    assert_eq!(error.unwrap_err().exit(), Exit::NotAttested);
    assert!(load(&publisher).is_unsent());

    // What is ending cannot be the life that this request began, so it is not waited for.
    publisher.settings.allow_unattested = true;
    let error = publisher
        .deploy(&mut load(&publisher), Until::Running)
        .await
        .unwrap_err();
    assert_eq!((error.code().as_str(), provider.calls().len()), ("terminating", 1));
    assert!(!load(&publisher).is_unsent());
    assert_eq!(
        *unsent.lock().unwrap(),
        [false],
        "the file says so before the first byte is there"
    );

    // And a new life's request is a new one.
    deployment.restart(3).unwrap();
    assert!(deployment.is_unsent());
}

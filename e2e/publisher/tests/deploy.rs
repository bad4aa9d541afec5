//! Deploying through losses: what is sent again, what is watched, what is given up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use apocryph_proto::{
    json, protocol,
    v0::{
        manage_pod::{ManagePodRequest, manage_pod_request::Operation},
        pod::Pod,
        provision_pod::{PodReply, ProvisionPodRequest, Refusal, pod_status::Phase},
    },
};
use apocryph_publisher::{
    Client, Deployment, Error, Event, Exit, PodId, PublisherKey, Reached, Settings, Store, Until,
    backoff::Backoff,
    delete::delete,
    deploy::{self, Options, deploy},
    follow::{Decision, Link, Point},
    net::NetError,
    provider::Provider,
    watch::watch,
};
use libp2p::PeerId;
use prost::Message;
use support::{Act, Attesting, FakeProvider, ended, refusal, refuse, running, status};

const MANIFEST: &str = "
containers:
- name: web
  image: {url: 'example.org/hello:1'}
  ports: [{name: http, port: 8080}]
  env: {TOKEN: 'correct horse battery staple'}
";

fn pod() -> Pod {
    json::pod_from_yaml(MANIFEST).unwrap()
}

/// A publisher whose retries take no time.
struct Publisher {
    client: Client,
    key: PublisherKey,
    settings: Settings,
    store: Store,
    _folder: tempfile::TempDir,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Publisher {
    fn new() -> Publisher {
        let folder = tempfile::tempdir().unwrap();
        let backoff = Backoff {
            first: Duration::ZERO,
            most: Duration::ZERO,
        };
        Publisher {
            client: Client::start().unwrap(),
            key: PublisherKey::random(),
            // Bounds a test that fails; none comes near it.
            settings: Settings {
                allow_unattested: true,
                backoff,
                timeout: Some(Duration::from_secs(60)),
                ..Settings::default()
            },
            store: Store::open(folder.path()).unwrap(),
            _folder: folder,
            events: Arc::default(),
        }
    }

    fn deployment(&self, provider: &Provider) -> Deployment {
        Deployment::free(pod(), PodId::random(), &self.key, provider, 0, false)
    }

    async fn deploy(&self, deployment: &mut Deployment, until: Until) -> Result<Reached, Error> {
        let provider = deployment.provider().clone();
        let options = Options {
            until,
            fail_fast: false,
        };
        let mut note = |event| self.events.lock().unwrap().push(event);
        deploy(self.link(&provider), deployment, Some(&self.store), options, &mut note).await
    }

    fn link<'a>(&'a self, provider: &'a Provider) -> Link<'a> {
        Link {
            client: &self.client,
            key: &self.key,
            provider,
            settings: &self.settings,
        }
    }

    fn cut_when(&mut self, point: impl Fn(Point<'_>) -> bool + Send + Sync + 'static) {
        let cuts = AtomicUsize::new(0);
        self.settings.interceptor = Some(Arc::new(move |at| {
            if point(at) && cuts.fetch_add(1, Ordering::SeqCst) == 0 {
                Decision::Cut
            } else {
                Decision::Go
            }
        }));
    }
}

fn accepted() -> Act {
    status(Phase::Accepted, "accepted")
}

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
            let body = apocryph_proto::v0::provision_pod::pod_reply::Message::Status(status);
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
async fn a_stream_without_a_proper_end_has_failed_and_is_taken_up_again() {
    let empty = || {
        Act::Send(PodReply {
            message: None,
            r#final: true,
        })
    };
    let final_but_alive = || {
        let body = apocryph_proto::v0::provision_pod::pod_reply::Message::Status(support::pod_status(
            Phase::Running,
            "running",
            1,
        ));
        Act::Send(PodReply {
            message: Some(body),
            r#final: true,
        })
    };
    let refusal_not_final = || {
        let body = apocryph_proto::v0::provision_pod::pod_reply::Message::Refusal(Refusal::default());
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
        let body = apocryph_proto::v0::provision_pod::pod_reply::Message::Status(support::pod_status(
            Phase::Accepted,
            "accepted",
            1,
        ));
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
async fn no_manifest_goes_to_a_provider_that_proves_nothing() {
    let provider = FakeProvider::start(|_, _| vec![accepted()]).await;
    let mut publisher = Publisher::new();
    publisher.settings.allow_unattested = false;
    let error = publisher
        .deploy(&mut publisher.deployment(&provider.provider), Until::Running)
        .await
        .unwrap_err();
    assert_eq!(error.exit(), Exit::NotAttested);
    assert!(error.remedy().contains("--allow-unattested"));
    assert!(provider.calls().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_relayed_attestation_is_refused_even_by_who_allows_unattested() {
    let provider = FakeProvider::start_with(Attesting::Relayed, &protocol::ALL, |_, _| vec![accepted()]).await;
    let publisher = Publisher::new();
    let error = publisher
        .deploy(&mut publisher.deployment(&provider.provider), Until::Running)
        .await
        .unwrap_err();
    assert_eq!(
        (error.exit(), error.code().as_str()),
        (Exit::NotAttested, "attestation_invalid")
    );
    assert!(provider.calls().is_empty(), "nothing was sent");
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

#[tokio::test]
async fn wrong_peers_wrong_protocols_and_closed_doors_are_told_apart() {
    let provider = FakeProvider::start_with(Attesting::Honest, &[protocol::ATTEST], |_, _| vec![]).await;
    let client = Client::start().unwrap();

    let somebody_else = Provider::new(PeerId::random(), provider.provider.addresses().to_vec()).unwrap();
    let wrong = client.connect(&somebody_else).await.err().unwrap();
    assert!(
        matches!(wrong, NetError::WrongPeer { obtained, .. } if obtained == provider.peer()),
        "{wrong:?}"
    );

    let connection = client.connect(&provider.provider).await.unwrap();
    let unsupported = connection.open(protocol::PROVISION_POD).await.err().unwrap();
    assert!(matches!(unsupported, NetError::Unsupported { .. }), "{unsupported:?}");
    assert!(connection.open(protocol::ATTEST).await.is_ok());
    connection.abort().await;

    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let closed = Provider::new(provider.peer(), [format!("/ip4/127.0.0.1/tcp/{free}").parse().unwrap()]).unwrap();
    let unreachable = client.connect(&closed).await.err().unwrap();
    assert!(matches!(unreachable, NetError::Unreachable(_)), "{unreachable:?}");
    client.shutdown().await;
}

#[tokio::test]
async fn each_transport_carries_a_deployment() {
    let provider = FakeProvider::start(|_, _| vec![accepted(), running(), Act::Hang]).await;
    let publisher = Publisher::new();
    for address in provider.provider.addresses() {
        let only = Provider::new(provider.peer(), [address.clone()]).unwrap();
        publisher
            .deploy(&mut publisher.deployment(&only), Until::Running)
            .await
            .unwrap();
    }
    let connected: Vec<_> = publisher
        .events
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| {
            if let Event::Connected { address } = event {
                Some(address.to_string())
            } else {
                None
            }
        })
        .collect();
    assert!(
        connected[0].contains("/tcp/") && connected[1].contains("/quic-v1"),
        "{connected:?}"
    );
}

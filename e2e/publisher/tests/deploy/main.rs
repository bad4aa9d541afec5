//! Deploying, watching and ending a pod, against a scripted provider.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod doors;
mod ends;
mod losses;
#[path = "../support/mod.rs"]
mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use apocryph_proto::{
    json,
    v0::{pod::Pod, provision_pod::pod_status::Phase},
};
use apocryph_publisher::{
    Client, Deployment, Error, Event, PodId, PublisherKey, Reached, Settings, Store, Until,
    backoff::Backoff,
    deploy::{Options, deploy},
    follow::{Decision, Link, Point},
    provider::Provider,
};
use support::{Act, status};

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

    /// For a provider's script, which outlives a borrow.
    fn key_again(&self) -> PublisherKey {
        let hex = data_encoding::HEXLOWER.encode(&self.key.signing_key().to_bytes());
        PublisherKey::from_hex(&hex, "test").unwrap()
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

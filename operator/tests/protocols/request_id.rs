//! One id from the stream to the object: what an admin finds on an ApocryphPod finds its request in the log.

use std::{
    io,
    sync::{Arc, Mutex},
};

use apocryph_crd::ApocryphPod;
use apocryph_proto::v0::provision_pod::ProvisionPodRequest;
use apocryph_provider::{
    admission::{Admission, Services, checks::TagKey},
    pods::{annotation, gateway::Gateway},
    protocols::provision::ProvisionPod,
};

use super::{pods_support, support::*};

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_id_of_the_stream_is_on_the_object_and_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let (world, api) = (World::new(), pods_support::fake_api::FakeApi::default());
    let watches = pods_support::watches(&mut Vec::new());
    let pods = Gateway::new(api.client(), watches, &pods_support::settings());
    let services = Services {
        pods: pods.clone(),
        capacity: world.clone(),
        payments: world.clone(),
        door: world.clone(),
        prices: world.clone(),
        preview: world.clone(),
    };
    let exchange = ProvisionPod {
        admission: Arc::new(Admission::new(services, TagKey::new([3; 32]), DEFAULTS)),
        pods,
        provider: PROVIDER.to_owned(),
    };
    let request = ProvisionPodRequest {
        detach: true,
        ..provision()
    };
    let status = open(exchange, signed_provision(&request)).await.last_status().await;
    assert_eq!(status.code, "accepted");

    let object = api.all::<ApocryphPod>("apocryphpods").pop().unwrap();
    let id = object.metadata.annotations.unwrap()[annotation::REQUEST_ID].clone();
    assert_eq!(id, REQUEST_ID, "the caller's");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let accepted = log.lines().find(|line| line.contains("pod accepted")).unwrap();
    assert!(accepted.contains(&format!("request_id={id}")), "{accepted}");
}

//! Whom a client talks to, and over what.

use apocryph_proto::protocol;
use apocryph_publisher::{Client, Event, Exit, Until, net::NetError, provider::Provider};
use libp2p::PeerId;

use super::{
    Publisher, accepted,
    support::{Act, Attesting, FakeProvider, running},
};

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

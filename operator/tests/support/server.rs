//! The network side of a provider, on the loopback.

use std::sync::Arc;

use apocryph_provider::{
    net::{
        identity::Identity,
        limits::Settings,
        router::{Handler, Router},
        swarm::{Error, Net, Running, start},
    },
    protocols::session::{self, Environment},
    telemetry::metrics::Metrics,
};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::within;

pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

pub struct Server {
    pub peer: PeerId,
    /// Where it listens, with its peer id, in the order of `listen`.
    pub addresses: Vec<Multiaddr>,
    pub metrics: Metrics,
    pub registry: Registry,
    pub drain: CancellationToken,
    pub external: watch::Sender<Vec<Multiaddr>>,
    pub running: Running,
}

impl Server {
    /// Listens on `listen` and serves `handlers`.
    pub async fn start(
        listen: &[&str],
        settings: Settings,
        session: session::Settings,
        handlers: Vec<Arc<dyn Handler>>,
    ) -> Server {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let libp2p_metrics = libp2p::metrics::Metrics::new(&mut registry);
        let drain = CancellationToken::new();
        let environment = Environment::new(session, metrics.clone(), drain.clone());
        let router = handlers.into_iter().fold(Router::new(environment), Router::with);
        let (external, announced) = watch::channel(Vec::new());
        let settings = Settings {
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            ..settings
        };
        let net = Net {
            identity: Identity::generate(),
            settings,
            router,
            external: announced,
            libp2p_metrics,
        };
        let mut running = start(net).unwrap();
        let listening = within("listening", running.listening.wait_for(|on| !on.is_empty()))
            .await
            .unwrap()
            .clone();
        let peer = running.peer;
        let addresses = listen
            .iter()
            .map(|wanted| {
                let quic = wanted.contains("quic");
                let found = listening
                    .iter()
                    .find(|address| address.to_string().contains("quic") == quic)
                    .unwrap();
                found.clone().with(Protocol::P2p(peer))
            })
            .collect();
        Server {
            peer,
            addresses,
            metrics,
            registry,
            drain,
            external,
            running,
        }
    }

    /// The order to go down, carried out.
    pub async fn stop(self) -> Result<(), Error> {
        self.drain.cancel();
        within("drain", self.running.task).await.unwrap()
    }

    /// What /metrics would say.
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

//! What runs on every connection. Composition only; first come the limits, which decide before the others see a connection.

use libp2p::{
    StreamProtocol, connection_limits, connection_limits::ConnectionLimits, identify, identity::PublicKey,
    memory_connection_limits, ping, swarm::NetworkBehaviour,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    inbound::{self, Arrival},
    limits::{AGENT, IDENTIFY_PROTOCOL, Settings},
};
use crate::telemetry::metrics::Metrics;

#[derive(NetworkBehaviour)]
pub struct Behaviour {
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    inbound: inbound::Behaviour,
}

impl Behaviour {
    pub(super) fn new(
        key: PublicKey,
        settings: &Settings,
        protocols: Vec<StreamProtocol>,
        metrics: Metrics,
        drain: CancellationToken,
    ) -> (Behaviour, mpsc::Receiver<Arrival>) {
        let connections = settings.connections;
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(connections.pending))
            .with_max_established_incoming(Some(connections.total))
            .with_max_established(Some(connections.total))
            .with_max_established_per_peer(Some(connections.per_peer));
        let identify = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), key)
            .with_agent_version(AGENT.to_owned())
            // Told are the external addresses alone: where it listens inside the cluster is nobody's business.
            .with_hide_listen_addrs(true)
            // It dials nobody: addresses of peers need no cache.
            .with_cache_size(0);
        let (inbound, arrivals) = inbound::Behaviour::new(settings, protocols, metrics, drain);
        let behaviour = Behaviour {
            limits: connection_limits::Behaviour::new(limits),
            memory: memory_connection_limits::Behaviour::with_max_bytes(connections.memory_bytes),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            inbound,
        };
        (behaviour, arrivals)
    }

    pub fn inbound(&self) -> &inbound::Behaviour {
        &self.inbound
    }
}

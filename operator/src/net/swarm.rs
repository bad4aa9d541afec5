//! The event loop: listens on TCP and QUIC, tells the addresses that the admin announces, drains on the order to go down.

use std::{collections::HashSet, convert::Infallible, io, sync::Arc};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, TransportError,
    core::transport::ListenerId,
    identify,
    metrics::{Metrics as Libp2pMetrics, Recorder},
    noise,
    swarm::SwarmEvent,
    tcp, yamux,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    behaviour::{Behaviour, BehaviourEvent},
    frames::Counted,
    identity::Identity,
    inbound::Memory,
    limits::{CLOSE_DEADLINE, QUIC_CONNECTION_WINDOW, STREAM_WINDOW, Settings},
    router::Router,
};

/// What the network side is made of.
pub struct Net {
    pub identity: Identity,
    pub settings: Settings,
    /// Its environment's drain token is the order to go down.
    pub router: Router,
    /// Addresses told to peers; renewed at each change.
    pub external: watch::Receiver<Vec<Multiaddr>>,
    pub libp2p_metrics: Libp2pMetrics,
}

/// The running event loop. Dropping it does not stop the loop; the drain token does.
#[derive(Debug)]
pub struct Running {
    pub peer: PeerId,
    /// Where it listens; empty until every address of the settings is listened on.
    pub listening: watch::Receiver<Vec<Multiaddr>>,
    pub memory: Memory,
    /// Ends with `Ok` after a drain. Ending in another way is an error, and the process ends with it.
    pub task: JoinHandle<Result<(), Error>>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the transport could not be made: {0}")]
    Transport(#[from] noise::Error),
    #[error("the behaviour could not be made: {0}")]
    Behaviour(String),
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: Multiaddr,
        #[source]
        source: TransportError<io::Error>,
    },
    #[error("no address to listen on is configured")]
    NoAddress,
    #[error("the listener on {addresses:?} has closed: {reason}")]
    ListenerClosed { addresses: Vec<Multiaddr>, reason: String },
}

/// Starts listening and the event loop.
pub fn start(net: Net) -> Result<Running, Error> {
    let Net {
        identity,
        settings,
        router,
        external,
        libp2p_metrics,
    } = net;
    let peer = identity.peer_id();
    let environment = router.environment().clone();
    let settings = Arc::new(settings);
    let keypair = identity.into_keypair();
    let (behaviour, arrivals) = Behaviour::new(
        keypair.public(),
        &settings,
        router.protocols(),
        environment.metrics().clone(),
        environment.drain().clone(),
    );
    let muxer = settings.streams.muxer();
    let yamux = move || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(muxer);
        Counted(config)
    };
    let mut swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux)?
        .with_quic_config(|mut config| {
            config.max_concurrent_stream_limit = u32::try_from(muxer).unwrap_or(u32::MAX);
            config.max_stream_data = STREAM_WINDOW;
            config.max_connection_data = QUIC_CONNECTION_WINDOW;
            config
        })
        .with_behaviour(|_| behaviour)
        .map_err(|error| Error::Behaviour(error.to_string()))?
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(settings.idle_connection)
                .with_max_negotiating_inbound_streams(settings.streams.negotiating)
        })
        .build();

    let mut listeners = HashSet::new();
    for address in &settings.listen {
        match swarm.listen_on(address.clone()) {
            Ok(listener) => listeners.insert(listener),
            Err(source) => {
                return Err(Error::Listen {
                    address: address.clone(),
                    source,
                });
            }
        };
    }
    if listeners.is_empty() {
        return Err(Error::NoAddress);
    }
    let (listening, on) = watch::channel(Vec::new());
    let memory = swarm.behaviour().inbound().memory();
    tokio::spawn(router.clone().run(arrivals, settings.clone()));
    let event_loop = EventLoop {
        swarm,
        waiting: listeners.clone(),
        listeners,
        listening,
        external,
        told: Vec::new(),
        metrics: libp2p_metrics,
        router,
        settings,
    };
    Ok(Running {
        peer,
        listening: on,
        memory,
        task: tokio::spawn(event_loop.run()),
    })
}

struct EventLoop {
    swarm: Swarm<Behaviour>,
    listeners: HashSet<ListenerId>,
    /// Listeners that have not yet said where they listen.
    waiting: HashSet<ListenerId>,
    listening: watch::Sender<Vec<Multiaddr>>,
    external: watch::Receiver<Vec<Multiaddr>>,
    /// External addresses that the swarm tells now.
    told: Vec<Multiaddr>,
    metrics: Libp2pMetrics,
    router: Router,
    settings: Arc<Settings>,
}

impl EventLoop {
    async fn run(mut self) -> Result<(), Error> {
        let drain = self.router.environment().drain().clone();
        self.tell_external();
        let mut external_changes = true;
        loop {
            tokio::select! {
                () = drain.cancelled() => break,
                event = self.swarm.select_next_some() => self.on_event(event)?,
                changed = self.external.changed(), if external_changes => match changed {
                    Ok(()) => self.tell_external(),
                    // Nobody will change them any more; what is told stays true.
                    Err(_) => external_changes = false,
                },
            }
        }
        self.drain().await;
        Ok(())
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) -> Result<(), Error> {
        self.record(&event);
        match event {
            SwarmEvent::NewListenAddr { listener_id, address } => {
                tracing::info!(%address, "listening");
                self.waiting.remove(&listener_id);
                self.publish_listening();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                tracing::warn!(%address, "no longer listening");
                self.publish_listening();
            }
            SwarmEvent::ListenerError { listener_id, error } => {
                tracing::warn!(%listener_id, %error, "listener error");
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                addresses,
                reason,
            } if self.listeners.contains(&listener_id) => {
                let reason = match reason {
                    Ok(()) => "closed".to_owned(),
                    Err(error) => error.to_string(),
                };
                return Err(Error::ListenerClosed { addresses, reason });
            }
            SwarmEvent::IncomingConnectionError {
                send_back_addr, error, ..
            } => {
                tracing::debug!(remote = %send_back_addr, %error, "incoming connection failed");
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                endpoint,
                cause,
                ..
            } => {
                let remote = endpoint.get_remote_address();
                tracing::debug!(peer = %peer_id, %remote, ?cause, "connection closed");
            }
            _ => {}
        }
        Ok(())
    }

    /// Two kinds of events are left out. The metrics keep a label for each shape of address that a peer claims to listen on or
    /// to have seen us at: strangers would choose our labels, and the memory that they take.
    fn record(&self, event: &SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewExternalAddrCandidate { .. }
            | SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { .. })) => {}
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.metrics.record(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.metrics.record(event),
            event => self.metrics.record(event),
        }
    }

    fn publish_listening(&self) {
        if self.waiting.is_empty() {
            self.listening.send_replace(self.swarm.listeners().cloned().collect());
        }
    }

    fn tell_external(&mut self) {
        let wanted = self.external.borrow_and_update().clone();
        for old in self.told.iter().filter(|old| !wanted.contains(old)) {
            self.swarm.remove_external_address(old);
        }
        for new in &wanted {
            self.swarm.add_external_address(new.clone());
        }
        tracing::info!(addresses = ?wanted, "announced addresses");
        self.told = wanted;
    }

    /// No new connections; streams come to their final message; then the connections are closed. The listeners stay to the
    /// end: closing QUIC's closes every connection that came by it. `inbound` turns away who knocks.
    async fn drain(mut self) {
        tracing::info!(streams = self.router.active(), "draining");
        let deadline = Instant::now() + self.settings.drain_deadline;
        let router = self.router.clone();
        let cut_off = tokio::select! {
            cut_off = router.drained(deadline) => cut_off,
            never = self.turn() => match never {},
        };
        if cut_off > 0 {
            tracing::warn!(cut_off, "streams without a final message at the drain deadline");
        }
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // Err: it has left meanwhile.
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
        let closed = timeout(CLOSE_DEADLINE, async {
            while self.swarm.network_info().connection_counters().num_connections() > 0 {
                let event = self.swarm.select_next_some().await;
                self.record(&event);
            }
        });
        if closed.await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
    }

    /// Keeps the connections going.
    async fn turn(&mut self) -> Infallible {
        loop {
            let event = self.swarm.select_next_some().await;
            self.record(&event);
        }
    }
}

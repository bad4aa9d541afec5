//! Inbound streams under limits. Each stream that is served carries permits of its connection, its peer, its address prefix
//! (with IPv6 two: /64 and /48) and of all, and frees them when it is dropped; one over a limit goes to the refuser, which holds
//! a bounded number; one that finds the refuser full is reset. Streams that last take only a part of each limit.
//! Connections are counted per address prefix here, in all and per peer by libp2p's limits.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{
        Endpoint,
        transport::PortUse,
        upgrade::{DeniedUpgrade, InboundUpgrade, UpgradeInfo},
    },
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour, Stream,
        SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::ListenFailure,
        handler::{ConnectionEvent, FullyNegotiatedInbound},
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    limits::{Connections, Settings, Streams, lasting, quic},
    prefix::Prefix,
    slots::{Slot, Slots},
};
use crate::{model::rates::Rates, protocols::session::Slot as StreamSlot, telemetry::metrics::Metrics};

/// The limit that a stream or a connection is over: the label `limit` in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    Connection,
    Peer,
    Address,
    /// Per IPv6 /48.
    Network,
    Total,
    /// Streams opened per second and address (IPv6: /48).
    Rate,
    /// The process is going down.
    Draining,
    /// Handshakes per address.
    Pending,
    /// Handshakes over QUIC, in all.
    PendingQuic,
}

impl Limit {
    pub const fn as_str(self) -> &'static str {
        match self {
            Limit::Connection => "connection",
            Limit::Peer => "peer",
            Limit::Address => "address",
            Limit::Network => "network",
            Limit::Total => "total",
            Limit::Rate => "rate",
            Limit::Draining => "draining",
            Limit::Pending => "pending",
            Limit::PendingQuic => "pending_quic",
        }
    }

    /// For the peer that is refused.
    pub const fn explain(self) -> &'static str {
        match self {
            Limit::Connection => "on this connection",
            Limit::Peer => "by this peer",
            Limit::Address => "from this address",
            Limit::Network => "from this IPv6 network",
            Limit::Total => "in all",
            Limit::Rate => "too fast from this address",
            Limit::Draining => "this process is going down",
            Limit::Pending => "in the handshake from this address",
            Limit::PendingQuic => "in the handshake over QUIC",
        }
    }
}

/// A stream that is to be served.
pub struct Admitted {
    pub peer: PeerId,
    pub remote: Multiaddr,
    pub protocol: StreamProtocol,
    pub stream: Stream,
    pub permit: Permit,
    /// The connection has closed.
    pub gone: CancellationToken,
}

/// A stream that is to be refused.
pub struct Refused {
    pub stream: Stream,
    pub protocol: StreamProtocol,
    pub limit: Limit,
    pub permit: RefusalPermit,
}

pub enum Arrival {
    Admitted(Admitted),
    Refused(Refused),
}

/// A stream's share of every limit.
pub struct Permit {
    shares: Vec<Share>,
    // Limits are remembered as long as somebody counts on them.
    _peer: Arc<PeerSlot>,
    _origin: Origin,
}

/// A stream's share of one limit.
struct Share {
    limit: Limit,
    lasting: Arc<Semaphore>,
    _held: OwnedSemaphorePermit,
    lasts: Option<OwnedSemaphorePermit>,
}

impl StreamSlot for Permit {
    fn last(&mut self) -> Result<(), &'static str> {
        for share in &mut self.shares {
            let lasts = share.lasting.clone().try_acquire_owned();
            share.lasts = Some(lasts.map_err(|_| share.limit.explain())?);
        }
        Ok(())
    }
}

/// A refused stream's share of the refuser.
pub struct RefusalPermit {
    _connection: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

type PeerSlot = Slot<PeerId, PeerLimits>;
type AddressSlot = Slot<Prefix, AddressLimits>;

struct PeerLimits {
    streams: Pool,
}

struct AddressLimits {
    streams: Pool,
    connections: Arc<Semaphore>,
    pending: Arc<Semaphore>,
}

/// One limit of streams.
struct Pool {
    all: Arc<Semaphore>,
    /// Of them, those that last.
    lasting: Arc<Semaphore>,
}

impl Pool {
    fn new(streams: usize) -> Pool {
        Pool {
            all: Arc::new(Semaphore::new(streams)),
            lasting: Arc::new(Semaphore::new(lasting(streams))),
        }
    }

    fn take(&self, limit: Limit) -> Result<Share, Limit> {
        let held = self.all.clone().try_acquire_owned().map_err(|_| limit)?;
        Ok(Share {
            limit,
            lasting: self.lasting.clone(),
            _held: held,
            lasts: None,
        })
    }
}

/// What a remote address is counted by: its prefix and, with IPv6, the network around that.
#[derive(Clone)]
struct Origin(Vec<(Limit, Arc<AddressSlot>)>);

impl Origin {
    /// A permit of each; or the limit that is used up.
    fn take(&self, of: impl Fn(&AddressLimits) -> &Arc<Semaphore>) -> Result<Vec<OwnedSemaphorePermit>, Limit> {
        let take = |(limit, slot): &(Limit, Arc<AddressSlot>)| of(slot).clone().try_acquire_owned().map_err(|_| *limit);
        self.0.iter().map(take).collect()
    }

    /// The limit of connections that is used up.
    fn full(&self) -> Option<Limit> {
        let full = self
            .0
            .iter()
            .find(|(_, slot)| slot.connections.available_permits() == 0);
        full.map(|(limit, _)| *limit)
    }
}

/// What all connections share.
struct Shared {
    protocols: Arc<[StreamProtocol]>,
    streams: Streams,
    negotiation_deadline: Duration,
    total: Pool,
    refuser: Arc<Semaphore>,
    rates: Rates<Prefix>,
    arrivals: mpsc::Sender<Arrival>,
    drain: CancellationToken,
    metrics: Metrics,
}

pub struct Behaviour {
    shared: Arc<Shared>,
    connections: Connections,
    peers: Slots<PeerId, PeerLimits>,
    addresses: Slots<Prefix, AddressLimits>,
    pending_quic: Arc<Semaphore>,
    /// Handshakes that run; each leaves by being established or by a `ListenFailure`.
    pending: HashMap<ConnectionId, (Vec<OwnedSemaphorePermit>, Origin)>,
}

/// How much is remembered of peers; cloning shares it.
#[derive(Clone)]
pub struct Memory {
    peers: Slots<PeerId, PeerLimits>,
    addresses: Slots<Prefix, AddressLimits>,
}

impl Memory {
    /// Peers and address prefixes (an IPv6 address has two) that are remembered now: those with a connection, a handshake or a stream.
    pub fn remembered(&self) -> (usize, usize) {
        (self.peers.len(), self.addresses.len())
    }
}

/// A connection was denied.
#[derive(Debug, thiserror::Error)]
#[error("too many connections: {}", .0.explain())]
pub struct TooMany(pub Limit);

impl Behaviour {
    /// The receiver has room for every stream that holds a permit, so nothing admitted is ever lost on the way to it.
    pub fn new(
        settings: &Settings,
        protocols: Vec<StreamProtocol>,
        metrics: Metrics,
        drain: CancellationToken,
    ) -> (Behaviour, mpsc::Receiver<Arrival>) {
        let streams = settings.streams;
        let (arrivals, receiver) = mpsc::channel(streams.total.saturating_add(streams.refuser).max(1));
        let shared = Shared {
            protocols: protocols.into(),
            streams,
            negotiation_deadline: settings.negotiation_deadline,
            total: Pool::new(streams.total),
            refuser: Arc::new(Semaphore::new(streams.refuser)),
            rates: Rates::new(streams.burst, streams.per_second),
            arrivals,
            drain,
            metrics,
        };
        let behaviour = Behaviour {
            shared: Arc::new(shared),
            connections: settings.connections,
            pending_quic: Arc::new(Semaphore::new(quic(settings.connections.pending) as usize)),
            peers: Slots::default(),
            addresses: Slots::default(),
            pending: HashMap::new(),
        };
        (behaviour, receiver)
    }

    pub fn memory(&self) -> Memory {
        Memory {
            peers: self.peers.clone(),
            addresses: self.addresses.clone(),
        }
    }

    fn origin(&self, remote: &Multiaddr) -> Origin {
        let (streams, connections) = (&self.shared.streams, &self.connections);
        let slot = |prefix, streams, connections, pending| {
            self.addresses.get(prefix, || AddressLimits {
                streams: Pool::new(streams),
                connections: Arc::new(Semaphore::new(connections)),
                pending: Arc::new(Semaphore::new(pending)),
            })
        };
        let address = Prefix::of(remote);
        let mut slots = vec![(
            Limit::Address,
            slot(
                address,
                streams.per_address,
                connections.per_address,
                connections.pending_per_address,
            ),
        )];
        slots.extend(address.network().map(|network| {
            let limits = slot(
                network,
                streams.per_network,
                connections.per_network,
                connections.pending_per_network,
            );
            (Limit::Network, limits)
        }));
        Origin(slots)
    }

    fn deny(&self, limit: Limit) -> ConnectionDenied {
        self.shared.metrics.connection_denied(limit.as_str());
        ConnectionDenied::new(TooMany(limit))
    }

    fn handler(
        &self,
        peer: PeerId,
        remote: Multiaddr,
        origin: Origin,
        connection: Vec<OwnedSemaphorePermit>,
    ) -> Handler {
        let peer_slot = self.peers.get(peer, || PeerLimits {
            streams: Pool::new(self.shared.streams.per_peer),
        });
        let gone = CancellationToken::new();
        let prefix = Prefix::of(&remote);
        Handler {
            peer,
            paced_by: prefix.network().unwrap_or(prefix),
            remote,
            shared: self.shared.clone(),
            streams: Pool::new(self.shared.streams.per_connection),
            refuser: Arc::new(Semaphore::new(self.shared.streams.refuser_per_connection)),
            peer_slot,
            origin,
            _connection: connection,
            gone: gone.clone(),
            _gone: gone.drop_guard(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.shared.drain.is_cancelled() {
            return Err(self.deny(Limit::Draining));
        }
        let origin = self.origin(remote);
        if let Some(limit) = origin.full() {
            return Err(self.deny(limit));
        }
        let Ok(mut permits) = origin.take(|limits| &limits.pending) else {
            return Err(self.deny(Limit::Pending));
        };
        if remote
            .iter()
            .any(|part| matches!(part, Protocol::Quic | Protocol::QuicV1))
        {
            let Ok(permit) = self.pending_quic.clone().try_acquire_owned() else {
                return Err(self.deny(Limit::PendingQuic));
            };
            permits.push(permit);
        }
        self.pending.insert(connection, (permits, origin));
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&connection);
        let origin = self.origin(remote);
        match origin.take(|limits| &limits.connections) {
            Ok(permits) => Ok(self.handler(peer, remote.clone(), origin, permits)),
            Err(limit) => Err(self.deny(limit)),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, remote.clone(), self.origin(remote), Vec::new()))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) = event {
            self.pending.remove(&connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// One connection.
pub struct Handler {
    peer: PeerId,
    /// Whose rate of opening streams counts.
    paced_by: Prefix,
    remote: Multiaddr,
    shared: Arc<Shared>,
    streams: Pool,
    refuser: Arc<Semaphore>,
    peer_slot: Arc<PeerSlot>,
    origin: Origin,
    _connection: Vec<OwnedSemaphorePermit>,
    gone: CancellationToken,
    _gone: DropGuard,
}

impl Handler {
    fn permit(&self) -> Result<Permit, Limit> {
        if self.shared.drain.is_cancelled() {
            return Err(Limit::Draining);
        }
        let mut shares = vec![
            self.streams.take(Limit::Connection)?,
            self.peer_slot.streams.take(Limit::Peer)?,
        ];
        for (limit, slot) in &self.origin.0 {
            shares.push(slot.streams.take(*limit)?);
        }
        shares.push(self.shared.total.take(Limit::Total)?);
        if self.shared.rates.take(self.paced_by, Instant::now()) {
            Ok(Permit {
                shares,
                _peer: self.peer_slot.clone(),
                _origin: self.origin.clone(),
            })
        } else {
            Err(Limit::Rate)
        }
    }

    fn refusal_permit(&self) -> Option<RefusalPermit> {
        let of_connection = self.refuser.clone().try_acquire_owned().ok()?;
        let of_all = self.shared.refuser.clone().try_acquire_owned().ok()?;
        Some(RefusalPermit {
            _connection: of_connection,
            _total: of_all,
        })
    }

    fn arrived(&self, stream: Stream, protocol: StreamProtocol) {
        let (arrival, limit) = match self.permit() {
            Ok(permit) => {
                let admitted = Admitted {
                    peer: self.peer,
                    remote: self.remote.clone(),
                    protocol,
                    stream,
                    permit,
                    gone: self.gone.clone(),
                };
                (Arrival::Admitted(admitted), Limit::Draining)
            }
            Err(limit) => match self.refusal_permit() {
                Some(permit) => (
                    Arrival::Refused(Refused {
                        stream,
                        protocol,
                        limit,
                        permit,
                    }),
                    limit,
                ),
                None => {
                    tracing::debug!(peer = %self.peer, limit = limit.as_str(), "stream reset: the refuser is full");
                    self.shared.metrics.stream_reset(limit.as_str());
                    return;
                }
            },
        };
        // There is room for all permits: this fails when the router has gone, that is at the very end.
        if self.shared.arrivals.try_send(arrival).is_err() {
            self.shared.metrics.stream_reset(limit.as_str());
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        SubstreamProtocol::new(Upgrade(self.shared.protocols.clone()), ())
            .with_timeout(self.shared.negotiation_deadline)
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, DeniedUpgrade>) {
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
            protocol: (stream, protocol),
            ..
        }) = event
        {
            self.arrived(stream, protocol);
        }
    }
}

/// Agrees on a protocol and hands the stream over.
pub struct Upgrade(Arc<[StreamProtocol]>);

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        Vec::from(&*self.0).into_iter()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (peers, addresses) = self.remembered();
        write!(f, "Memory({peers} peers, {addresses} addresses)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behaviour(settings: &Settings) -> (Behaviour, mpsc::Receiver<Arrival>) {
        Behaviour::new(settings, Vec::new(), Metrics::unregistered(), CancellationToken::new())
    }

    fn established(behaviour: &mut Behaviour, id: usize, remote: &str) -> Result<Handler, ConnectionDenied> {
        let (id, local, remote) = (
            ConnectionId::new_unchecked(id),
            Multiaddr::empty(),
            remote.parse().unwrap(),
        );
        behaviour.handle_pending_inbound_connection(id, &local, &remote)?;
        behaviour.handle_established_inbound_connection(id, PeerId::random(), &local, &remote)
    }

    #[test]
    fn nothing_is_remembered_of_a_thousand_peers_that_left() {
        let (mut behaviour, _arrivals) = behaviour(&Settings::default());
        let mut handlers = Vec::new();
        for id in 0..1000 {
            let remote = format!("/ip4/203.0.{}.{}/tcp/1", id / 250, id % 250);
            handlers.push(established(&mut behaviour, id, &remote).unwrap());
        }
        let memory = behaviour.memory();
        assert_eq!((memory.remembered(), behaviour.pending.len()), ((1000, 1000), 0));
        let permit = handlers[7].permit();
        handlers.clear();
        assert_eq!(memory.remembered(), (1, 1), "a stream in flight keeps its peer's limit");
        drop(permit);
        assert_eq!(memory.remembered(), (0, 0));
    }

    #[test]
    fn reconnecting_does_not_reset_the_limit_of_a_peer() {
        let mut settings = Settings::default();
        settings.streams.per_peer = 1;
        let (behaviour, _arrivals) = behaviour(&settings);
        let peer = PeerId::random();
        let connect = |address: &str| {
            let remote: Multiaddr = address.parse().unwrap();
            behaviour.handler(peer, remote.clone(), behaviour.origin(&remote), Vec::new())
        };
        let first = connect("/ip4/203.0.113.1/tcp/1");
        let permit = first.permit().unwrap();
        drop(first);
        let second = connect("/ip4/203.0.113.2/tcp/1");
        assert_eq!(second.permit().err(), Some(Limit::Peer));
        drop(permit);
        assert!(second.permit().is_ok());
    }

    #[test]
    fn peers_of_one_address_share_its_connections_and_handshakes() {
        let mut settings = Settings::default();
        settings.connections.per_address = 2;
        settings.connections.pending_per_address = 1;
        let (mut behaviour, _arrivals) = behaviour(&settings);
        let first = established(&mut behaviour, 1, "/ip6/2001:db8::1/tcp/1").unwrap();
        let _second = established(&mut behaviour, 2, "/ip6/2001:db8::2/udp/1/quic-v1").unwrap();
        assert!(established(&mut behaviour, 3, "/ip6/2001:db8:0:0:ffff::3/tcp/1").is_err());
        let _neighbour = established(&mut behaviour, 4, "/ip6/2001:db8:0:1::1/tcp/1").unwrap();
        drop(first);
        assert!(established(&mut behaviour, 5, "/ip6/2001:db8::5/tcp/1").is_ok());

        let (local, remote) = (Multiaddr::empty(), "/ip4/203.0.113.9/tcp/1".parse().unwrap());
        let mut knock =
            |id| behaviour.handle_pending_inbound_connection(ConnectionId::new_unchecked(id), &local, &remote);
        assert!(knock(6).is_ok());
        assert!(knock(7).is_err());
        assert_eq!(behaviour.shared.metrics.denied("pending"), 1);
        assert_eq!(behaviour.shared.metrics.denied("address"), 1);
    }

    #[test]
    fn forged_datagrams_never_shut_tcp_out() {
        let mut settings = Settings::default();
        settings.connections.pending = 8;
        let (mut behaviour, _arrivals) = behaviour(&settings);
        let local = Multiaddr::empty();
        let mut knock = |id: usize, transport: &str| {
            let remote = format!("/ip4/203.0.113.{id}/{transport}").parse().unwrap();
            behaviour.handle_pending_inbound_connection(ConnectionId::new_unchecked(id), &local, &remote)
        };
        for id in 0..6 {
            assert!(knock(id, "udp/1/quic-v1").is_ok(), "{id}");
        }
        assert!(knock(6, "udp/1/quic-v1").is_err());
        assert!(knock(7, "tcp/1").is_ok());
        assert_eq!(behaviour.shared.metrics.denied("pending_quic"), 1);
        let established = behaviour.handle_established_inbound_connection(
            ConnectionId::new_unchecked(0),
            PeerId::random(),
            &local,
            &"/ip4/203.0.113.0/udp/1/quic-v1".parse().unwrap(),
        );
        assert!(established.is_ok());
        let next = "/ip4/203.0.113.8/udp/1/quic-v1".parse().unwrap();
        let knocked = behaviour.handle_pending_inbound_connection(ConnectionId::new_unchecked(8), &local, &next);
        assert!(knocked.is_ok(), "a handshake that is over makes room");
    }

    #[test]
    fn an_ipv6_network_is_bounded_however_many_of_its_prefixes_come() {
        let mut settings = Settings::default();
        settings.connections.per_network = 3;
        settings.streams.per_network = 2;
        let (mut behaviour, _arrivals) = behaviour(&settings);
        let handlers: Vec<Handler> = (0..3)
            .map(|id| established(&mut behaviour, id, &format!("/ip6/2001:db8:0:{id}::1/tcp/1")).unwrap())
            .collect();
        assert!(established(&mut behaviour, 3, "/ip6/2001:db8:0:3::1/tcp/1").is_err());
        assert_eq!(behaviour.shared.metrics.denied("network"), 1);
        let neighbour = established(&mut behaviour, 4, "/ip6/2001:db8:1::1/tcp/1").unwrap();

        let _permits: Vec<Permit> = handlers[..2].iter().map(|handler| handler.permit().unwrap()).collect();
        assert_eq!(handlers[2].permit().err(), Some(Limit::Network));
        assert!(neighbour.permit().is_ok());
    }

    #[test]
    fn an_ipv6_network_opens_streams_no_faster_than_one_address() {
        let mut settings = Settings::default();
        (settings.streams.burst, settings.streams.per_second) = (2, 1);
        let (mut behaviour, _arrivals) = behaviour(&settings);
        let opened: Vec<Option<Limit>> = (0..3)
            .map(|id| {
                let handler = established(&mut behaviour, id, &format!("/ip6/2001:db8:0:{id}::1/tcp/1")).unwrap();
                handler.permit().err()
            })
            .collect();
        assert_eq!(opened, [None, None, Some(Limit::Rate)]);
    }

    #[test]
    fn streams_that_last_leave_a_part_of_every_limit_to_short_ones() {
        fn limited(change: impl FnOnce(&mut Streams)) -> Settings {
            let mut settings = Settings::default();
            change(&mut settings.streams);
            settings
        }
        for (limit, settings) in [
            (Limit::Connection, limited(|streams| streams.per_connection = 8)),
            (Limit::Peer, limited(|streams| streams.per_peer = 8)),
            (Limit::Address, limited(|streams| streams.per_address = 8)),
            (Limit::Network, limited(|streams| streams.per_network = 8)),
            (Limit::Total, limited(|streams| streams.total = 8)),
        ] {
            let (mut behaviour, _arrivals) = behaviour(&settings);
            let handler = established(&mut behaviour, 1, "/ip6/2001:db8::1/tcp/1").unwrap();
            let mut watched: Vec<Permit> = (0..6).map(|_| handler.permit().unwrap()).collect();
            for permit in &mut watched {
                assert_eq!(permit.last(), Ok(()), "{limit:?}");
            }
            let mut short = handler.permit().unwrap();
            assert_eq!(short.last(), Err(limit.explain()));
            let _second = handler.permit().unwrap();
            assert_eq!(handler.permit().err(), Some(limit));
            // Who stops watching makes room for another, who need not come anew.
            watched.pop();
            assert_eq!(short.last(), Ok(()), "{limit:?}");
        }
    }
}

//! A peer that dials and opens streams, for tests only. Not the publisher's client, though its stream opener looks like this
//! one: this peer must send what that client never does (raw bytes, half requests, floods), and a fault there must not hide
//! here.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future::{Ready, ready},
    io,
    task::{Context, Poll, Waker},
};

use futures::{AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, SwarmBuilder,
    core::{
        Endpoint, UpgradeInfo,
        transport::PortUse,
        upgrade::{DeniedUpgrade, OutboundUpgrade},
    },
    identify, noise,
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, DialError, FromSwarm,
        NetworkBehaviour, NotifyHandler, SubstreamProtocol, SwarmEvent, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
        dial_opts::{DialOpts, PeerCondition},
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedOutbound},
    },
    tcp, yamux,
};
use prost::Message;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{all, framed, within};

type Opened = oneshot::Sender<io::Result<Stream>>;
type Dialled = oneshot::Sender<Result<(), String>>;

enum Order {
    Dial(Multiaddr, Dialled),
    Open(PeerId, StreamProtocol, Opened),
    Disconnect(PeerId, oneshot::Sender<()>),
}

/// Dropping it closes its connections.
pub struct Client {
    pub peer: PeerId,
    orders: mpsc::Sender<Order>,
    /// Connections that have closed since the start.
    pub closed: watch::Receiver<usize>,
    /// What the last identify said: agent, then addresses.
    pub identified: watch::Receiver<Option<(String, Vec<Multiaddr>)>>,
    task: JoinHandle<()>,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    opener: Opener,
    identify: identify::Behaviour,
}

impl Client {
    pub fn new() -> Client {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                noise::Config::new,
                yamux::Config::default,
            )
            .unwrap()
            .with_quic()
            .with_behaviour(|key| Behaviour {
                opener: Opener::default(),
                identify: identify::Behaviour::new(identify::Config::new("/test/0.0.1".into(), key.public())),
            })
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_secs(600)))
            .build();
        let peer = *swarm.local_peer_id();
        let (orders, mut taken) = mpsc::channel(256);
        let (close, closed) = watch::channel(0);
        let (identify, identified) = watch::channel(None);
        let task = tokio::spawn(async move {
            let mut dials: HashMap<ConnectionId, Dialled> = HashMap::new();
            let mut leaving: Vec<(PeerId, oneshot::Sender<()>)> = Vec::new();
            loop {
                tokio::select! {
                    order = taken.recv() => match order {
                        None => return,
                        Some(Order::Dial(address, dialled)) => {
                            // Always a new connection, however many there are.
                            let options = DialOpts::peer_id(peer_of(&address)).addresses(vec![address])
                                .condition(PeerCondition::Always).build();
                            let id = options.connection_id();
                            match swarm.dial(options) {
                                Ok(()) => drop(dials.insert(id, dialled)),
                                Err(error) => drop(dialled.send(Err(error.to_string()))),
                            }
                        }
                        Some(Order::Open(peer, protocol, opened)) => swarm.behaviour_mut().opener.open(peer, protocol, opened),
                        Some(Order::Disconnect(peer, done)) => {
                            let _unknown = swarm.disconnect_peer_id(peer);
                            if swarm.is_connected(&peer) { leaving.push((peer, done)) } else { let _waits = done.send(()); }
                        }
                    },
                    event = swarm.select_next_some() => match event {
                        SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                            if let Some(dialled) = dials.remove(&connection_id) { drop(dialled.send(Ok(()))) }
                        }
                        SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                            if let Some(dialled) = dials.remove(&connection_id) { drop(dialled.send(Err(chain(&error)))) }
                        }
                        SwarmEvent::ConnectionClosed { peer_id, num_established, .. } => {
                            close.send_modify(|count| *count += 1);
                            if num_established == 0 {
                                for (_, done) in leaving.extract_if(.., |(peer, _)| *peer == peer_id) { let _waits = done.send(()); }
                            }
                        }
                        SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { info, .. })) => {
                            identify.send_replace(Some((info.agent_version, info.listen_addrs)));
                        }
                        _ => {}
                    },
                }
            }
        });
        Client {
            peer,
            orders,
            closed,
            identified,
            task,
        }
    }

    /// A new connection.
    pub async fn dial(&self, address: &Multiaddr) -> Result<(), String> {
        self.order("dial", |done| Order::Dial(address.clone(), done)).await
    }

    /// A client with one connection.
    pub async fn connected(address: &Multiaddr) -> Client {
        let client = Client::new();
        client.dial(address).await.unwrap();
        client
    }

    /// A new stream on any connection to that peer.
    pub async fn open(&self, peer: PeerId, protocol: &'static str) -> io::Result<Stream> {
        self.order("open a stream", |done| {
            Order::Open(peer, StreamProtocol::new(protocol), done)
        })
        .await
    }

    /// Closes all connections to that peer.
    pub async fn disconnect(&self, peer: PeerId) {
        self.order("disconnect", |done| Order::Disconnect(peer, done)).await;
    }

    /// Sends one request as it should be sent; every reply until the stream ends.
    pub async fn call<Reply: Message + Default>(
        &self,
        peer: PeerId,
        protocol: &'static str,
        request: impl Message,
    ) -> Vec<Reply> {
        self.say(peer, protocol, &framed(request)).await
    }

    /// Sends any bytes and closes the sending side; every reply until the stream ends. That not all bytes could be written
    /// is not an error: the answer may have come first.
    pub async fn say<Reply: Message + Default>(
        &self,
        peer: PeerId,
        protocol: &'static str,
        bytes: &[u8],
    ) -> Vec<Reply> {
        let Ok(mut stream) = self.open(peer, protocol).await else {
            return Vec::new();
        };
        within("replies", async {
            if stream.write_all(bytes).await.is_ok() {
                let _answered = stream.close().await;
            }
            all(&mut stream).await
        })
        .await
    }

    /// Returns when so many connections have closed.
    pub async fn until_closed(&self, connections: usize) {
        let mut closed = self.closed.clone();
        let reached = closed.wait_for(|count| *count >= connections);
        assert!(within("connections close", reached).await.is_ok());
    }

    /// How many connections have closed so far.
    pub fn connections_closed(&self) -> usize {
        *self.closed.borrow()
    }

    async fn order<T>(&self, what: &str, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> T {
        let (done, answer) = oneshot::channel();
        self.orders.send(order(done)).await.unwrap();
        within(what, answer).await.unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn peer_of(address: &Multiaddr) -> PeerId {
    match address.iter().last() {
        Some(libp2p::multiaddr::Protocol::P2p(peer)) => peer,
        _ => panic!("{address} has no peer id"),
    }
}

fn chain(error: &DialError) -> String {
    format!("{error}: {error:?}")
}

/// Opens one stream per order.
#[derive(Default)]
struct Opener {
    waiting: VecDeque<(PeerId, (StreamProtocol, Opened))>,
    waker: Option<Waker>,
}

impl Opener {
    fn open(&mut self, peer: PeerId, protocol: StreamProtocol, opened: Opened) {
        self.waiting.push_back((peer, (protocol, opened)));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Opener {
    type ConnectionHandler = OpenerHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(OpenerHandler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(OpenerHandler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        match self.waiting.pop_front() {
            Some((peer_id, event)) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::Any,
                event,
            }),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[derive(Default)]
struct OpenerHandler {
    waiting: VecDeque<(StreamProtocol, Opened)>,
}

impl ConnectionHandler for OpenerHandler {
    type FromBehaviour = (StreamProtocol, Opened);
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = Name;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opened;

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Name, Opened, Infallible>> {
        match self.waiting.pop_front() {
            Some((protocol, opened)) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(Name(protocol), opened),
            }),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, order: (StreamProtocol, Opened)) {
        self.waiting.push_back(order);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, DeniedUpgrade, Name, (), Opened>) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                drop(info.send(Ok(protocol)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                drop(info.send(Err(io::Error::other(error.to_string()))));
            }
            _ => {}
        }
    }
}

/// One protocol name, offered.
struct Name(StreamProtocol);

impl UpgradeInfo for Name {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Once<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(self.0.clone())
    }
}

impl OutboundUpgrade<Stream> for Name {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

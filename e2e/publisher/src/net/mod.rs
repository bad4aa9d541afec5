//! The client's end of libp2p: a swarm that dials and opens streams, in one task.
//!
//! A peer id is free: by default each process takes a new one, so a provider cannot tell two runs of a publisher apart before
//! the publisher signs.

mod streams;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, TransportError, identify, identity, noise, ping,
    swarm::{
        ConnectionId, DialError, NetworkBehaviour, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, yamux,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{key::PublisherKey, provider::Provider};

/// From the first packet to an authenticated, multiplexed connection, over all addresses.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(15);
/// Negotiating a protocol on a new stream.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without a stream is closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Streams being opened and dials under way, each, of one client; more wait.
pub const OPENS_MAX: usize = 64;
/// How many addresses of one provider are tried at once.
const DIALS_AT_ONCE: u8 = 8;
const IDENTIFY: &str = "/apocryph/0.0.1";

/// Why there is no connection or no stream.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NetError {
    #[error("libp2p could not be set up: {0}")]
    Setup(String),
    #[error("the provider cannot be reached: {0}")]
    Unreachable(String),
    #[error("{address} is another peer, {obtained}")]
    WrongPeer { obtained: PeerId, address: Multiaddr },
    #[error("the peer does not speak {protocol}")]
    Unsupported { protocol: String },
    #[error("{what} took longer than {} s", after.as_secs())]
    Timeout { what: &'static str, after: Duration },
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("the client was shut down")]
    Stopped,
}

impl NetError {
    pub fn remedy(&self) -> &'static str {
        match self {
            NetError::Setup(_) => "Check that this machine has a network and /etc/resolv.conf.",
            NetError::WrongPeer { .. } => {
                "Ask the provider for their present address and peer id; somebody else answers here."
            }
            NetError::Unsupported { .. } => {
                "This peer is no Apocryph provider, or of another version: check the address."
            }
            NetError::Unreachable(_) | NetError::Timeout { .. } | NetError::Lost(_) => {
                "Check the address and that its port is open from here; if the provider restarts, try again in a minute."
            }
            NetError::Stopped => "Run the command again.",
        }
    }

    /// Dialling again will not help.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            NetError::Setup(_) | NetError::WrongPeer { .. } | NetError::Unsupported { .. } | NetError::Stopped
        )
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: streams::Behaviour,
}

enum Command {
    Dial {
        provider: Provider,
        answer: oneshot::Sender<Result<(ConnectionId, Multiaddr), NetError>>,
    },
    Open {
        peer: PeerId,
        connection: ConnectionId,
        open: streams::Open,
    },
    Close(ConnectionId),
}

/// One swarm. Dropping it ends its task; [`Client::shutdown`] also waits for that.
pub struct Client {
    commands: mpsc::Sender<Command>,
    permits: Arc<Semaphore>,
    peer: PeerId,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Client {
    /// With a new peer id.
    pub fn start() -> Result<Client, NetError> {
        Client::with_identity(identity::Keypair::generate_ed25519())
    }

    /// With the peer id that the key has to connect with, a new one where any will do.
    pub fn of(key: &PublisherKey) -> Result<Client, NetError> {
        match key.peer() {
            Some(peer) => Client::with_identity(peer.keypair()),
            None => Client::start(),
        }
    }

    /// With a peer id that outlives the process. Needs a tokio runtime.
    pub fn with_identity(identity: identity::Keypair) -> Result<Client, NetError> {
        let setup = |e: &dyn std::fmt::Display| NetError::Setup(e.to_string());
        let swarm = SwarmBuilder::with_existing_identity(identity)
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                noise::Config::new,
                yamux::Config::default,
            )
            .map_err(|e| setup(&e))?
            .with_quic()
            .with_dns()
            .map_err(|e| setup(&e))?
            .with_behaviour(|key| Behaviour {
                identify: identify::Behaviour::new(
                    identify::Config::new(IDENTIFY.into(), key.public())
                        .with_agent_version(concat!("apocryph-publisher/", env!("CARGO_PKG_VERSION")).into()),
                ),
                ping: ping::Behaviour::default(),
                streams: streams::Behaviour::default(),
            })
            .map_err(|e| setup(&e))?
            .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
            .build();
        let peer = *swarm.local_peer_id();
        let (commands, inbox) = mpsc::channel(OPENS_MAX);
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(swarm, inbox, stop.clone()));
        Ok(Client {
            commands,
            permits: Arc::new(Semaphore::new(OPENS_MAX)),
            peer,
            stop,
            task: Some(task),
        })
    }

    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// A new connection, whichever exist; the first address that answers wins.
    pub async fn connect(&self, provider: &Provider) -> Result<Connection, NetError> {
        let dial = async {
            let _permit = self.permits.acquire().await.map_err(|_| NetError::Stopped)?;
            let (answer, answered) = oneshot::channel();
            let command = Command::Dial {
                provider: provider.clone(),
                answer,
            };
            self.commands.send(command).await.map_err(|_| NetError::Stopped)?;
            answered.await.map_err(|_| NetError::Stopped)?
        };
        let (id, address) = timeout(DIAL_TIMEOUT, dial).await.map_err(|_| NetError::Timeout {
            what: "dialling the provider",
            after: DIAL_TIMEOUT,
        })??;
        Ok(Connection {
            id,
            address,
            provider: provider.peer(),
            local: self.peer,
            commands: self.commands.clone(),
            permits: self.permits.clone(),
        })
    }

    /// Closes every connection and waits for the task.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && let Err(failed) = task.await
        {
            tracing::error!(error = %failed, "the network task failed");
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One connection to a provider whose peer id is proven. Dropping it closes it.
pub struct Connection {
    id: ConnectionId,
    address: Multiaddr,
    provider: PeerId,
    local: PeerId,
    commands: mpsc::Sender<Command>,
    permits: Arc<Semaphore>,
}

impl Connection {
    /// The provider's peer id.
    pub fn provider(&self) -> PeerId {
        self.provider
    }

    /// Our own peer id: the requester of what is signed.
    pub fn requester(&self) -> PeerId {
        self.local
    }

    /// The address that answered.
    pub fn address(&self) -> &Multiaddr {
        &self.address
    }

    /// A new stream on which `protocol` was agreed.
    pub async fn open(&self, protocol: &'static str) -> Result<Stream, NetError> {
        let _permit = self.permits.acquire().await.map_err(|_| NetError::Stopped)?;
        let (answer, answered) = oneshot::channel();
        let open = streams::Open {
            protocol: StreamProtocol::new(protocol),
            answer,
        };
        let command = Command::Open {
            peer: self.provider,
            connection: self.id,
            open,
        };
        self.commands.send(command).await.map_err(|_| NetError::Stopped)?;
        answered
            .await
            .map_err(|_| NetError::Lost("it closed while a stream was being opened".into()))?
    }

    /// Closes it now, with every stream on it.
    pub async fn abort(self) {
        // Err: the client is gone and the connection with it.
        let _ = self.commands.send(Command::Close(self.id)).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A full queue leaves it to the idle timeout.
        let _ = self.commands.try_send(Command::Close(self.id));
    }
}

type Dials = HashMap<ConnectionId, oneshot::Sender<Result<(ConnectionId, Multiaddr), NetError>>>;

async fn run(mut swarm: Swarm<Behaviour>, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
    // Bounded: each entry holds a permit of its client until it is answered; an entry whose caller left goes with its dial.
    let mut dials = Dials::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            command = commands.recv() => match command {
                Some(command) => obey(&mut swarm, &mut dials, command),
                None => return,
            },
            event = swarm.select_next_some() => observe(&mut swarm, &mut dials, event),
        }
    }
}

fn obey(swarm: &mut Swarm<Behaviour>, dials: &mut Dials, command: Command) {
    match command {
        Command::Dial { provider, answer } => {
            let options = DialOpts::peer_id(provider.peer())
                .condition(PeerCondition::Always)
                .addresses(provider.addresses().to_vec())
                .override_dial_concurrency_factor(DIALS_AT_ONCE.try_into().unwrap_or(std::num::NonZeroU8::MIN))
                .build();
            let id = options.connection_id();
            match swarm.dial(options) {
                Ok(()) => {
                    dials.insert(id, answer);
                }
                Err(error) => drop(answer.send(Err(refused(error)))),
            }
        }
        Command::Open { peer, connection, open } => swarm.behaviour_mut().streams.open(peer, connection, open),
        Command::Close(connection) => {
            swarm.close_connection(connection);
        }
    }
}

fn observe(swarm: &mut Swarm<Behaviour>, dials: &mut Dials, event: SwarmEvent<BehaviourEvent>) {
    match event {
        SwarmEvent::ConnectionEstablished {
            connection_id,
            endpoint,
            ..
        } => {
            if let Some(answer) = dials.remove(&connection_id)
                && answer
                    .send(Ok((connection_id, endpoint.get_remote_address().clone())))
                    .is_err()
            {
                // Nobody waits for it any more.
                swarm.close_connection(connection_id);
            }
        }
        SwarmEvent::OutgoingConnectionError {
            connection_id, error, ..
        } => {
            if let Some(answer) = dials.remove(&connection_id) {
                let _ = answer.send(Err(refused(error)));
            }
        }
        SwarmEvent::ConnectionClosed {
            connection_id, cause, ..
        } => {
            tracing::debug!(%connection_id, cause = cause.map(|c| c.to_string()), "connection closed");
        }
        _ => {}
    }
}

fn refused(error: DialError) -> NetError {
    match error {
        DialError::WrongPeerId { obtained, address } => NetError::WrongPeer { obtained, address },
        DialError::Transport(tried) => {
            let reasons: Vec<_> = tried
                .into_iter()
                .map(|(address, why)| format!("{address}: {}", root(&why)))
                .collect();
            NetError::Unreachable(reasons.join("; "))
        }
        other => NetError::Unreachable(other.to_string()),
    }
}

/// The innermost reason: libp2p's outer ones only say which layer it passed.
fn root(error: &TransportError<std::io::Error>) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    reason.to_string()
}

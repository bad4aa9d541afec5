//! What a stream or a connection holds of every limit, and gives back when it is dropped.

use std::sync::Arc;

use libp2p::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{limits::lasting, prefix::Prefix, slots::Slot};
use crate::protocols::session::Slot as StreamSlot;

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

/// A stream's share of every limit.
pub struct Permit {
    pub(super) shares: Vec<Share>,
    // Limits are remembered as long as somebody counts on them.
    pub(super) _peer: Arc<PeerSlot>,
    pub(super) _origin: Origin,
}

/// A stream's share of one limit.
pub(super) struct Share {
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
    pub(super) _connection: OwnedSemaphorePermit,
    pub(super) _total: OwnedSemaphorePermit,
}

pub(super) type PeerSlot = Slot<PeerId, PeerLimits>;
pub(super) type AddressSlot = Slot<Prefix, AddressLimits>;

pub(super) struct PeerLimits {
    pub(super) streams: Pool,
}

pub(super) struct AddressLimits {
    pub(super) streams: Pool,
    pub(super) connections: Arc<Semaphore>,
    pub(super) pending: Arc<Semaphore>,
}

/// One limit of streams.
pub(super) struct Pool {
    all: Arc<Semaphore>,
    /// Of them, those that last.
    lasting: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(streams: usize) -> Pool {
        Pool {
            all: Arc::new(Semaphore::new(streams)),
            lasting: Arc::new(Semaphore::new(lasting(streams))),
        }
    }

    pub(super) fn take(&self, limit: Limit) -> Result<Share, Limit> {
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
pub(super) struct Origin(pub(super) Vec<(Limit, Arc<AddressSlot>)>);

impl Origin {
    /// A permit of each; or the limit that is used up.
    pub(super) fn take(
        &self,
        of: impl Fn(&AddressLimits) -> &Arc<Semaphore>,
    ) -> Result<Vec<OwnedSemaphorePermit>, Limit> {
        let take = |(limit, slot): &(Limit, Arc<AddressSlot>)| of(slot).clone().try_acquire_owned().map_err(|_| *limit);
        self.0.iter().map(take).collect()
    }

    /// The limit of connections that is used up.
    pub(super) fn full(&self) -> Option<Limit> {
        let full = self
            .0
            .iter()
            .find(|(_, slot)| slot.connections.available_permits() == 0);
        full.map(|(limit, _)| *limit)
    }
}

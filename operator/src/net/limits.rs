//! Every limit at the edge. What a stranger can hold is bounded here, before anything is read from him.

use std::time::Duration;

use libp2p::Multiaddr;

/// Protocol version that identify tells.
pub const IDENTIFY_PROTOCOL: &str = "/apocryph/0.0.1";
/// Agent version that identify tells.
pub const AGENT: &str = concat!("apocryph-provider/", env!("CARGO_PKG_VERSION"));
/// Bytes of one stream that are buffered unread. yamux has this number in its protocol; it grows only with what is read here,
/// at most to twice the largest request.
pub const STREAM_WINDOW: u32 = 256 << 10;
/// QUIC: bytes of one connection that are buffered unread.
pub const QUIC_CONNECTION_WINDOW: u32 = 4 << 20;
/// Streams per connection beyond those that are served, refused or agreeing: identify and ping, both ways.
const OWN_STREAMS: usize = 6;
/// Most that `Streams::per_connection` may be: yamux itself ends a program whose windows of one connection exceed 1 GiB.
pub const PER_CONNECTION_MAX: usize = 1024;
/// Of each limit of streams, the part that short exchanges find free however many pods are watched: a quarter, rounded down.
const KEPT_FOR_SHORT: usize = 4;
/// Connections are closed one after the other at shutdown, all within.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// What listens, and how much of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Addresses to listen on: one TCP and one QUIC address as a rule.
    pub listen: Vec<Multiaddr>,
    pub streams: Streams,
    pub connections: Connections,
    /// A stream that is refused is answered and closed within.
    pub refuse_deadline: Duration,
    /// A stream has to agree on its protocol within.
    pub negotiation_deadline: Duration,
    /// A connection without streams is closed after.
    pub idle_connection: Duration,
    /// After the order to go down: how long streams may take to their final message.
    pub drain_deadline: Duration,
}

/// Inbound streams that are served at the same time.
///
/// yamux takes up to [`STREAM_WINDOW`] for each open stream before anybody has looked at it, so what one address can pin is
/// `Connections::per_address` × [`Streams::muxer`] × 256 KiB: 80 MiB by default, and half as much again by frames as small as
/// `frames` lets them be. Memory in all is watched by `Connections::memory_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    pub per_connection: usize,
    pub per_peer: usize,
    /// Per address prefix: an IPv4 address, or the /64 of an IPv6 address. Peer ids cost nothing, addresses do.
    pub per_address: usize,
    /// Per IPv6 /48.
    pub per_network: usize,
    pub total: usize,
    /// Streams over a limit that are being answered `busy`; past it they are reset.
    pub refuser: usize,
    /// Of those, on one connection: no connection takes the refuser from the others.
    pub refuser_per_connection: usize,
    /// Streams that one IPv4 address or IPv6 /48 may open at once after a pause, and then per second. Each costs a signature
    /// check and may cost a read of the Kubernetes API.
    pub burst: u32,
    pub per_second: u32,
    /// Streams of one connection that are agreeing on their protocol; more wait.
    pub negotiating: usize,
}

/// Inbound connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    pub total: u32,
    pub per_peer: u32,
    /// Established and pending, per address prefix.
    pub per_address: usize,
    /// The same per IPv6 /48.
    pub per_network: usize,
    /// In the handshake, per address prefix.
    pub pending_per_address: usize,
    /// In the handshake, per IPv6 /48.
    pub pending_per_network: usize,
    /// In the handshake, in all; of them over QUIC at most [`quic`].
    pub pending: u32,
    /// Resident memory of the process, in bytes, above which no connection is accepted. Below the container's limit.
    pub memory_bytes: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: Vec::new(),
            streams: Streams::default(),
            connections: Connections::default(),
            refuse_deadline: Duration::from_secs(5),
            negotiation_deadline: Duration::from_secs(5),
            idle_connection: Duration::from_secs(60),
            drain_deadline: Duration::from_secs(10),
        }
    }
}

impl Default for Streams {
    fn default() -> Streams {
        Streams {
            per_connection: 16,
            per_peer: 16,
            per_address: 64,
            per_network: 128,
            total: 512,
            refuser: 64,
            refuser_per_connection: 12,
            burst: 512,
            per_second: 32,
            negotiating: 6,
        }
    }
}

impl Default for Connections {
    fn default() -> Connections {
        Connections {
            total: 512,
            per_peer: 4,
            per_address: 8,
            per_network: 64,
            pending_per_address: 16,
            pending_per_network: 32,
            pending: 1024,
            memory_bytes: 384 << 20,
        }
    }
}

/// Of so many streams, those that may last (watched pods). The rest is for exchanges that end by themselves.
pub const fn lasting(streams: usize) -> usize {
    streams - streams / KEPT_FOR_SHORT
}

/// Of so many handshakes, those over QUIC: it takes no proof of the sender's address, so forged datagrams could fill them all, and
/// a quarter is left to TCP, which does.
pub const fn quic(pending: u32) -> u32 {
    pending - pending / 4
}

impl Streams {
    /// The stream limit of yamux and QUIC, per connection. It lies above what one connection can hold here, the refuser
    /// and negotiation included: yamux ends the whole connection at its own limit, QUIC holds the opener back in silence.
    pub fn muxer(&self) -> usize {
        self.per_connection
            .saturating_add(self.refuser_per_connection)
            .saturating_add(self.negotiating)
            .saturating_add(OWN_STREAMS)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::frames::{ALLOWANCE, FRAME_COST},
        *,
    };

    /// Bytes that yamux and the allocator keep beside the body of each frame that waits.
    const FRAME_OVERHEAD: usize = 64;

    #[test]
    fn by_default_one_address_pins_a_quarter_of_the_container_at_most() {
        let (streams, connections) = (Streams::default(), Connections::default());
        let per_connection = streams.muxer() * STREAM_WINDOW as usize;
        let frames = streams.muxer() * frames_overhead();
        let tcp = connections.per_address * (per_connection + frames + ALLOWANCE as usize);
        let quic = connections.per_address * QUIC_CONNECTION_WINDOW as usize;
        assert!(tcp <= 128 << 20, "{tcp}");
        assert!(quic <= tcp);
    }

    /// Of a window full of the smallest frames that may come all the time.
    fn frames_overhead() -> usize {
        STREAM_WINDOW as usize / FRAME_COST as usize * FRAME_OVERHEAD
    }

    #[test]
    fn the_muxers_limit_lies_above_everything_that_is_answered() {
        let streams = Streams::default();
        assert!(streams.muxer() > streams.per_connection + streams.refuser_per_connection + streams.negotiating);
        assert!(streams.refuser_per_connection <= streams.refuser);
    }
}

//! Under yamux: a peer may not send a great many tiny frames.
//!
//! yamux keeps each data frame that nobody has read yet as an allocation of its own, and counts its body only: a window of
//! 256 KiB filled byte by byte takes tens of MiB. So every data frame costs [`FRAME_COST`] bytes of an allowance and earns its
//! body; time earns the rest. Who spends it all loses the connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};

/// Bytes that the body of a data frame has to have on average, in the long run. Negotiation, pings and requests of a few
/// hundred bytes come out about even.
pub(super) const FRAME_COST: u64 = 128;
/// Bytes by which a connection may fall short at once: 8192 empty frames.
pub(super) const ALLOWANCE: u64 = 1 << 20;
/// Bytes of the allowance that come back per second.
const PER_SECOND: u64 = 1 << 10;

/// Header: version, type, flags (2), stream (4), length (4), big-endian.
const HEADER: usize = 12;
const TYPE_DATA: u8 = 0;

/// A multiplexer over frames that are counted.
#[derive(Clone)]
pub(super) struct Counted<M>(pub(super) M);

impl<M: UpgradeInfo> UpgradeInfo for Counted<M> {
    type Info = M::Info;
    type InfoIter = M::InfoIter;

    fn protocol_info(&self) -> M::InfoIter {
        self.0.protocol_info()
    }
}

impl<C, M: InboundConnectionUpgrade<Frames<C>>> InboundConnectionUpgrade<C> for Counted<M> {
    type Output = M::Output;
    type Error = M::Error;
    type Future = M::Future;

    fn upgrade_inbound(self, io: C, info: M::Info) -> M::Future {
        self.0.upgrade_inbound(Frames::new(io), info)
    }
}

impl<C, M: OutboundConnectionUpgrade<Frames<C>>> OutboundConnectionUpgrade<C> for Counted<M> {
    type Output = M::Output;
    type Error = M::Error;
    type Future = M::Future;

    fn upgrade_outbound(self, io: C, info: M::Info) -> M::Future {
        self.0.upgrade_outbound(Frames::new(io), info)
    }
}

/// Bytes under yamux, its frames counted as they are read.
pub(super) struct Frames<C> {
    io: C,
    header: [u8; HEADER],
    /// Bytes of the next header that have come.
    have: usize,
    /// Bytes of the body that are still to come.
    body: u64,
    allowance: u64,
    renewed: Instant,
}

impl<C> Frames<C> {
    fn new(io: C) -> Frames<C> {
        Frames {
            io,
            header: [0; HEADER],
            have: 0,
            body: 0,
            allowance: ALLOWANCE,
            renewed: Instant::now(),
        }
    }

    fn take(&mut self, mut bytes: &[u8], now: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.body > 0 {
                let skipped = bytes.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
                self.body = self.body.saturating_sub(skipped as u64);
                bytes = &bytes[skipped..];
                continue;
            }
            let count = bytes.len().min(HEADER - self.have);
            self.header[self.have..self.have + count].copy_from_slice(&bytes[..count]);
            self.have += count;
            bytes = &bytes[count..];
            if self.have == HEADER {
                self.have = 0;
                let [_, kind, _, _, _, _, _, _, length @ ..] = self.header;
                if kind == TYPE_DATA {
                    self.body = u32::from_be_bytes(length).into();
                    self.pay(now)?;
                }
            }
        }
        Ok(())
    }

    fn pay(&mut self, now: Instant) -> io::Result<()> {
        let seconds = now.saturating_duration_since(self.renewed).as_secs();
        if seconds > 0 {
            self.allowance = self
                .allowance
                .saturating_add(seconds.saturating_mul(PER_SECOND))
                .min(ALLOWANCE);
            self.renewed = now;
        }
        self.allowance = match self.allowance.saturating_add(self.body).checked_sub(FRAME_COST) {
            Some(rest) => rest.min(ALLOWANCE),
            None => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "too many yamux frames with next to nothing in them",
                ));
            }
        };
        Ok(())
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Frames<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.take(&buffer[..count], Instant::now())?;
        Poll::Ready(Ok(count))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Frames<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 2;

    fn frame(kind: u8, body: usize) -> Vec<u8> {
        let mut bytes = vec![0, kind, 0, 0, 0, 0, 0, 1];
        bytes.extend(u32::try_from(body).unwrap().to_be_bytes());
        if kind == TYPE_DATA {
            // A body that would read as headers of data frames.
            bytes.extend(vec![0; body]);
        }
        bytes
    }

    #[test]
    fn a_window_filled_byte_by_byte_ends_the_connection() {
        let mut frames = Frames::new(());
        let now = frames.renewed;
        let sent = (0..u64::MAX)
            .find(|_| frames.take(&frame(TYPE_DATA, 1), now).is_err())
            .unwrap();
        assert_eq!(sent, ALLOWANCE / (FRAME_COST - 1));
    }

    #[test]
    fn bodies_earn_what_frames_cost_however_the_bytes_come() {
        let mut bytes = Vec::new();
        for _ in 0..100 {
            bytes.extend(frame(TYPE_DATA, 31));
            bytes.extend(frame(PING, 1));
            bytes.extend(frame(TYPE_DATA, 300));
        }
        for chunk in [1, 7, 12, 13, 4096, bytes.len()] {
            let mut frames = Frames::new(());
            let now = frames.renewed;
            for _ in 0..100 {
                for part in bytes.chunks(chunk) {
                    frames.take(part, now).unwrap();
                }
            }
            // The small one costs 97; the large one brings it back.
            assert_eq!(frames.allowance, ALLOWANCE, "{chunk}");
        }
    }

    #[test]
    fn time_brings_the_allowance_back() {
        let mut frames = Frames::new(());
        let start = frames.renewed;
        while frames.take(&frame(TYPE_DATA, 0), start).is_ok() {}
        assert!(frames.take(&frame(TYPE_DATA, 0), start).is_err());
        let later = start + Duration::from_secs(1);
        for _ in 0..PER_SECOND / FRAME_COST {
            frames.take(&frame(TYPE_DATA, 0), later).unwrap();
        }
        assert!(frames.take(&frame(TYPE_DATA, 0), later).is_err());
        frames
            .take(&frame(TYPE_DATA, 1), later + Duration::from_secs(1 << 40))
            .unwrap();
        assert!(frames.allowance <= ALLOWANCE);
    }
}

//! Sends every datagram back to where it came from: the program of deploy/samples/udp-echo.yaml and of the tests.

use anyhow::Result;
use tokio::{
    net::UdpSocket,
    signal::unix::{SignalKind, signal},
};

/// Where it listens; every address of the pod.
const LISTEN: &str = "[::]:7777";
/// Where IPv6 is switched off.
const LISTEN_V4: &str = "0.0.0.0:7777";
/// Largest payload of a datagram.
const DATAGRAM_MAX: usize = 65_507;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let socket = match UdpSocket::bind(LISTEN).await {
        Ok(socket) => socket,
        Err(_) => UdpSocket::bind(LISTEN_V4).await?,
    };
    // The first process of a container has no default action for SIGTERM.
    let mut term = signal(SignalKind::terminate())?;
    let mut datagram = vec![0; DATAGRAM_MAX];
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            received = socket.recv_from(&mut datagram) => {
                let (length, from) = received?;
                socket.send_to(&datagram[..length], from).await?;
            }
        }
    }
}

//! One datagram, as any stranger would send it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, bail};
use libp2p::{Multiaddr, multiaddr::Protocol};
use tokio::net::UdpSocket;

use crate::wait::within;

/// Sends a datagram to a multiaddr `/ip4/A/udp/P` and gives what comes back. Datagrams get lost: it is sent again until one
/// is answered.
pub async fn ask(multiaddr: &str, datagram: &[u8]) -> Result<Vec<u8>> {
    let address: Multiaddr = multiaddr.parse()?;
    let to = match address.iter().collect::<Vec<_>>().as_slice() {
        [Protocol::Ip4(ip), Protocol::Udp(port)] => SocketAddr::from((*ip, *port)),
        other => bail!("not /ip4/A/udp/P: {other:?}"),
    };
    within(&format!("a datagram from {multiaddr}"), async {
        let mut answer = vec![0; 2048];
        loop {
            // A new one each time: what the network remembers of an unanswered one must not decide for the next.
            let socket = UdpSocket::bind("0.0.0.0:0").await?;
            socket.connect(to).await?;
            socket.send(datagram).await?;
            let received = tokio::time::timeout(Duration::from_millis(500), socket.recv(&mut answer)).await;
            if let Ok(Ok(length)) = received {
                answer.truncate(length);
                return Ok(answer);
            }
        }
    })
    .await
}

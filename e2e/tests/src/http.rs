//! One HTTP request over TCP, as any stranger would make it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use libp2p::{Multiaddr, multiaddr::Protocol};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::wait::within;

/// `GET /` at a multiaddr `/ip4/A/tcp/P`; gives the body of a 200. A port that is not yet served (the network's rules follow
/// the pod's readiness) is asked again until then.
pub async fn get(multiaddr: &str) -> Result<String> {
    let address: Multiaddr = multiaddr.parse()?;
    let (host, port) = match address.iter().collect::<Vec<_>>().as_slice() {
        [Protocol::Ip4(ip), Protocol::Tcp(port)] => (ip.to_string(), *port),
        other => bail!("not /ip4/A/tcp/P: {other:?}"),
    };
    within(&format!("an answer from {multiaddr}"), async {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            if let Ok(page) = once(&host, port).await {
                return Ok(page);
            }
        }
    })
    .await
}

async fn once(host: &str, port: u16) -> Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect((host, port)).await?;
        stream
            .write_all(format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.take(64 << 10).read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
        anyhow::ensure!(head.contains(" 200 "), "{head}");
        Ok(body.to_owned())
    };
    tokio::time::timeout(Duration::from_secs(5), exchange).await?
}

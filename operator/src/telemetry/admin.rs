//! The admin's HTTP listener: /live, /ready, /metrics. It reads no body, holds few connections, and none of them long.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
    serve::Listener,
};
use prometheus_client::registry::Registry;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

/// Connections at the same time; more wait.
const CONNECTIONS: usize = 32;
/// A connection ends after, whatever it is doing: requests are answered in milliseconds, a scraper dials again.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(30);
/// After an error on accept (out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What has to hold before this process is Ready.
pub trait Gates: Send + Sync {
    /// Names of what is not there yet; empty: ready.
    fn missing(&self) -> Vec<String>;
}

#[derive(Clone)]
struct Admin {
    gates: Arc<dyn Gates>,
    registry: Arc<Registry>,
}

/// Serves until `stop`. Errors of accept are waited out.
pub async fn serve(
    listener: TcpListener,
    gates: Arc<dyn Gates>,
    registry: Arc<Registry>,
    stop: CancellationToken,
) -> io::Result<()> {
    let bounded = Bounded {
        listener,
        connections: Arc::new(Semaphore::new(CONNECTIONS)),
        lifetime: CONNECTION_LIFETIME,
    };
    serve_on(bounded, gates, registry, stop).await
}

async fn serve_on(
    listener: Bounded,
    gates: Arc<dyn Gates>,
    registry: Arc<Registry>,
    stop: CancellationToken,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Admin { gates, registry });
    axum::serve(listener, routes)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

/// Says less than ready: the process takes turns. A restart would not mend what ready waits for.
async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(admin): State<Admin>) -> Response {
    let missing = admin.gates.missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("waiting for:\n{}\n", missing.join("\n")),
    )
        .into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Accepts while there is room.
struct Bounded {
    listener: TcpListener,
    connections: Arc<Semaphore>,
    lifetime: Duration,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(permit) = self.connections.clone().acquire_owned().await else {
                // Nobody closes the semaphore.
                std::future::pending::<()>().await;
                continue;
            };
            match TcpListener::accept(&self.listener).await {
                Ok((io, peer)) => {
                    return (
                        Connection {
                            io,
                            end: Box::pin(sleep(self.lifetime)),
                            _permit: permit,
                        },
                        peer,
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "admin listener: accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with an end.
struct Connection {
    io: TcpStream,
    end: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx)?;
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_end(cx)?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[derive(Default)]
    struct Missing(Mutex<Vec<String>>);

    impl Gates for Missing {
        fn missing(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    struct Server {
        address: SocketAddr,
        gates: Arc<Missing>,
        metrics: Metrics,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<io::Result<()>>,
    }

    async fn start(connections: usize, lifetime: Duration) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gates = Arc::new(Missing::default());
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let stop = CancellationToken::new();
        let bounded = Bounded {
            listener,
            connections: Arc::new(Semaphore::new(connections)),
            lifetime,
        };
        let task = tokio::spawn(serve_on(bounded, gates.clone(), Arc::new(registry), stop.clone()));
        Server {
            address,
            gates,
            metrics,
            stop,
            task,
        }
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut io = TcpStream::connect(address).await.unwrap();
        io.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        io.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn ready_names_what_is_missing_while_live_does_not_care() {
        let server = start(4, CONNECTION_LIFETIME).await;
        *server.gates.0.lock().unwrap() = vec!["lease".into(), "caches synced".into()];
        let answer = get(server.address, "/ready").await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("waiting for:\nlease\ncaches synced\n"),
            "{answer}"
        );
        assert!(get(server.address, "/live").await.starts_with("HTTP/1.1 200 "));
        server.gates.0.lock().unwrap().clear();
        assert!(get(server.address, "/ready").await.starts_with("HTTP/1.1 200 "));
        assert!(get(server.address, "/secrets").await.starts_with("HTTP/1.1 404 "));
        server.stop.cancel();
        server.task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        let server = start(4, CONNECTION_LIFETIME).await;
        server.metrics.request("/apocryph/attest/0.0.1", "ok");
        let answer = get(server.address, "/metrics").await;
        assert!(
            answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("apocryph_requests_total{protocol=\"/apocryph/attest/0.0.1\",code=\"ok\"} 1\n"),
            "{answer}"
        );
        assert!(answer.trim_end().ends_with("# EOF"), "{answer}");
    }

    #[tokio::test]
    async fn who_holds_every_connection_holds_them_for_a_while_only() {
        let server = start(2, Duration::from_millis(50)).await;
        let mut silent = Vec::new();
        for _ in 0..2 {
            let mut io = TcpStream::connect(server.address).await.unwrap();
            io.write_all(b"GET /live HTT").await.unwrap();
            silent.push(io);
        }
        assert!(get(server.address, "/live").await.starts_with("HTTP/1.1 200 "));
        for mut io in silent {
            let mut rest = Vec::new();
            // Closed or reset, but not served.
            let _closed = io.read_to_end(&mut rest).await;
            assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
        }
    }
}

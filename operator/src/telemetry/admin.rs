//! The admin's HTTP listener: `/live`, `/ready` with the gates by name, `/metrics`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;

/// What Prometheus asks for (OpenMetrics 1.0).
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The gates by name, true when open.
pub type Gates = BTreeMap<&'static str, bool>;

struct Shared {
    registry: Arc<Registry>,
    gates: Box<dyn Fn() -> Gates + Send + Sync>,
}

/// Serves for ever.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    registry: Arc<Registry>,
    gates: impl Fn() -> Gates + Send + Sync + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(registry, gates)).await
}

fn router(registry: Arc<Registry>, gates: impl Fn() -> Gates + Send + Sync + 'static) -> Router {
    Router::new()
        // It answers: that is all that it says.
        .route("/live", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Shared { registry, gates: Box::new(gates) }))
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let gates = (shared.gates)();
    let status =
        if gates.values().all(|open| *open) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(gates)).into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &shared.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

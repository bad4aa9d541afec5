//! The composition root: who starts when, who stops when, and with what exit code. The only file that knows everybody.
//!
//! Every process starts as a standby: it answers probes, waits for its resource to be served, loads the identity and fills its
//! caches; then it is Ready, for it could take over. With the lease it reads everything anew, listens and reconciles. It ends
//! with 0 when told to (SIGTERM), after a drain; with 1 when it lost the lease or when any part of it ended by itself.

mod leader;
mod standby;

use std::{
    future::Future,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use prometheus_client::registry::Registry;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{Config, ipv6_available},
    client,
    lease::{self, Elector},
    pods,
    ready::Gates,
    telemetry::{admin, metrics::Metrics},
};

/// Why the process ends with a code other than 0.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Lost(#[from] lease::Lost),
    #[error("{0}")]
    Identity(#[from] crate::identity_store::Error),
    #[error("no access to the Kubernetes API is configured: {0}")]
    NoCluster(#[from] kube::config::InferConfigError),
    #[error("the client of the Kubernetes API could not be made: {0}")]
    Client(#[source] kube::Error),
    #[error("{part} could not be started: {reason}")]
    Start { part: &'static str, reason: String },
    #[error("{part} ended by itself: {reason}")]
    Part { part: &'static str, reason: String },
}

impl Failure {
    fn start(part: &'static str, reason: impl ToString) -> Failure {
        Failure::Start {
            part,
            reason: reason.to_string(),
        }
    }
}

/// What runs beside each other. None of it may end before it is told to.
struct Parts(JoinSet<Failure>);

impl Parts {
    fn new() -> Parts {
        Parts(JoinSet::new())
    }

    /// Runs a part that should never end.
    fn forever<F>(&mut self, part: &'static str, runs: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.result(part, async move {
            runs.await;
            Ok::<_, String>(())
        });
    }

    /// Runs a part that tells why it ended.
    fn result<F, E>(&mut self, part: &'static str, runs: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: ToString,
    {
        self.0.spawn(async move {
            let reason = runs
                .await
                .err()
                .map_or_else(|| "it had nothing more to do".to_owned(), |error| error.to_string());
            Failure::Part { part, reason }
        });
    }

    /// The first that ends; never, while there is none.
    async fn ended(&mut self) -> Failure {
        match self.0.join_next().await {
            Some(Ok(failure)) => failure,
            Some(Err(error)) => Failure::Part {
                part: "a part",
                reason: error.to_string(),
            },
            None => std::future::pending().await,
        }
    }
}

/// What every phase needs.
struct Process {
    config: Config,
    gates: Gates,
    metrics: Metrics,
    pods_metrics: pods::Metrics,
    /// The order to go down.
    stop: CancellationToken,
}

/// Runs until told to stop (`Ok`) or until something is wrong.
pub async fn run(config: Config) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let mut parts = Parts::new();
    on_signals(stop.clone()).map_err(|error| Failure::start("the signal handler", error))?;

    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let pods_metrics = pods::Metrics::register(registry.sub_registry_with_prefix("apocryph"));
    let libp2p_metrics = libp2p::metrics::Metrics::new(&mut registry);
    let process = Process {
        config,
        gates: Gates::default(),
        metrics,
        pods_metrics,
        stop,
    };

    // First of all, so that probes are answered whatever else takes its time.
    let listener = admin_listener(process.config.admin_port).await?;
    let gates = Arc::new(process.gates.clone());
    // Its own token is never cancelled: it answers until the process is gone.
    let serve = admin::serve(listener, gates, Arc::new(registry), CancellationToken::new());
    parts.result("the admin listener", serve);

    tokio::select! {
        outcome = lead(process, libp2p_metrics) => outcome,
        failure = parts.ended() => Err(failure),
    }
}

/// From standby to the end.
async fn lead(process: Process, libp2p_metrics: libp2p::metrics::Metrics) -> Result<(), Failure> {
    let stop = process.stop.clone();
    let kube_config = kube::Config::infer().await?;
    let client = client::connect(kube_config.clone(), &process.metrics).map_err(Failure::Client)?;
    // Nothing is held and nobody is served yet: going down is returning.
    let Some(standby) = stop.run_until_cancelled(standby::start(&process, client.clone())).await else {
        return Ok(());
    };
    let mut standby = standby?;

    let (elector, mut claims) = Elector::new(client, process.config.lease.clone());
    // Given last, after the drain: the lease is renewed until then.
    let release = CancellationToken::new();
    let mut election = tokio::spawn(elector.run(release.clone()));
    let claim = tokio::select! {
        ended = &mut election => return Err(election_ended(ended)),
        failure = standby.ended() => return Err(failure),
        () = stop.cancelled() => None,
        claim = claims.wait_for(Option::is_some) => claim.ok().and_then(|claim| claim.clone()),
    };
    if let Some(claim) = claim {
        process.metrics.lease_held(true);
        let leader_client = client::connect_leader(kube_config, claim, &process.metrics).map_err(Failure::Client)?;
        let drained = tokio::select! {
            ended = &mut election => return Err(election_ended(ended)),
            // After a failure the lease is left to run out: what still runs here may be writing.
            outcome = leader::run(&process, standby, leader_client, libp2p_metrics) => outcome?,
        };
        process.metrics.lease_held(false);
        if drained == Drained::Unfinished {
            tracing::warn!("something did not end in time: the lease is left to run out");
            return Ok(());
        }
    }
    release.cancel();
    if let Ok(Err(lost)) = election.await {
        tracing::warn!(%lost, "the lease was lost on the way down");
    }
    Ok(())
}

/// How going down went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    /// Nothing of this process writes any more.
    Clean,
    Unfinished,
}

fn election_ended(ended: Result<Result<(), lease::Lost>, tokio::task::JoinError>) -> Failure {
    match ended {
        Ok(Err(lost)) => Failure::Lost(lost),
        Ok(Ok(())) => Failure::Part {
            part: "the election",
            reason: "it had nothing more to do".to_owned(),
        },
        Err(error) => Failure::Part {
            part: "the election",
            reason: error.to_string(),
        },
    }
}

/// Repeats what the API server did not answer, for ever: `what` is logged each time.
async fn until_answered<T, E, F>(
    what: &'static str,
    passes: impl Fn(&E) -> bool,
    mut ask: impl FnMut() -> F,
) -> Result<T, E>
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(10);
    let mut wait = FIRST;
    loop {
        match ask().await {
            Err(error) if passes(&error) => tracing::warn!(%error, "{what}: asking again"),
            outcome => return outcome,
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST);
    }
}

async fn admin_listener(port: u16) -> Result<tokio::net::TcpListener, Failure> {
    let address: SocketAddr = if ipv6_available() {
        // Takes IPv4 as well.
        (Ipv6Addr::UNSPECIFIED, port).into()
    } else {
        (Ipv4Addr::UNSPECIFIED, port).into()
    };
    tokio::net::TcpListener::bind(address)
        .await
        .map_err(|error| Failure::start("the admin listener", format!("{address}: {error}")))
}

fn on_signals(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: going down"),
            _ = interrupt.recv() => tracing::info!("SIGINT: going down"),
        }
        stop.cancel();
    });
    Ok(())
}

//! How this process talks to the Kubernetes API: nothing is repeated behind the caller's back, every request has an end, and
//! who is not the leader any more writes nothing.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

// axum's body is a box around any other one, and reads bounded; kube's own cannot be made from one.
use axum::body::{Body as AnyBody, HttpBody, to_bytes};
use http::{Method, Request, Response};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tower::{BoxError, Layer, Service};

use crate::{lease::Claim, telemetry::metrics::Metrics};

/// A request, its answer read to the end, takes at most this; watches and log streams alone may last. Shorter than what the
/// lease leaves between the end of a claim and the next leader's first write (lease.duration - lease.renewDeadline).
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(4);

/// Bytes of one answer; lists come in pages, so none is near it.
const ANSWER_MAX: usize = 256 << 20;

/// For everything that does not need the lease.
pub fn connect(config: Config, metrics: &Metrics) -> Result<Client, kube::Error> {
    build(config, None, metrics)
}

/// For the leader: writes are refused here as soon as the claim has run out.
pub fn connect_leader(config: Config, claim: Claim, metrics: &Metrics) -> Result<Client, kube::Error> {
    build(config, Some(claim), metrics)
}

fn build(mut config: Config, claim: Option<Claim>, metrics: &Metrics) -> Result<Client, kube::Error> {
    // kube repeats 429 and 5xx for minutes by default: a deposed leader's write would land late.
    config.default_retry = false;
    config.connect_timeout = Some(REQUEST_DEADLINE);
    let bounds = Bounds {
        claim,
        metrics: metrics.clone(),
    };
    Ok(ClientBuilder::try_from(config)?.with_layer(&bounds).build())
}

/// What a request failed of before the API server had answered it.
#[derive(Debug, thiserror::Error)]
pub enum Bounded {
    #[error("the Kubernetes API did not answer within {within:?}")]
    TooLate { within: Duration },
    #[error("this process does not hold the lease any more: nothing is written")]
    NotLeading,
}

struct Bounds {
    claim: Option<Claim>,
    metrics: Metrics,
}

impl<S> Layer<S> for Bounds {
    type Service = BoundedService<S>;

    fn layer(&self, inner: S) -> BoundedService<S> {
        BoundedService {
            inner,
            claim: self.claim.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

struct BoundedService<S> {
    inner: S,
    claim: Option<Claim>,
    metrics: Metrics,
}

impl<S, B> Service<Request<Body>> for BoundedService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<AnyBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<AnyBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if !reads && self.claim.as_ref().is_some_and(|claim| !claim.valid()) {
            return Box::pin(async { Err(Bounded::NotLeading.into()) });
        }
        let lasts = lasts(request.uri());
        let watched = watched(request.uri());
        let metrics = self.metrics.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            if lasts {
                let answer = answer.await.map_err(Into::into)?;
                if let Some(resource) = watched.filter(|_| answer.status().is_success()) {
                    metrics.watch_answered(resource, SystemTime::now());
                }
                return Ok(answer.map(AnyBody::new));
            }
            let whole = async {
                let (head, body) = answer.await.map_err(Into::into)?.into_parts();
                let bytes = to_bytes(AnyBody::new(body), ANSWER_MAX).await?;
                Ok::<_, BoxError>(Response::from_parts(head, AnyBody::from(bytes)))
            };
            match tokio::time::timeout(REQUEST_DEADLINE, whole).await {
                Ok(answer) => answer,
                Err(_) => Err(Bounded::TooLate {
                    within: REQUEST_DEADLINE,
                }
                .into()),
            }
        })
    }
}

/// Watches, and logs (which may follow).
fn lasts(uri: &http::Uri) -> bool {
    watched(uri).is_some() || uri.path().ends_with("/log")
}

/// The resource that a watch is of: the last part of its path. There are as many as this program watches.
fn watched(uri: &http::Uri) -> Option<String> {
    let watch = uri
        .query()
        .is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")));
    let resource = uri.path().rsplit('/').next().filter(|_| watch)?;
    Some(resource.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, api::PostParams, api::WatchParams};
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Answers after `delay`, and counts.
    fn slow(delay: Duration, claim: Option<Claim>) -> (Client, Arc<AtomicU32>) {
        let seen = Arc::new(AtomicU32::new(0));
        let counter = seen.clone();
        let service = tower::service_fn(move |_request: Request<Body>| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(delay).await;
                let body = Body::from(br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#.to_vec());
                Ok::<_, BoxError>(Response::new(body))
            }
        });
        (
            ClientBuilder::new(service, "default")
                .with_layer(&Bounds {
                    claim,
                    metrics: Metrics::unregistered(),
                })
                .build(),
            seen,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_ends_by_its_deadline_and_a_watch_does_not() {
        let (client, _) = slow(Duration::from_secs(60), None);
        let api: Api<ConfigMap> = Api::default_namespaced(client);
        let started = Instant::now();
        let error = api.get("a").await.unwrap_err();
        assert!(error.to_string().contains("did not answer within 4s"), "{error}");
        assert_eq!(started.elapsed(), REQUEST_DEADLINE);
        let started = Instant::now();
        assert!(api.watch(&WatchParams::default(), "0").await.is_ok());
        assert_eq!(started.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_written_after_the_claim_and_reading_goes_on() {
        let (set, claim) = Claim::until(Instant::now() + Duration::from_secs(10));
        let (client, seen) = slow(Duration::ZERO, Some(claim));
        let api: Api<ConfigMap> = Api::default_namespaced(client);
        api.create(&PostParams::default(), &ConfigMap::default()).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        let error = api
            .create(&PostParams::default(), &ConfigMap::default())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("does not hold the lease"), "{error}");
        assert_eq!(seen.load(Ordering::SeqCst), 1);
        api.get("a").await.unwrap();
        set.send_replace(Instant::now() + Duration::from_secs(10));
        api.create(&PostParams::default(), &ConfigMap::default()).await.unwrap();
    }
}

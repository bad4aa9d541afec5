//! An API server for unit tests: one function answers every request.

use std::convert::Infallible;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::{Value, json};

/// HTTP status and body.
pub type Answer = (u16, Value);

/// `answer` is given method, path and body; `None`: no answer, ever. Watches never tell anything.
pub fn client<A: Into<Option<Answer>>>(
    namespace: &str,
    answer: impl Fn(&Method, &str, &[u8]) -> A + Clone + Send + Sync + 'static,
) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let watches = parts.uri.query().is_some_and(|query| query.contains("watch="));
            let answer = (!watches).then(|| answer(&parts.method, parts.uri.path(), &body).into());
            let Some((code, answer)) = answer.flatten() else {
                return std::future::pending().await;
            };
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    Client::new(service, namespace)
}

/// What the API server says when it says no.
pub fn fail(code: u16, reason: &str) -> Answer {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": reason, "reason": reason, "code": code}),
    )
}

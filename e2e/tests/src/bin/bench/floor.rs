//! The floor of provisions per second: the API requests of one provision, as the audit log has them, sent again under other
//! names by a client that does nothing else. With the operator's own token, so that the API server does the same for each; the
//! operator is away meanwhile, or it would act on what appears.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use apocryph_crd::ApocryphPod;
use apocryph_e2e::{
    audit::Event,
    cluster::{kubectl, with_token},
    install::{NAMESPACE, RELEASE},
};
use apocryph_publisher::PodId;
use data_encoding::BASE32_NOPAD;
use futures::{TryStreamExt, future::try_join_all, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::is_for;

/// A fresh RoleBinding takes a moment to reach the authorizer; the operator waits for it too.
const RIGHTS_GRACE: Duration = Duration::from_secs(10);
const RIGHTS_RETRY: Duration = Duration::from_millis(20);
/// What the API server fills in.
const SERVERS_OWN: [&str; 7] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "deletionTimestamp",
    "selfLink",
];

/// One request, the pod's name to be replaced.
struct Request {
    method: &'static str,
    uri: String,
    content_type: &'static str,
    body: String,
}

/// Sends the requests of the sample provision `n` times, `at_once` of them beside each other; gives provisions per second.
pub async fn replay(admin: &Client, events: &[Event], sample: &str, n: usize, at_once: usize) -> Result<f64> {
    let requests = requests(admin, events, sample).await?;
    let token = kubectl(&["create", "token", RELEASE, "--namespace", NAMESPACE])?;
    let client = with_token(token.trim()).await?;
    let names: Vec<String> = (0..n)
        .map(|_| BASE32_NOPAD.encode(&PodId::random().0)[..sample.len()].to_lowercase())
        .collect();
    scale("0")?;
    kubectl(&[
        "-n",
        NAMESPACE,
        "wait",
        "--for=delete",
        "pod",
        "-l",
        &format!("app.kubernetes.io/name={RELEASE}"),
        "--timeout=60s",
    ])?;
    let begin = Instant::now();
    let sent = stream::iter(names.iter().map(Ok))
        .try_for_each_concurrent(at_once, |name| provision(&client, &requests, sample, name))
        .await;
    let seconds = begin.elapsed().as_secs_f64();
    let cleared = clear(admin, &names).await;
    scale("1")?;
    sent?;
    cleared?;
    Ok(n as f64 / seconds)
}

fn scale(replicas: &str) -> Result<()> {
    kubectl(&["-n", NAMESPACE, "scale", "deployment", RELEASE, "--replicas", replicas]).map(drop)
}

/// The sample's requests until its Deployment is written, in the order in which they came.
async fn requests(admin: &Client, events: &[Event], sample: &str) -> Result<Vec<Request>> {
    let own: Vec<&Event> = events
        .iter()
        .filter(|event| event.verb != "watch" && event.succeeded() && is_for(event, sample))
        .collect();
    let deployment = |event: &&Event| event.is_write() && event.resource() == "deployments";
    let end = own.iter().position(deployment).context("no Deployment of the sample")?;
    let mut requests = Vec::new();
    for event in &own[..=end] {
        requests.push(
            request(admin, event)
                .await
                .with_context(|| format!("{} {}", event.verb, event.request_uri))?,
        );
    }
    Ok(requests)
}

/// What was sent is not in the log: it is made from the object as it is now.
async fn request(admin: &Client, event: &Event) -> Result<Request> {
    let uri = event.request_uri.clone();
    let path = uri.split('?').next().unwrap_or_default();
    let apply = uri.contains("force=true");
    let (method, content_type, body) = match event.verb.as_str() {
        "get" | "list" => ("GET", "application/json", String::new()),
        "create" => {
            let name = event
                .object_ref
                .as_ref()
                .map(|object| object.name.as_str())
                .unwrap_or_default();
            (
                "POST",
                "application/json",
                live(admin, &format!("{path}/{name}")).await?.to_string(),
            )
        }
        "patch" => {
            let object = live(admin, path.trim_end_matches("/status")).await?;
            let body = match (event.subresource(), apply) {
                ("status", _) => json!({
                    "apiVersion": object["apiVersion"], "kind": object["kind"], "status": object["status"],
                    "metadata": {"name": object["metadata"]["name"]},
                }),
                (_, true) => without_status(object),
                (_, false) => json!({"metadata": {"annotations": object["metadata"]["annotations"]}}),
            };
            let kind = if apply {
                "application/apply-patch+yaml"
            } else {
                "application/merge-patch+json"
            };
            ("PATCH", kind, body.to_string())
        }
        other => bail!("a provision does not {other}"),
    };
    Ok(Request {
        method,
        uri,
        content_type,
        body,
    })
}

async fn live(admin: &Client, path: &str) -> Result<Value> {
    let mut object: Value = admin.request(http::Request::get(path).body(Vec::new())?).await?;
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|key, _| !SERVERS_OWN.contains(&key.as_str()));
    }
    // chosen by the cluster for this one
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.retain(|key, _| !matches!(key.as_str(), "clusterIP" | "clusterIPs" | "volumeName"));
    }
    Ok(object)
}

fn without_status(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    object
}

async fn provision(client: &Client, requests: &[Request], sample: &str, name: &str) -> Result<()> {
    for request in requests {
        let build = || {
            http::Request::builder()
                .method(request.method)
                .uri(request.uri.replace(sample, name))
                .header(http::header::CONTENT_TYPE, request.content_type)
                .body(request.body.replace(sample, name).into_bytes())
        };
        let begin = Instant::now();
        loop {
            match client.request_text(build()?).await {
                Ok(_) => break,
                Err(kube::Error::Api(status)) if status.code == 403 && begin.elapsed() < RIGHTS_GRACE => {
                    tokio::time::sleep(RIGHTS_RETRY).await;
                }
                Err(error) => return Err(error).with_context(|| format!("{} {}", request.method, request.uri)),
            }
        }
    }
    Ok(())
}

/// Takes away what the replay made; nobody acts on the finalizers meanwhile.
async fn clear(admin: &Client, names: &[String]) -> Result<()> {
    let pods: Api<ApocryphPod> = Api::all(admin.clone());
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let gone = |result: kube::Result<()>| match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    };
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    try_join_all(names.iter().map(async |name| {
        gone(pods.patch(name, &PatchParams::default(), &free).await.map(drop))?;
        gone(pods.delete(name, &DeleteParams::default()).await.map(drop))?;
        gone(
            namespaces
                .delete(&format!("apod-{name}"), &DeleteParams::default())
                .await
                .map(drop),
        )
    }))
    .await?;
    Ok(())
}

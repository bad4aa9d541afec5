//! A small API server in memory: objects by path, server-side apply, merge patch, preconditions, finalizers, defaults, and
//! faults on demand. Every request is recorded, so that a test sees the missing and the extra ones.

#![allow(dead_code, reason = "each test uses its part")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Map, Value, json};

#[derive(Clone, Default)]
pub struct FakeApi(Arc<Mutex<State>>, Arc<tokio::sync::Notify>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    log: Vec<String>,
    faults: Vec<(String, Fault)>,
    bodies: Vec<(String, Value)>,
    time: String,
    webhooks: Vec<(String, Webhook)>,
}

type Webhook = Box<dyn Fn(&mut Value) + Send>;

/// What happens to a request instead.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Refused with a code and message; nothing is done.
    Refuse(u16, &'static str),
    /// Carried out, but the answer is lost.
    Lost,
    /// Neither carried out nor answered.
    Silent,
}

impl FakeApi {
    pub fn client(&self) -> kube::Client {
        let (state, served) = (self.0.clone(), self.1.clone());
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (state, served) = (state.clone(), served.clone());
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes();
                let body: Value = if bytes.is_empty() {
                    Value::Null
                } else {
                    serde_json::from_slice(&bytes).unwrap()
                };
                let content = parts
                    .headers
                    .get("content-type")
                    .map(|v| v.to_str().unwrap().to_owned())
                    .unwrap_or_default();
                let answer = state
                    .lock()
                    .unwrap()
                    .serve(parts.method.as_str(), &parts.uri, &content, body);
                served.notify_waiters();
                match answer {
                    Some((code, value)) => Ok::<_, Infallible>(
                        http::Response::builder()
                            .status(code)
                            .body(Body::from(serde_json::to_vec(&value).unwrap()))
                            .unwrap(),
                    ),
                    None => std::future::pending().await,
                }
            }
        });
        kube::Client::new(service, "default")
    }

    /// The next request of that verb and path (`GET /api/v1/namespaces/x`) meets the fault; once per call.
    pub fn fault(&self, request: &str, fault: Fault) {
        self.0.lock().unwrap().faults.push((request.to_owned(), fault));
    }

    /// Creation time of what is made from now on, RFC 3339.
    pub fn set_time(&self, time: &str) {
        self.0.lock().unwrap().time = time.to_owned();
    }

    /// Changes every version of an object that is written from now on.
    pub fn webhook(&self, path: &str, change: impl Fn(&mut Value) + Send + 'static) {
        self.0
            .lock()
            .unwrap()
            .webhooks
            .push((path.to_owned(), Box::new(change)));
    }

    /// Puts an object there, by whoever.
    pub fn put(&self, path: &str, object: Value) {
        let mut state = self.0.lock().unwrap();
        let object = state.stamped(path, object, None);
        state.objects.insert(path.to_owned(), object);
    }

    /// Changes an object there, by whoever.
    pub fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.0.lock().unwrap();
        let before = state.objects.get(path).cloned().unwrap_or_else(|| panic!("no {path}"));
        let mut after = before.clone();
        change(&mut after);
        let after = state.stamped(path, after, Some(&before));
        state.objects.insert(path.to_owned(), after);
    }

    /// Takes an object, and everything below it, away.
    pub fn remove(&self, path: &str) {
        let below = format!("{path}/");
        self.0
            .lock()
            .unwrap()
            .objects
            .retain(|key, _| key != path && !key.starts_with(&below));
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    /// Returns when it holds; looked at after every request.
    pub async fn until(&self, holds: impl Fn(&FakeApi) -> bool) {
        loop {
            let served = self.1.notified();
            let mut served = std::pin::pin!(served);
            served.as_mut().enable();
            if holds(self) {
                return;
            }
            served.await;
        }
    }

    /// Objects of a kind in all namespaces.
    pub fn all<K: serde::de::DeserializeOwned>(&self, plural: &str) -> Vec<K> {
        let state = self.0.lock().unwrap();
        let of_kind = |path: &&String| path.rsplit('/').nth(1) == Some(plural);
        let found = state
            .objects
            .keys()
            .filter(of_kind)
            .map(|path| serde_json::from_value(state.objects[path].clone()).unwrap());
        found.collect()
    }

    pub fn paths(&self) -> Vec<String> {
        self.0.lock().unwrap().objects.keys().cloned().collect()
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }

    /// The requests since the last call that would write, but for Events.
    pub fn writes(&self) -> Vec<String> {
        let is_write = |line: &String| !line.starts_with("GET") && !line.contains("/events");
        self.requests().into_iter().filter(is_write).collect()
    }

    /// Bodies of all writes so far.
    pub fn bodies(&self) -> Vec<(String, Value)> {
        self.0.lock().unwrap().bodies.clone()
    }
}

pub fn status(code: u16, message: &str) -> Value {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        403 => "Forbidden",
        422 => "Invalid",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message})
}

impl State {
    fn serve(&mut self, method: &str, uri: &http::Uri, content: &str, body: Value) -> Option<(u16, Value)> {
        let path = uri.path().to_owned();
        // Nothing happens that a watch would tell.
        if uri.query().is_some_and(|query| query.contains("watch=")) {
            return None;
        }
        let verb = match (method, content) {
            ("PATCH", "application/apply-patch+yaml") => "APPLY",
            (method, _) => method,
        };
        let line = format!("{verb} {path}");
        self.log.push(line.clone());
        if verb != "GET" {
            self.bodies.push((line.clone(), body.clone()));
        }
        let fault = self
            .faults
            .iter()
            .position(|(request, _)| *request == line)
            .map(|at| self.faults.remove(at).1);
        match fault {
            Some(Fault::Refuse(code, message)) => return Some((code, status(code, message))),
            Some(Fault::Silent) => return None,
            _ => {}
        }
        let answer = self.carry_out(verb, &path, uri.query().unwrap_or(""), body);
        (!matches!(fault, Some(Fault::Lost))).then_some(answer)
    }

    fn carry_out(&mut self, verb: &str, path: &str, query: &str, body: Value) -> (u16, Value) {
        let (path, is_status) = match path.strip_suffix("/status") {
            Some(path) => (path, true),
            None => (path, false),
        };
        match verb {
            "GET" if self.is_collection(path) => self.list(path, query),
            "GET" => self
                .objects
                .get(path)
                .map_or_else(|| missing(path), |object| (200, object.clone())),
            "POST" => {
                let name = body["metadata"]["name"].as_str().expect("a name").to_owned();
                let path = format!("{path}/{name}");
                if self.objects.contains_key(&path) {
                    return (409, status(409, &format!("{path} already exists")));
                }
                let object = self.stamped(&path, body, None);
                self.objects.insert(path, object.clone());
                (201, object)
            }
            "APPLY" if is_status => self.change(path, &body, |object| object["status"] = body["status"].clone()),
            "APPLY" if !self.objects.contains_key(path) => {
                let object = self.stamped(path, body, None);
                self.objects.insert(path.to_owned(), object.clone());
                (201, object)
            }
            "APPLY" => self.change(path, &body, |object| apply(object, &body)),
            "PATCH" => self.change(path, &body, |object| merge(object, &body)),
            "PUT" => self.change(path, &body, |object| {
                let status = object["status"].clone();
                *object = body.clone();
                object["status"] = status;
            }),
            "DELETE" => self.delete(path, &body),
            verb => panic!("{verb} {path}"),
        }
    }

    fn is_collection(&self, path: &str) -> bool {
        // /api/v1/namespaces/x/secrets, /api/v1/namespaces, /apis/g/v/plural
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let rest = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
        matches!(rest.len(), 1 | 3)
    }

    fn list(&self, path: &str, query: &str) -> (u16, Value) {
        let query = query.replace("%3D", "=").replace("%2F", "/");
        let selector = query
            .split('&')
            .find_map(|part| part.strip_prefix("labelSelector="))
            .unwrap_or("")
            .to_owned();
        let prefix = format!("{path}/");
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(key, _)| key.strip_prefix(&prefix).is_some_and(|name| !name.contains('/')))
            .map(|(_, object)| object)
            .filter(|object| match selector.split_once('=') {
                Some((key, value)) => object["metadata"]["labels"][key] == value,
                None => selector.is_empty() || !object["metadata"]["labels"][&selector].is_null(),
            })
            .collect();
        (
            200,
            json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": self.version.to_string()}, "items": items}),
        )
    }

    fn change(&mut self, path: &str, body: &Value, change: impl FnOnce(&mut Value)) -> (u16, Value) {
        let Some(before) = self.objects.get(path).cloned() else {
            return missing(path);
        };
        for key in ["resourceVersion", "uid"] {
            if body["metadata"][key].is_string() && body["metadata"][key] != before["metadata"][key] {
                return (409, status(409, &format!("{path}: {key} is not the current one")));
            }
        }
        let mut after = before.clone();
        change(&mut after);
        let gone = !after["metadata"]["deletionTimestamp"].is_null() && is_none(&after["metadata"]["finalizers"]);
        let after = self.stamped(path, after, Some(&before));
        if gone {
            self.objects.remove(path);
        } else {
            self.objects.insert(path.to_owned(), after.clone());
        }
        (200, after)
    }

    fn delete(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let Some(object) = self.objects.get(path).cloned() else {
            return missing(path);
        };
        let wanted = &body["preconditions"];
        for key in ["resourceVersion", "uid"] {
            if wanted[key].is_string() && wanted[key] != object["metadata"][key] {
                return (409, status(409, "precondition failed"));
            }
        }
        let lingers = !is_none(&object["metadata"]["finalizers"]) || object["kind"] == "Namespace";
        if lingers {
            let time = self.time.clone();
            let mut going = object.clone();
            going["metadata"]["deletionTimestamp"] = json!(time);
            let going = self.stamped(path, going, Some(&object));
            self.objects.insert(path.to_owned(), going.clone());
            (200, going)
        } else {
            self.objects.remove(path);
            (
                200,
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
            )
        }
    }

    /// Version, uid, generation, creation time and the defaults that matter.
    fn stamped(&mut self, path: &str, mut object: Value, before: Option<&Value>) -> Value {
        defaults(path, &mut object);
        for (_, change) in self.webhooks.iter().filter(|(of, _)| of == path) {
            change(&mut object);
        }
        let same = |key: &str| before.is_some_and(|before| before[key] == object[key]);
        if before.is_some_and(|before| *before == object) {
            return object;
        }
        self.version += 1;
        let generation = match before {
            None => 1,
            Some(before) => before["metadata"]["generation"].as_i64().unwrap_or(1) + i64::from(!same("spec")),
        };
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(self.version.to_string());
        meta["generation"] = json!(generation);
        if let Some(before) = before {
            for key in ["uid", "creationTimestamp"] {
                meta[key] = before["metadata"][key].clone();
            }
        } else {
            let time = if self.time.is_empty() {
                "2026-01-01T00:00:00Z"
            } else {
                &self.time
            };
            meta["uid"] = json!(format!("uid-{}", self.version));
            if meta["creationTimestamp"].is_null() {
                meta["creationTimestamp"] = json!(time);
            }
        }
        object
    }
}

fn is_none(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn missing(path: &str) -> (u16, Value) {
    (404, status(404, &format!("{path} not found")))
}

/// What the server would fill in.
fn defaults(path: &str, object: &mut Value) {
    match path.rsplit('/').nth(1) {
        Some("services") => {
            object["spec"]["clusterIP"] = json!("10.96.0.7");
            object["spec"]["sessionAffinity"] = json!("None");
            let node_ports = object["spec"]["type"] == "NodePort";
            for (index, port) in object["spec"]["ports"].as_array_mut().into_iter().flatten().enumerate() {
                if node_ports && port["nodePort"].is_null() {
                    port["nodePort"] = json!(30_000 + index);
                }
            }
        }
        Some("deployments") => {
            object["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
            for container in object["spec"]["template"]["spec"]["containers"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                container["terminationMessagePath"] = json!("/dev/termination-log");
            }
        }
        Some("namespaces") if object["status"].is_null() => object["status"] = json!({"phase": "Active"}),
        _ => {}
    }
}

/// Server-side apply by one manager, roughly: maps are merged; items of lists keyed by name are merged and foreign ones stay;
/// other lists are replaced.
fn apply(object: &mut Value, body: &Value) {
    match (object, body) {
        (Value::Object(object), Value::Object(body)) => {
            for (key, value) in body {
                if !matches!(key.as_str(), "resourceVersion" | "uid") {
                    apply(object.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(object), Value::Array(body))
            if body.iter().all(|item| item["name"].is_string()) && !body.is_empty() =>
        {
            for item in body {
                match object.iter_mut().find(|there| there["name"] == item["name"]) {
                    Some(there) => apply(there, item),
                    None => object.push(item.clone()),
                }
            }
        }
        (object, body) => *object = body.clone(),
    }
}

/// RFC 7386.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Value::Object(object) = object else { return };
    for (key, value) in patch {
        if value.is_null() {
            object.remove(key);
        } else if !matches!(key.as_str(), "resourceVersion" | "uid") {
            merge(object.entry(key).or_insert(Value::Null), value);
        }
    }
}

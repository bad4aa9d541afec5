//! The shared caches: one watch per kind, started once, read by capacity and pods.
//!
//! Nothing is admitted before all four have been listed; a cache that has stopped hearing from the API server only
//! ever delays, it never decides that something is gone (those decisions read afresh).

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use apocryph_crd::ApocryphPod;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store, store::WriterDropped},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{model::key::PodName, pods::view};

/// Objects per page of a list, so that a large cluster is read in answers of bounded size.
const PAGE_SIZE: u32 = 500;
/// ApocryphPods per page: one may be as large as the API server takes (1.5 MiB), since its publisher fills it.
const APOCRYPH_POD_PAGE_SIZE: u32 = 50;
/// Seconds after which the server ends a watch and we ask on. The client gives up a watch that is silent for a little longer,
/// so this bounds how long a half-open connection goes unnoticed.
const WATCH_TIMEOUT: u32 = 60;
/// Annotation in which kubectl keeps a second copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Read side of the caches.
#[derive(Clone)]
pub struct Watches {
    pub nodes: Store<Node>,
    /// Pods of all namespaces, without managed fields.
    pub pods: Store<Pod>,
    pub apocryph_pods: Store<ApocryphPod>,
    /// PersistentVolumeClaims of all namespaces.
    pub claims: Store<PersistentVolumeClaim>,
    /// Who is told of changes.
    pub changes: Changes,
}

impl Watches {
    /// Starts the watches; they end when `token` is cancelled. [`WatchTasks::ended`] must be awaited beside everything else.
    pub fn start(client: &Client, token: &CancellationToken) -> (Watches, WatchTasks) {
        let changes = Changes::default();
        let mut tasks = WatchTasks::new(token.clone());
        let nodes = tasks.watch(
            Api::<Node>::all(client.clone()),
            config(),
            strip_node,
            |_: Option<&Node>| {},
        );
        let to_pods = changes.clone();
        let pods = tasks.watch(Api::<Pod>::all(client.clone()), config(), strip, move |pod| {
            to_pods.of_replica(pod)
        });
        let to_claims = changes.clone();
        let claims = tasks.watch(
            Api::all(client.clone()),
            config(),
            strip,
            move |claim: Option<&PersistentVolumeClaim>| to_claims.of_tenant(claim),
        );
        let to_apocryph_pods = changes.clone();
        let apocryph_pods = tasks.watch(
            Api::all(client.clone()),
            config().page_size(APOCRYPH_POD_PAGE_SIZE),
            strip_apocryph_pod,
            move |pod: Option<&ApocryphPod>| match pod {
                Some(pod) => to_apocryph_pods.of(&pod.name_any()),
                None => to_apocryph_pods.of_all(),
            },
        );
        (
            Watches {
                nodes,
                pods,
                apocryph_pods,
                claims,
                changes,
            },
            tasks,
        )
    }

    /// Returns when every kind has been listed once.
    ///
    /// # Errors
    /// A watch ended before.
    pub async fn synced(&self) -> Result<(), WriterDropped> {
        let Watches {
            nodes,
            pods,
            apocryph_pods,
            claims,
            changes: _,
        } = self;
        nodes.wait_until_ready().await?;
        pods.wait_until_ready().await?;
        apocryph_pods.wait_until_ready().await?;
        claims.wait_until_ready().await
    }
}

pub(crate) fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE_SIZE).timeout(WATCH_TIMEOUT)
}

/// Drops what nobody here reads.
pub(crate) fn strip<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
}

fn strip_node(node: &mut Node) {
    strip(node);
    if let Some(status) = &mut node.status {
        status.images = None;
    }
}

/// Of an ended pod nobody reads what it ran: what is kept of it (endedTTL) is small, however large its publisher made it. A new
/// life comes whole again.
fn strip_apocryph_pod(pod: &mut ApocryphPod) {
    strip(pod);
    if view::is_ended(pod) {
        pod.spec.containers = Vec::new();
        pod.spec.volumes = Vec::new();
    }
}

/// The running watches.
pub struct WatchTasks {
    tasks: JoinSet<&'static str>,
    token: CancellationToken,
}

/// A watch that should have gone on.
#[derive(Debug, thiserror::Error)]
#[error("the watch of {0} ended by itself")]
pub struct WatchEnded(String);

impl WatchTasks {
    pub(crate) fn new(token: CancellationToken) -> WatchTasks {
        WatchTasks {
            tasks: JoinSet::new(),
            token,
        }
    }

    /// Starts one watch. `changed` hears of each change after the cache has it; `None`: anything may have changed.
    pub(crate) fn watch<K>(
        &mut self,
        api: Api<K>,
        config: watcher::Config,
        strip: fn(&mut K),
        changed: impl Fn(Option<&K>) + Send + 'static,
    ) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let kind: &'static str = short_name::<K>();
        let (store, writer) = reflector::store();
        let mut events = watcher(api, config)
            .default_backoff()
            .modify(strip)
            .reflect(writer)
            .take_until(self.token.clone().cancelled_owned())
            .boxed();
        self.tasks.spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Apply(object) | Event::Delete(object)) => changed(Some(&object)),
                    // What vanished while the watch was down has no event of its own.
                    Ok(Event::InitDone) => changed(None),
                    Ok(Event::Init | Event::InitApply(_)) => {}
                    Err(error) => tracing::warn!(kind, %error, "watch interrupted; it is taken up again"),
                }
            }
            kind
        });
        store
    }

    /// Returns `Ok` when the token is cancelled and every watch has ended.
    ///
    /// # Errors
    /// A watch ended or panicked by itself: the process must end, it would act on what it no longer hears of.
    pub async fn ended(mut self) -> Result<(), WatchEnded> {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(_) if self.token.is_cancelled() => {}
                Ok(kind) => return Err(WatchEnded(kind.to_owned())),
                Err(error) => return Err(WatchEnded(error.to_string())),
            }
        }
        Ok(())
    }
}

/// `Pod` of `k8s_openapi::api::core::v1::pod::Pod`.
pub(crate) fn short_name<K>() -> &'static str {
    let name = std::any::type_name::<K>();
    name.rsplit("::").next().unwrap_or(name)
}

/// Tells of changes by pod name: status streams and followed logs (one entry each per pod that somebody watches or reads), and
/// the controller (a set of names that are to be looked at, no larger than the number of pods).
#[derive(Clone, Default)]
pub struct Changes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    listeners: Arc<Listeners>,
    /// Of the Pods in a tenant's namespace.
    replicas: Arc<Listeners>,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Listeners(Mutex<HashMap<PodName, watch::Sender<()>>>);

impl Listeners {
    fn tell(&self, name: &PodName) {
        if let Some(sender) = locked(&self.0).get(name) {
            sender.send_replace(());
        }
    }

    fn tell_all(&self) {
        for sender in locked(&self.0).values() {
            sender.send_replace(());
        }
    }

    fn subscribe(self: &Arc<Listeners>, name: &PodName) -> Subscription {
        let receiver = locked(&self.0)
            .entry(name.clone())
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe();
        Subscription {
            receiver: Some(receiver),
            name: name.clone(),
            listeners: self.clone(),
        }
    }
}

#[derive(Default)]
struct Queue {
    /// Nobody drains it before the controller runs.
    attached: bool,
    names: BTreeSet<String>,
    all: bool,
}

/// What the controller is to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dirty {
    One(String),
    All,
}

impl Changes {
    /// The ApocryphPod of that name changed.
    pub fn of(&self, name: &str) {
        if let Some(name) = PodName::parse(name) {
            self.0.listeners.tell(&name);
        }
        self.enqueue(name);
    }

    /// A Pod changed.
    pub fn of_replica(&self, pod: Option<&Pod>) {
        match pod {
            Some(pod) => {
                if let Some(name) = pod.metadata.namespace.as_deref().and_then(PodName::from_namespace) {
                    self.0.replicas.tell(&name);
                }
            }
            None => self.0.replicas.tell_all(),
        }
        self.of_tenant(pod);
    }

    /// Something in a tenant's namespace changed.
    pub fn of_tenant<K: Resource>(&self, object: Option<&K>) {
        match object {
            // Status streams read the ApocryphPod alone.
            Some(object) => {
                if let Some(name) = object.meta().namespace.as_deref().and_then(PodName::from_namespace) {
                    self.enqueue(name.as_str());
                }
            }
            None => self.enqueue_all(),
        }
    }

    /// Anything may have changed.
    pub fn of_all(&self) {
        self.0.listeners.tell_all();
        self.enqueue_all();
    }

    pub(crate) fn enqueue(&self, name: &str) {
        let mut queue = locked(&self.0.queue);
        if queue.attached && !queue.all {
            queue.names.insert(name.to_owned());
            drop(queue);
            self.0.wake.notify_one();
        }
    }

    pub(crate) fn enqueue_all(&self) {
        let mut queue = locked(&self.0.queue);
        if queue.attached {
            queue.all = true;
            queue.names.clear();
            drop(queue);
            self.0.wake.notify_one();
        }
    }

    /// What is to be looked at, everything first. For one reader: the controller.
    pub fn queue(&self) -> impl Stream<Item = Dirty> + Send + use<> {
        {
            let mut queue = locked(&self.0.queue);
            queue.attached = true;
            queue.all = true;
        }
        stream::unfold(self.clone(), |changes| async move {
            loop {
                if let Some(dirty) = changes.take() {
                    return Some((dirty, changes));
                }
                changes.0.wake.notified().await;
            }
        })
    }

    fn take(&self) -> Option<Dirty> {
        let mut queue = locked(&self.0.queue);
        if std::mem::take(&mut queue.all) {
            return Some(Dirty::All);
        }
        queue.names.pop_first().map(Dirty::One)
    }

    /// Hears of changes to one ApocryphPod until it is dropped.
    pub fn subscribe(&self, name: &PodName) -> Subscription {
        self.0.listeners.subscribe(name)
    }

    /// Hears of changes to the Pods of one ApocryphPod until it is dropped.
    pub fn subscribe_replicas(&self, name: &PodName) -> Subscription {
        self.0.replicas.subscribe(name)
    }

    #[cfg(test)]
    fn listeners(&self) -> usize {
        locked(&self.0.listeners.0).len() + locked(&self.0.replicas.0).len()
    }
}

/// See [`Changes::subscribe`].
pub struct Subscription {
    receiver: Option<watch::Receiver<()>>,
    name: PodName,
    listeners: Arc<Listeners>,
}

impl Subscription {
    /// Returns when something changed since the last call (or since the subscription).
    pub async fn changed(&mut self) {
        let Some(receiver) = &mut self.receiver else { return };
        if receiver.changed().await.is_err() {
            // The sender lives as long as a receiver does.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut listeners = locked(&self.listeners.0);
        self.receiver = None;
        if listeners
            .get(&self.name)
            .is_some_and(|sender| sender.receiver_count() == 0)
        {
            listeners.remove(&self.name);
        }
    }
}

/// A panic elsewhere leaves these maps whole: each is changed by one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const NAME: &str = "abcdefghijklmnopqrstuvwxyz";
    const OTHER: &str = "zbcdefghijklmnopqrstuvwxyz";

    fn pod_in(namespace: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some(namespace.to_owned());
        pod
    }

    #[test]
    fn of_an_ended_pod_the_cache_keeps_what_is_told_and_not_what_it_ran() {
        let pod = |life: i64| -> ApocryphPod {
            serde_json::from_value(serde_json::json!({"metadata": {"name": NAME},
                "spec": {"publisher": "p", "podId": "q", "life": life, "payment": {"free": {}},
                    "containers": [{"name": "web", "image": "nginx", "args": ["x".repeat(200 << 10)],
                        "resources": {"cpuMillis": 1, "memory": 1, "ephemeralStorage": 1}}],
                    "volumes": [{"name": "data", "type": "Empty", "size": 1}],
                    "end": {"at": "2026-01-01T00:00:00Z", "reason": "StartTimeout", "by": "controller"}},
                "status": {"life": 1, "conditions": [{"type": "Ended", "status": "True", "reason": "StartTimeout",
                    "message": "why", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}))
            .unwrap()
        };
        let mut ended = pod(1);
        strip_apocryph_pod(&mut ended);
        assert!(serde_json::to_string(&ended).unwrap().len() < 1024);
        assert_eq!(ended.spec.end, pod(1).spec.end);
        assert_eq!(ended.status, pod(1).status);
        // The status is of the life before.
        let mut ending = pod(2);
        strip_apocryph_pod(&mut ending);
        assert_eq!(ending.spec, pod(2).spec);
    }

    #[test]
    fn a_change_wakes_who_watches_that_pod_and_nobody_else() {
        let changes = Changes::default();
        let name = PodName::parse(NAME).unwrap();
        let (mut first, mut second) = (changes.subscribe(&name), changes.subscribe(&name));
        changes.of(OTHER);
        assert!(first.changed().now_or_never().is_none());
        changes.of(NAME);
        assert!(first.changed().now_or_never().is_some());
        assert!(second.changed().now_or_never().is_some());
        assert!(first.changed().now_or_never().is_none());
        changes.of_all();
        assert!(first.changed().now_or_never().is_some());
    }

    #[test]
    fn a_change_of_a_pod_wakes_who_reads_its_replicas() {
        let changes = Changes::default();
        let name = PodName::parse(NAME).unwrap();
        let (mut status, mut replicas) = (changes.subscribe(&name), changes.subscribe_replicas(&name));
        changes.of_replica(Some(&pod_in(&format!("apod-{OTHER}"))));
        changes.of_replica(Some(&pod_in("kube-system")));
        assert!(replicas.changed().now_or_never().is_none());
        changes.of_replica(Some(&pod_in(&format!("apod-{NAME}"))));
        assert!(replicas.changed().now_or_never().is_some());
        changes.of_replica(None);
        assert!(replicas.changed().now_or_never().is_some());
        assert!(status.changed().now_or_never().is_none());
    }

    #[test]
    fn entries_go_with_the_last_subscription() {
        let changes = Changes::default();
        let name = PodName::parse(NAME).unwrap();
        let first = changes.subscribe(&name);
        let second = changes.subscribe(&name);
        let replicas = changes.subscribe_replicas(&name);
        assert_eq!(changes.listeners(), 2);
        drop(first);
        assert_eq!(changes.listeners(), 2);
        drop((second, replicas));
        assert_eq!(changes.listeners(), 0);
    }

    #[test]
    fn the_controller_hears_of_everything_once_then_of_names_each_once() {
        let changes = Changes::default();
        changes.of(NAME); // before there is a controller: nothing is kept
        let mut queue = std::pin::pin!(changes.queue());
        changes.of_tenant(Some(&pod_in("apod-abcdefghijklmnopqrstuvwxyz")));
        assert_eq!(queue.next().now_or_never(), Some(Some(Dirty::All)));
        assert_eq!(queue.next().now_or_never(), None);
        changes.of_tenant(Some(&pod_in("apod-abcdefghijklmnopqrstuvwxyz")));
        changes.of_tenant(Some(&pod_in("kube-system")));
        changes.of(NAME);
        assert_eq!(queue.next().now_or_never(), Some(Some(Dirty::One(NAME.to_owned()))));
        assert_eq!(queue.next().now_or_never(), None);
        changes.of(OTHER);
        changes.of_tenant(None::<&Pod>);
        assert_eq!(queue.next().now_or_never(), Some(Some(Dirty::All)));
        assert_eq!(queue.next().now_or_never(), None);
    }
}

//! What the tests of pods share: a world with a fake API server, caches that are filled from it, and a clock.

#![allow(dead_code, reason = "each test uses its part")]

pub mod fake_api;

use std::{cell::Cell, fmt::Debug, hash::Hash, sync::Arc};

use apocryph_crd::ApocryphPod;
use apocryph_provider::{
    model::{
        key::PodName,
        manifest::Demand,
        refusal::Refusal,
        services::{Capacity, CapacityAnswer, CapacityReport, Held, Hold},
    },
    pods::{
        Dns, Exposure, ExposureKind, Settings,
        owned::Owned,
        reconcile::{Context, Error, Looked, reconcile},
        written::Written,
    },
    telemetry::events::Events,
    watches::{Changes, Watches},
};
use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Resource,
    runtime::{
        reflector::{self, Store, store::Writer},
        watcher::Event,
    },
};
use serde::de::DeserializeOwned;

use fake_api::FakeApi;

/// The publisher and pod id of every test, and the name derived from them.
pub const PUBLISHER: &str = "0x1111111111111111111111111111111111111111";
pub const POD_ID: &str = "0x2222222222222222222222222222222222222222222222222222222222222222";

pub fn name() -> PodName {
    use apocryph_provider::model::key::{PodId, PodKey, Publisher};
    PodKey {
        publisher: Publisher::parse(PUBLISHER).unwrap(),
        pod_id: PodId::parse(POD_ID).unwrap(),
    }
    .name()
}

pub fn object_path() -> String {
    format!("/apis/apocryph.network/v1alpha1/apocryphpods/{}", name())
}

pub fn namespace_path() -> String {
    format!("/api/v1/namespaces/{}", name().namespace())
}

pub fn settings() -> Settings {
    Settings {
        operator_namespace: "apocryph".to_owned(),
        service_account: "apocryph-provider".to_owned(),
        storage_class: Some("fast".to_owned()),
        shared_storage_class: Some("many".to_owned()),
        exposure: Exposure {
            kind: ExposureKind::NodePort,
            addresses: Vec::new(),
            tell_internal: false,
        },
        node_selector: Default::default(),
        runtime_class: None,
        dns: Dns::Selector {
            namespace: "kube-system".to_owned(),
            labels: [("k8s-app".to_owned(), "kube-dns".to_owned())].into(),
        },
        egress_deny: vec!["203.0.113.0/24".to_owned()],
        start_deadline: std::time::Duration::from_secs(600),
        sweep_after: std::time::Duration::from_secs(600),
        ended_ttl: std::time::Duration::from_secs(7 * 24 * 3600),
        ended_per_publisher: 64,
    }
}

/// An ApocryphPod from what matters of its spec, in YAML.
pub fn apocryph_pod(spec: &str) -> ApocryphPod {
    let head = format!(
        "apiVersion: apocryph.network/v1alpha1\nkind: ApocryphPod\nmetadata:\n  name: {}\n  finalizers: [apocryph.network/pod]\nspec:\n  publisher: '{PUBLISHER}'\n  podId: '{POD_ID}'\n",
        name()
    );
    let body: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    serde_saphyr::from_str(&(head + &body)).unwrap()
}

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(0) };
}

pub fn set_now(time: &str) {
    NOW.set(time.parse::<Timestamp>().unwrap().as_second());
}

pub fn now() -> Timestamp {
    Timestamp::from_second(NOW.get()).unwrap()
}

/// Admits everything, or nothing.
pub struct FakeCapacity {
    pub root: bool,
    pub full: bool,
}

impl Capacity for FakeCapacity {
    fn report(&self) -> CapacityReport {
        CapacityReport {
            images_may_run_as_root: self.root,
            ..CapacityReport::default()
        }
    }

    fn answer(&self, _: &Demand) -> CapacityAnswer {
        CapacityAnswer {
            report: self.report(),
            fits: Ok(()),
        }
    }

    fn hold<'a>(&'a self, _: &'a PodName, _: &'a Demand) -> BoxFuture<'a, Result<Held, Refusal>> {
        let held = if self.full {
            Err(Refusal::new(
                apocryph_proto::outcome::Code::InsufficientCapacity,
                "Not enough memory is free.",
            )
            .resource("memory"))
        } else {
            Ok(Held::Hold(Hold::new(|_| ())))
        };
        std::future::ready(held).boxed()
    }
}

/// One cache that is filled by hand.
struct Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    plural: &'static str,
    writer: Writer<K>,
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    (): Eq + Hash + Clone,
{
    fn new(plural: &'static str) -> (Cache<K>, Store<K>) {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        (Cache { plural, writer }, store)
    }

    fn fill(&mut self, api: &FakeApi) {
        self.writer.apply_watcher_event(&Event::Init);
        for object in api.all::<K>(self.plural) {
            self.writer.apply_watcher_event(&Event::InitApply(object));
        }
        self.writer.apply_watcher_event(&Event::InitDone);
    }
}

pub type Fill = Box<dyn FnMut(&FakeApi)>;

/// The controller in a cluster of its own.
pub struct World {
    pub api: FakeApi,
    pub context: Context,
    fills: Vec<Fill>,
}

fn cache<K>(fills: &mut Vec<Fill>, plural: &'static str) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (mut cache, store) = Cache::new(plural);
    fills.push(Box::new(move |api| cache.fill(api)));
    store
}

/// Caches, and what fills them from the fake.
pub fn watches(fills: &mut Vec<Fill>) -> Watches {
    Watches {
        nodes: cache(fills, "nodes"),
        pods: cache(fills, "pods"),
        apocryph_pods: cache(fills, "apocryphpods"),
        claims: cache(fills, "persistentvolumeclaims"),
        changes: Changes::default(),
    }
}

impl World {
    pub fn new(settings: Settings) -> World {
        World::with(
            settings,
            FakeCapacity {
                root: true,
                full: false,
            },
        )
    }

    pub fn with(settings: Settings, capacity: FakeCapacity) -> World {
        let api = FakeApi::default();
        set_now("2026-01-01T00:00:00Z");
        api.set_time("2026-01-01T00:00:00Z");
        let mut fills = Vec::new();
        let watches = watches(&mut fills);
        let owned = Owned {
            namespaces: cache(&mut fills, "namespaces"),
            role_bindings: cache(&mut fills, "rolebindings"),
            resource_quotas: cache(&mut fills, "resourcequotas"),
            limit_ranges: cache(&mut fills, "limitranges"),
            network_policies: cache(&mut fills, "networkpolicies"),
            services: cache(&mut fills, "services"),
            deployments: cache(&mut fills, "deployments"),
        };
        let context = Context {
            client: api.client(),
            watches,
            owned,
            settings,
            capacity: Arc::new(capacity),
            events: Events::new(api.client(), Some("operator-0".to_owned())),
            written: Written::default(),
            clock: now,
            since: now(),
        };
        World { api, context, fills }
    }

    /// Time passes, for everybody.
    pub fn at(&self, time: &str) {
        set_now(time);
        self.api.set_time(time);
    }

    pub fn put_pod(&self, pod: &ApocryphPod) {
        self.api.put(&object_path(), serde_json::to_value(pod).unwrap());
    }

    pub fn pod(&self) -> Option<ApocryphPod> {
        self.api
            .get(&object_path())
            .map(|object| serde_json::from_value(object).unwrap())
    }

    /// The caches hear of everything.
    pub fn sync(&mut self) {
        for fill in &mut self.fills {
            fill(&self.api);
        }
    }

    /// One look with caches that have heard of everything.
    pub async fn look(&mut self) -> Result<Looked, Error> {
        self.sync();
        self.look_unsynced().await
    }

    /// One look with the caches as they are.
    pub async fn look_unsynced(&mut self) -> Result<Looked, Error> {
        let pod = self
            .context
            .watches
            .apocryph_pods
            .state()
            .into_iter()
            .next()
            .expect("the pod is in the cache");
        reconcile(&self.context, pod).await
    }

    /// What the cluster does with a Deployment that goes well: a Pod on a node, ready.
    pub fn all_goes_well(&self) {
        let space = namespace_path();
        let deployment = format!("/apis/apps/v1/namespaces/{}/deployments/pod", name().namespace());
        self.api.put("/api/v1/nodes/n1", serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
            "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "ExternalIP", "address": "203.0.113.7"}]}}));
        let template = self.api.get(&deployment).unwrap()["spec"]["template"].clone();
        self.api.put(
            &format!("{space}/pods/pod-1"),
            serde_json::json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "pod-1", "namespace": name().namespace()},
            "spec": {"nodeName": "n1", "containers": template["spec"]["containers"]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "web", "image": "x", "imageID": "", "ready": true, "restartCount": 0,
                    "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}}),
        );
        self.api.edit(&deployment, |deployment| {
            let generation = deployment["metadata"]["generation"].clone();
            deployment["status"] = serde_json::json!({"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1,
                "readyReplicas": 1, "availableReplicas": 1});
        });
    }
}

//! Looks at one pod against an API server in memory: what is asked and written, and that nothing else is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has told its story"
)]

#[path = "pods_support/mod.rs"]
mod support;

use apocryph_crd::{ApocryphPod, condition};
use apocryph_provider::{
    model::{
        key::PodName,
        manifest::Demand,
        refusal::Refusal,
        services::{Capacity, CapacityAnswer, CapacityReport, Held, Hold, HoldEnd},
    },
    pods::reconcile::{Error, Outcome, Wait},
};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use support::{FakeCapacity, World, apocryph_pod, fake_api::Fault, name, namespace_path, object_path, settings};

const SPEC: &str = "
tag: 00000000000000aa
payment: {free: {table: open}}
secretName: NAME-00000000000000aa
containers:
- name: web
  image: nginx
  ports: [{name: http, port: 80, targetPort: 8080}]
  env: [{name: TOKEN}]
  volumeMounts: [{name: data, mountPath: /data}]
  resources: {cpuMillis: 100, memory: 134217728, ephemeralStorage: 268435456}
volumes: [{name: data, size: 1073741824}]
";

fn pod() -> ApocryphPod {
    apocryph_pod(&SPEC.replace("NAME", name().as_str()))
}

fn secret_path() -> String {
    format!("/api/v1/namespaces/apocryph/secrets/{}-00000000000000aa", name())
}

fn put_secret(world: &World) {
    world.api.put(
        &secret_path(),
        json!({"apiVersion": "v1", "kind": "Secret", "immutable": true,
            "metadata": {"name": format!("{}-00000000000000aa", name()), "namespace": "apocryph",
                "labels": {"apocryph.network/staged": "true", "apocryph.network/pod": name().as_str()}},
            "data": {"env.web.TOKEN": "c2VjcmV0"}}),
    );
}

/// A pod that was accepted a moment ago.
fn accepted() -> World {
    let world = World::new(settings());
    world.put_pod(&pod());
    put_secret(&world);
    world
}

/// A pod that runs and is in steady state.
async fn running() -> World {
    let mut world = accepted();
    world.look().await.unwrap();
    world.all_goes_well();
    world.look().await.unwrap();
    world.look().await.unwrap();
    world.api.requests();
    world
}

fn short(requests: Vec<String>) -> String {
    requests.join("\n").replace(name().as_str(), "NAME")
}

fn ready(world: &World) -> (String, String) {
    let status = world.pod().unwrap().status.expect("a status");
    let ready = status
        .conditions
        .into_iter()
        .find(|one| one.type_ == condition::READY)
        .expect("Ready");
    (ready.status, ready.reason)
}

fn end(world: &World) -> Option<(String, String)> {
    world.pod()?.spec.end.map(|end| (end.reason, end.by))
}

fn service_path() -> String {
    format!("{}/services/pod", namespace_path())
}

fn deployment_path() -> String {
    format!("/apis/apps/v1/namespaces/{}/deployments/pod", name().namespace())
}

#[tokio::test]
async fn from_nothing_in_the_order_in_which_it_must_be() {
    let mut world = accepted();
    let looked = world.look().await.unwrap();
    assert_eq!(looked.outcome, Outcome::Applied);
    insta::assert_snapshot!(short(world.api.requests()));
    assert_eq!(ready(&world), ("False".into(), "Preparing".into()));
}

#[tokio::test]
async fn it_runs_and_its_address_is_told() {
    let world = running().await;
    assert_eq!(ready(&world), ("True".into(), "Running".into()));
    let pod = world.pod().unwrap();
    assert_eq!(pod.metadata.annotations.unwrap()["apocryph.network/ready"], "1");
    let status = pod.status.unwrap();
    let told: Vec<&str> = status
        .addresses
        .iter()
        .map(|address| address.multiaddr.as_str())
        .collect();
    assert_eq!(told, ["/ip4/203.0.113.7/tcp/30000"]);
}

#[tokio::test]
async fn in_steady_state_nothing_is_asked_and_nothing_written() {
    let mut world = running().await;
    for _ in 0..3 {
        assert_eq!(world.look().await.unwrap().outcome, Outcome::Unchanged);
    }
    assert_eq!(world.api.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_look_before_the_caches_saw_our_writes_writes_nothing() {
    let mut world = accepted();
    world.look().await.unwrap();
    world.api.requests();
    world.look_unsynced().await.unwrap();
    assert_eq!(
        world.api.requests(),
        Vec::<String>::new(),
        "the pod itself is known to be old"
    );
}

#[tokio::test]
async fn a_service_edited_by_hand_is_one_write_then_none() {
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 5] = [
        ("APPLY", |service| service["spec"]["ports"][0]["targetPort"] = json!(22)),
        // Replaced by one that holds another label: the other one has to go.
        ("PATCH", |service| service["spec"]["selector"] = json!({"other": "pod"})),
        ("APPLY", |service| {
            service["metadata"]["annotations"].as_object_mut().unwrap().clear();
        }),
        ("PATCH", |service| {
            let ports = service["spec"]["ports"].as_array_mut().unwrap();
            ports.push(json!({"name": "ssh", "port": 22, "targetPort": 22, "protocol": "TCP", "nodePort": 30022}));
        }),
        ("PATCH", |service| service["spec"]["selector"]["more"] = json!("x")),
    ];
    for (verb, edit) in edits {
        let mut world = running().await;
        let before = world.api.get(&service_path()).unwrap();
        world.api.edit(&service_path(), edit);
        world.look().await.unwrap();
        let wrote = world.api.writes();
        assert_eq!(wrote, [format!("{verb} {}", service_path())]);
        let after = world.api.get(&service_path()).unwrap();
        assert_eq!(after["spec"]["selector"], before["spec"]["selector"]);
        assert_eq!(after["spec"]["ports"][0]["port"], before["spec"]["ports"][0]["port"]);
        assert_eq!(
            after["spec"]["ports"][0]["targetPort"],
            before["spec"]["ports"][0]["targetPort"]
        );
        assert_eq!(after["spec"]["ports"].as_array().unwrap().len(), 1);
        world.look().await.unwrap();
        assert_eq!(world.api.writes(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_was_deleted_by_hand_is_made_again_but_never_a_volume() {
    let mut world = running().await;
    world.api.remove(&service_path());
    world.look().await.unwrap();
    assert_eq!(
        short(world.api.writes()),
        "APPLY /api/v1/namespaces/apod-NAME/services/pod"
    );

    let claim = format!("{}/persistentvolumeclaims/data", namespace_path());
    world.api.remove(&claim);
    world.look().await.unwrap();
    assert_eq!(ready(&world).1, "VolumeUnbound");
    assert!(world.api.get(&claim).is_none());
    assert_eq!(end(&world), None, "and nothing is ended for it");
}

#[tokio::test]
async fn something_that_writes_the_same_field_is_told_and_not_fought() {
    let mut world = accepted();
    world.api.webhook(&deployment_path(), |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!("theirs");
    });
    let failed = world.look().await.unwrap_err();
    assert!(
        matches!(failed, Error::Contested { kind: "Deployment", .. }),
        "{failed}"
    );
    let of_deployment = |writes: Vec<String>| writes.iter().filter(|write| write.contains("deployments")).count();
    assert_eq!(
        of_deployment(world.api.writes()),
        1,
        "the next try comes after a growing wait"
    );
    assert_eq!(failed.wait(), Wait::Growing);
    world.look().await.unwrap_err();
    assert_eq!(ready(&world).1, "PodRefused");
    assert_eq!(end(&world), None);
}

#[tokio::test]
async fn the_namespace_deleted_by_hand_ends_the_pod() {
    let mut world = running().await;
    world.api.remove(&namespace_path());
    assert_eq!(world.look().await.unwrap().outcome, Outcome::Ended);
    assert_eq!(end(&world), Some(("NamespaceDeleted".into(), "controller".into())));
    assert!(
        world.api.get(&namespace_path()).is_none(),
        "never made again, empty, in silence"
    );
    assert!(world.api.get(&secret_path()).is_none());
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_ends_nothing() {
    let mut world = running().await;
    world.api.remove(&namespace_path());
    world
        .api
        .fault(&format!("GET {}", namespace_path()), Fault::Refuse(500, "etcd is away"));
    let failed = world.look().await.unwrap_err();
    assert_eq!(failed.category(), "no_answer");
    assert_eq!(end(&world), None);
    assert_eq!(world.api.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_the_cluster_does_not_make_is_told_and_holds_its_capacity_no_longer_than_the_start_deadline() {
    let words = "Internal error occurred: failed to allocate a nodePort: range is full";
    let said = [
        (Fault::Refuse(500, words), "PodRefused", words),
        (
            Fault::Refuse(503, "the webhook is away"),
            "PodRefused",
            "the webhook is away",
        ),
        (Fault::Silent, "ApiUnavailable", "does not answer"),
    ];
    for (fault, code, words) in said {
        let mut world = accepted();
        let service = format!("APPLY {}", service_path());
        world.api.fault(&service, fault.clone());
        world.look().await.unwrap_err();
        assert_eq!(ready(&world).1, code);
        let told = &world.pod().unwrap().status.unwrap().conditions[0].message;
        assert!(told.contains("the pod's Service") && told.contains(words), "{told}");
        assert_eq!(end(&world), None);
        world.at("2026-01-01T00:10:00Z");
        world.api.fault(&service, fault);
        world.look().await.unwrap();
        assert_eq!(end(&world), Some(("StartTimeout".into(), "controller".into())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_runs_and_cannot_be_looked_after_goes_on_and_the_admin_hears_of_it() {
    let service = format!("APPLY {}", service_path());
    for (fault, said) in [
        (Fault::Refuse(500, "range is full"), Some("range is full")),
        (Fault::Refuse(422, "no such field"), Some("no such field")),
        (Fault::Silent, None),
    ] {
        let mut world = running().await;
        world.api.remove(&service_path());
        world.api.fault(&service, fault);
        world.at("2026-01-02T00:00:00Z");
        world.look().await.unwrap_err();
        assert_eq!((ready(&world).1, end(&world)), ("Running".to_owned(), None));
        assert_eq!(warning(&world).is_some(), said.is_some());
        assert!(warning(&world).unwrap_or_default().contains(said.unwrap_or_default()));
    }

    let mut world = running().await;
    world.api.webhook(&service_path(), |service| {
        service["spec"]["ports"][0]["port"] = json!(1)
    });
    world
        .api
        .edit(&service_path(), |service| service["spec"]["selector"] = json!({}));
    world.look().await.unwrap_err();
    assert!(warning(&world).unwrap().contains("does not stay as it was written"));
}

/// Note of the newest warning.
fn warning(world: &World) -> Option<String> {
    let events = world.api.bodies().into_iter().rev();
    let mut warnings = events.filter(|(request, body)| request.contains("/events") && body["type"] == "Warning");
    warnings
        .next()
        .map(|(_, body)| body["note"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_namespace_missing_in_the_cache_alone_ends_nothing() {
    let mut world = running().await;
    let namespace = world.api.get(&namespace_path()).unwrap();
    let inside: Vec<(String, Value)> = world
        .api
        .paths()
        .into_iter()
        .filter(|path| path.starts_with(&namespace_path()))
        .map(|path| (path.clone(), world.api.get(&path).unwrap()))
        .collect();
    world.api.remove(&namespace_path());
    world.sync();
    for (path, object) in inside {
        world.api.put(&path, object);
    }
    world.api.put(&namespace_path(), namespace);
    world.look_unsynced().await.unwrap();
    assert_eq!(end(&world), None);
}

#[tokio::test]
async fn a_crash_between_namespace_and_mark_goes_on_from_there() {
    let mut world = accepted();
    world
        .api
        .fault(&format!("PATCH {}", object_path()), Fault::Refuse(500, "crash"));
    assert!(matches!(world.look().await, Err(Error::Api(_))));
    assert!(world.api.get(&namespace_path()).is_some());
    world.api.requests();
    world.look().await.unwrap();
    assert_eq!(end(&world), None);
    assert!(world.api.get(&deployment_path()).is_some());
}

#[tokio::test]
async fn a_namespace_of_another_life_is_not_taken_over() {
    let mut world = accepted();
    world.look().await.unwrap();
    let mut next = pod();
    next.spec.life = 2;
    world.api.remove(&object_path());
    world.put_pod(&next);
    world.api.requests();
    world.look().await.unwrap();
    assert_eq!(ready(&world).1, "PodRefused");
    assert_eq!(
        short(world.api.writes()),
        "APPLY /apis/apocryph.network/v1alpha1/apocryphpods/NAME/status"
    );
}

#[tokio::test]
async fn rights_that_have_not_arrived_are_waited_for_and_then_asked_about() {
    let quota = format!("APPLY {}/resourcequotas/admitted", namespace_path());
    let forbidden = "resourcequotas \"admitted\" is forbidden: User \"x\" cannot patch resource \"resourcequotas\"";
    let mut world = accepted();
    world.api.fault(&quota, Fault::Refuse(403, forbidden));
    assert_eq!(world.look().await.unwrap().outcome, Outcome::Waiting);
    assert_eq!(ready(&world).1, "WaitingForRights");
    world.at("2026-01-01T00:00:11Z");
    world.api.fault(&quota, Fault::Refuse(403, forbidden));
    assert_eq!(world.look().await.unwrap_err().category(), "forbidden");
    assert_eq!(ready(&world).1, "PodRefused");
    assert_eq!(world.look().await.unwrap().outcome, Outcome::Applied);
    assert_eq!(ready(&world).1, "Preparing");
}

#[tokio::test]
async fn a_pod_that_does_not_become_ready_ends_with_what_was_in_its_way() {
    let mut world = accepted();
    world.look().await.unwrap();
    let deployment = world.api.get(&deployment_path()).unwrap();
    world.api.put(&format!("{}/pods/pod-1", namespace_path()), json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "pod-1", "namespace": name().namespace()},
        "spec": {"nodeName": "n1", "containers": deployment["spec"]["template"]["spec"]["containers"]},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "web", "image": "nginx", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull", "message": "nginx: not found"}}}]}}));
    world.at("2026-01-01T00:09:59Z");
    let looked = world.look().await.unwrap();
    assert_eq!(ready(&world).1, "ImageNotFound");
    assert_eq!(looked.again.as_secs(), 1, "it looks again when the deadline is over");
    world.at("2026-01-01T00:10:00Z");
    world.look().await.unwrap();
    assert_eq!(end(&world), Some(("StartTimeout".into(), "controller".into())));
    world.api.remove(&namespace_path());
    world.look().await.unwrap();
    let status = world.pod().unwrap().status.unwrap();
    let ended = status
        .conditions
        .iter()
        .find(|one| one.type_ == condition::ENDED)
        .unwrap();
    assert_eq!((ended.status.as_str(), ended.reason.as_str()), ("True", "StartTimeout"));
    assert!(ended.message.contains("has no image `nginx`"), "{}", ended.message);
}

#[tokio::test]
async fn a_pod_that_was_ready_once_has_no_start_deadline_even_if_its_status_got_lost() {
    let mut world = running().await;
    world
        .api
        .edit(&deployment_path(), |deployment| deployment["status"] = json!({}));
    world.api.edit(&object_path(), |pod| pod["status"] = Value::Null);
    world.at("2026-01-02T00:00:00Z");
    world.look().await.unwrap();
    assert_eq!(end(&world), None);
    assert_eq!(ready(&world).1, "Degraded");
}

#[tokio::test]
async fn a_deadline_that_passed_while_nobody_looked_is_given_again() {
    let mut world = accepted();
    world.at("2026-01-01T06:00:00Z");
    world.context.since = support::now();
    world.look().await.unwrap();
    assert_eq!(end(&world), None);
    assert!(world.api.get(&deployment_path()).is_some());
}

#[tokio::test]
async fn the_end_takes_the_workload_then_the_namespace_then_the_secret() {
    let mut world = running().await;
    world.api.edit(&object_path(), |pod| {
        pod["spec"]["end"] = json!({"at": "2026-01-01T00:00:00Z", "reason": "DeletedByPublisher", "by": "publisher"});
    });
    assert_eq!(world.look().await.unwrap().outcome, Outcome::Waiting);
    let first = short(world.api.requests());
    world.api.edit(&namespace_path(), |namespace| {
        namespace["status"]["conditions"] = json!([{"type": "NamespaceFinalizersRemaining", "status": "True",
            "reason": "SomeFinalizersRemain", "message": "example.com/keep in 1 resource instances",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    });
    world.look().await.unwrap();
    let hanging = world.pod().unwrap().status.unwrap();
    let ended = hanging
        .conditions
        .iter()
        .find(|one| one.type_ == condition::ENDED)
        .unwrap();
    assert_eq!(
        ended.message,
        "Its publisher deleted the pod. The namespace is going: example.com/keep in 1 resource instances"
    );
    assert_eq!((ended.status.as_str(), ready(&world).1.as_str()), ("False", "Ending"));
    world.look().await.unwrap();
    world.api.requests();

    world.api.remove(&namespace_path());
    assert_eq!(world.look().await.unwrap().outcome, Outcome::Ended);
    let last = short(world.api.requests());
    insta::assert_snapshot!(format!("{first}\n-- the namespace is gone --\n{last}"));
    assert_eq!(ready(&world), ("False".into(), "DeletedByPublisher".into()));
    assert_eq!(world.look().await.unwrap().outcome, Outcome::Ended);
    assert_eq!(world.api.requests(), Vec::<String>::new(), "an ended pod costs nothing");

    world.at("2026-01-07T23:59:59Z");
    world.look().await.unwrap();
    assert!(world.pod().is_some());
    world.at("2026-01-08T00:00:01Z");
    world.look().await.unwrap();
    world.look().await.unwrap();
    assert!(world.pod().is_none(), "gone after its time");
}

#[tokio::test]
async fn kubectl_delete_orders_the_end_and_waits_for_it() {
    let mut world = running().await;
    world.api.edit(&object_path(), |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")
    });
    world.look().await.unwrap();
    assert_eq!(end(&world), Some(("DeletedByAdmin".into(), "admin".into())));
    assert!(
        world.pod().is_some(),
        "the finalizer stays while the namespace is going"
    );
    world.api.remove(&namespace_path());
    world.look().await.unwrap();
    assert!(world.pod().is_none());
}

#[tokio::test]
async fn an_end_takes_the_namespace_of_its_own_life_and_no_other() {
    let (own, other) = (name().to_string(), "z".repeat(26));
    let marks = |pod: Option<&str>, life: Option<&str>| {
        json!({"name": name().namespace(), "labels": pod.map(|pod| json!({"apocryph.network/pod": pod})),
            "annotations": life.map(|life| json!({"apocryph.network/life": life}))})
    };
    for (built, metadata, taken) in [
        (false, marks(None, None), false),
        (false, marks(Some(&own), None), false),
        (false, marks(None, Some("1")), false),
        (false, marks(Some(&own), Some("2")), false),
        (false, marks(Some(&own), Some("1")), true),
        // Made for this life; its marks were taken off by hand.
        (true, marks(None, None), true),
        (true, marks(Some(&own), None), true),
        (true, marks(Some(&own), Some("2")), false),
        (true, marks(Some(&other), None), false),
    ] {
        let case = format!("{built} {metadata}");
        let mut world = World::new(settings());
        let mut pod = pod();
        pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(support::now()));
        if built {
            pod.metadata.annotations = Some([("apocryph.network/built".to_owned(), "1".to_owned())].into());
        }
        world.put_pod(&pod);
        world.api.put(
            &namespace_path(),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
        );
        world.look().await.unwrap();
        let going = !world.api.get(&namespace_path()).unwrap()["metadata"]["deletionTimestamp"].is_null();
        assert_eq!((going, world.pod().is_none()), (taken, !taken), "{case}");
    }
}

#[tokio::test]
async fn an_admins_own_pod_is_admitted_by_capacity_and_gets_its_finalizer() {
    let spec = "payment: {free: {}}\ncontainers:\n- name: web\n  image: nginx\n  resources: {cpuMillis: 100, memory: 134217728, ephemeralStorage: 268435456}";
    let mut own = apocryph_pod(spec);
    own.metadata.finalizers = None;
    let mut world = World::with(
        settings(),
        FakeCapacity {
            root: false,
            full: true,
        },
    );
    world.put_pod(&own);
    world.look().await.unwrap();
    assert_eq!(ready(&world).1, "InsufficientCapacity");
    assert!(world.api.get(&namespace_path()).is_none(), "nothing runs before");

    let mut world = World::with(
        settings(),
        FakeCapacity {
            root: false,
            full: false,
        },
    );
    world.put_pod(&own);
    world.look().await.unwrap();
    assert!(world.api.get(&deployment_path()).is_some());
    let pod = world.pod().unwrap();
    assert_eq!(pod.metadata.finalizers.unwrap(), ["apocryph.network/pod"]);
    let admitted = pod
        .status
        .unwrap()
        .conditions
        .into_iter()
        .find(|one| one.type_ == condition::ADMITTED)
        .unwrap();
    assert_eq!(admitted.status, "True");
    let level =
        world.api.get(&namespace_path()).unwrap()["metadata"]["labels"]["pod-security.kubernetes.io/enforce"].clone();
    assert_eq!(level, "restricted");
}

#[tokio::test]
async fn an_own_pod_cannot_read_a_publishers_secret() {
    let spec = SPEC
        .replace("tag: 00000000000000aa\n", "")
        .replace("{table: open}", "{}")
        .replace("NAME", name().as_str());
    let mut world = World::new(settings());
    world.put_pod(&apocryph_pod(&spec));
    put_secret(&world);
    world.look().await.unwrap();
    assert_eq!(ready(&world).1, "InvalidSpec");
    assert!(
        world
            .api
            .paths()
            .iter()
            .all(|path| !path.starts_with(&format!("{}/secrets", namespace_path())))
    );
}

#[tokio::test]
async fn a_wrong_name_is_told_and_nothing_is_made() {
    let mut world = World::new(settings());
    let mut wrong = pod();
    wrong.spec.pod_id = format!("0x{}", "33".repeat(32));
    world.put_pod(&wrong);
    assert_eq!(world.look().await.unwrap().outcome, Outcome::Waiting);
    assert_eq!(ready(&world).1, "WrongName");
    assert_eq!(
        short(world.api.writes()),
        "APPLY /apis/apocryph.network/v1alpha1/apocryphpods/NAME/status"
    );
}

#[tokio::test]
async fn the_level_of_a_namespace_is_kept_when_the_nodes_change() {
    let mut world = running().await;
    world.context.capacity = std::sync::Arc::new(FakeCapacity {
        root: false,
        full: false,
    });
    world.look().await.unwrap();
    assert_eq!(world.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn the_pull_policy_is_decided_once_for_a_life_by_the_oldest_kubelet() {
    let node = |name: &str, version: &str| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"nodeInfo": {
            "kubeletVersion": version, "architecture": "", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
            "kubeProxyVersion": "", "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": ""}}})
    };
    let policy = |world: &World| {
        let deployment = world.api.get(&deployment_path()).unwrap();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        container["imagePullPolicy"].as_str().unwrap().to_owned()
    };
    let mut world = accepted();
    world.api.put("/api/v1/nodes/new", node("new", "v1.35.4"));
    world.look().await.unwrap();
    assert_eq!(policy(&world), "IfNotPresent");
    world.api.put("/api/v1/nodes/old", node("old", "v1.34.1"));
    world.api.writes();
    world.look().await.unwrap();
    assert_eq!(
        world.api.writes(),
        Vec::<String>::new(),
        "a node that comes restarts nothing"
    );

    let mut world = accepted();
    world.api.put("/api/v1/nodes/new", node("new", "v1.35.4"));
    world.api.put("/api/v1/nodes/old", node("old", "v1.34.1"));
    world.look().await.unwrap();
    assert_eq!(policy(&world), "Always");
}

#[tokio::test]
async fn no_secret_value_is_in_any_object_but_the_secrets() {
    let world = running().await;
    for (request, body) in world.api.bodies() {
        if !request.contains("/secrets") {
            let text = body.to_string();
            assert!(
                !text.contains("c2VjcmV0") && !text.contains("secret\""),
                "{request}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn storage_that_is_no_longer_offered_changes_nothing_for_what_runs() {
    let mut world = running().await;
    world.context.settings.storage_class = None;
    assert_eq!(world.look().await.unwrap().outcome, Outcome::Unchanged);
    assert_eq!(world.api.requests(), Vec::<String>::new());
    assert_eq!(ready(&world), ("True".into(), "Running".into()));
}

#[tokio::test]
async fn storage_that_is_no_longer_offered_frees_the_capacity_of_what_never_ran() {
    let mut world = accepted();
    world.context.settings.storage_class = None;
    world.at("2026-01-01T00:09:59Z");
    let looked = world.look().await.unwrap();
    assert_eq!(ready(&world).1, "StorageNotOffered");
    assert_eq!(looked.again.as_secs(), 1, "it looks again when the deadline is over");
    world.at("2026-01-01T00:10:00Z");
    world.look().await.unwrap();
    assert_eq!(end(&world), Some(("StartTimeout".into(), "controller".into())));
    assert!(world.api.get(&namespace_path()).is_none(), "nothing was made");
}

#[tokio::test]
async fn a_volume_that_was_not_made_yet_is_never_one_of_the_clusters_default_class() {
    let mut world = accepted();
    let claim = format!("{}/persistentvolumeclaims/data", namespace_path());
    world.api.fault(
        &format!("POST {}/persistentvolumeclaims", namespace_path()),
        Fault::Refuse(500, "crash"),
    );
    world.look().await.unwrap_err();
    world.context.settings.storage_class = None;
    assert_eq!(world.look().await.unwrap().outcome, Outcome::Waiting);
    assert_eq!(ready(&world).1, "StorageNotOffered");
    assert!(world.api.get(&claim).is_none());
    world.at("2026-01-01T00:10:00Z");
    world.look().await.unwrap();
    assert_eq!(end(&world), Some(("StartTimeout".into(), "controller".into())));
}

#[tokio::test]
async fn a_spec_that_no_longer_validates_leaves_a_running_pod_and_what_is_told_of_it() {
    let mut world = running().await;
    world.api.edit(&object_path(), |pod| pod["spec"]["replicas"] = json!(0));
    world.at("2026-01-02T00:00:00Z");
    assert_eq!(world.look().await.unwrap().outcome, Outcome::Waiting);
    assert!(warning(&world).unwrap().contains("replicas"), "the admin hears of it");
    assert_eq!(world.api.writes(), Vec::<String>::new());
    assert_eq!(ready(&world), ("True".into(), "Running".into()));
    assert_eq!(end(&world), None);
}

#[tokio::test]
async fn an_own_pod_that_runs_stays_admitted_when_its_spec_no_longer_validates() {
    let spec = "payment: {free: {}}\ncontainers:\n- name: web\n  image: nginx\n  resources: {cpuMillis: 100, memory: 134217728, ephemeralStorage: 268435456}";
    let mut world = World::new(settings());
    world.put_pod(&apocryph_pod(spec));
    world.look().await.unwrap();
    world.all_goes_well();
    world.look().await.unwrap();
    world.api.edit(&object_path(), |pod| pod["spec"]["replicas"] = json!(0));
    world.look().await.unwrap();
    assert_eq!(ready(&world).1, "InvalidSpec", "it is the admin's to correct");
    let conditions = world.pod().unwrap().status.unwrap().conditions;
    let admitted = conditions.iter().find(|one| one.type_ == condition::ADMITTED).unwrap();
    assert_eq!(
        admitted.status, "True",
        "else its room would be given away while it runs"
    );
    assert_eq!(end(&world), None);
}

#[tokio::test]
async fn an_available_deployment_of_an_earlier_life_does_not_hold_the_capacity_of_the_next_for_ever() {
    let mut world = running().await;
    let mut next = pod();
    next.spec.life = 2;
    world.api.remove(&object_path());
    world.put_pod(&next);
    world.look().await.unwrap();
    assert_eq!(ready(&world).1, "PodRefused");
    world.at("2026-01-01T00:10:00Z");
    world.look().await.unwrap();
    assert_eq!(end(&world), Some(("StartTimeout".into(), "controller".into())));
}

#[tokio::test]
async fn a_pod_that_is_available_but_in_trouble_at_its_deadline_is_looked_at_again_in_seconds() {
    let mut world = accepted();
    world.look().await.unwrap();
    world.all_goes_well();
    world.api.edit(&format!("{}/pods/pod-1", namespace_path()), |pod| {
        pod["status"]["containerStatuses"][0] = json!({"name": "web", "image": "x", "imageID": "", "ready": false,
            "restartCount": 9, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
    });
    world.at("2026-01-01T00:10:00Z");
    let looked = world.look().await.unwrap();
    assert_eq!((end(&world), looked.again.as_secs()), (None, 5));
}

/// Grants every hold and notes how each ends.
#[derive(Clone, Default)]
struct Ends(std::sync::Arc<std::sync::Mutex<Vec<HoldEnd>>>);

impl Capacity for Ends {
    fn report(&self) -> CapacityReport {
        CapacityReport::default()
    }

    fn answer(&self, _: &Demand) -> CapacityAnswer {
        CapacityAnswer {
            report: self.report(),
            fits: Ok(()),
        }
    }

    fn hold<'a>(&'a self, _: &'a PodName, _: &'a Demand) -> BoxFuture<'a, Result<Held, Refusal>> {
        let ends = self.0.clone();
        let hold = Hold::new(move |end| ends.lock().unwrap().push(end));
        Box::pin(std::future::ready(Ok(Held::Hold(hold))))
    }
}

#[tokio::test]
async fn room_for_an_own_pod_stays_held_where_its_admission_may_have_been_written() {
    let told = format!("APPLY {}/status", object_path());
    let away = Fault::Refuse(500, "etcd is away");
    let cases = [
        (vec![], true, HoldEnd::Committed),
        (vec![away.clone()], true, HoldEnd::Committed),
        (vec![away.clone(), away.clone()], false, HoldEnd::Committed),
        (vec![away, Fault::Refuse(422, "no")], false, HoldEnd::Committed),
        (vec![Fault::Refuse(422, "no")], false, HoldEnd::Released),
    ];
    for (faults, goes_on, held) in cases {
        let case = format!("{faults:?}");
        let spec = "payment: {free: {}}\ncontainers:\n- name: web\n  image: nginx\n  resources: {cpuMillis: 100, memory: 134217728, ephemeralStorage: 268435456}";
        let mut world = World::new(settings());
        let ends = Ends::default();
        world.context.capacity = std::sync::Arc::new(ends.clone());
        world.put_pod(&apocryph_pod(spec));
        for fault in faults {
            world.api.fault(&told, fault);
        }
        assert_eq!(world.look().await.is_ok(), goes_on, "{case}");
        assert_eq!(world.api.get(&deployment_path()).is_some(), goes_on, "{case}");
        assert_eq!(*ends.0.lock().unwrap(), [held], "{case}");
    }
}

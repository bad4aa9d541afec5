//! What Kubernetes says of a Pod, and what we say of it: one code, one sentence, one remedy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has told its story"
)]

#[path = "pods_support/mod.rs"]
mod support;

use std::sync::Arc;

use apocryph_crd::ApocryphPodStatus;
use apocryph_provider::pods::{
    apply::Applied,
    objects::{self, Decided, Level, PullPolicy},
    status::{Facts, Judgement, judge, tell},
    validate::validate,
};
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentStatus},
    core::v1::{Node, PersistentVolumeClaim, Pod},
};
use serde_json::{Value, json};
use support::{apocryph_pod, now, set_now, settings};

const SPEC: &str = "
tag: 00000000000000aa
payment: {free: {table: open}}
containers:
- name: web
  image: registry.example/web:1
  ports: [{name: http, port: 80, targetPort: 8080}]
  resources: {cpuMillis: 100, memory: 134217728, ephemeralStorage: 268435456}
volumes: [{name: data, size: 1073741824}]
";

#[derive(Debug, Default)]
struct Case {
    pods: Vec<Value>,
    claims: Vec<Value>,
    nodes: Vec<Value>,
    deployment: Value,
    before: Option<ApocryphPodStatus>,
    was_ready: bool,
}

fn run(case: &Case) -> Judgement {
    run_spec(SPEC, case)
}

fn run_spec(spec: &str, case: &Case) -> Judgement {
    set_now("2026-01-01T00:01:00Z");
    let (object, settings) = (apocryph_pod(spec), settings());
    let pod = validate(&object, &settings).unwrap();
    let built = objects::build(
        &pod,
        &settings,
        Decided {
            level: Level::Baseline,
            pull: PullPolicy::IfNotPresent,
        },
    );
    let mut deployment: Deployment = built.deployment;
    deployment.status = (!case.deployment.is_null())
        .then(|| serde_json::from_value::<DeploymentStatus>(case.deployment.clone()).unwrap());
    let applied = Applied {
        service: built.service.map(Arc::new),
        deployment: Arc::new(deployment),
        wrote: false,
    };
    let pods: Vec<Arc<Pod>> = case
        .pods
        .iter()
        .map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap()))
        .collect();
    let claims: Vec<Arc<PersistentVolumeClaim>> = case
        .claims
        .iter()
        .map(|claim| Arc::new(serde_json::from_value(claim.clone()).unwrap()))
        .collect();
    let nodes: Vec<Arc<Node>> = case
        .nodes
        .iter()
        .map(|node| Arc::new(serde_json::from_value(node.clone()).unwrap()))
        .collect();
    judge(&Facts {
        pod: &pod,
        applied: &applied,
        pods: &pods,
        claims: &claims,
        nodes: &nodes,
        exposure: &settings.exposure,
        before: case.before.as_ref(),
        was_ready: case.was_ready,
        now: now(),
    })
}

fn pod(status: Value, node: Option<&str>) -> Value {
    json!({"metadata": {"name": "pod-1"},
        "spec": {"nodeName": node, "containers": [{"name": "web", "image": "registry.example/web:1"}]}, "status": status})
}

fn container(state: Value, last: Value, restarts: i32) -> Case {
    let status = json!({"phase": "Running", "conditions": [{"type": "PodReadyToStartContainers", "status": "True"}],
        "containerStatuses": [{"name": "web", "image": "registry.example/web:1", "imageID": "", "ready": false,
            "restartCount": restarts, "state": state, "lastState": last}]});
    Case {
        pods: vec![pod(status, Some("n1"))],
        ..Case::default()
    }
}

fn waiting(reason: &str, message: &str) -> Case {
    container(json!({"waiting": {"reason": reason, "message": message}}), json!({}), 0)
}

/// The same of a Pod that has imagePullSecrets.
fn with_credentials(mut case: Case) -> Case {
    case.pods[0]["spec"]["imagePullSecrets"] = json!([{"name": "secret"}]);
    case
}

/// A second container, started and ready, before the case's.
fn beside_one_that_runs(mut case: Case) -> Case {
    let sidecar = json!({"name": "cache", "image": "registry.example/cache:1", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
    let statuses = case.pods[0]["status"]["containerStatuses"].as_array_mut().unwrap();
    statuses.insert(0, sidecar);
    case
}

fn unscheduled(message: &str, claims: Vec<Value>) -> Case {
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
    Case {
        pods: vec![pod(json!({"phase": "Pending", "conditions": [condition]}), None)],
        claims,
        ..Case::default()
    }
}

fn claim(created: &str, phase: &str) -> Value {
    json!({"metadata": {"name": "data", "creationTimestamp": created}, "status": {"phase": phase}})
}

fn refused(message: &str) -> Case {
    Case {
        deployment: json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": message}]}),
        ..Case::default()
    }
}

/// Texts as containerd 2, kubelet 1.35, the scheduler and the controllers write them.
fn table() -> Vec<(&'static str, Case)> {
    let pull = |message: &str| {
        waiting(
            "ErrImagePull",
            &format!(
                "rpc error: code = X desc = failed to pull and unpack image \"registry.example/web:1\": failed to resolve reference \"registry.example/web:1\": {message}"
            ),
        )
    };
    let available = json!({"observedGeneration": 1, "availableReplicas": 1, "updatedReplicas": 1, "readyReplicas": 1});
    let start_error = |message: &str| {
        container(
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}}),
            json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": message}}),
            3,
        )
    };
    let exited = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
    let crash = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container=web pod=pod-1_apod(7d)"}});
    vec![
        ("nothing yet", Case::default()),
        (
            "not yet looked at by the scheduler",
            Case {
                pods: vec![pod(json!({"phase": "Pending"}), None)],
                ..Case::default()
            },
        ),
        (
            "sandbox being made",
            Case {
                pods: vec![pod(
                    json!({"phase": "Pending", "containerStatuses": [{"name": "web", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}]}),
                    Some("n1"),
                )],
                ..Case::default()
            },
        ),
        ("image being pulled", waiting("ContainerCreating", "")),
        (
            "just started",
            container(json!({"running": {"startedAt": "2026-01-01T00:00:59Z"}}), json!({}), 0),
        ),
        (
            "ready, no address",
            Case {
                deployment: available.clone(),
                ..container(json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), json!({}), 0)
            },
        ),
        (
            "was ready, Pod is being made again",
            Case {
                was_ready: true,
                ..Case::default()
            },
        ),
        ("404", pull("registry.example/web:1: not found")),
        (
            "404 while it backs off",
            waiting(
                "ImagePullBackOff",
                "Back-off pulling image \"registry.example/web:1\": ErrImagePull: failed to resolve reference: registry.example/web:1: not found",
            ),
        ),
        (
            "registry refuses the connection",
            pull(
                "failed to do request: Head \"https://registry.example/v2/web/manifests/1\": dial tcp 198.51.100.1:443: connect: connection refused",
            ),
        ),
        (
            "registry's name does not resolve",
            pull(
                "failed to do request: Head \"https://registry.example/v2/web/manifests/1\": dial tcp: lookup registry.example on 10.0.0.2:53: no such host",
            ),
        ),
        (
            "registry does not answer",
            pull("failed to do request: Head \"https://registry.example/v2/\": dial tcp 198.51.100.1:443: i/o timeout"),
        ),
        (
            "401",
            pull(
                "failed to authorize: failed to fetch anonymous token: unexpected status from GET request: 401 Unauthorized",
            ),
        ),
        (
            "401 for credentials",
            with_credentials(pull(
                "failed to authorize: failed to fetch oauth token: unexpected status from GET request: 401 Unauthorized",
            )),
        ),
        (
            "private or missing on Docker Hub",
            pull(
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            ),
        ),
        (
            "no manifest for the processor",
            pull("no match for platform in manifest: not found"),
        ),
        (
            "a bad reference",
            waiting("InvalidImageName", "couldn't parse image name"),
        ),
        (
            "root under restricted",
            waiting(
                "CreateContainerConfigError",
                "container has runAsNonRoot and image will run as root (pod: \"pod-1_x(7d)\", container: web)",
            ),
        ),
        (
            "a user by name under restricted",
            waiting(
                "CreateContainerConfigError",
                "container has runAsNonRoot and image has non-numeric user (nginx), cannot verify user is non-root",
            ),
        ),
        ("exit 3", container(exited.clone(), json!({}), 0)),
        (
            "exit 3 beside one that runs",
            beside_one_that_runs(container(exited.clone(), json!({}), 0)),
        ),
        (
            "image being pulled beside one that runs",
            beside_one_that_runs(waiting("ContainerCreating", "")),
        ),
        (
            "just started beside one that is ready",
            beside_one_that_runs(container(
                json!({"running": {"startedAt": "2026-01-01T00:00:59Z"}}),
                json!({}),
                0,
            )),
        ),
        ("exit 3 while it backs off", container(crash.clone(), exited.clone(), 2)),
        (
            "exit 3, started again a moment ago",
            container(
                json!({"running": {"startedAt": "2026-01-01T00:00:55Z"}}),
                exited.clone(),
                2,
            ),
        ),
        (
            "exit 3, started again and settled",
            container(json!({"running": {"startedAt": "2026-01-01T00:00:30Z"}}), exited, 2),
        ),
        (
            "exit 0",
            container(
                json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
                json!({}),
                0,
            ),
        ),
        (
            "out of memory",
            container(
                crash,
                json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
                2,
            ),
        ),
        (
            "command not found",
            start_error(
                "failed to create containerd task: OCI runtime create failed: exec: \"/nothere\": stat /nothere: no such file or directory: unknown",
            ),
        ),
        (
            "command not executable",
            start_error("OCI runtime create failed: exec: \"/etc/passwd\": permission denied: unknown"),
        ),
        (
            "working directory is a file",
            start_error(
                "OCI runtime create failed: chdir to cwd (\"/etc/passwd\") set in config.json failed: not a directory",
            ),
        ),
        (
            "volume without idmap",
            start_error("failed to set MOUNT_ATTR_IDMAP on /var/lib/kubelet/pods/7d/volumes/nfs: invalid argument"),
        ),
        (
            "too large",
            unscheduled(
                "0/3 nodes are available: 1 node(s) had untolerated taint {a: b}, 2 Insufficient memory. preemption: 0/3 nodes are available: 3 No preemption victims found.",
                vec![],
            ),
        ),
        (
            "wrong labels",
            unscheduled(
                "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
                vec![],
            ),
        ),
        (
            "volume on its way",
            unscheduled(
                "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
                vec![claim("2026-01-01T00:00:50Z", "Pending")],
            ),
        ),
        (
            "volume that does not come",
            unscheduled(
                "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
                vec![claim("2026-01-01T00:00:00Z", "Pending")],
            ),
        ),
        (
            "volume that waits for its first consumer",
            Case {
                claims: vec![claim("2026-01-01T00:00:00Z", "Pending")],
                pods: vec![pod(json!({"phase": "Pending"}), None)],
                ..Case::default()
            },
        ),
        (
            "Pod Security",
            refused(
                "pods \"pod-7d9-x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
            ),
        ),
        (
            "quota",
            refused(
                "pods \"pod-7d9-x\" is forbidden: exceeded quota: admitted, requested: pods=1, used: pods=2, limited: pods=2",
            ),
        ),
        (
            "policy",
            refused(
                "pods \"pod-7d9-x\" is forbidden: ValidatingAdmissionPolicy 'apocryph-tenant-pods' with binding 'x' denied request: no",
            ),
        ),
        (
            "service account not yet there",
            refused(
                "pods \"pod-7d9-x\" is forbidden: error looking up service account apod-x/default: serviceaccount \"default\" not found",
            ),
        ),
        (
            "evicted, being replaced",
            Case {
                pods: vec![pod(json!({"phase": "Failed", "reason": "Evicted"}), Some("n1"))],
                was_ready: true,
                ..Case::default()
            },
        ),
    ]
}

#[test]
fn every_state_has_its_code_sentence_and_remedy() {
    let mut text = String::new();
    for (what, case) in table() {
        let judged = run(&case);
        let ready = if judged.ready { " (ready)" } else { "" };
        let again = judged
            .recheck
            .map(|after| format!(" (again in {} s)", after.as_secs()))
            .unwrap_or_default();
        text += &format!(
            "{what}\n  {}{ready}{again}\n  {}\n",
            judged.finding.code, judged.finding.message
        );
        if !judged.finding.remedy.is_empty() {
            text += &format!("  {}\n", judged.finding.remedy);
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn who_asks_for_root_where_it_is_not_allowed_is_told_so() {
    let text = "pods \"pod-7d9-x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsUser=0 (container \"web\" must not set runAsUser=0)";
    let spec = SPEC.replace("  resources:", "  user: {uid: 0}\n  resources:");
    let judged = run_spec(&spec, &refused(text));
    assert_eq!(judged.finding.code, apocryph_proto::outcome::Code::ImageRunsAsRoot);
    assert!(judged.finding.message.contains("`web`"), "{:?}", judged.finding);
}

/// A status as it stood before, from a case.
fn told(case: &Case) -> ApocryphPodStatus {
    let judged = run(case);
    tell(&apocryph_pod(SPEC), &judged, now())
}

#[test]
fn a_pull_that_backs_off_without_its_cause_is_told_as_before() {
    let before = told(&waiting("ErrImagePull", "registry.example/web:1: not found"));
    let backing_off = waiting("ImagePullBackOff", "Back-off pulling image \"registry.example/web:1\"");
    let judged = run(&Case {
        before: Some(before.clone()),
        ..backing_off
    });
    let mut object = apocryph_pod(SPEC);
    object.status = Some(before.clone());
    assert_eq!(tell(&object, &judged, now()), before, "nothing to write");
}

#[test]
fn a_container_that_ends_again_and_again_is_told_once() {
    let exited = json!({"terminated": {"exitCode": 3, "reason": "Error", "finishedAt": "2026-01-01T00:00:40Z"}});
    let states = [
        container(exited.clone(), json!({}), 0),
        container(
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}),
            exited.clone(),
            1,
        ),
        container(
            json!({"running": {"startedAt": "2026-01-01T00:00:59Z"}}),
            exited.clone(),
            2,
        ),
        container(exited.clone(), exited.clone(), 2),
        container(
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}}),
            exited,
            2,
        ),
    ];
    let told: Vec<ApocryphPodStatus> = states.iter().map(told).collect();
    assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:#?}");
}

#[test]
fn nothing_of_the_clusters_inside_is_told() {
    for (what, case) in table() {
        let judged = run(&case);
        let text = format!("{} {}", judged.finding.message, judged.finding.remedy);
        for inside in ["10.0.0.2", "198.51.100.1", "pod-1", "pod-7d9", "n1", "kubelet", "taint"] {
            assert!(!text.contains(inside), "{what}: {text}");
        }
    }
}

#[test]
fn since_is_when_the_reason_changed() {
    let mut object = apocryph_pod(SPEC);
    let first = told(&Case::default());
    object.status = Some(first.clone());
    set_now("2026-01-01T00:05:00Z");
    let later = tell(&object, &run_at("2026-01-01T00:05:00Z"), now());
    assert_eq!(later, first);
}

fn run_at(time: &str) -> Judgement {
    let judged = run(&Case::default());
    set_now(time);
    judged
}

#[test]
fn a_node_without_user_namespaces_is_told_of_a_pod_that_needs_them() {
    let node = |handlers: Value| json!({"metadata": {"name": "n1"}, "status": {"runtimeHandlers": handlers}});
    let with = json!([{"name": "", "features": {"userNamespaces": true}}]);
    let other = json!([{"name": "", "features": {"userNamespaces": false}}, {"name": "kata", "features": {"userNamespaces": true}}]);
    for (host_users, class, handlers, code) in [
        (json!(false), Value::Null, json!([]), "pod_refused"),
        (json!(false), Value::Null, other.clone(), "pod_refused"),
        (json!(false), json!("kata"), with.clone(), "pod_refused"),
        (json!(false), json!("kata"), other, "scheduled"),
        (json!(false), Value::Null, with, "scheduled"),
        // Of level restricted: it runs there like anywhere.
        (Value::Null, Value::Null, json!([]), "scheduled"),
    ] {
        let mut one = pod(json!({"phase": "Pending"}), Some("n1"));
        one["spec"]["hostUsers"] = host_users;
        one["spec"]["runtimeClassName"] = class;
        let case = Case {
            pods: vec![one],
            nodes: vec![node(handlers)],
            ..Case::default()
        };
        assert_eq!(run(&case).finding.code.as_str(), code, "{case:?}");
    }
}

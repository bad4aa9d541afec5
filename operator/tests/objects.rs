//! Small manifests in, every object out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has told its story"
)]

#[path = "pods_support/mod.rs"]
mod support;

use apocryph_provider::pods::{
    Dns, ExposureKind, Settings,
    objects::{self, Decided, Level, Objects, PullPolicy, secret},
    validate::validate,
};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde::Serialize;
use support::{apocryph_pod, settings};

const BASELINE: Decided = Decided {
    level: Level::Baseline,
    pull: PullPolicy::IfNotPresent,
};

const RESTRICTED: Decided = Decided {
    level: Level::Restricted,
    pull: PullPolicy::IfNotPresent,
};

const MINIMAL: &str = "
tag: 00000000000000aa
payment: {free: {table: open}}
containers:
- name: web
  image: docker.io/library/busybox:1.36
  resources: {cpuMillis: 100, memory: 134217728, ephemeralStorage: 268435456}
";

const FULL: &str = "
tag: 00000000000000aa
payment: {free: {table: open}}
secretName: NAME-00000000000000aa
containers:
- name: web
  image: ghcr.io/someone/web:2
  command: [/bin/web]
  args: [--listen, ':8080']
  workingDir: /srv
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: admin, port: 9000, targetPort: 9000}
  env: [{name: TOKEN}, {name: MODE}]
  volumeMounts:
  - {name: data, mountPath: /data}
  - {name: seed, mountPath: /seed, readOnly: true}
  resources: {cpuMillis: 1500, memory: 536870912, ephemeralStorage: 1073741824}
volumes:
- {name: data, size: 10737418240}
- {name: seed, size: 1073741824}
";

/// What `FULL` has not: containers beside each other, every kind of volume, UDP, users, credentials, replicas.
const WHOLE: &str = "
tag: 00000000000000aa
payment: {free: {table: open}}
secretName: NAME-00000000000000aa
pullSecret: true
fsGroup: 1002
replicas: 2
containers:
- name: web
  image: registry.example/web:2
  ports:
  - {name: dns, port: 53, targetPort: 5353}
  - {name: dns-udp, port: 53, targetPort: 5353, protocol: UDP}
  env: [{name: TOKEN}]
  volumeMounts:
  - {name: scratch, mountPath: /scratch}
  - {name: key, mountPath: /etc/web/key}
  - {name: shared, mountPath: /shared, readOnly: true}
  resources: {cpuMillis: 100, memory: 134217728, ephemeralStorage: 268435456}
- name: cache
  image: registry.example/cache:1
  user: {uid: 1000, gid: 1001}
  volumeMounts:
  - {name: scratch, mountPath: /scratch}
  resources: {cpuMillis: 50, memory: 67108864, ephemeralStorage: 134217728}
volumes:
- {name: scratch, type: Empty, size: 1048576}
- {name: key, type: Secret}
- {name: shared, accessMode: ReadWriteMany, size: 1073741824}
";

fn built(spec: &str, settings: &Settings, decided: Decided) -> String {
    let spec = spec.replace("NAME", support::name().as_str());
    let pod = validate(&apocryph_pod(&spec), settings).unwrap();
    let Objects {
        namespace,
        role_binding,
        resource_quota,
        limit_range,
        network_policy,
        claims,
        service,
        deployment,
    } = objects::build(&pod, settings, decided);
    let mut all = vec![
        yaml(&namespace),
        yaml(&role_binding),
        yaml(&resource_quota),
        yaml(&limit_range),
        yaml(&network_policy),
    ];
    all.extend(claims.iter().map(yaml));
    all.extend(service.iter().map(yaml));
    all.push(yaml(&deployment));
    if let Some(name) = &pod.secret {
        let mut source = Secret::default();
        source.metadata.name = Some(name.clone());
        source.data = Some(
            [
                ("env.web.TOKEN", "t"),
                ("env.web.MODE", "m"),
                ("env.other.TOKEN", "not this one"),
                ("volume.key", "k"),
                (".dockerconfigjson", "{}"),
            ]
            .map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
            .into(),
        );
        all.push(yaml(&secret::copy(&pod, &source).unwrap()));
    }
    all.join("---\n")
}

fn yaml<T: Serialize>(object: &T) -> String {
    let value = serde_json::to_value(object).unwrap();
    serde_saphyr::to_string(&value).unwrap()
}

#[test]
fn minimal() {
    insta::assert_snapshot!(built(MINIMAL, &settings(), BASELINE));
}

#[test]
fn everything_on_node_ports() {
    insta::assert_snapshot!(built(FULL, &settings(), BASELINE));
}

#[test]
fn everything_on_cluster_ips_and_restricted() {
    let mut settings = settings();
    settings.exposure.kind = ExposureKind::ClusterIp;
    insta::assert_snapshot!(built(FULL, &settings, RESTRICTED));
}

#[test]
fn several_containers_replicas_and_every_kind_of_volume() {
    insta::assert_snapshot!(built(WHOLE, &settings(), BASELINE));
}

#[test]
fn what_several_nodes_write_is_offered_or_refused() {
    let spec = WHOLE.replace("NAME", support::name().as_str());
    let mut settings = settings();
    settings.shared_storage_class = None;
    let invalid = validate(&apocryph_pod(&spec), &settings).unwrap_err();
    assert_eq!(invalid.code, apocryph_proto::outcome::Code::StorageNotOffered);
    assert!(invalid.remedy.contains("storage.sharedClass"), "{}", invalid.remedy);
}

#[test]
fn runtime_class_and_node_selector() {
    let mut settings = settings();
    settings.runtime_class = Some("gvisor".to_owned());
    settings.node_selector = [("tenants".to_owned(), "yes".to_owned())].into();
    insta::assert_snapshot!(built(MINIMAL, &settings, BASELINE));
}

#[test]
fn where_a_kubelet_is_old_images_are_always_pulled() {
    let old = Decided {
        pull: PullPolicy::Always,
        ..BASELINE
    };
    let lines = built(MINIMAL, &settings(), old);
    let told: Vec<&str> = lines
        .lines()
        .filter(|line| line.to_lowercase().contains("pull"))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn dns_by_address_and_nothing_denied_beside() {
    let mut settings = settings();
    settings.dns = Dns::Addresses(vec!["10.96.0.10".to_owned(), "fd00::a/128".to_owned()]);
    settings.egress_deny.clear();
    let pod = validate(&apocryph_pod(MINIMAL), &settings).unwrap();
    insta::assert_snapshot!(yaml(&objects::build(&pod, &settings, BASELINE).network_policy));
}

#[test]
fn an_admins_own_pod_with_two_ports_to_one() {
    let spec = "
payment: {free: {}}
containers:
- name: web
  image: nginx
  ports: [{name: a, port: 80, targetPort: 8080}, {name: b, port: 81, targetPort: 8080}]
  resources: {cpuMillis: 1000, memory: 134217728, ephemeralStorage: 268435456}
";
    insta::assert_snapshot!(built(spec, &settings(), BASELINE));
}

#[test]
fn the_hash_changes_with_the_content_and_with_nothing_else() {
    let hash = |spec: &str| {
        let pod = validate(&apocryph_pod(spec), &settings()).unwrap();
        let deployment = objects::build(&pod, &settings(), BASELINE).deployment;
        deployment.metadata.annotations.unwrap()["apocryph.network/hash"].clone()
    };
    assert_eq!(hash(MINIMAL), hash(MINIMAL));
    assert_ne!(hash(MINIMAL), hash(&MINIMAL.replace("1.36", "1.37")));
}

#[test]
fn one_digest_for_the_same_objects_and_another_for_each_that_differs() {
    let digest = |spec: &str, decided| {
        let spec = spec.replace("NAME", support::name().as_str());
        let pod = validate(&apocryph_pod(&spec), &settings()).unwrap();
        objects::build(&pod, &settings(), decided).digest().unwrap()
    };
    let digests = [
        digest(MINIMAL, BASELINE),
        digest(MINIMAL, RESTRICTED),
        digest(&MINIMAL.replace("1.36", "1.37"), BASELINE),
        digest(FULL, BASELINE),
        // The secrets' fingerprint.
        digest(&FULL.replace("00000000000000aa", "00000000000000ab"), BASELINE),
        digest(&FULL.replace("size: 1073741824", "size: 1073741825"), BASELINE),
    ];
    assert_eq!(digest(MINIMAL, BASELINE), digests[0]);
    let different: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(different.len(), digests.len());
}

#[test]
fn a_missing_value_is_named() {
    let spec = FULL.replace("NAME", support::name().as_str());
    let pod = validate(&apocryph_pod(&spec), &settings()).unwrap();
    assert_eq!(secret::copy(&pod, &Secret::default()), Err("env.web.TOKEN".to_owned()));
    let spec = WHOLE
        .replace("NAME", support::name().as_str())
        .replace("  env: [{name: TOKEN}]\n", "");
    let pod = validate(&apocryph_pod(&spec), &settings()).unwrap();
    assert_eq!(secret::copy(&pod, &Secret::default()), Err("volume.key".to_owned()));
    let spec = spec
        .replace("- {name: key, type: Secret}\n", "")
        .replace("  - {name: key, mountPath: /etc/web/key}\n", "");
    let pod = validate(&apocryph_pod(&spec), &settings()).unwrap();
    assert_eq!(
        secret::copy(&pod, &Secret::default()),
        Err(".dockerconfigjson".to_owned())
    );
}

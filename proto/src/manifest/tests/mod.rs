//! Stories about manifests; the table of single faults is in `cases`, what holds for any input in `properties`.

mod cases;
mod properties;

use super::*;
use crate::{json, limits, v0::pod};
use cases::CASES;

const MINIMAL: &str = r#"{"containers": [{"name": "app", "image": {"url": "docker.io/library/nginx:1.29"}}]}"#;

const FULL: &str = r#"
containers:
- name: app
  image: {url: "registry.example:5000/team/app:v1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
  command: [/bin/app]
  args: [--verbose, ""]
  workingDir: /srv
  ports:
  - {port: 80, targetPort: 8080, name: http}
  - {targetPort: 9000}
  - {port: 443}
  env: {GREETING: s3cr3t-value, _path.name-x: ""}
  volumes:
  - {name: data, mountPath: /var/lib/data}
  - {name: data, mountPath: /backup, readOnly: true}
  resourceRequests:
  - {resource: cpu, amountMillis: 250}
  - {resource: ram, amountMebi: 64}
  - {resource: ephemeral-storage, amountGibi: 1}
- name: cache
  image: {url: registry.example:5000/team/cache, pullSecret: {username: robot, password: s3cr3t-password}}
  user: {uid: 1000, gid: 1001}
  ports:
  - {port: 443, protocol: UDP}
  volumes:
  - {name: scratch, mountPath: /scratch}
  - {name: token, mountPath: /run/token}
volumes:
- name: data
  type: VOLUME_FILESYSTEM
  filesystem: {resourceRequests: [{resource: storage, amountGibi: 2}]}
- name: scratch
- name: token
  type: VOLUME_SECRET
  secret: {contentsString: s3cr3t-contents}
replicas: {min: 1, max: 1}
fsGroup: 1002
"#;

fn read(text: &str) -> pod::Pod {
    json::pod_from_yaml(text).unwrap()
}

/// The full manifest with one part of its text replaced.
fn full_with(from: &str, to: &str) -> pod::Pod {
    assert!(FULL.contains(from), "{from}");
    read(&FULL.replacen(from, to, 1))
}

#[test]
fn a_minimal_manifest_leaves_everything_else_to_the_image_and_the_provider() {
    let manifest = Manifest::parse(&read(MINIMAL)).unwrap();
    let [container] = manifest.containers() else { panic!() };
    assert_eq!(container.name, "app");
    assert_eq!(container.image, "docker.io/library/nginx:1.29");
    assert_eq!(
        (&container.working_dir, container.requests),
        (&None, Requests::default())
    );
    assert!(container.command.is_empty() && container.args.is_empty() && container.ports.is_empty());
    assert_eq!((manifest.replicas(), manifest.volumes()), (1, &[][..]));
}

#[test]
fn a_full_manifest_is_read_with_its_defaults_filled_in() {
    insta::assert_debug_snapshot!(Manifest::parse(&read(FULL)).unwrap());
}

#[test]
fn no_debug_output_shows_an_environment_value() {
    let pod = read(FULL);
    let manifest = Manifest::parse(&pod).unwrap();
    assert_eq!(manifest.containers()[0].env["GREETING"].expose(), "s3cr3t-value");
    for shown in [format!("{pod:?}"), format!("{pod:#?}"), format!("{manifest:?}")] {
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(shown.contains("GREETING"), "{shown}");
    }
}

/// What is printed, with the secrets that are left out in it.
fn refilled(printed: &pod::Pod, given: &pod::Pod) -> pod::Pod {
    let mut pod = printed.clone();
    for (container, given) in pod.containers.iter_mut().zip(&given.containers) {
        container.env.clone_from(&given.env);
        if let (Some(image), Some(given)) = (&mut container.image, &given.image) {
            image.pull_secret.clone_from(&given.pull_secret);
        }
    }
    for (volume, given) in pod.volumes.iter_mut().zip(&given.volumes) {
        if let Some(pod::volume::Configuration::Secret(_)) = given.configuration {
            volume.configuration.clone_from(&given.configuration);
        }
    }
    pod
}

#[test]
fn what_was_admitted_is_printed_without_secrets_and_reads_back_the_same() {
    let given = read(FULL);
    let manifest = Manifest::parse(&given).unwrap();
    let requests = Requests {
        cpu_millis: Some(250),
        memory: Some(64 << 20),
        ephemeral_storage: Some(1 << 30),
    };
    let admitted = manifest.to_pod(&[requests], None);
    assert!(admitted.containers[0].env.values().all(String::is_empty));
    assert_eq!(admitted.containers[0].env.len(), 2);
    assert!(!json::to_yaml(&admitted).unwrap().contains("s3cr3t"));
    let again = Manifest::parse(&refilled(&admitted, &given)).unwrap();
    assert_eq!(again, manifest);
    // Printed once more it says the same.
    assert_eq!(again.to_pod(&[], None), admitted);
    let sized = manifest.to_pod(&[], Some(3 << 20));
    assert_eq!(
        Manifest::parse(&refilled(&sized, &given)).unwrap().volumes()[1].kind,
        VolumeKind::Empty { size: Some(3 << 20) }
    );
    assert_eq!(
        json::pod_from_yaml(&json::to_yaml(&admitted).unwrap()).unwrap(),
        admitted
    );
}

fn assert_invalid(pod: &pod::Pod, code: Code, field: &str, words: &str) {
    let invalid = Manifest::parse(pod).expect_err(field);
    assert_eq!((invalid.code, invalid.field.as_str()), (code, field), "{invalid}");
    assert!(invalid.message.contains(words), "{invalid} does not say {words}");
    assert!(!invalid.message.contains("s3cr3t"), "{invalid}");
}

#[test]
fn each_rule_refuses_with_its_field_and_its_reason() {
    for (from, to, code, field, words) in CASES {
        let pod = full_with(from, to);
        assert_invalid(&pod, *code, field, words);
    }
}

#[test]
fn no_container_is_invalid() {
    assert_invalid(
        &pod::Pod::default(),
        Code::InvalidManifest,
        "containers",
        "at least one",
    );
}

#[test]
fn what_is_allowed_at_the_edge_of_a_rule_passes() {
    for (from, to) in [
        ("min: 1, max: 1", "min: 0"),
        ("name: http", "name: abcdefghijklmno"),
        ("port: 80, targetPort: 8080", "port: 65535, targetPort: 1"),
        (
            "name: app",
            "name: aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg",
        ),
        ("amountMillis: 250", "amount: 1024"),
        ("amountMillis: 250", "amountKibi: 1"),
        ("amountMebi: 64", "amountMillis: 16777216000"),
        ("amountGibi: 1}", "amountGibi: 16384}"),
        ("amountGibi: 2", "amountGibi: 65536"),
        ("workingDir: /srv", "workingDir: /"),
        ("/backup", "/var/lib/data/..x"),
        ("registry.example:5000/team/app:v1", "nginx"),
        ("registry.example:5000/team/app:v1", "localhost/a__b/c.d-e"),
        ("port: 80,", "port: 80, protocol: TCP,"),
        ("type: VOLUME_FILESYSTEM", "type: 1\n  accessMode: VOLUME_RW_ONE"),
        ("type: VOLUME_FILESYSTEM", "type: 1\n  accessMode: VOLUME_RW_MANY"),
        ("port: 80,", "port: 80, protocol: UDP,"),
        ("uid: 1000, gid: 1001", ""),
        ("uid: 1000, gid: 1001", "uid: 0"),
        ("uid: 1000, gid: 1001", "uid: 65535, gid: 65535"),
        ("fsGroup: 1002", "fsGroup: 0"),
        ("team/cache", "team/app-two"),
        ("- name: scratch\n", "- name: scratch\n  filesystem: {}\n"),
        (
            "- name: scratch\n",
            "- name: scratch\n  filesystem: {resourceRequests: [{resource: ephemeral-storage, amountMebi: 1}]}\n",
        ),
        ("{contentsString: s3cr3t-contents}", "{contents: AP8=}"),
    ] {
        let parsed = Manifest::parse(&full_with(from, to));
        assert!(parsed.is_ok(), "{to}: {parsed:?}");
    }
}

#[test]
fn lists_are_bounded() {
    let longest = |change: &dyn Fn(&mut pod::Container, usize), max: usize, field: &str| {
        let mut pod = read(MINIMAL);
        change(&mut pod.containers[0], max);
        assert!(Manifest::parse(&pod).is_ok(), "{field}: {:?}", Manifest::parse(&pod));
        change(&mut pod.containers[0], max + 1);
        assert_invalid(&pod, Code::InvalidManifest, field, "at most");
    };
    longest(
        &|c, n| c.command = vec!["x".into(); n],
        limits::WORDS_MAX,
        "containers[0].command[64]",
    );
    longest(
        &|c, n| c.args = vec!["x".into(); n],
        limits::WORDS_MAX,
        "containers[0].args[64]",
    );
    longest(
        &|c, n| c.args = vec!["x".repeat(n)],
        limits::WORD_MAX,
        "containers[0].args[0]",
    );
    longest(
        &|c, n| c.working_dir = format!("/{}", "x".repeat(n - 1)),
        limits::PATH_MAX,
        "containers[0].workingDir",
    );
    let port = |n| pod::container::Port {
        port: n as u64 + 1,
        ..Default::default()
    };
    longest(
        &|c, n| c.ports = (0..n).map(port).collect(),
        limits::PORTS_MAX,
        "containers[0].ports[16]",
    );
    longest(
        &|c, n| c.env = (0..n).map(|n| (format!("V{n}"), String::new())).collect(),
        limits::ENV_MAX,
        "containers[0].env",
    );
    longest(
        &|c, n| c.env = [("V".repeat(n), String::new())].into(),
        limits::ENV_NAME_MAX,
        "containers[0].env",
    );
    let image = |n: usize| pod::Image {
        url: "x".repeat(n),
        ..Default::default()
    };
    longest(
        &|c, n| c.image = Some(image(n)),
        limits::IMAGE_MAX,
        "containers[0].image.url",
    );
}

#[test]
fn containers_are_bounded_and_share_names_ports_and_nothing_else() {
    let mut pod = read(MINIMAL);
    let one = pod.containers[0].clone();
    let named = |n: usize| pod::Container {
        name: format!("c{n}"),
        ports: vec![pod::container::Port {
            port: n as u64 + 1,
            ..Default::default()
        }],
        ..one.clone()
    };
    pod.containers = (0..limits::CONTAINERS_MAX).map(named).collect();
    assert_eq!(Manifest::parse(&pod).unwrap().containers().len(), 16);
    pod.containers.push(named(99));
    assert_invalid(&pod, Code::InvalidManifest, "containers[16]", "at most 16");
    pod.containers.truncate(2);
    pod.containers[1].ports[0].port = 1;
    assert_invalid(&pod, Code::InvalidManifest, "containers[1].ports[0].port", "port 1");
    pod.containers[1].ports[0].protocol = pod::container::Protocol::Udp.into();
    let manifest = Manifest::parse(&pod).unwrap();
    assert_eq!(manifest.containers()[1].ports[0].name, "port-1-udp");
}

#[test]
fn a_repository_is_named_as_the_kubelet_names_it() {
    for (image, repository) in [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1@sha256:00", "docker.io/library/nginx"),
        ("team/app:1", "docker.io/team/app"),
        ("index.docker.io/team/app", "docker.io/team/app"),
        ("localhost/app", "localhost/app"),
        ("registry.example:5000/a/b:v1", "registry.example:5000/a/b"),
        ("host:5000/a", "host:5000/a"),
    ] {
        assert_eq!(super::repository(image), repository, "{image}");
    }
}

#[test]
fn volumes_and_mounts_are_bounded() {
    let mut pod = full_with("{min: 1, max: 1}", "{}");
    pod.containers.truncate(1);
    let volume = pod.volumes[0].clone();
    let named = |n: usize| pod::Volume {
        name: format!("v{n}"),
        ..volume.clone()
    };
    let mount = |n: usize| pod::container::VolumeMount {
        name: "v0".into(),
        mount_path: format!("/m{n}"),
        read_only: false,
    };
    pod.volumes = (0..limits::VOLUMES_MAX).map(named).collect();
    pod.containers[0].volumes = (0..limits::MOUNTS_MAX).map(mount).collect();
    assert!(Manifest::parse(&pod).is_ok());
    pod.containers[0].volumes.push(mount(99));
    assert_invalid(&pod, Code::InvalidManifest, "containers[0].volumes[16]", "at most 16");
    pod.volumes.push(named(99));
    pod.containers[0].volumes.pop();
    assert_invalid(&pod, Code::InvalidManifest, "volumes[16]", "at most 16");
    pod.volumes.truncate(2);
    pod.volumes[1].name = "v0".into();
    assert_invalid(&pod, Code::InvalidManifest, "volumes[1].name", "unique");
}

#[test]
fn secrets_and_the_rest_are_bounded_apart() {
    let mut pod = read(MINIMAL);
    // Eight values of 96 KiB.
    pod.containers[0].env = (0..8).map(|n| (format!("V{n}"), "s3cr3t".repeat(16 << 10))).collect();
    assert!(Manifest::parse(&pod).is_ok());
    pod.containers[0].env.insert("W".into(), "x".into());
    assert_invalid(&pod, Code::InvalidManifest, "", "have 786433 bytes");
    assert_eq!(Manifest::parse(&pod).unwrap_err().field_in_request(), "pod");

    // Contents and credentials count as well.
    let mut pod = read(FULL);
    let values = "s3cr3t-value".len() + "robots3cr3t-password".len();
    let of_length = |length| pod::volume::SecretConfig {
        contents: vec![0; length],
        ..Default::default()
    };
    let most = of_length(limits::SECRETS_MAX - values);
    pod.volumes[2].configuration = Some(pod::volume::Configuration::Secret(most));
    assert!(Manifest::parse(&pod).is_ok());
    let more = of_length(limits::SECRETS_MAX - values + 1);
    pod.volumes[2].configuration = Some(pod::volume::Configuration::Secret(more));
    assert_invalid(&pod, Code::InvalidManifest, "", "have 786433 bytes");

    // 63 words below, 64 above; the environment does not count.
    let mut pod = read(MINIMAL);
    pod.containers[0].env = [("A".into(), "x".repeat(100_000))].into();
    pod.containers[0].command = vec!["x".repeat(limits::WORD_MAX); 63];
    assert!(Manifest::parse(&pod).is_ok());
    pod.containers[0].command.push("x".repeat(limits::WORD_MAX));
    assert_invalid(&pod, Code::InvalidManifest, "", "without its secrets");
}

#[test]
fn one_variable_is_no_longer_than_linux_takes() {
    let mut pod = read(MINIMAL);
    pod.containers[0].env = [("NAME".into(), "x".repeat(limits::ENV_VARIABLE_MAX - 5))].into();
    assert!(Manifest::parse(&pod).is_ok());
    pod.containers[0].env = [("NAME".into(), "x".repeat(limits::ENV_VARIABLE_MAX - 4))].into();
    assert_invalid(
        &pod,
        Code::InvalidManifest,
        "containers[0].env[NAME]",
        "131072 bytes; at most 131071",
    );
    let invalid = Manifest::parse(&pod).unwrap_err();
    assert_eq!(invalid.field_in_request(), "pod.containers[0].env[NAME]");
}

#[test]
fn the_largest_manifest_with_the_largest_secrets_fits_into_a_message() {
    // What wraps them: lengths, signature, peer ids.
    const { assert!(limits::MANIFEST_MAX + limits::SECRETS_MAX + 2048 <= limits::MESSAGE_MAX) }
}

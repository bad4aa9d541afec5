use proptest::{collection::vec, option, prelude::*};
use regex::Regex;

use super::*;
use crate::{
    json, limits,
    v0::pod::{self, Resource, resource::Quantity as Amount},
};

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
volumes:
- name: data
  type: VOLUME_FILESYSTEM
  filesystem: {resourceRequests: [{resource: storage, amountGibi: 2}]}
replicas: {min: 1, max: 1}
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
    assert_eq!((&container.working_dir, container.requests), (&None, Requests::default()));
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

#[test]
fn what_was_admitted_is_printed_without_values_and_reads_back_the_same() {
    let manifest = Manifest::parse(&read(FULL)).unwrap();
    let admitted = manifest.to_pod(&[Requests { cpu_millis: Some(250), memory: Some(64 << 20), ephemeral_storage: Some(1 << 30) }]);
    assert!(admitted.containers[0].env.values().all(String::is_empty));
    assert_eq!(admitted.containers[0].env.len(), 2);
    let mut again = Manifest::parse(&admitted).unwrap();
    again.containers[0].env.clone_from(&manifest.containers[0].env);
    assert_eq!(again, manifest);
    // Printed once more it says the same.
    assert_eq!(again.to_pod(&[]), admitted);
    assert_eq!(json::pod_from_yaml(&json::to_yaml(&admitted).unwrap()).unwrap(), admitted);
}

fn assert_invalid(pod: &pod::Pod, code: Code, field: &str, words: &str) {
    let invalid = Manifest::parse(pod).expect_err(field);
    assert_eq!((invalid.code, invalid.field.as_str()), (code, field), "{invalid}");
    assert!(invalid.message.contains(words), "{invalid} does not say {words}");
    assert!(!invalid.message.contains("s3cr3t"), "{invalid}");
}

/// (part of the full manifest, what stands there instead, code, field, words of the message)
type Case = (&'static str, &'static str, Code, &'static str, &'static str);

const CASES: &[Case] = {
    use Code::{InvalidManifest as Bad, NotServed as No, ScalingNotServed as NoScaling};
    &[
        ("name: app", "name: App", Bad, "containers[0].name", "`App` is not a DNS label"),
        ("name: app", "name: app-", Bad, "containers[0].name", "DNS label"),
        ("name: app", "name: a.b", Bad, "containers[0].name", "DNS label"),
        ("name: app", "name: ''", Bad, "containers[0].name", "`` is not"),
        ("name: app", "name: aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg", Bad, "containers[0].name", "63"),
        ("registry.example:5000/team/app:v1", "Team/app", Bad, "containers[0].image.url", "lowercase"),
        ("registry.example:5000/team/app:v1", "a b", Bad, "containers[0].image.url", "image reference"),
        ("registry.example:5000/team/app:v1", "x:", Bad, "containers[0].image.url", "tag"),
        ("registry.example:5000/team/app:v1", "-x.example/a", Bad, "containers[0].image.url", "domain"),
        ("@sha256:01", "@sha256:0", Bad, "containers[0].image.url", "64 lowercase hex"),
        ("@sha256:01", "@sha512:01", Bad, "containers[0].image.url", "sha256"),
        ("workingDir: /srv", "workingDir: srv", Bad, "containers[0].workingDir", "not absolute"),
        ("[/bin/app]", "[\"a\\0\"]", Bad, "containers[0].command[0]", "NUL"),
        ("[--verbose, \"\"]", "[a, \"\\0\"]", Bad, "containers[0].args[1]", "NUL"),
        ("port: 80,", "port: 65536,", Bad, "containers[0].ports[0].port", "65536 is not a port"),
        ("targetPort: 8080", "targetPort: 70000", Bad, "containers[0].ports[0].targetPort", "1 to 65535"),
        ("{targetPort: 9000}", "{name: x}", Bad, "containers[0].ports[1].port", "write port, targetPort or both"),
        ("{targetPort: 9000}", "{targetPort: 80}", Bad, "containers[0].ports[1].port", "another port of the pod has port 80"),
        ("{targetPort: 9000}", "{port: 9, targetPort: 8080}", Bad, "containers[0].ports[1].targetPort", "8080"),
        ("{targetPort: 9000}", "{port: 9, name: http}", Bad, "containers[0].ports[1].name", "`http`"),
        ("{targetPort: 9000}", "{port: 9, name: port-443}", Bad, "containers[0].ports[2].name", "`port-443`"),
        ("name: http", "name: '8080'", Bad, "containers[0].ports[0].name", "at least one letter"),
        ("name: http", "name: a--b", Bad, "containers[0].ports[0].name", "single `-`"),
        ("name: http", "name: abcdefghijklmnop", Bad, "containers[0].ports[0].name", "15"),
        ("name: http", "name: HTTP", Bad, "containers[0].ports[0].name", "lowercase"),
        ("GREETING", "1GREETING", Bad, "containers[0].env", "`1GREETING` is not a variable's name"),
        ("GREETING", "A=B", Bad, "containers[0].env", "`A=B`"),
        ("GREETING", "''", Bad, "containers[0].env", "``"),
        ("s3cr3t-value", "\"s3cr3t\\0\"", Bad, "containers[0].env[GREETING]", "NUL"),
        ("{name: data, mountPath: /backup", "{name: other, mountPath: /backup", Bad, "containers[0].volumes[1].name", "no volume `other`"),
        ("/backup", "backup", Bad, "containers[0].volumes[1].mountPath", "absolute"),
        ("/backup", "/", Bad, "containers[0].volumes[1].mountPath", "below `/`"),
        ("/backup", "/a/../b", Bad, "containers[0].volumes[1].mountPath", "`..`"),
        ("/backup", "/a/./b", Bad, "containers[0].volumes[1].mountPath", "`.`"),
        ("/backup", "/a//b", Bad, "containers[0].volumes[1].mountPath", "empty parts"),
        ("/backup", "/a/", Bad, "containers[0].volumes[1].mountPath", "at the end"),
        ("/backup", "'/a:b'", Bad, "containers[0].volumes[1].mountPath", "`:`"),
        ("/backup", "/var/lib/data", Bad, "containers[0].volumes[1].mountPath", "already"),
        ("resource: cpu", "resource: CPU", Bad, "containers[0].resourceRequests[0].resource", "known are cpu"),
        ("resource: cpu", "resource: nvidia.com/gpu", Bad, "containers[0].resourceRequests[0].resource", "external-ip"),
        ("resource: cpu", "resource: gpu", No, "containers[0].resourceRequests[0].resource", "`gpu`"),
        ("resource: cpu", "resource: external-ip", No, "containers[0].resourceRequests[0].resource", "`external-ip`"),
        ("resource: cpu", "resource: storage", Bad, "containers[0].resourceRequests[0].amountMillis", "whole number of bytes"),
        ("resource: cpu, amountMillis: 250", "resource: storage, amountGibi: 1", Bad, "containers[0].resourceRequests[0].resource", "ephemeral-storage"),
        ("{resource: cpu, amountMillis: 250}", "{resource: memory, amountMebi: 64}", Bad, "containers[0].resourceRequests[1].resource", "`memory` is asked for twice"),
        ("{resource: cpu, amountMillis: 250}", "{resource: cpu}", Bad, "containers[0].resourceRequests[0]", "no amount of cpu"),
        ("{resource: cpu, amountMillis: 250}", "{amount: 1}", Bad, "containers[0].resourceRequests[0].resource", "no resource is named"),
        ("amountMillis: 250", "amountMillis: 0", Bad, "containers[0].resourceRequests[0].amountMillis", "at least 1"),
        ("amountMillis: 250", "amount: 1025", Bad, "containers[0].resourceRequests[0].amount", "1025000 thousandths of a core"),
        ("amountMillis: 250", "amount: 18446744073709551615", Bad, "containers[0].resourceRequests[0].amount", "more than can be counted"),
        ("amountMillis: 250", "amountGibi: 1", Bad, "containers[0].resourceRequests[0].amountGibi", "out of bounds"),
        ("amountMebi: 64", "amountMebi: 15", Bad, "containers[0].resourceRequests[1].amountMebi", "at least 16777216"),
        ("amountMebi: 64", "amountMillis: 67108864001", Bad, "containers[0].resourceRequests[1].amountMillis", "multiple of 1000"),
        ("amountGibi: 1}", "amountGibi: 16385}", Bad, "containers[0].resourceRequests[2].amountGibi", "out of bounds"),
        ("- name: data", "- name: Data", Bad, "volumes[0].name", "DNS label"),
        ("  filesystem: {resourceRequests: [{resource: storage, amountGibi: 2}]}", "", Bad, "volumes[0].filesystem", "needs its size"),
        ("[{resource: storage, amountGibi: 2}]", "[]", Bad, "volumes[0].filesystem.resourceRequests", "`storage`"),
        ("[{resource: storage, amountGibi: 2}]", "[{resource: storage, amount: 1048576}, {resource: cpu, amount: 1}]", Bad, "volumes[0].filesystem.resourceRequests[1]", "exactly one"),
        ("resource: storage", "resource: memory", Bad, "volumes[0].filesystem.resourceRequests[0].resource", "its one request is `storage`"),
        ("amountGibi: 2", "amount: 1048575", Bad, "volumes[0].filesystem.resourceRequests[0].amount", "at least 1048576"),
        ("amountGibi: 2", "amountGibi: 65537", Bad, "volumes[0].filesystem.resourceRequests[0].amountGibi", "out of bounds"),
        ("type: VOLUME_FILESYSTEM", "accessMode: 0", No, "volumes[0].type", "VOLUME_EMPTY"),
        ("type: VOLUME_FILESYSTEM", "type: 1\n  accessMode: VOLUME_RW_MANY", No, "volumes[0].accessMode", "VOLUME_RW_ONE"),
        ("min: 1, max: 1", "min: 2", No, "replicas.min", "2 replicas"),
        ("min: 1, max: 1", "max: 2", NoScaling, "replicas.max", "scaling"),
        ("min: 1, max: 1", "min: 1, targetPendingRequests: 5", NoScaling, "replicas.targetPendingRequests", "scaling"),
        ("port: 80,", "port: 80, protocol: UDP,", No, "containers[0].ports[0].protocol", "TCP"),
        ("port: 80,", "port: 80, hostIP: 192.0.2.1,", No, "containers[0].ports[0].hostIP", "status"),
        ("port: 80,", "port: 80, hostTcpPort: 0,", No, "containers[0].ports[0].hostTcpPort", "host"),
        ("port: 80,", "port: 80, hostHttpHost: a.example,", No, "containers[0].ports[0].hostHttpHost", "HTTP"),
        ("- name: app", "- user: {uid: 0}\n  name: app", No, "containers[0].user", "image"),
        ("replicas:", "fsGroup: 0\nreplicas:", No, "fsGroup", "fsGroup"),
        ("replicas:", "requirements: {}\nreplicas:", No, "requirements", "node"),
        ("volumes:\n- name: data", "\n- name: second\nvolumes:\n- name: data", No, "containers[1]", "one container"),
    ]
};

#[test]
fn each_rule_refuses_with_its_field_and_its_reason() {
    for (from, to, code, field, words) in CASES {
        let pod = full_with(from, to);
        assert_invalid(&pod, *code, field, words);
    }
}

#[test]
fn no_container_is_invalid() {
    assert_invalid(&pod::Pod::default(), Code::InvalidManifest, "containers", "exactly one");
}

#[test]
fn what_is_allowed_at_the_edge_of_a_rule_passes() {
    for (from, to) in [
        ("min: 1, max: 1", "min: 0"),
        ("name: http", "name: abcdefghijklmno"),
        ("port: 80, targetPort: 8080", "port: 65535, targetPort: 1"),
        ("name: app", "name: aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"),
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
    longest(&|c, n| c.command = vec!["x".into(); n], limits::WORDS_MAX, "containers[0].command[64]");
    longest(&|c, n| c.args = vec!["x".into(); n], limits::WORDS_MAX, "containers[0].args[64]");
    longest(&|c, n| c.args = vec!["x".repeat(n)], limits::WORD_MAX, "containers[0].args[0]");
    longest(&|c, n| c.working_dir = format!("/{}", "x".repeat(n - 1)), limits::PATH_MAX, "containers[0].workingDir");
    let port = |n| pod::container::Port { port: n as u64 + 1, ..Default::default() };
    longest(&|c, n| c.ports = (0..n).map(port).collect(), limits::PORTS_MAX, "containers[0].ports[16]");
    longest(&|c, n| c.env = (0..n).map(|n| (format!("V{n}"), String::new())).collect(), limits::ENV_MAX, "containers[0].env");
    longest(&|c, n| c.env = [("V".repeat(n), String::new())].into(), limits::ENV_NAME_MAX, "containers[0].env");
    let image = |n: usize| pod::Image { url: "x".repeat(n), ..Default::default() };
    longest(&|c, n| c.image = Some(image(n)), limits::IMAGE_MAX, "containers[0].image.url");
}

#[test]
fn volumes_and_mounts_are_bounded() {
    let mut pod = full_with("{min: 1, max: 1}", "{}");
    let volume = pod.volumes[0].clone();
    let named = |n: usize| pod::Volume { name: format!("v{n}"), ..volume.clone() };
    let mount = |n: usize| pod::container::VolumeMount { name: "v0".into(), mount_path: format!("/m{n}"), read_only: false };
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
    let half = "s3cr3t".repeat(limits::SECRETS_MAX / 2 / 6);
    pod.containers[0].env = [("A".into(), half.clone()), ("B".into(), half)].into();
    assert!(Manifest::parse(&pod).is_ok());
    pod.containers[0].env.insert("C".into(), "x".into());
    assert_invalid(&pod, Code::RequestTooLarge, "", "786433 bytes");

    // 63 words below, 64 above; the environment does not count.
    let mut pod = read(MINIMAL);
    pod.containers[0].env = [("A".into(), "x".repeat(100_000))].into();
    pod.containers[0].command = vec!["x".repeat(limits::WORD_MAX); 63];
    assert!(Manifest::parse(&pod).is_ok());
    pod.containers[0].command.push("x".repeat(limits::WORD_MAX));
    assert_invalid(&pod, Code::RequestTooLarge, "", "without environment values");
}

#[test]
fn the_largest_manifest_with_the_largest_secrets_fits_into_a_message() {
    // What wraps them: lengths, signature, peer ids.
    const { assert!(limits::MANIFEST_MAX + limits::SECRETS_MAX + 2048 <= limits::MESSAGE_MAX) }
}

// ---- quantities

fn amount() -> impl Strategy<Value = Amount> {
    let number = || prop_oneof![any::<u64>(), 0..2_000_000u64, (0..64u32).prop_map(|bit| 1 << bit)];
    prop_oneof![
        number().prop_map(Amount::Amount),
        number().prop_map(Amount::AmountMillis),
        number().prop_map(Amount::AmountKibi),
        number().prop_map(Amount::AmountMebi),
        number().prop_map(Amount::AmountGibi),
    ]
}

/// The same in arithmetic that cannot overflow: thousandths of the resource's unit.
fn thousandths(amount: Amount) -> u128 {
    match amount {
        Amount::Amount(n) => u128::from(n) * 1000,
        Amount::AmountMillis(n) => u128::from(n),
        Amount::AmountKibi(n) => u128::from(n) * 1000 * 1024,
        Amount::AmountMebi(n) => u128::from(n) * 1000 * 1024 * 1024,
        Amount::AmountGibi(n) => u128::from(n) * 1000 * 1024 * 1024 * 1024,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn quantities_are_exact_or_refused(
        amount in amount(),
        name in prop::sample::select(vec!["cpu", "memory", "ram", "storage", "ephemeral-storage"]),
    ) {
        let resource = Resource { resource: name.into(), quantity: Some(amount) };
        let exact = thousandths(amount);
        let expected = match name {
            "cpu" => u64::try_from(exact).ok(),
            _ if exact % 1000 == 0 => u64::try_from(exact / 1000).ok(),
            _ => None,
        };
        let parsed = Quantity::parse(&resource, "r");
        prop_assert_eq!(parsed.as_ref().ok().map(|quantity| quantity.amount), expected);
        let within = Quantity::parse_within_bounds(&resource, "r");
        match parsed {
            Ok(quantity) => prop_assert_eq!(within.is_ok(), quantity.kind.bounds().contains(&quantity.amount)),
            Err(invalid) => prop_assert_eq!(within, Err(invalid)),
        }
    }
}

// ---- rules and patterns say the same

/// Texts near the rules: of the characters that matter, and of the pattern itself with one character changed.
fn near(pattern: &str) -> BoxedStrategy<String> {
    let inner = pattern.trim_start_matches('^').trim_end_matches('$');
    let fitting = || proptest::string::string_regex(inner).unwrap();
    let changed = (fitting(), any::<prop::sample::Index>(), "[-aZ0_./:@\\x00 é]").prop_map(|(text, at, other)| {
        let mut chars: Vec<char> = text.chars().collect();
        if !chars.is_empty() {
            let at = at.index(chars.len());
            chars.splice(at..=at, other.chars());
        }
        chars.into_iter().collect()
    });
    prop_oneof![fitting(), changed, "[-aZ0_./:@\\x00 ]{0,12}"].boxed()
}

fn agree(pattern: &str, rule: fn(&str) -> bool, cases: u32) {
    let regex = Regex::new(pattern).unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    runner
        .run(&near(pattern), |text| {
            prop_assert_eq!(rule(&text), regex.is_match(&text), "{:?}", text);
            Ok(())
        })
        .unwrap();
}

#[test]
fn rules_and_patterns_agree() {
    agree(NAME_PATTERN, text::is_name, 2000);
    agree(ENV_NAME_PATTERN, text::is_env_name, 2000);
    agree(WORKING_DIR_PATTERN, text::is_absolute, 1000);
    agree(IMAGE_PATTERN, |text| image::fault(text).is_none(), 2000);
    // With what their documentation says stands beside the pattern.
    let port_name = Regex::new(PORT_NAME_PATTERN).unwrap();
    let mount_path = Regex::new(MOUNT_PATH_PATTERN).unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1000));
    runner
        .run(&(near(PORT_NAME_PATTERN), near(MOUNT_PATH_PATTERN)), |(name, path)| {
            let letter = name.bytes().any(|b| b.is_ascii_alphabetic());
            prop_assert_eq!(text::is_port_name(&name), port_name.is_match(&name) && letter, "{:?}", name);
            let dots = path.split('/').any(|part| part == "." || part == "..");
            prop_assert_eq!(text::is_mount_path(&path), mount_path.is_match(&path) && !dots, "{:?}", path);
            Ok(())
        })
        .unwrap();
}

// ---- any pod at all

fn word() -> BoxedStrategy<String> {
    prop_oneof![Just(String::new()), Just("app".into()), Just("data".into()), Just("/x".into()), "[a-z./:@-]{0,8}", any::<String>()]
        .boxed()
}

fn resources() -> impl Strategy<Value = Vec<Resource>> {
    let name = prop_oneof![Just("cpu".to_owned()), Just("memory".into()), Just("ram".into()), Just("storage".into()), word()];
    vec((name, option::of(amount())).prop_map(|(resource, quantity)| Resource { resource, quantity }), 0..4)
}

fn port() -> impl Strategy<Value = pod::container::Port> {
    let number = || prop_oneof![0..3u64, any::<u64>()];
    (word(), number(), number(), 0..3i32)
        .prop_map(|(name, port, target_port, protocol)| pod::container::Port { name, port, target_port, protocol, ..Default::default() })
}

fn mount() -> impl Strategy<Value = pod::container::VolumeMount> {
    (word(), word(), any::<bool>()).prop_map(|(name, mount_path, read_only)| pod::container::VolumeMount { name, mount_path, read_only })
}

fn container() -> impl Strategy<Value = pod::Container> {
    let image = option::of(word().prop_map(|url| pod::Image { url, ..Default::default() }));
    let user = option::weighted(0.1, any::<u32>().prop_map(|uid| pod::User { uid, gid: 0 }));
    let env = proptest::collection::btree_map(word(), word(), 0..3);
    ((word(), image, vec(word(), 0..3), vec(word(), 0..3), word()), vec(port(), 0..3), env, vec(mount(), 0..3), resources(), user).prop_map(
        |((name, image, command, args, working_dir), ports, env, volumes, resource_requests, user)| pod::Container {
            name, image, command, args, working_dir, ports, env, volumes, resource_requests, user,
        },
    )
}

fn volume() -> impl Strategy<Value = pod::Volume> {
    (word(), -1..4i32, -1..4i32, option::of(resources())).prop_map(|(name, r#type, access_mode, resources)| pod::Volume {
        name,
        r#type,
        access_mode,
        configuration: resources
            .map(|resource_requests| pod::volume::Configuration::Filesystem(pod::volume::FilesystemConfig { resource_requests })),
    })
}

fn any_pod() -> impl Strategy<Value = pod::Pod> {
    let replicas = option::of((0..3u32, 0..3u32).prop_map(|(min, max)| pod::Replicas { min, max, target_pending_requests: 0 }));
    (vec(container(), 0..3), vec(volume(), 0..3), replicas, option::weighted(0.1, any::<u32>())).prop_map(
        |(containers, volumes, replicas, fs_group)| pod::Pod { containers, volumes, replicas, fs_group, ..Default::default() },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_pod_is_parsed_or_refused_and_what_is_parsed_prints_and_parses_again(pod in any_pod()) {
        match Manifest::parse(&pod) {
            Ok(manifest) => {
                let mut again = Manifest::parse(&manifest.to_pod(&[])).unwrap();
                again.containers[0].env.clone_from(&manifest.containers[0].env);
                prop_assert_eq!(again, manifest);
            }
            Err(invalid) => prop_assert!(!invalid.message.is_empty()),
        }
    }
}

//! What holds for any input: exact quantities, rules that agree with their patterns, no pod that breaks the parser.

use proptest::{collection::vec, option, prelude::*, test_runner::TestRunner};
use prost::Message;
use regex::Regex;

use super::super::*;
use crate::{
    descriptors, served,
    v0::pod::{self, Resource, resource::Quantity as Amount},
};

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
            _ if exact.is_multiple_of(1000) => u64::try_from(exact / 1000).ok(),
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
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    });
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
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1000)
    });
    runner
        .run(&(near(PORT_NAME_PATTERN), near(MOUNT_PATH_PATTERN)), |(name, path)| {
            let letter = name.bytes().any(|b| b.is_ascii_alphabetic());
            prop_assert_eq!(
                text::is_port_name(&name),
                port_name.is_match(&name) && letter,
                "{:?}",
                name
            );
            let dots = path.split('/').any(|part| part == "." || part == "..");
            prop_assert_eq!(
                text::is_mount_path(&path),
                mount_path.is_match(&path) && !dots,
                "{:?}",
                path
            );
            Ok(())
        })
        .unwrap();
}

// ---- any pod at all

fn word() -> BoxedStrategy<String> {
    prop_oneof![
        Just(String::new()),
        Just("app".into()),
        Just("data".into()),
        Just("/x".into()),
        "[a-z./:@-]{0,8}",
        any::<String>()
    ]
    .boxed()
}

fn resources() -> impl Strategy<Value = Vec<Resource>> {
    let name = prop_oneof![
        Just("cpu".to_owned()),
        Just("memory".into()),
        Just("ram".into()),
        Just("storage".into()),
        Just("ephemeral-storage".into()),
        word()
    ];
    vec(
        (name, option::of(amount())).prop_map(|(resource, quantity)| Resource { resource, quantity }),
        0..4,
    )
}

fn port() -> impl Strategy<Value = pod::container::Port> {
    let number = || prop_oneof![0..3u64, any::<u64>()];
    (word(), number(), number(), 0..3i32).prop_map(|(name, port, target_port, protocol)| pod::container::Port {
        name,
        port,
        target_port,
        protocol,
        ..Default::default()
    })
}

fn mount() -> impl Strategy<Value = pod::container::VolumeMount> {
    (word(), word(), any::<bool>()).prop_map(|(name, mount_path, read_only)| pod::container::VolumeMount {
        name,
        mount_path,
        read_only,
    })
}

fn container() -> impl Strategy<Value = pod::Container> {
    let pull_secret = option::weighted(
        0.2,
        (word(), word()).prop_map(|(username, password)| pod::image::PullSecret { username, password }),
    );
    let image = option::of((word(), pull_secret).prop_map(|(url, pull_secret)| pod::Image {
        url,
        pull_secret,
        ..Default::default()
    }));
    let id = || option::of(prop_oneof![0..70_000u32, any::<u32>()]);
    let user = option::weighted(0.3, (id(), id()).prop_map(|(uid, gid)| pod::User { uid, gid }));
    let env = proptest::collection::btree_map(word(), word(), 0..3);
    (
        (word(), image, vec(word(), 0..3), vec(word(), 0..3), word()),
        vec(port(), 0..3),
        env,
        vec(mount(), 0..3),
        resources(),
        user,
    )
        .prop_map(
            |((name, image, command, args, working_dir), ports, env, volumes, resource_requests, user)| {
                pod::Container {
                    name,
                    image,
                    command,
                    args,
                    working_dir,
                    ports,
                    env,
                    volumes,
                    resource_requests,
                    user,
                }
            },
        )
}

fn volume() -> impl Strategy<Value = pod::Volume> {
    let configuration = prop_oneof![
        resources().prop_map(|resource_requests| {
            pod::volume::Configuration::Filesystem(pod::volume::FilesystemConfig { resource_requests })
        }),
        (vec(any::<u8>(), 0..3), word()).prop_map(|(contents, contents_string)| {
            pod::volume::Configuration::Secret(pod::volume::SecretConfig {
                contents,
                contents_string,
                ..Default::default()
            })
        }),
    ];
    (word(), -1..4i32, -1..4i32, option::of(configuration)).prop_map(|(name, r#type, access_mode, configuration)| {
        pod::Volume {
            name,
            r#type,
            access_mode,
            configuration,
        }
    })
}

fn any_pod() -> impl Strategy<Value = pod::Pod> {
    let replicas = option::of((0..3u32, 0..3u32).prop_map(|(min, max)| pod::Replicas {
        min,
        max,
        target_pending_requests: 0,
    }));
    (
        vec(container(), 0..3),
        vec(volume(), 0..3),
        replicas,
        option::weighted(0.1, any::<u32>()),
    )
        .prop_map(|(containers, volumes, replicas, fs_group)| pod::Pod {
            containers,
            volumes,
            replicas,
            fs_group,
            ..Default::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_pod_is_parsed_or_refused_and_what_is_parsed_prints_and_parses_again(pod in any_pod()) {
        match Manifest::parse(&pod) {
            Ok(manifest) => {
                let printed = super::refilled(&manifest.to_pod(&[], None), &pod);
                prop_assert_eq!(Manifest::parse(&printed).unwrap(), manifest);
            }
            Err(invalid) => prop_assert!(!invalid.message.is_empty()),
        }
    }

    #[test]
    fn parser_and_table_do_not_disagree(pod in any_pod()) {
        let checked = served::check(descriptors::message("pod.Pod").unwrap(), &pod.encode_to_vec());
        if let Err(refused) = checked {
            let invalid = Manifest::parse(&pod).unwrap_err();
            prop_assert_eq!((invalid.code, invalid.field), (refused.code, refused.field));
        }
    }
}

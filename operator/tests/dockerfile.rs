//! deploy/Dockerfile, without a Docker: what it copies is there and is all that the build needs, its toolchain is the pinned one,
//! its base has every library that the program loads, its user is the chart's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

const DOCKERFILE: &str = include_str!("../../deploy/Dockerfile");
/// What distroless/cc-debian12 has of glibc and GCC's runtime
/// (https://github.com/GoogleContainerTools/distroless/blob/main/cc/README.md: glibc, libgcc1, libgomp1, libstdc++6).
const IN_THE_BASE: [&str; 6] = [
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libstdc++.so.6",
];
/// Put in by the kernel, no file.
const VDSO: &str = "linux-vdso.so.1";

fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Arguments of each instruction of a name, lines that go on joined.
fn instructions(name: &str) -> Vec<Vec<String>> {
    let text = DOCKERFILE.replace("\\\n", " ");
    let lines = text.lines().map(|line| line.split_whitespace().map(str::to_owned));
    lines
        .map(Vec::from_iter)
        .filter(|words| words.first().is_some_and(|word| word == name))
        .map(|words| words[1..].to_vec())
        .collect()
}

/// What the build stage copies from the checkout.
fn copied() -> BTreeSet<String> {
    let copies = instructions("COPY")
        .into_iter()
        .filter(|words| !words[0].starts_with("--from="));
    copies.flat_map(|words| words[..words.len() - 1].to_vec()).collect()
}

#[test]
fn what_it_copies_is_there_and_is_the_whole_workspace() {
    let copied = copied();
    for path in &copied {
        assert!(checkout().join(path).exists(), "{path} is copied and not there");
    }
    let manifest = fs::read_to_string(checkout().join("Cargo.toml")).unwrap();
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "))
        .unwrap();
    let members: Vec<String> = serde_json::from_str(members).unwrap();
    for member in members.iter().map(String::as_str).chain(["Cargo.toml", "Cargo.lock"]) {
        assert!(copied.contains(member), "{member} is not copied, and cargo reads it");
    }
}

#[test]
fn its_toolchain_is_the_pinned_one() {
    let pinned = fs::read_to_string(checkout().join("rust-toolchain.toml")).unwrap();
    let pinned = pinned.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap();
    let version = pinned.trim_matches('"');
    assert_eq!(instructions("FROM")[0][0], format!("rust:{version}-slim-bookworm"));
    assert_eq!(instructions("ENV"), [[format!("RUSTUP_TOOLCHAIN={version}")]]);
}

#[test]
fn its_base_has_every_library_that_the_program_loads() {
    let ldd = Command::new("ldd")
        .arg(env!("CARGO_BIN_EXE_apocryph-provider"))
        .output()
        .unwrap();
    assert!(ldd.status.success(), "{ldd:?}");
    let text = String::from_utf8(ldd.stdout).unwrap();
    let loaded: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.rsplit('/').next())
        .filter(|library| *library != VDSO)
        .collect();
    assert!(loaded.contains(&"libc.so.6"), "{text}");
    for library in loaded {
        assert!(IN_THE_BASE.contains(&library), "{library} is not in the base image");
    }
    let stages = instructions("FROM");
    assert_eq!(stages[1][0], "gcr.io/distroless/cc-debian12:nonroot");
}

#[test]
fn it_runs_as_the_charts_user() {
    let deployment = include_str!("../../charts/apocryph-provider/templates/deployment.yaml");
    let of = |name: &str| {
        let line = deployment
            .lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .unwrap();
        line.trim().to_owned()
    };
    let user = format!("{}:{}", of("runAsUser:"), of("runAsGroup:"));
    assert_eq!(instructions("USER"), [[user]]);
}

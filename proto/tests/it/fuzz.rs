//! The bodies of the fuzz targets (fuzz/) over the vectors, the seeds and random bytes, so that they are run without a fuzzer.

use std::{fs, path::PathBuf};

use data_encoding::HEXLOWER;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

#[path = "../../fuzz/bodies.rs"]
mod bodies;

const RANDOM_INPUTS: u32 = 2000;

fn at(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Seeds of the fuzzer and the messages of the existing network.
fn corpus() -> Vec<Vec<u8>> {
    let seeds = fs::read_dir(at("fuzz/seeds"))
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(&fs::read_to_string(at("tests/vectors/interop-protobuf.json")).unwrap()).unwrap();
    let vectors = vectors
        .iter()
        .map(|vector| HEXLOWER.decode(vector["hex"].as_str().unwrap().as_bytes()).unwrap());
    seeds.chain(vectors).collect()
}

/// Random bytes, and the corpus with a piece replaced, doubled or cut off.
fn inputs() -> impl Strategy<Value = Vec<u8>> {
    let random = proptest::collection::vec(any::<u8>(), 0..256);
    let index = any::<prop::sample::Index>;
    let changed = (
        prop::sample::select(corpus()),
        index(),
        index(),
        proptest::collection::vec(any::<u8>(), 0..4),
        any::<bool>(),
    )
        .prop_map(|(mut bytes, from, to, piece, double)| {
            let (from, to) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
            let range = from.min(to)..from.max(to);
            if double {
                bytes.extend_from_within(range);
            } else {
                bytes.splice(range, piece);
            }
            bytes
        });
    prop_oneof![random, changed]
}

fn run(body: fn(&[u8])) {
    corpus().iter().for_each(|bytes| body(bytes));
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(RANDOM_INPUTS)
    });
    runner
        .run(&inputs(), |bytes| {
            body(&bytes);
            Ok(())
        })
        .unwrap();
}

#[test]
fn requests() {
    run(bodies::requests);
}

#[test]
fn manifest_text() {
    run(bodies::manifest_text);
}

#[test]
fn manifest_bytes() {
    run(bodies::manifest_bytes);
}

//! Compiles the .proto files without protoc.
use std::{env, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 7] = [
    "attest",
    "manage_pod",
    "pod",
    "pricing",
    "provision_pod",
    "provisioning_capacity",
    "signing",
];

/// Messages with a field that must never be printed; names without a leading dot match the end of the full name.
const SECRET: [&str; 7] = [
    "pod.Container",
    "Image.PullSecret",
    "Volume.SecretConfig",
    "pod.KeyPair",
    "pod.Key",
    "signing.Envelope",
    "provisionPod.LogLine",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = FILES.map(|name| format!("apocryph/v0/{name}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    prost_build::Config::new()
        .btree_map(["."])
        .enable_type_names()
        // Debug is written by hand in redact.rs: these hold secrets.
        .skip_debug(SECRET)
        .include_file("v0.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

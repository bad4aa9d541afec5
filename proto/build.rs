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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = FILES.map(|name| format!("apocryph/v0/{name}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    prost_build::Config::new()
        .btree_map(["."])
        .include_file("v0.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

//! What provider and publisher share: the wire messages (`proto/`), the codec with its size limits, protocol names, outcome
//! codes, the manifest's rules, signing and the attestation binding. No kube and no swarm: a publisher's library depends on
//! this alone.

pub mod binding;
pub mod codec;
pub mod descriptors;
pub mod json;
pub mod limits;
pub mod manifest;
pub mod outcome;
pub mod protocol;
mod redact;
pub mod schema;
pub mod served;
pub mod signing;

/// The generated messages, one module per .proto package.
#[allow(clippy::all, missing_docs, unused_qualifications)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/v0.rs"));
}
pub use generated::apocryph::proto::v0;

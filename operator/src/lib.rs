//! The in-cluster program of apocryph-provider. Data goes one way:
//!
//! ```text
//! libp2p stream -> net -> protocols -> admission -> pods::gateway -> ApocryphPod (API server)
//!      ^                                                                   |
//!      +------ protocols <- pods::gateway.watch <- status <- pods::reconcile -> objects -> cluster
//! ```
//!
//! A protocol handler never touches a Deployment; the controller never touches a stream. They meet at the `ApocryphPod`.
//! `tests/layers.rs` holds the imports to that.

/// glibc's allocator keeps nearly all that a burst of strangers' streams once took, and connections are denied by resident
/// memory: one burst would shut the door for good. This one gives pages back (`tests/memory.rs`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod access;
pub mod admission;
pub mod announce;
pub mod args;
pub mod attestation;
pub mod billing;
pub mod capacity;
pub mod client;
pub mod config_map;
pub mod drain;
#[cfg(test)]
mod fake_api;
pub mod identity_store;
pub mod lease;
pub mod model;
pub mod net;
pub mod pods;
pub mod pricing;
pub mod protocols;
pub mod ready;
pub mod run;
pub mod telemetry;
pub mod walls;
pub mod watches;

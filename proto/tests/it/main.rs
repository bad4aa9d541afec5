//! What a user of the crate sees: manifests as text, the existing network's messages, hostile bytes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod fuzz;
mod interop;
mod json;
mod schema;

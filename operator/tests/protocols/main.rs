//! The four protocols over an in-memory stream, against fakes of the services: every answer of the accept order, every
//! fault of a credential, every way in which a status stream ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod accept_order;
mod attest_and_capacity;
mod credential;
mod delegations;
mod dry_run;
mod looks;
mod manage;
#[path = "../pods_support/mod.rs"]
mod pods_support;
mod request_id;
mod same_pod;
mod status_stream;
mod support;

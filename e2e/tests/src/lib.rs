//! What the end-to-end tests share.

pub mod manifests;
pub mod spec_of;

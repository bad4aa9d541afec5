//! Protocol names as negotiated on the wire (multistream-select).

/// Prove what you run on.
pub const ATTEST: &str = "/apocryph/attest/0.0.1";
/// What is free, what does it cost.
pub const PROVISIONING_CAPACITY: &str = "/apocryph/provisioning-capacity/0.0.1";
/// Here is my pod manifest and how it is paid.
pub const PROVISION_POD: &str = "/apocryph/provision-pod/0.0.1";
/// Watch, list, describe, update, logs, delete: our extension.
pub const MANAGE_POD: &str = "/apocryph/manage-pod/0.0.1";

/// All of them.
pub const ALL: [&str; 4] = [ATTEST, PROVISIONING_CAPACITY, PROVISION_POD, MANAGE_POD];

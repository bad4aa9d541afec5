//! What the end-to-end tests share: the running cluster, the chart's install, the audit log, a publisher, waiting for
//! conditions. The tests themselves are in `tests/`; `make test` starts the cluster first.

pub mod audit;
pub mod cluster;
pub mod install;
pub mod registry;
pub mod spec_of;
pub mod wait;

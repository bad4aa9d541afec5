//! What the end-to-end tests share: the running cluster, the chart's install, the audit log, a publisher, waiting for
//! conditions. The tests themselves are in `tests/`; `make test` starts the cluster first.

pub mod access;
pub mod actor;
pub mod audit;
pub mod bounds;
pub mod cluster;
pub mod cut;
pub mod events;
pub mod existing;
pub mod filler;
pub mod http;
pub mod install;
pub mod leak;
pub mod looks;
pub mod manifests;
pub mod operator;
pub mod pods;
pub mod registry;
pub mod spec_of;
pub mod table;
pub mod tenant;
pub mod udp;
pub mod wait;

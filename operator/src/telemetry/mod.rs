//! Logs, metrics, Events, and the admin's HTTP listener.

pub mod admin;
pub mod events;
pub mod logs;
pub mod metrics;

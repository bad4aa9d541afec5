//! Plain types that every part speaks in; no libp2p, kube or prost.

pub mod description;
pub mod key;
pub mod logs;
pub mod manifest;
pub mod pod;
pub mod rates;
pub mod refusal;
pub mod services;
pub mod span;
pub mod status;

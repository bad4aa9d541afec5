//! Plain types that every part speaks in; no libp2p, kube or prost.

pub mod key;
pub mod manifest;
pub mod pod;
pub mod rates;
pub mod refusal;
pub mod services;
pub mod status;

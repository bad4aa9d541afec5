//! One file per wire protocol. No kube and no swarm: streams come in as AsyncRead + AsyncWrite, services as traits.

pub mod attest;
pub mod capacity;
pub mod convert;
mod delegated;
pub mod logs;
pub mod manage;
pub mod provision;
pub mod session;
pub mod status;

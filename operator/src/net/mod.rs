//! Peers and bytes; no kube.

pub mod behaviour;
pub mod identity;
pub mod inbound;
pub mod limits;
pub mod router;
pub mod swarm;

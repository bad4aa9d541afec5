//! Peers and bytes; no kube.

pub mod behaviour;
mod frames;
pub mod identity;
pub mod inbound;
pub mod limits;
pub mod permits;
mod prefix;
pub mod router;
mod slots;
pub mod swarm;

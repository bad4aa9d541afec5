//! Asks a provider what is free, what it costs, and whether a pod of a given size would fit now.

use apocryph_proto::{
    protocol,
    v0::{
        pod::Resource,
        provisioning_capacity::{self as wire, CapacityReply, CapacityRequest, CapacityResponse},
    },
};

use crate::{
    net::Connection,
    reply::Refusal,
    session::{SessionError, exchange},
};

#[derive(Debug, thiserror::Error)]
pub enum CapacityError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the provider refused: {}", .0.message)]
    Refused(Box<Refusal>),
}

/// `wanted`: what one pod would need in all; may be empty.
pub async fn capacity(connection: &Connection, wanted: Vec<Resource>) -> Result<CapacityResponse, CapacityError> {
    let request = CapacityRequest {
        resources: wanted,
        requirements: None,
    };
    let reply: CapacityReply = exchange(connection, protocol::PROVISIONING_CAPACITY, request).await?;
    match reply.message {
        Some(wire::capacity_reply::Message::Capacity(capacity)) => Ok(capacity),
        Some(wire::capacity_reply::Message::Refusal(refusal)) => Err(CapacityError::Refused(Box::new(refusal.into()))),
        None => Err(SessionError::BadReply("neither capacity nor refusal".into()).into()),
    }
}

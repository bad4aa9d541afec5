//! Everything that a provider knows of one pod.

use apocryph_proto::{
    protocol,
    v0::{
        manage_pod::{Describe, ManagePodRequest, manage_pod_request::Operation},
        provision_pod::PodDescription,
    },
};
use prost::Message;

use crate::{
    error::Error,
    follow::{Ask, Goal, Link, Listener, follow},
    pod_id::PodId,
    reply::Status,
    session::{Body, SessionError},
};

/// As it came: what is shown of it goes through [`crate::reply::printable`].
pub async fn describe(link: Link<'_>, pod: PodId, chain_id: u64, on: Listener<'_>) -> Result<PodDescription, Error> {
    follow(link, &mut Describing { pod, chain_id }, on).await
}

struct Describing {
    pod: PodId,
    chain_id: u64,
}

impl Goal for Describing {
    type Done = PodDescription;

    fn pod(&self) -> PodId {
        self.pod
    }

    fn ask(&self) -> Ask {
        Ask {
            operation: "describe",
            protocol: protocol::MANAGE_POD,
            bytes: ManagePodRequest {
                operation: Some(Operation::Describe(Describe {})),
            }
            .encode_to_vec(),
            chain_id: self.chain_id,
            attest: false,
        }
    }

    fn status(&mut self, _: &Status) -> Result<Option<PodDescription>, Error> {
        Ok(None)
    }

    fn told(&mut self, body: &Body, _: bool, _: Listener<'_>) -> Result<Option<PodDescription>, Error> {
        match body {
            Body::Description(description) => Ok(Some((**description).clone())),
            _ => Err(SessionError::BadReply("not a description".into()).into()),
        }
    }
}

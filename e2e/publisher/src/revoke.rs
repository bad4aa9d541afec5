//! Makes a pod's delegations void, by their expiry.

use apocryph_proto::{
    protocol,
    v0::manage_pod::{ManagePodRequest, Revoke, manage_pod_request::Operation},
};
use prost::Message;

use crate::{
    error::Error,
    follow::{Ask, Goal, Link, Listener, follow},
    pod_id::PodId,
    reply::Status,
    session::{Body, SessionError},
};

/// Those that expire at or before `not_before` (Unix seconds); gives the instant that is in force then.
pub async fn revoke(
    link: Link<'_>,
    pod: PodId,
    chain_id: u64,
    not_before: u64,
    on: Listener<'_>,
) -> Result<u64, Error> {
    let goal = &mut Revoking {
        pod,
        chain_id,
        not_before,
    };
    follow(link, goal, on).await
}

struct Revoking {
    pod: PodId,
    chain_id: u64,
    not_before: u64,
}

impl Goal for Revoking {
    type Done = u64;

    fn pod(&self) -> PodId {
        self.pod
    }

    fn ask(&self) -> Ask {
        Ask {
            operation: "revoke",
            protocol: protocol::MANAGE_POD,
            bytes: ManagePodRequest {
                operation: Some(Operation::Revoke(Revoke {
                    not_before: self.not_before,
                })),
            }
            .encode_to_vec(),
            chain_id: self.chain_id,
            // Nothing in it is secret.
            attest: false,
        }
    }

    fn status(&mut self, _: &Status) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn told(&mut self, body: &Body, _: bool, _: Listener<'_>) -> Result<Option<u64>, Error> {
        match body {
            Body::Revoked(not_before) if *not_before >= self.not_before => Ok(Some(*not_before)),
            _ => Err(SessionError::BadReply("not what was asked to be revoked".into()).into()),
        }
    }
}

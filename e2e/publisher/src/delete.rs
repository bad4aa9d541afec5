//! Orders the end of a pod's life and reports until it has ended: until its namespace is gone.

use apocryph_proto::{
    protocol,
    v0::manage_pod::{Delete, ManagePodRequest, manage_pod_request::Operation},
};
use prost::Message;

use crate::{
    error::{Ended, Error},
    follow::{Ask, Goal, Link, Listener, follow},
    pod_id::PodId,
    reply::{Phase, Refusal, Status},
};

/// `life` 0: whichever is running now. However often the stream breaks, no other life than the first one told is ended.
pub async fn delete(link: Link<'_>, pod: PodId, chain_id: u64, life: u64, on: Listener<'_>) -> Result<Ended, Error> {
    follow(link, &mut Deleting { pod, chain_id, life }, on).await
}

struct Deleting {
    pod: PodId,
    chain_id: u64,
    life: u64,
}

impl Goal for Deleting {
    type Done = Ended;

    fn pod(&self) -> PodId {
        self.pod
    }

    fn ask(&self) -> Ask {
        Ask {
            operation: "delete",
            protocol: protocol::MANAGE_POD,
            bytes: ManagePodRequest {
                operation: Some(Operation::Delete(Delete { life: self.life })),
            }
            .encode_to_vec(),
            chain_id: self.chain_id,
            // Nothing in it is secret.
            attest: false,
        }
    }

    fn status(&mut self, status: &Status) -> Result<Option<Ended>, Error> {
        if self.life == 0 {
            self.life = status.life;
        }
        Ok((status.phase == Phase::Ended).then(|| Ended::from_status(status, false)))
    }

    fn refused(&mut self, refusal: Refusal) -> Result<Ended, Error> {
        Ended::from_refusal(&refusal, false).ok_or_else(|| refusal.into())
    }
}

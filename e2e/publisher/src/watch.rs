//! Watches a pod that was accepted: changes nothing.

use apocryph_proto::{
    protocol,
    v0::manage_pod::{ManagePodRequest, Watch, manage_pod_request::Operation},
};
use prost::Message;

use crate::{
    deploy::{Reached, Until},
    error::{Ended, Error},
    follow::{Ask, Goal, Link, Listener, follow},
    pod_id::PodId,
    reply::{Phase, Refusal, Status},
};

pub(crate) fn ask(chain_id: u64) -> Ask {
    Ask {
        operation: "watch",
        protocol: protocol::MANAGE_POD,
        bytes: ManagePodRequest {
            operation: Some(Operation::Watch(Watch {})),
        }
        .encode_to_vec(),
        chain_id,
        // Nothing in it is secret.
        attest: false,
    }
}

/// Reports until then; with [`Until::Running`] an end is an error, [`Until::Accepted`] leaves after the first status.
pub async fn watch(
    link: Link<'_>,
    pod: PodId,
    chain_id: u64,
    until: Until,
    on: Listener<'_>,
) -> Result<Reached, Error> {
    follow(link, &mut Watching { pod, chain_id, until }, on).await
}

struct Watching {
    pod: PodId,
    chain_id: u64,
    until: Until,
}

impl Watching {
    fn ended(&self, ended: Ended) -> Result<Reached, Error> {
        if self.until == Until::Running {
            Err(ended.into())
        } else {
            Ok(Reached::Ended(ended))
        }
    }
}

impl Goal for Watching {
    type Done = Reached;

    fn pod(&self) -> PodId {
        self.pod
    }

    fn ask(&self) -> Ask {
        ask(self.chain_id)
    }

    fn status(&mut self, status: &Status) -> Result<Option<Reached>, Error> {
        match (self.until, status.phase) {
            (_, Phase::Ended) => self.ended(Ended::from_status(status, false)).map(Some),
            (Until::Accepted, _) => Ok(Some(Reached::Accepted(status.clone()))),
            (Until::Running, Phase::Running) => Ok(Some(Reached::Running(status.clone()))),
            _ => Ok(None),
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Result<Reached, Error> {
        match Ended::from_refusal(&refusal, false) {
            Some(ended) => self.ended(ended),
            None => Err(refusal.into()),
        }
    }
}

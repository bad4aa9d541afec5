//! /apocryph/attest: prove what you run on. Unsigned: whoever asks has the right to know before sending anything.

use std::sync::Arc;

use apocryph_proto::{
    limits, protocol,
    v0::attest::{AttestReply, AttestRequest},
};

use super::{
    capacity::Offering,
    convert::{self, AttestReplies, Raw},
    session::{Exchange, Exchanged, Outcome, Session},
};
use crate::model::{
    refusal::Refusal,
    services::{Asked, Attester},
};

/// Serves the protocol.
pub struct Attest {
    pub attester: Arc<dyn Attester>,
    pub offering: Offering,
}

impl Attest {
    /// `requester`: peer id as multihash bytes.
    async fn answer(&self, bytes: &[u8], requester: &[u8]) -> Result<AttestReply, Refusal> {
        let request: AttestRequest = convert::request(bytes)?;
        let nonce = convert::nonce(&request)?;
        let attestation = self.attester.attest(Asked { nonce, requester }).await?;
        let capacity = if request.want_capacity {
            Some(self.offering.of_defaults()?)
        } else {
            None
        };
        Ok(convert::attestation(attestation, capacity))
    }
}

impl Exchange for Attest {
    const PROTOCOL: &'static str = protocol::ATTEST;
    type Replies = AttestReplies;

    async fn serve(&self, mut session: Session<AttestReplies>) -> Exchanged {
        let raw: Raw = session.read(limits::SMALL_REQUEST_MAX).await?;
        match self.answer(&raw.0, &session.caller().peer_bytes).await {
            Ok(reply) => session.finish(reply, Outcome::Ok).await,
            Err(refusal) => session.refuse(refusal).await,
        }
    }
}

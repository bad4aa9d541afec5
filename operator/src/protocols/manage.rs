//! /apocryph/manage-pod: watch and delete of the publisher's own pods. The other operations of the schema are answered
//! `unimplemented`, under a credential that holds: a stranger is told nothing.

use std::sync::Arc;

use apocryph_proto::{limits, protocol, signing};

use super::{
    convert::{self, Manage, PodReplies, Raw},
    session::{Exchange, Exchanged, Session},
    status::{self, Lives},
};
use crate::{
    admission::credential::{self, Addressed, Expected},
    model::{
        key::{PodKey, PodName},
        refusal::{Refusal, not_found},
        services::Pods,
    },
};

/// Serves the protocol.
pub struct ManagePod {
    pub pods: Arc<dyn Pods>,
    /// Our peer id, base58btc.
    pub provider: String,
}

impl ManagePod {
    fn read(&self, bytes: &[u8], requester: &str) -> Result<(PodKey, Manage), Refusal> {
        let (envelope, request) = convert::envelope(bytes)?;
        let parsed = convert::manage(&request);
        let key = credential::check(
            &envelope,
            &Expected {
                operation: parsed.as_ref().ok().map(|manage| manage.operation()),
                pod: if parsed.is_ok() {
                    Addressed::Envelope
                } else {
                    Addressed::Unknown
                },
                provider: &self.provider,
                requester,
                request_hash: signing::request_hash(&request),
                // Every pod of this version is free; the request names no payment.
                chain_id: Some(0),
                now: convert::now(),
            },
        )?;
        Ok((key, parsed?))
    }

    /// The life that is to be followed.
    async fn order_end(&self, name: &PodName, life: Option<u64>) -> Result<Lives, Refusal> {
        let life = match life {
            Some(life) => life,
            None => self.pods.find(name).await?.ok_or_else(not_found)?.life,
        };
        self.pods.end(name, life).await?;
        Ok(Lives::One(life))
    }

    async fn begin(&self, name: &PodName, manage: Manage) -> Result<Lives, Refusal> {
        match manage {
            // A fresh read: the cache knows no difference between "not there" and "not there yet".
            Manage::Watch => self.pods.find(name).await?.map(|_| Lives::Any).ok_or_else(not_found),
            Manage::Delete { life } => self.order_end(name, life).await,
        }
    }
}

impl Exchange for ManagePod {
    const PROTOCOL: &'static str = protocol::MANAGE_POD;
    type Replies = PodReplies;

    async fn serve(&self, mut session: Session<PodReplies>) -> Exchanged {
        let raw: Raw = session.read(limits::MESSAGE_MAX).await?;
        let read = self.read(&raw.0, &session.caller().peer);
        drop(raw);
        let (key, manage) = match read {
            Ok(read) => read,
            Err(refusal) => return session.refuse(refusal).await,
        };
        let name = key.name();
        tracing::info!(pod = %name, operation = manage.operation().as_str(), "manage");
        match self.begin(&name, manage).await {
            Ok(lives) => status::watch(session, &*self.pods, &name, lives).await,
            Err(refusal) => session.refuse(refusal).await,
        }
    }
}

//! /apocryph/manage-pod: watch, list, describe, logs, delete and revoke of the publisher's own pods. `update` is answered
//! `unimplemented`, under a credential that holds: a stranger is told nothing.

use std::sync::Arc;

use apocryph_proto::{limits, protocol, signing};
use futures::StreamExt;

use super::{
    convert::{self, Manage, PodReplies, Raw},
    delegated,
    logs::logs,
    session::{Exchange, Exchanged, Outcome, Session},
    status::{self, Lives},
};
use crate::{
    admission::credential::{self, Addressed, Expected},
    model::{
        key::{PodKey, PodName, Publisher},
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

struct Read {
    key: PodKey,
    manage: Manage,
    delegated_until: Option<u64>,
}

impl ManagePod {
    fn read(&self, bytes: &[u8], requester: &str) -> Result<Read, Refusal> {
        let (envelope, request) = convert::envelope(bytes)?;
        let now = convert::now();
        let parsed = convert::manage(&request, now);
        let key = credential::check(
            &envelope,
            &Expected {
                operation: parsed.as_ref().ok().map(Manage::operation),
                pod: match parsed {
                    Ok(Manage::List) => Addressed::All,
                    Ok(_) => Addressed::Envelope,
                    Err(_) => Addressed::Unknown,
                },
                provider: &self.provider,
                requester,
                request_hash: signing::request_hash(&request),
                // Every pod of this version is free; the request names no payment.
                chain_id: Some(0),
                now,
            },
        )?;
        Ok(Read {
            key,
            manage: parsed?,
            delegated_until: envelope.delegated_until(),
        })
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

    /// A fresh read: the cache knows no difference between "not there" and "not there yet".
    async fn find(&self, name: &PodName) -> Result<Lives, Refusal> {
        self.pods.find(name).await?.map(|_| Lives::Any).ok_or_else(not_found)
    }

    async fn follow(&self, session: Session<PodReplies>, name: &PodName, lives: Result<Lives, Refusal>) -> Exchanged {
        match lives {
            Ok(lives) => status::watch(session, &*self.pods, name, lives).await,
            Err(refusal) => session.refuse(refusal).await,
        }
    }

    /// Page by page; the last one, which may be empty, is final.
    async fn list(&self, mut session: Session<PodReplies>, publisher: &Publisher) -> Exchanged {
        let mut pages = self.pods.list(publisher).chunks(limits::LIST_PAGE);
        let mut page = pages.next().await.unwrap_or_default();
        while let Some(next) = pages.next().await {
            session.send(convert::list_page(&page, false)).await?;
            page = next;
        }
        session.finish(convert::list_page(&page, true), Outcome::Ok).await
    }

    async fn describe(&self, session: Session<PodReplies>, name: &PodName) -> Exchanged {
        match self.pods.describe(name).await {
            Ok(Some(description)) => {
                let reply = convert::description(description, convert::now());
                session.finish(reply, Outcome::Ok).await
            }
            Ok(None) => session.refuse(not_found()).await,
            Err(refusal) => session.refuse(refusal).await,
        }
    }

    async fn revoke(&self, session: Session<PodReplies>, name: &PodName, not_before: u64) -> Exchanged {
        match self.pods.revoke(name, not_before).await {
            Ok(not_before) => session.finish(convert::revoked(not_before), Outcome::Ok).await,
            Err(refusal) => session.refuse(refusal).await,
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
        let Read {
            key,
            manage,
            delegated_until,
        } = match read {
            Ok(read) => read,
            Err(refusal) => return session.refuse(refusal).await,
        };
        let name = key.name();
        tracing::info!(pod = %name, operation = manage.operation().as_str(), "manage");
        if let Some(expires_at) = delegated_until {
            if let Err(refusal) = delegated::holds(&*self.pods, &name, expires_at).await {
                return session.refuse(refusal).await;
            }
            session.until(delegated::over(&*self.pods, &name, expires_at));
        }
        match manage {
            Manage::Watch => {
                let lives = self.find(&name).await;
                self.follow(session, &name, lives).await
            }
            Manage::Delete { life } => {
                let lives = self.order_end(&name, life).await;
                self.follow(session, &name, lives).await
            }
            Manage::List => self.list(session, &key.publisher).await,
            Manage::Describe => self.describe(session, &name).await,
            Manage::Logs(wanted) => logs(session, &*self.pods, &name, wanted).await,
            Manage::Revoke { not_before } => self.revoke(session, &name, not_before).await,
        }
    }
}

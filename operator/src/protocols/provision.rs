//! /apocryph/provision-pod: here is my manifest and how it is paid; then status until the end.

use std::sync::Arc;

use apocryph_proto::{limits, outcome::Code, protocol, signing, v0::provision_pod::ProvisionPodRequest};

use super::{
    convert::{self, PodReplies, Raw},
    delegated,
    session::{Caller, Exchange, Exchanged, Outcome, Session},
    status,
};
use crate::{
    admission::{
        self, Admission,
        credential::{self, Addressed, Expected, Operation},
    },
    model::{refusal::Refusal, services::Pods},
};

/// Serves the protocol.
pub struct ProvisionPod {
    pub admission: Arc<Admission>,
    pub pods: Arc<dyn Pods>,
    /// Our peer id, base58btc.
    pub provider: String,
}

/// What a request asks beside its pod.
struct Read {
    request: admission::Request,
    detach: bool,
    dry_run: bool,
}

impl ProvisionPod {
    /// Step 1: everything that needs no service. What is wrong inside the request is told only under a credential that
    /// holds.
    fn read(&self, bytes: &[u8], caller: &Caller) -> Result<Read, Refusal> {
        let (envelope, request) = convert::envelope(bytes)?;
        let parsed = convert::request::<ProvisionPodRequest>(&request)
            .and_then(|message| convert::payment(message.payment.as_ref()).map(|payment| (message, payment)));
        let (pod, chain_id) = match &parsed {
            Ok((_, (key, _, chain_id))) => (Addressed::Payment(*key), Some(*chain_id)),
            Err(_) => (Addressed::Unknown, None),
        };
        credential::check(
            &envelope,
            &Expected {
                operation: Some(Operation::Provision),
                pod,
                provider: &self.provider,
                requester: &caller.peer,
                request_hash: signing::request_hash(&request),
                chain_id,
                now: convert::now(),
            },
        )?;
        let (message, (key, offer, _)) = parsed?;
        let (detach, dry_run) = (message.detach, message.dry_run);
        let request = admission::Request {
            delegated_until: envelope.delegated_until(),
            ..convert::provision(message, key, offer, &caller.request_id)?
        };
        admission::checks::life(request.after_life)?;
        Ok(Read {
            request,
            detach,
            dry_run,
        })
    }
}

impl Exchange for ProvisionPod {
    const PROTOCOL: &'static str = protocol::PROVISION_POD;
    type Replies = PodReplies;

    async fn serve(&self, mut session: Session<PodReplies>) -> Exchanged {
        let raw: Raw = session.read(limits::MESSAGE_MAX).await?;
        let read = self.read(&raw.0, session.caller());
        drop(raw);
        let Read {
            request,
            detach,
            dry_run,
        } = match read {
            Ok(read) => read,
            Err(refusal) => return session.refuse(refusal).await,
        };
        let name = request.key.name();
        if dry_run {
            tracing::info!(pod = %name, "dry run");
            return match self.admission.dry_run(request).await {
                Ok(told) => session.finish(convert::dry_run(&told), Outcome::Ok).await,
                Err(refusal) => session.refuse(refusal).await,
            };
        }
        tracing::info!(pod = %name, "provision");
        if let Some(expires_at) = request.delegated_until {
            session.until(delegated::over(&*self.pods, &name, expires_at));
        }
        let (record, pod) = match self.admission.provision(request).await {
            Ok(admission::Outcome::Accepted { record, pod }) => (record, Some(pod)),
            Ok(admission::Outcome::Attached { record }) => (record, None),
            Err(refusal) => return session.refuse(refusal).await,
        };
        tracing::info!(pod = %name, life = record.life, attached = pod.is_none(), "accepted");
        session.metrics().accepted_after(session.since_request());
        if detach {
            let reply = convert::accepted(&record, pod.as_ref(), true, convert::now());
            return session.finish(reply, Code::Accepted).await;
        }
        status::accepted(session, &*self.pods, status::Accepted { record, pod }).await
    }
}

//! What a deployment would meet, without making anything.

use apocryph_proto::{
    protocol,
    v0::{pod::Pod, provision_pod as wire, provision_pod::ProvisionPodRequest},
};
use prost::Message;

use crate::{
    deploy::Deployment,
    error::Error,
    follow::{Ask, Goal, Link, Listener, follow},
    pod_id::PodId,
    reply::{Refusal, Status, printable},
    session::{Body, SessionError},
};

/// Blockers and prices that are kept.
const KEPT_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub struct DryRun {
    /// Empty: it would be accepted.
    pub blockers: Vec<Refusal>,
    pub name: String,
    pub life: u64,
    /// The same pod runs already.
    pub attached: bool,
    pub prices: Vec<Price>,
    /// The manifest with the provider's defaults.
    pub admitted: Option<Box<Pod>>,
    /// SHA-256 of the objects that would be made; empty: not known.
    pub objects_digest: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub table: String,
    /// Whole tokens.
    pub per_hour: String,
    /// Chain and token; `None`: nothing is owed.
    pub token: Option<(u64, Vec<u8>)>,
}

impl From<wire::DryRun> for DryRun {
    fn from(told: wire::DryRun) -> DryRun {
        DryRun {
            blockers: told.blockers.into_iter().take(KEPT_MAX).map(Refusal::from).collect(),
            name: printable(&told.name),
            life: told.life,
            attached: told.attached,
            prices: told.prices.into_iter().take(KEPT_MAX).map(Price::from).collect(),
            admitted: told.admitted.map(Box::new),
            objects_digest: told.objects_digest,
        }
    }
}

impl From<wire::Price> for Price {
    fn from(price: wire::Price) -> Price {
        Price {
            table: printable(&price.table),
            per_hour: printable(&price.per_hour),
            token: (!price.token.is_empty()).then_some((price.chain_id, price.token)),
        }
    }
}

/// Asks with the deployment's own request; nothing is remembered of it.
pub async fn dry_run(link: Link<'_>, deployment: &Deployment, on: Listener<'_>) -> Result<DryRun, Error> {
    let mut request = ProvisionPodRequest::decode(deployment.request()).map_err(|_| {
        Error::usage(
            "the remembered request cannot be read",
            "Deploy the manifest under another pod id.",
        )
    })?;
    request.dry_run = true;
    let goal = &mut Trying {
        pod: deployment.pod(),
        chain_id: deployment.chain_id(),
        request,
    };
    follow(link, goal, on).await
}

struct Trying {
    pod: PodId,
    chain_id: u64,
    request: ProvisionPodRequest,
}

impl Goal for Trying {
    type Done = DryRun;

    fn pod(&self) -> PodId {
        self.pod
    }

    fn ask(&self) -> Ask {
        Ask {
            operation: "provision",
            protocol: protocol::PROVISION_POD,
            bytes: self.request.encode_to_vec(),
            chain_id: self.chain_id,
            // The whole manifest is in it, secrets included.
            attest: true,
        }
    }

    /// A provider that knows nothing of dry runs refuses them; one that made the pod all the same says so here.
    fn status(&mut self, status: &Status) -> Result<Option<DryRun>, Error> {
        let why = format!("a dry run was answered by {}: the pod may exist", status.code.text);
        Err(SessionError::BadReply(why).into())
    }

    fn told(&mut self, body: &Body, _: bool, _: Listener<'_>) -> Result<Option<DryRun>, Error> {
        match body {
            Body::DryRun(told) => Ok(Some((**told).clone())),
            _ => Err(SessionError::BadReply("not what was asked for".into()).into()),
        }
    }
}

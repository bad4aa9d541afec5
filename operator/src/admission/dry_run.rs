//! The accept order without its writes: everything is asked, nothing is held, and every "no" is told, not only the first.

use std::time::Instant;

use apocryph_proto::outcome::Code;

use super::{
    Admission, Request,
    checks::{self, Step, Wanted},
    demand, facts, find,
};
use crate::{
    model::{
        key::PodName,
        manifest::Complete,
        pod::{PodRecord, Terms},
        refusal::Refusal,
        services::Planned,
    },
    pricing::quote::{self, Price},
};

/// What a provision would have met.
pub struct DryRun {
    pub name: PodName,
    /// The life that would begin, or that runs already.
    pub life: u64,
    /// The same pod runs already.
    pub attached: bool,
    /// Empty: it would be accepted.
    pub blockers: Vec<Refusal>,
    /// By each table in force that takes the publisher.
    pub prices: Vec<Price>,
    /// Defaults filled in.
    pub pod: Complete,
    /// Of the objects; `None`: the terms are not known.
    pub digest: Option<[u8; 32]>,
}

impl Admission {
    /// Steps 2 to 4, changing nothing.
    ///
    /// # Errors
    /// Where there is nothing to judge: the delegation was taken back, or the resources cannot be counted.
    pub async fn dry_run(&self, request: Request) -> Result<DryRun, Refusal> {
        let name = request.key.name();
        let tag = self.tag_key.tag(&request.encoded);
        let wanted = Wanted {
            tag: &tag,
            offer: &request.offer,
            after_life: request.after_life,
        };
        let mut life = checks::life(request.after_life)?;
        let pod = Complete::new(request.manifest, &self.defaults);
        let demand = demand(&pod)?;
        let services = &self.services;

        let mut blockers = Vec::new();
        let step = find(&*services.pods, &name, request.delegated_until)
            .await
            .and_then(|record| checks::existing(record, &wanted));
        let running = match step {
            Ok(Step::Attach(PodRecord { life: runs, terms, .. })) => {
                life = runs;
                Some(terms)
            }
            Ok(Step::Create { .. }) => None,
            Err(refusal) if refusal.code == Code::DelegationRevoked => return Err(refusal),
            Err(refusal) => {
                blockers.push(refusal);
                None
            }
        };
        let attached = running.is_some();
        let terms: Option<Terms> = match running {
            // Nobody is asked for what runs.
            Some(terms) => Some(terms),
            None => {
                blockers.extend(services.door.accepting().err());
                blockers.extend(self.pace.ask(&request.key.publisher, Instant::now()).err());
                let terms = facts::terms(&*services.payments, &request.key, &request.offer)
                    .await
                    .map_err(|refusal| blockers.push(refusal))
                    .ok();
                blockers.extend(services.capacity.answer(&demand).fits.err());
                terms
            }
        };
        let prices = services
            .prices
            .tables()
            .map(|tables| quote::prices(&tables, &request.key.publisher, &demand))
            .unwrap_or_default();
        let digest = terms.and_then(|terms| {
            let planned = Planned {
                key: request.key,
                life,
                tag: tag.clone(),
                terms,
                pod: pod.clone(),
            };
            services
                .preview
                .digest(planned)
                .map_err(|refusal| blockers.push(refusal))
                .ok()
        });
        // Several of those who were asked may say the same.
        let mut told = Vec::new();
        blockers.retain(|refusal| {
            let new = !told.contains(&refusal.code);
            told.push(refusal.code);
            new
        });
        Ok(DryRun {
            name,
            life,
            attached,
            blockers,
            prices,
            pod,
            digest,
        })
    }
}

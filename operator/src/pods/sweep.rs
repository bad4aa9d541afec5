//! What nobody names: staged Secrets of requests that ended between two writes are removed, after asking once more; namespaces
//! without an ApocryphPod are reported and never touched. And of each publisher's ended ApocryphPods a bounded number is kept.

mod ended;

use std::{collections::BTreeSet, time::Duration};

use apocryph_crd::ApocryphPod;
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Preconditions},
    core::PartialObjectMeta,
    runtime::reflector::ObjectRef,
};
use tokio_util::sync::CancellationToken;

use super::{
    Clock, Metrics, Settings,
    api::{Failed, ask, found, read},
    objects::meta,
    staging::Staging,
    view,
};
use crate::{model::key::PodName, watches::Watches};

/// Longest time between two sweeps; with a short `sweep_after` they come as often as that.
const PERIOD_MAX: Duration = Duration::from_secs(60);
/// Shortest.
const PERIOD_MIN: Duration = Duration::from_secs(1);
/// Objects per page of a list.
const PAGE: u32 = 500;

pub struct Sweeper {
    pub client: Client,
    pub watches: Watches,
    pub settings: Settings,
    pub staging: Staging,
    pub metrics: Metrics,
    pub clock: Clock,
    reported: BTreeSet<String>,
}

/// Sweeps until `token` is cancelled. A sweep that fails is logged and the next one comes in its time.
pub async fn run(
    client: Client,
    watches: Watches,
    settings: Settings,
    staging: Staging,
    metrics: Metrics,
    token: CancellationToken,
) {
    let period = settings.sweep_after.clamp(PERIOD_MIN, PERIOD_MAX);
    let mut sweeper = Sweeper::new(client, watches, settings, staging, metrics, Timestamp::now);
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        if let Err(error) = sweeper.secrets().await {
            tracing::warn!(%error, "staged Secrets could not be swept");
        }
        if let Err(error) = sweeper.namespaces().await {
            tracing::warn!(%error, "tenants' namespaces could not be checked");
        }
        if let Err(error) = sweeper.ended().await {
            tracing::warn!(%error, "ended ApocryphPods beyond their number could not be swept");
        }
    }
}

impl Sweeper {
    pub fn new(
        client: Client,
        watches: Watches,
        settings: Settings,
        staging: Staging,
        metrics: Metrics,
        clock: Clock,
    ) -> Sweeper {
        Sweeper {
            client,
            watches,
            settings,
            staging,
            metrics,
            clock,
            reported: BTreeSet::new(),
        }
    }

    /// # Errors
    /// The list failed. A Secret that could not be asked about stays.
    pub async fn secrets(&self) -> Result<(), Failed> {
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.settings.operator_namespace);
        let sweep_after = SignedDuration::try_from(self.settings.sweep_after).unwrap_or(SignedDuration::MAX);
        let mut staged = ListParams::default().labels(meta::STAGED).limit(PAGE);
        loop {
            let page = ask(
                "list",
                "Secret",
                &self.settings.operator_namespace,
                api.list_metadata(&staged),
            )
            .await?;
            for secret in page.items {
                let created = secret.metadata.creation_timestamp.as_ref().map(|at| at.0);
                // Of unknown age is young.
                if created.is_some_and(|created| (self.clock)().duration_since(created) >= sweep_after)
                    && let Err(error) = self.secret(&api, &secret).await
                {
                    tracing::warn!(%error, "a staged Secret stays");
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => staged = staged.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    async fn secret(&self, api: &Api<Secret>, secret: &PartialObjectMeta<Secret>) -> Result<(), Failed> {
        let name = secret.name_any();
        let Some(pod) = secret.labels().get(meta::POD).and_then(|pod| PodName::parse(pod)) else {
            tracing::warn!(secret = %name, "labelled as staged but of no pod; it stays");
            return Ok(());
        };
        // A submit of this name is under way: it may be about to name it.
        let Some(_entered) = self.staging.try_enter(&pod) else {
            return Ok(());
        };
        let pods = Api::<ApocryphPod>::all(self.client.clone());
        let owner = found(ask("get", "ApocryphPod", pod.as_str(), pods.get(pod.as_str())).await)?;
        // Until an end has been carried out the controller may still need it; removing it then is part of the end.
        let needed = owner
            .is_some_and(|owner| owner.spec.secret_name.as_deref() == Some(name.as_str()) && !view::is_ended(&owner));
        if needed {
            return Ok(());
        }
        let this_one = DeleteParams::default().preconditions(Preconditions {
            uid: secret.uid(),
            resource_version: secret.resource_version(),
        });
        if found(ask("delete", "Secret", &name, api.delete(&name, &this_one)).await)?.is_some() {
            tracing::info!(%pod, secret = %name, "no ApocryphPod names this staged Secret: removed");
            self.metrics.swept_secrets.inc();
        }
        Ok(())
    }

    /// Namespaces of our form whose ApocryphPod is gone: after a restore from backup, or by force. Told once each.
    ///
    /// # Errors
    /// The list or a question failed; what was known stays.
    pub async fn namespaces(&mut self) -> Result<(), Failed> {
        let api = Api::<Namespace>::all(self.client.clone());
        let mut orphans = BTreeSet::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = ask("list", "Namespace", "", api.list_metadata(&page)).await?;
            for namespace in list.items {
                let space = namespace.name_any();
                let Some(pod) = PodName::from_namespace(&space) else {
                    continue;
                };
                if self.watches.apocryph_pods.get(&ObjectRef::new(pod.as_str())).is_some() {
                    continue;
                }
                let pods = Api::<ApocryphPod>::all(self.client.clone());
                if found(ask("get", "ApocryphPod", pod.as_str(), pods.get_metadata(pod.as_str())).await)?.is_none() {
                    orphans.insert(space);
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        for namespace in orphans.difference(&self.reported) {
            tracing::warn!(
                %namespace,
                "a tenant's namespace has no ApocryphPod; it is left alone: delete it by hand if nobody needs it"
            );
        }
        self.metrics
            .orphan_namespaces
            .set(i64::try_from(orphans.len()).unwrap_or(i64::MAX));
        self.reported = orphans;
        Ok(())
    }

    /// Each publisher's ended ApocryphPods beyond `ended_per_publisher`, the longest ended first. The controller takes the
    /// finalizer off what is deleted here.
    ///
    /// # Errors
    /// The API server did not answer; the rest stays until the next sweep. What it refuses to delete stays as well.
    pub async fn ended(&self) -> Result<(), Failed> {
        let objects = self.watches.apocryph_pods.state();
        for object in ended::surplus(objects, self.settings.ended_per_publisher) {
            match self.surplus(&object).await {
                Err(error) if error.is_unknown() => return Err(error),
                Err(error) => tracing::warn!(%error, "an ended ApocryphPod stays"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn surplus(&self, seen: &ApocryphPod) -> Result<(), Failed> {
        let Some(name) = PodName::parse(&seen.name_any()) else {
            return Ok(());
        };
        // A submit of this name is under way: it may be about to begin a new life.
        let Some(_entered) = self.staging.try_enter(&name) else {
            return Ok(());
        };
        let api = Api::<ApocryphPod>::all(self.client.clone());
        let Some(fresh) = read(&api, &name).await? else {
            return Ok(());
        };
        let going = fresh.metadata.deletion_timestamp.is_some();
        if going || fresh.uid() != seen.uid() || !view::is_ended(&fresh) {
            return Ok(());
        }
        // Exactly as it was read: a new life would be another version.
        let this_one = DeleteParams::default().preconditions(Preconditions {
            uid: fresh.uid(),
            resource_version: fresh.resource_version(),
        });
        let deleted = ask(
            "delete",
            "ApocryphPod",
            name.as_str(),
            api.delete(name.as_str(), &this_one),
        )
        .await;
        if found(deleted)?.is_some() {
            tracing::info!(pod = %name, "ended, and too many of its publisher have ended since: deleted before endedTTL");
        }
        Ok(())
    }
}

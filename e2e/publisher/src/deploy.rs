//! Deploys a pod: the request's bytes are made once, written to the state file, and sent until the provider has taken them;
//! from then on the pod is watched. What has ended is never started again unless asked to.

use apocryph_proto::{
    outcome::Code,
    protocol,
    v0::{
        pod::Pod,
        provision_pod::{PaymentChannel, ProvisionPodRequest},
    },
};
use prost::Message;

use crate::{
    error::{Ended, Error},
    follow::{Ask, Goal, Link, Listener, follow},
    key::PublisherKey,
    pod_id::PodId,
    provider::Provider,
    reply::{Phase, Refusal, Status},
    state::{Saved, SavedEnd, StateError, Store},
    watch,
};

/// When to leave the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The provider has taken it.
    Accepted,
    Running,
    Ended,
}

/// Where it was left.
#[derive(Clone, Debug)]
pub enum Reached {
    Accepted(Status),
    Running(Status),
    /// For [`Until::Ended`] alone; otherwise an end is an error.
    Ended(Ended),
}

/// One pod at one provider, as the state file remembers it.
#[derive(Clone, Debug)]
pub struct Deployment {
    pod: PodId,
    provider: Provider,
    saved: Saved,
}

impl Deployment {
    /// A free pod (no payment channel); `after_life`: the ended life it follows, 0 for none.
    pub fn free(
        pod: Pod,
        pod_id: PodId,
        key: &PublisherKey,
        provider: &Provider,
        after_life: u64,
        detach: bool,
    ) -> Deployment {
        let request = ProvisionPodRequest {
            pod: Some(pod),
            payment: Some(PaymentChannel {
                publisher_address: key.address().to_vec(),
                pod_id: pod_id.0.to_vec(),
                ..PaymentChannel::default()
            }),
            dry_run: false,
            detach,
            after_life,
        };
        Deployment {
            pod: pod_id,
            provider: provider.clone(),
            saved: Saved {
                provider: provider.texts(),
                pod_id: pod_id.0.to_vec(),
                request: request.encode_to_vec(),
                chain_id: 0,
                life: after_life.saturating_add(1),
                accepted: false,
                name: String::new(),
                ended: None,
                unsent: true,
            },
        }
    }

    /// As it was left; `None`: nothing is remembered of it.
    pub fn load(store: &Store, key: &PublisherKey, pod: PodId) -> Result<Option<Deployment>, Error> {
        let Some(saved) = store.load(key, pod)? else {
            return Ok(None);
        };
        let provider = Provider::parse(&saved.provider)?;
        Ok(Some(Deployment { pod, provider, saved }))
    }

    pub fn pod(&self) -> PodId {
        self.pod
    }

    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// The provider has moved: other addresses of the same peer.
    pub fn set_addresses(&mut self, provider: &Provider) -> Result<(), Error> {
        if provider.peer() != self.provider.peer() {
            return Err(Error::usage(
                format!(
                    "pod {} was sent to provider {}, not to {}",
                    self.pod,
                    self.provider.peer(),
                    provider.peer()
                ),
                "Leave --provider out, or deploy under another pod id.",
            ));
        }
        self.provider = provider.clone();
        self.saved.provider = provider.texts();
        Ok(())
    }

    /// The encoded ProvisionPodRequest.
    pub fn request(&self) -> &[u8] {
        &self.saved.request
    }

    /// The life that is asked for, or was accepted.
    pub fn life(&self) -> u64 {
        self.saved.life
    }

    pub fn is_accepted(&self) -> bool {
        self.saved.accepted
    }

    pub fn chain_id(&self) -> u64 {
        self.saved.chain_id
    }

    /// Its request was written down and no byte of it has left: nobody can have taken it.
    pub fn is_unsent(&self) -> bool {
        self.saved.unsent
    }

    /// Nothing of this pod was ever sent, of no life: it is not a pod yet.
    pub fn is_new(&self) -> bool {
        self.saved.unsent && self.saved.life == 1
    }

    pub fn has_ended(&self) -> bool {
        self.saved.ended.as_ref().is_some_and(|end| end.life == self.saved.life)
    }

    /// Does it ask for just this pod?
    pub fn is_of(&self, pod: &Pod) -> bool {
        ProvisionPodRequest::decode(self.request()).is_ok_and(|request| request.pod.as_ref() == Some(pod))
    }

    /// Another manifest for the life that [`restart`] starts.
    pub fn replace(&mut self, pod: Pod, key: &PublisherKey, detach: bool) {
        let after_life = self.known_life();
        let request = Deployment::free(pod, self.pod, key, &self.provider, after_life, detach);
        self.saved.request.clone_from(&request.saved.request);
    }

    /// A new request for the life after `ended`: what is sent next starts the pod anew, with empty volumes.
    pub fn restart(&mut self, ended: u64) -> Result<(), Error> {
        let mut request = ProvisionPodRequest::decode(self.request()).map_err(|_| {
            Error::usage(
                "the remembered request cannot be read",
                "Deploy the manifest under another pod id.",
            )
        })?;
        request.after_life = ended;
        self.saved.request = request.encode_to_vec();
        self.saved.life = ended.saturating_add(1);
        self.saved.accepted = false;
        self.saved.unsent = true;
        Ok(())
    }

    /// The newest life that is known to have been: it has ended if the provider knows nothing of the pod any more.
    fn known_life(&self) -> u64 {
        let asked_after = self.saved.life.saturating_sub(1);
        let lived = if self.saved.accepted {
            self.saved.life
        } else {
            asked_after
        };
        self.saved.ended.as_ref().map_or(lived, |end| end.life.max(lived))
    }

    /// Takes note of an end that was reported elsewhere (watch, delete).
    pub fn note_end(&mut self, ended: &Ended, store: &Store, key: &PublisherKey) -> Result<(), StateError> {
        self.saved.ended = Some(SavedEnd {
            life: ended.life,
            code: ended.code.text.clone(),
            at: ended.at,
        });
        self.save(Some(store), key)
    }

    fn save(&self, store: Option<&Store>, key: &PublisherKey) -> Result<(), StateError> {
        store.map_or(Ok(()), |store| store.save(key, self.pod, &self.saved))
    }
}

/// Options of one run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub until: Until,
    /// Give up at the first trouble instead of waiting for it to be mended or for the start timeout.
    pub fail_fast: bool,
}

/// Sends it until it is accepted, then watches it until `options.until`.
///
/// # Errors
/// Every refusal that will not pass, an end (but with [`Until::Ended`]), trouble with `fail_fast`, and what
/// [`crate::follow::Settings`] bounds.
pub async fn deploy(
    link: Link<'_>,
    deployment: &mut Deployment,
    store: Option<&Store>,
    options: Options,
    on: Listener<'_>,
) -> Result<Reached, Error> {
    // Before the first byte is sent: whatever happens from here on, the same request can be sent again. That the first byte
    // is about to leave is written too, right before ([`Goal::sending`]): until then it cannot have been taken.
    deployment.save(store, link.key)?;
    follow(
        link,
        &mut Deploying {
            deployment,
            key: link.key,
            store,
            options,
            alive: false,
        },
        on,
    )
    .await
}

/// Learns from the provider which life has ended, and makes the request for the one after it; waits while an end is being
/// carried out. Errors when the pod has not ended.
pub async fn restart(link: Link<'_>, deployment: &mut Deployment, on: Listener<'_>) -> Result<u64, Error> {
    let known = deployment.known_life();
    let goal = &mut Learning {
        pod: deployment.pod,
        chain_id: deployment.saved.chain_id,
        known,
    };
    let ended = follow(link, goal, on).await?;
    deployment.restart(ended)?;
    Ok(ended)
}

struct Deploying<'a> {
    deployment: &'a mut Deployment,
    key: &'a PublisherKey,
    store: Option<&'a Store>,
    options: Options,
    /// This run has seen it not ended.
    alive: bool,
}

impl Deploying<'_> {
    fn ended(&mut self, ended: Ended) -> Result<Reached, Error> {
        if let Some(store) = self.store {
            self.deployment.note_end(&ended, store, self.key)?;
        }
        match self.options.until {
            Until::Ended if self.alive => Ok(Reached::Ended(ended)),
            _ => Err(ended.into()),
        }
    }

    fn accepted(&mut self, status: &Status) -> Result<(), Error> {
        let saved = &mut self.deployment.saved;
        if saved.accepted && saved.life != status.life {
            let message = format!(
                "life {} of the pod has ended, the provider tells of life {}",
                saved.life, status.life
            );
            return Err(Error::from(Refusal {
                remedy: "Somebody started it anew with your key; `apocryph watch POD` follows that life.".into(),
                ..Refusal::new(Code::OtherLife, message)
            }));
        }
        if !saved.accepted {
            saved.accepted = true;
            saved.life = status.life;
            saved.name.clone_from(&status.name);
            saved.ended = None;
            self.deployment.save(self.store, self.key)?;
        }
        Ok(())
    }
}

impl Goal for Deploying<'_> {
    type Done = Reached;

    fn pod(&self) -> PodId {
        self.deployment.pod
    }

    fn ask(&self) -> Ask {
        let saved = &self.deployment.saved;
        if saved.accepted {
            return Ask {
                attest: true,
                ..watch::ask(saved.chain_id)
            };
        }
        Ask {
            operation: "provision",
            protocol: protocol::PROVISION_POD,
            bytes: saved.request.clone(),
            chain_id: saved.chain_id,
            attest: true,
        }
    }

    fn sent_before(&self) -> bool {
        !self.deployment.saved.unsent
    }

    fn sending(&mut self) -> Result<(), Error> {
        if self.deployment.saved.unsent {
            self.deployment.saved.unsent = false;
            self.deployment.save(self.store, self.key)?;
        }
        Ok(())
    }

    fn status(&mut self, status: &Status) -> Result<Option<Reached>, Error> {
        if status.phase == Phase::Ended {
            return self.ended(Ended::from_status(status, !self.alive)).map(Some);
        }
        self.accepted(status)?;
        self.alive = true;
        match (self.options.until, status.phase) {
            (Until::Accepted, _) => Ok(Some(Reached::Accepted(status.clone()))),
            (Until::Running, Phase::Running) => Ok(Some(Reached::Running(status.clone()))),
            _ if self.options.fail_fast && status.in_trouble() => Err(Error::Trouble(Box::new(status.clone()))),
            _ => Ok(None),
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Result<Reached, Error> {
        match Ended::from_refusal(&refusal, !self.alive) {
            Some(ended) => self.ended(ended),
            None => Err(refusal.into()),
        }
    }
}

struct Learning {
    pod: PodId,
    chain_id: u64,
    known: u64,
}

impl Goal for Learning {
    type Done = u64;

    fn pod(&self) -> PodId {
        self.pod
    }

    fn ask(&self) -> Ask {
        watch::ask(self.chain_id)
    }

    fn status(&mut self, status: &Status) -> Result<Option<u64>, Error> {
        match status.phase {
            Phase::Ended => Ok(Some(status.life)),
            Phase::Ending => Ok(None),
            _ => Err(Error::from(Refusal {
                remedy: "Nothing was changed. End it first with `apocryph delete POD`.".into(),
                ..Refusal::new(
                    Code::OtherLife,
                    format!("life {} of the pod has not ended", status.life),
                )
            })),
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Result<u64, Error> {
        match Ended::from_refusal(&refusal, true) {
            Some(ended) => Ok(ended.life),
            None if refusal.code.is(Code::NotFound) => Ok(self.known),
            None => Err(refusal.into()),
        }
    }
}

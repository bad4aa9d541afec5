//! May this request become an ApocryphPod? The accept order, cheapest first, each "no" with its code:
//!
//! 1. [`credential`] and the manifest's rules, by the protocol: no service is asked;
//! 2. is there an object of that name: attach, refuse, or go on ([`checks`]);
//! 3. the door, then the payment ([`facts`]); defaults filled in;
//! 4. new pods come no faster than [`pace`] lets them; capacity held;
//! 5. and 6. the gateway's writes, which run to their end whatever becomes of the stream.
//!
//! Attaching asks neither door nor payment nor capacity: a chain that is down keeps nobody from a running pod.

pub mod admitted;
pub mod checks;
pub mod credential;
pub mod delegation;
pub mod dry_run;
pub mod facts;
pub mod pace;

use std::{sync::Arc, time::Instant};

use apocryph_proto::outcome::Code;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use zeroize::Zeroizing;

pub use admitted::Admitted;

use self::{
    admitted::AdmittedRequest,
    checks::{Step, TagKey, Wanted},
    pace::Pace,
};
use crate::model::{
    key::{PodKey, PodName},
    manifest::{Complete, Defaults, Demand, Manifest},
    pod::{Offer, PodRecord, Terms},
    refusal::{BUSY_RETRY_AFTER, Refusal},
    services::{Capacity, Door, Held, Payments, Pods, Preview, Prices, Submitted},
};

/// How often a request looks again after another one for its name was decided first. One other request makes one round;
/// more means that the name is fought over.
pub const ROUNDS_MAX: u32 = 4;
/// Writes under way at once. Each ends in bounded time; beyond this the API server is the bottleneck.
pub const COMMITS_MAX: usize = 64;

/// A provision whose envelope held and whose manifest is valid.
#[derive(Clone)]
pub struct Request {
    pub key: PodKey,
    pub offer: Offer,
    pub manifest: Manifest,
    /// The decoded pod encoded again, before defaults, for the TAG. Holds secret values.
    pub encoded: Zeroizing<Vec<u8>>,
    pub after_life: u64,
    /// When the delegation expires under which it is asked; `None`: the publisher signed it.
    pub delegated_until: Option<u64>,
    /// Of the session, for log and object.
    pub request_id: String,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("name", &self.key.name())
            .finish_non_exhaustive()
    }
}

/// The two ways to "yes".
pub enum Outcome {
    /// This request made it; what stands in the spec, defaults filled in.
    Accepted { record: PodRecord, pod: Complete },
    /// An earlier one did.
    Attached { record: PodRecord },
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, record) = match self {
            Outcome::Accepted { record, .. } => ("Accepted", record),
            Outcome::Attached { record } => ("Attached", record),
        };
        f.debug_struct(name).field("record", record).finish_non_exhaustive()
    }
}

/// Whom admission asks.
#[derive(Clone)]
pub struct Services {
    pub pods: Arc<dyn Pods>,
    pub capacity: Arc<dyn Capacity>,
    pub payments: Arc<dyn Payments>,
    pub door: Arc<dyn Door>,
    /// For dry runs alone.
    pub prices: Arc<dyn Prices>,
    pub preview: Arc<dyn Preview>,
}

/// The driver of the accept order.
pub struct Admission {
    services: Services,
    tag_key: TagKey,
    defaults: Defaults,
    pace: Pace,
    commits: Arc<Semaphore>,
    running: TaskTracker,
}

impl Admission {
    pub fn new(services: Services, tag_key: TagKey, defaults: Defaults) -> Admission {
        Admission {
            services,
            tag_key,
            defaults,
            pace: Pace::new(),
            commits: Arc::new(Semaphore::new(COMMITS_MAX)),
            running: TaskTracker::new(),
        }
    }

    /// Steps 2 to 6. Dropping the future gives a hold back, or, once the writes have begun, leaves them to run to their end.
    pub async fn provision(&self, request: Request) -> Result<Outcome, Refusal> {
        let Services { pods, capacity, .. } = &self.services;
        let name = request.key.name();
        let tag = self.tag_key.tag(&request.encoded);
        let wanted = Wanted {
            tag: &tag,
            offer: &request.offer,
            after_life: request.after_life,
        };
        let pod = Complete::new(request.manifest, &self.defaults);
        let demand = demand(&pod)?;
        let mut paid = None;
        for _ in 0..ROUNDS_MAX {
            let record = find(&**pods, &name, request.delegated_until).await?;
            let (life, replaces) = match checks::existing(record, &wanted)? {
                Step::Attach(record) => return Ok(Outcome::Attached { record }),
                Step::Create { life, replaces } => (life, replaces),
            };
            let terms = match &paid {
                Some(terms) => Terms::clone(terms),
                None => {
                    self.services.door.admits(&request.key.publisher)?;
                    paid.insert(facts::terms(&*self.services.payments, &request.key, &request.offer).await?)
                        .clone()
                }
            };
            // Again: it may have been closed while the payment was asked.
            self.services.door.admits(&request.key.publisher)?;
            self.pace.ask(&request.key.publisher, Instant::now())?;
            let hold = match capacity.hold(&name, &demand).await? {
                Held::Hold(hold) => hold,
                Held::LookAgain => continue,
            };
            // Only now: what does not fit, or waits for another request, costs no token, or a stranger could use up
            // everybody's without ever having a pod.
            self.pace.take(request.key.publisher, Instant::now())?;
            let admitted = Admitted {
                request: AdmittedRequest {
                    key: request.key,
                    life,
                    tag: tag.clone(),
                    terms,
                    pod: pod.clone(),
                    replaces,
                    request_id: request.request_id.clone(),
                },
                hold,
            };
            match self.commit(admitted).await? {
                Submitted::Created(record) => return Ok(Outcome::Accepted { record, pod }),
                Submitted::Raced => continue,
            }
        }
        Err(
            Refusal::busy("other requests for this pod were decided in between, again and again")
                .remedy("send the same request again"),
        )
    }

    /// The writes in a task of their own: a stream that dies in between never leaves half of them.
    async fn commit(&self, admitted: Admitted) -> Result<Submitted, Refusal> {
        let Ok(permit) = self.commits.clone().try_acquire_owned() else {
            return Err(
                Refusal::busy(format!("{COMMITS_MAX} pods are being written at the moment"))
                    .remedy("send the same request again"),
            );
        };
        let pods = self.services.pods.clone();
        let writes = async move {
            let _permit = permit;
            pods.submit(admitted).await
        };
        self.running
            .spawn(writes.in_current_span())
            .await
            .unwrap_or_else(|failed| {
                tracing::error!(error = %failed, "the writes of a pod did not come to their end");
                Err(Refusal::new(
                    Code::ApiUnavailable,
                    "whether the pod was written could not be found out",
                )
                .remedy("send the same request again")
                .retry_after(BUSY_RETRY_AFTER))
            })
    }

    /// Waits for the writes under way; for the end of the process, after the last stream.
    pub async fn finish(&self) {
        self.running.close();
        self.running.wait().await;
    }
}

/// A fresh read; whoever asks under a delegation that was taken back is told so, and nothing else.
async fn find(pods: &dyn Pods, name: &PodName, delegated_until: Option<u64>) -> Result<Option<PodRecord>, Refusal> {
    let record = pods.find(name).await?;
    if let (Some(record), Some(expires_at)) = (&record, delegated_until) {
        delegation::revoked(record, expires_at)?;
    }
    Ok(record)
}

fn demand(pod: &Complete) -> Result<Demand, Refusal> {
    pod.demand().ok_or_else(|| {
        Refusal::new(
            Code::InvalidManifest,
            "its resources add up to more than can be counted",
        )
        .field("pod.containers")
    })
}

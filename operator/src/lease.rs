//! Who leads: client-go's leader election (k8s.io/client-go/tools/leaderelection) over one Lease.
//!
//! Another holder's lease has run out when *we* have not seen it change for as long as it promised, by our monotonic clock;
//! the times written in it come from other machines' clocks and are for people. Every write carries the resourceVersion that
//! was read, so of two contenders the API server refuses one. What we hold is a [`Claim`], valid until `renew_deadline` after
//! the last renewal *began*: from then to the end of the lease as others see it there is more time than any request of ours
//! may take, so no write of a deposed leader lands late.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use rand::Rng;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// Standbys ask every `retry_period` and up to this many more of it, so that they do not ask in step.
const JITTER: f64 = 1.2;
/// What a released lease promises, so that a contender that did not see the empty holder waits this long only.
const RELEASED_SECONDS: i32 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub namespace: String,
    pub name: String,
    /// Pod name and uid: a new Pod of the same name is somebody else.
    pub identity: String,
    /// Whole seconds.
    pub duration: Duration,
    pub renew_deadline: Duration,
    pub retry_period: Duration,
}

/// The right to act as the leader. It is checked by its time, not by a flag: a process that was held up finds it expired
/// although nobody has told it yet.
#[derive(Clone, Debug)]
pub struct Claim {
    until: watch::Receiver<Instant>,
}

impl Claim {
    pub fn valid(&self) -> bool {
        Instant::now() < *self.until.borrow()
    }

    /// A claim, and what sets its end.
    pub fn until(end: Instant) -> (watch::Sender<Instant>, Claim) {
        let (set, until) = watch::channel(end);
        (set, Claim { until })
    }
}

/// Why leading ended.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    #[error("the lease is held by {holder} now")]
    Taken { holder: String },
    #[error("the lease could not be renewed within {within:?}: {last}")]
    NotRenewed { within: Duration, last: String },
}

/// What one try came to.
enum Attempt {
    /// Ours, by a request that began then.
    Held(Instant),
    HeldBy(String),
    Failed(kube::Error),
}

/// The record as we last saw it, and since when it says the same.
struct Observed {
    lease: Lease,
    since: Instant,
}

pub struct Elector {
    api: Api<Lease>,
    settings: Settings,
    observed: Option<Observed>,
    claim: watch::Sender<Option<Claim>>,
}

impl Elector {
    /// The elector, and the claim as it becomes ours (`None` until then).
    pub fn new(client: Client, settings: Settings) -> (Elector, watch::Receiver<Option<Claim>>) {
        let (claim, claims) = watch::channel(None);
        let api = Api::namespaced(client, &settings.namespace);
        (
            Elector {
                api,
                settings,
                observed: None,
                claim,
            },
            claims,
        )
    }

    /// Waits for the lease, holds it until `stop`, then gives it back. `Err`: it was lost, and this process must end.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Lost> {
        let Some(began) = stop.run_until_cancelled(self.acquire()).await else {
            return Ok(());
        };
        tracing::info!(identity = self.settings.identity, "leading");
        let (until, claim) = Claim::until(began + self.settings.renew_deadline);
        self.claim.send_replace(Some(claim));
        let held = stop.clone().run_until_cancelled_owned(self.hold(&until)).await;
        // Whoever looks from here on finds it expired.
        until.send_replace(Instant::now());
        match held {
            Some(lost) => Err(lost),
            None => {
                self.release().await;
                Ok(())
            }
        }
    }

    async fn acquire(&mut self) -> Instant {
        let mut told = None;
        loop {
            match self.attempt().await {
                Attempt::Held(began) => return began,
                Attempt::HeldBy(holder) => {
                    if told.as_ref() != Some(&holder) {
                        tracing::info!(holder, "standing by");
                        told = Some(holder);
                    }
                }
                Attempt::Failed(error) => tracing::warn!(%error, "could not ask for the lease"),
            }
            let wait = self
                .settings
                .retry_period
                .mul_f64(1.0 + rand::thread_rng().r#gen::<f64>() * JITTER);
            sleep(wait).await;
        }
    }

    async fn hold(&mut self, until: &watch::Sender<Instant>) -> Lost {
        loop {
            sleep(self.settings.retry_period).await;
            let deadline = *until.borrow();
            let mut last = "no answer".to_owned();
            loop {
                match timeout_at(deadline, self.attempt()).await {
                    Ok(Attempt::Held(began)) => {
                        until.send_replace(began + self.settings.renew_deadline);
                        break;
                    }
                    Ok(Attempt::HeldBy(holder)) => return Lost::Taken { holder },
                    Ok(Attempt::Failed(error)) => {
                        tracing::warn!(%error, "the lease was not renewed");
                        last = error.to_string();
                    }
                    Err(_) => {
                        return Lost::NotRenewed {
                            within: self.settings.renew_deadline,
                            last,
                        };
                    }
                }
                if timeout_at(deadline, sleep(self.settings.retry_period)).await.is_err() {
                    return Lost::NotRenewed {
                        within: self.settings.renew_deadline,
                        last,
                    };
                }
            }
        }
    }

    /// Takes or renews it, if it is ours to take.
    async fn attempt(&mut self) -> Attempt {
        let began = Instant::now();
        // While we hold it the record we wrote last is most likely the current one: one request instead of two.
        if let Some(observed) = &self.observed
            && holder(&observed.lease) == Some(&self.settings.identity)
            && !expired(observed, began)
        {
            let lease = observed.lease.clone();
            match self.write(&lease).await {
                Ok(()) => return Attempt::Held(began),
                Err(error) if conflict_or_gone(&error) => {}
                Err(error) => return Attempt::Failed(error),
            }
        }
        let began = Instant::now();
        let lease = match self.api.get_opt(&self.settings.name).await {
            Ok(Some(lease)) => lease,
            Ok(None) => {
                return match self.create().await {
                    Ok(()) => Attempt::Held(began),
                    Err(error) => Attempt::Failed(error),
                };
            }
            Err(error) => return Attempt::Failed(error),
        };
        self.observe(lease.clone());
        if let (Some(other), Some(observed)) = (holder(&lease), &self.observed)
            && *other != self.settings.identity
            && !expired(observed, Instant::now())
        {
            return Attempt::HeldBy(other.clone());
        }
        let began = Instant::now();
        match self.write(&lease).await {
            Ok(()) => Attempt::Held(began),
            Err(error) => Attempt::Failed(error),
        }
    }

    /// Remembers a record; its time runs from when it first said what it says.
    fn observe(&mut self, lease: Lease) {
        let same = self
            .observed
            .as_ref()
            .is_some_and(|observed| observed.lease.spec == lease.spec);
        let since = match &self.observed {
            Some(observed) if same => observed.since,
            _ => Instant::now(),
        };
        self.observed = Some(Observed { lease, since });
    }

    async fn create(&mut self) -> Result<(), kube::Error> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.settings.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.record(None)),
        };
        let lease = self.api.create(&PostParams::default(), &lease).await?;
        self.observe(lease);
        Ok(())
    }

    /// Writes our record over `before`, which must still be the current one.
    async fn write(&mut self, before: &Lease) -> Result<(), kube::Error> {
        let lease = Lease {
            metadata: before.metadata.clone(),
            spec: Some(self.record(before.spec.as_ref())),
        };
        let lease = self
            .api
            .replace(&self.settings.name, &PostParams::default(), &lease)
            .await?;
        self.observe(lease);
        Ok(())
    }

    fn record(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.filter(|spec| spec.holder_identity.as_ref() == Some(&self.settings.identity));
        let transitions = before.map_or(0, |spec| spec.lease_transitions.unwrap_or(0));
        LeaseSpec {
            holder_identity: Some(self.settings.identity.clone()),
            // args refuses what does not fit.
            lease_duration_seconds: i32::try_from(self.settings.duration.as_secs()).ok(),
            acquire_time: ours
                .and_then(|spec| spec.acquire_time.clone())
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if before.is_none() || ours.is_some() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }

    /// Gives it back, so that the next one need not wait for its end. Failing costs that wait and nothing else.
    async fn release(&mut self) {
        let Some(observed) = &self.observed else { return };
        let mut lease = observed.lease.clone();
        if holder(&lease) != Some(&self.settings.identity) {
            return;
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(RELEASED_SECONDS);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        match self
            .api
            .replace(&self.settings.name, &PostParams::default(), &lease)
            .await
        {
            Ok(_) => tracing::info!("lease released"),
            Err(error) => tracing::warn!(%error, "the lease was not released; another takes over when it runs out"),
        }
    }
}

/// Nobody: no holder, or an empty one (released).
fn holder(lease: &Lease) -> Option<&String> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_ref()
        .filter(|holder| !holder.is_empty())
}

fn expired(observed: &Observed, now: Instant) -> bool {
    let promised = observed
        .lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_duration_seconds)
        .unwrap_or(0);
    now >= observed.since + Duration::from_secs(u64::try_from(promised).unwrap_or(0))
}

fn conflict_or_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict() || status.is_not_found())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api::{Answer, client, fail};

    /// One Lease with optimistic concurrency, as the API server keeps it.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<State>>);

    #[derive(Default)]
    struct State {
        lease: Option<Value>,
        version: u64,
        down: bool,
        /// Changed by somebody between our read and our write.
        race_next_write: bool,
        writes: u64,
    }

    impl Server {
        fn client(&self) -> Client {
            let server = self.clone();
            client("apocryph", move |method, _, body| server.answer(method.as_str(), body))
        }

        fn answer(&self, method: &str, body: &[u8]) -> Answer {
            let mut state = self.0.lock().unwrap();
            if state.down {
                return fail(503, "ServiceUnavailable");
            }
            if method == "GET" {
                return state
                    .lease
                    .clone()
                    .map_or_else(|| fail(404, "NotFound"), |lease| (200, lease));
            }
            if std::mem::take(&mut state.race_next_write) {
                state.version += 1;
                let version = state.version.to_string();
                if let Some(lease) = &mut state.lease {
                    lease["metadata"]["resourceVersion"] = json!(version);
                }
            }
            let mut new: Value = serde_json::from_slice(body).unwrap();
            let current = state
                .lease
                .as_ref()
                .map(|lease| lease["metadata"]["resourceVersion"].clone());
            match (method, current) {
                ("POST", Some(_)) => return fail(409, "AlreadyExists"),
                ("POST", None) => {}
                ("PUT", None) => return fail(404, "NotFound"),
                ("PUT", Some(version)) if new["metadata"]["resourceVersion"] != version => {
                    return fail(409, "Conflict");
                }
                ("PUT", Some(_)) => {}
                (other, _) => panic!("unexpected {other}"),
            }
            state.version += 1;
            state.writes += 1;
            new["metadata"]["resourceVersion"] = json!(state.version.to_string());
            state.lease = Some(new.clone());
            (200, new)
        }

        fn holder(&self) -> String {
            let state = self.0.lock().unwrap();
            state.lease.as_ref().unwrap()["spec"]["holderIdentity"]
                .as_str()
                .unwrap()
                .to_owned()
        }

        fn edit(&self, f: impl FnOnce(&mut State)) {
            f(&mut self.0.lock().unwrap());
        }

        /// Somebody else writes himself in.
        fn taken_by(&self, holder: &str) {
            self.edit(|state| {
                state.version += 1;
                let version = state.version.to_string();
                let lease = state.lease.as_mut().unwrap();
                lease["spec"]["holderIdentity"] = json!(holder);
                lease["metadata"]["resourceVersion"] = json!(version);
            });
        }
    }

    struct Contender {
        claims: watch::Receiver<Option<Claim>>,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<Result<(), Lost>>,
    }

    impl Contender {
        fn start(server: &Server, identity: &str) -> Contender {
            let settings = Settings {
                namespace: "apocryph".into(),
                name: "apocryph-provider".into(),
                identity: identity.into(),
                duration: Duration::from_secs(15),
                renew_deadline: Duration::from_secs(10),
                retry_period: Duration::from_secs(2),
            };
            let (elector, claims) = Elector::new(server.client(), settings);
            let stop = CancellationToken::new();
            Contender {
                claims,
                stop: stop.clone(),
                task: tokio::spawn(elector.run(stop)),
            }
        }

        async fn leads(&mut self) -> Claim {
            self.claims.wait_for(Option::is_some).await.unwrap().clone().unwrap()
        }

        fn waits(&self) -> bool {
            self.claims.borrow().is_none()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_contenders_one_leads_and_keeps_leading() {
        let server = Server::default();
        let mut one = Contender::start(&server, "one");
        let claim = one.leads().await;
        let two = Contender::start(&server, "two");
        sleep(Duration::from_secs(120)).await;
        assert!(claim.valid());
        assert!(two.waits());
        assert_eq!(server.holder(), "one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_lease_is_taken_at_the_next_try() {
        let server = Server::default();
        let mut one = Contender::start(&server, "one");
        let claim = one.leads().await;
        let mut two = Contender::start(&server, "two");
        sleep(Duration::from_secs(30)).await;
        one.stop.cancel();
        one.task.await.unwrap().unwrap();
        assert!(!claim.valid());
        let released = Instant::now();
        two.leads().await;
        assert!(released.elapsed() < Duration::from_secs(5), "{:?}", released.elapsed());
        assert_eq!(
            server.0.lock().unwrap().lease.as_ref().unwrap()["spec"]["leaseTransitions"],
            1
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_falls_silent_is_replaced_after_its_duration_and_not_before() {
        let server = Server::default();
        let mut one = Contender::start(&server, "one");
        one.leads().await;
        let mut two = Contender::start(&server, "two");
        sleep(Duration::from_secs(30)).await;
        one.task.abort();
        let silent = Instant::now();
        two.leads().await;
        // At most one retry period passes between the last renewal and the abort.
        assert!(silent.elapsed() >= Duration::from_secs(13), "{:?}", silent.elapsed());
        assert!(silent.elapsed() < Duration::from_secs(21), "{:?}", silent.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_cut_off_gives_up_before_others_may_take_over() {
        let server = Server::default();
        let mut one = Contender::start(&server, "one");
        let claim = one.leads().await;
        sleep(Duration::from_secs(31)).await;
        server.edit(|state| state.down = true);
        let cut = Instant::now();
        let lost = one.task.await.unwrap().unwrap_err();
        assert!(matches!(lost, Lost::NotRenewed { .. }), "{lost}");
        assert!(!claim.valid());
        assert!(cut.elapsed() <= Duration::from_secs(10), "{:?}", cut.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_runs_out_by_itself_when_its_task_is_held_up() {
        let (_set, claim) = Claim::until(Instant::now() + Duration::from_secs(10));
        assert!(claim.valid());
        sleep(Duration::from_secs(10)).await;
        assert!(!claim.valid());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deposed_holder_ends_and_does_not_take_it_back() {
        let server = Server::default();
        let mut one = Contender::start(&server, "one");
        one.leads().await;
        server.taken_by("thief");
        let lost = one.task.await.unwrap().unwrap_err();
        assert!(matches!(&lost, Lost::Taken { holder } if holder == "thief"), "{lost}");
        assert_eq!(server.holder(), "thief");
    }

    #[tokio::test(start_paused = true)]
    async fn clocks_of_others_decide_nothing() {
        for renewed in ["1999-01-01T00:00:00.000000Z", "2199-01-01T00:00:00.000000Z"] {
            let server = Server::default();
            server.edit(|state| {
                state.version = 1;
                state.lease = Some(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": "apocryph-provider", "resourceVersion": "1"},
                    "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": renewed,
                        "acquireTime": renewed, "leaseTransitions": 3}}));
            });
            let started = Instant::now();
            let mut one = Contender::start(&server, "one");
            one.leads().await;
            // Whatever it says of the time: watched for its whole duration, then taken.
            assert!(
                started.elapsed() >= Duration::from_secs(15),
                "{renewed}: {:?}",
                started.elapsed()
            );
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "{renewed}: {:?}",
                started.elapsed()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_conflict_on_renewal_is_read_again_and_survived() {
        let server = Server::default();
        let mut one = Contender::start(&server, "one");
        let claim = one.leads().await;
        server.edit(|state| state.race_next_write = true);
        sleep(Duration::from_secs(60)).await;
        assert!(claim.valid());
        assert_eq!(server.holder(), "one");
        assert_eq!(
            server.0.lock().unwrap().lease.as_ref().unwrap()["spec"]["leaseTransitions"],
            0
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_never_overwrites_a_new_holder() {
        let server = Server::default();
        let mut one = Contender::start(&server, "one");
        one.leads().await;
        server.taken_by("two");
        one.stop.cancel();
        one.task.await.unwrap().unwrap();
        assert_eq!(server.holder(), "two");
    }
}

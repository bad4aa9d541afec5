//! Keeps asking until a goal is reached: dials, attests, signs, sends, reads status; on loss waits and does it again.
//!
//! What is sent is decided by the goal each time ([`Goal::ask`]), so a deployment that was accepted meanwhile is watched, not
//! sent again.

use std::{fmt, sync::Arc, time::Duration};

use apocryph_proto::outcome::Code;
use libp2p::Multiaddr;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    attest::{Attested, attest},
    backoff::Backoff,
    credential::{self, Parties, Request},
    error::Error,
    key::PublisherKey,
    net::Client,
    pod_id::PodId,
    provider::Provider,
    reply::{Outcome, Refusal, Status},
    session::{Body, Reply, SILENCE_MAX, Session, SessionError},
};

/// A stream that lived this long was worth the connection, whatever it told: what comes after its loss begins anew. A shorter
/// one counts as a failure unless it told something new, so that nobody makes this client dial and sign without pause.
const STREAM_LIFE_MIN: Duration = Duration::from_secs(10);

/// How persistent to be.
#[derive(Clone)]
pub struct Settings {
    /// Send a manifest to a provider whose stack is not proven.
    pub allow_unattested: bool,
    /// For all of it; `None`: as long as it takes.
    pub timeout: Option<Duration>,
    /// Also wait for what may last: no capacity, not accepting, an end that is being carried out.
    pub wait: bool,
    pub backoff: Backoff,
    /// How long to try for a first connection.
    pub first_contact: Duration,
    /// How long to go on without news, once there was a connection: a changed status, or a stream that lasts.
    pub patience: Duration,
    /// A stream without a message for this long is lost.
    pub silence: Duration,
    /// Tests cut connections with it.
    pub interceptor: Option<Interceptor>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            allow_unattested: false,
            timeout: None,
            wait: false,
            backoff: Backoff::default(),
            first_contact: Duration::from_secs(30),
            patience: Duration::from_secs(600),
            silence: SILENCE_MAX,
            interceptor: None,
        }
    }
}

/// Asked at each point of each exchange.
pub type Interceptor = Arc<dyn Fn(Point<'_>) -> Decision + Send + Sync>;

/// Where an exchange stands. `index` counts the messages of this stream from 0.
#[derive(Debug)]
pub enum Point<'a> {
    /// The request is written.
    Sent { operation: &'a str },
    /// A message came; nothing has seen it yet. Cut here: as if it had never arrived.
    Received {
        operation: &'a str,
        index: usize,
        reply: &'a Reply,
    },
    /// The message was taken note of, on disk too.
    Handled {
        operation: &'a str,
        index: usize,
        reply: &'a Reply,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Go,
    /// The connection is closed, as if the network had failed.
    Cut,
}

/// What happens on the way.
#[derive(Clone, Debug)]
pub enum Event {
    Connecting {
        attempt: u32,
    },
    Connected {
        address: Multiaddr,
    },
    Attested(Attested),
    Sent {
        operation: &'static str,
    },
    Status(Status),
    Retrying {
        reason: String,
        code: Option<Outcome>,
        delay: Duration,
    },
}

/// Called for each event, in order, between two steps: must not block.
pub type Listener<'a> = &'a mut (dyn FnMut(Event) + Send);

/// Who asks whom.
#[derive(Clone, Copy)]
pub struct Link<'a> {
    pub client: &'a Client,
    pub key: &'a PublisherKey,
    pub provider: &'a Provider,
    pub settings: &'a Settings,
}

/// What to send on a new connection.
pub(crate) struct Ask {
    pub operation: &'static str,
    pub protocol: &'static str,
    pub bytes: Vec<u8>,
    pub chain_id: u64,
    /// The provider must have attested on this connection before.
    pub attest: bool,
}

pub(crate) trait Goal: Send {
    type Done: Send;

    fn pod(&self) -> PodId;

    fn ask(&self) -> Ask;

    /// An earlier run may have sent the same request, and the provider may have taken it.
    fn sent_before(&self) -> bool {
        false
    }

    /// `Some`: reached. `Err` ends it, without another attempt.
    fn status(&mut self, status: &Status) -> Result<Option<Self::Done>, Error>;

    /// The final "no"; an `Err` with the refusal may be tried again, by its code.
    fn refused(&mut self, refusal: Refusal) -> Result<Self::Done, Error> {
        Err(refusal.into())
    }
}

pub(crate) async fn follow<G: Goal>(link: Link<'_>, goal: &mut G, on: Listener<'_>) -> Result<G::Done, Error> {
    let mut course = Course::new();
    course.resuming = goal.sent_before();
    let deadline = link
        .settings
        .timeout
        .and_then(|timeout| course.started.checked_add(timeout));
    loop {
        let Some(outcome) = within(deadline, attempt(link, goal, on, &mut course)).await else {
            return Err(course.out_of_time());
        };
        let error = match outcome {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let Some(delay) = course.retry(&error, link.settings) else {
            return Err(error);
        };
        course.problem = Some(error.to_string());
        let code = error.refusal().map(|refusal| refusal.code.clone());
        on(Event::Retrying {
            reason: error.to_string(),
            code,
            delay,
        });
        if within(deadline, sleep(delay)).await.is_none() {
            return Err(course.out_of_time());
        }
    }
}

/// `None`: the deadline came first.
async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

/// One connection, one exchange.
async fn attempt<G: Goal>(
    link: Link<'_>,
    goal: &mut G,
    on: Listener<'_>,
    course: &mut Course,
) -> Result<G::Done, Error> {
    course.attempts = course.attempts.saturating_add(1);
    course.sent = None;
    on(Event::Connecting {
        attempt: course.attempts,
    });
    let connection = link.client.connect(link.provider).await?;
    course.connected = true;
    on(Event::Connected {
        address: connection.address().clone(),
    });

    let ask = goal.ask();
    if ask.attest {
        let attested = attest(&connection, false).await?;
        let accepted = attested.accepted();
        on(Event::Attested(attested));
        if !link.settings.allow_unattested {
            accepted?;
        }
    }
    let request = Request {
        operation: ask.operation,
        pod_id: goal.pod(),
        bytes: &ask.bytes,
        chain_id: ask.chain_id,
    };
    let parties = Parties {
        provider: connection.provider(),
        requester: connection.requester(),
    };
    let envelope = credential::envelope(link.key, request, parties, credential::now())?;
    // Before it is: a loss while it is written may be a loss after it was read.
    course.sent = Some(Instant::now());
    let mut session = Session::open(&connection, ask.protocol, envelope, link.settings.silence).await?;
    on(Event::Sent {
        operation: ask.operation,
    });

    let decide = |point: Point<'_>| match &link.settings.interceptor {
        Some(interceptor) if interceptor(point) == Decision::Cut => {
            Err(SessionError::StreamLost("cut by the interceptor".into()))
        }
        _ => Ok(()),
    };
    let operation = ask.operation;
    let exchange = async {
        decide(Point::Sent { operation })?;
        for index in 0.. {
            let reply = session.next().await?;
            decide(Point::Received {
                operation,
                index,
                reply: &reply,
            })?;
            let status = match &reply.body {
                Body::Refusal(refusal) => return goal.refused(refusal.clone()),
                Body::Status(status) => status,
            };
            course.status(status);
            on(Event::Status(status.clone()));
            let done = goal.status(status)?;
            decide(Point::Handled {
                operation,
                index,
                reply: &reply,
            })?;
            if let Some(done) = done {
                return Ok(done);
            }
            if reply.last {
                let why = format!("the provider's last word was {}", status.code.text);
                return Err(SessionError::StreamLost(why).into());
            }
        }
        Err(SessionError::StreamLost("more messages than can be counted".into()).into())
    };
    let outcome = exchange.await;
    connection.abort().await;
    outcome
}

/// What one call of [`follow`] has seen so far.
struct Course {
    started: Instant,
    /// Of the last news, or the start.
    progress: Instant,
    /// When this attempt sent its request.
    sent: Option<Instant>,
    /// The request was sent before and its answer was lost: the provider may have taken it.
    resuming: bool,
    connected: bool,
    attempts: u32,
    /// Since the last progress.
    failures: u32,
    last: Option<Box<Status>>,
    problem: Option<String>,
}

impl Course {
    fn new() -> Course {
        let now = Instant::now();
        Course {
            started: now,
            progress: now,
            sent: None,
            resuming: false,
            connected: false,
            attempts: 0,
            failures: 0,
            last: None,
            problem: None,
        }
    }

    fn status(&mut self, status: &Status) {
        let lasting = self.sent.is_some_and(|sent| sent.elapsed() >= STREAM_LIFE_MIN);
        if lasting || self.is_news(status) {
            self.progress = Instant::now();
            self.failures = 0;
        }
        self.problem = None;
        self.last = Some(Box::new(status.clone()));
    }

    /// Does it tell more than that time has passed?
    fn is_news(&self, status: &Status) -> bool {
        let Some(last) = &self.last else { return true };
        Status {
            at: last.at,
            ..status.clone()
        } != **last
    }

    /// How long to wait before the next attempt; `None`: there is no use in one.
    fn retry(&mut self, error: &Error, settings: &Settings) -> Option<Duration> {
        let quiet = self.progress.elapsed();
        let (worth, retry_after) = match error.refusal() {
            // The timeout bounds how long a provider may put us off; without one, patience does.
            Some(refusal) => {
                let bounded = settings.timeout.is_some() || quiet < settings.patience;
                let passes = may_pass(refusal, settings.wait) || self.is_own_end(refusal);
                (bounded && passes, refusal.retry_after)
            }
            None => {
                let most = if self.connected {
                    settings.patience
                } else {
                    settings.first_contact
                };
                self.resuming |= self.sent.is_some();
                (error.is_loss() && quiet < most, 0)
            }
        };
        self.failures = self.failures.saturating_add(1);
        worth.then(|| settings.backoff.delay_at_least(self.failures, retry_after))
    }

    /// The life that is ending may be the one that this very request began: its outcome is the answer, and it comes with the
    /// end.
    fn is_own_end(&self, refusal: &Refusal) -> bool {
        self.resuming && refusal.code.is(Code::Terminating)
    }

    fn out_of_time(&mut self) -> Error {
        let waiting_for = match (&self.last, &self.problem) {
            (_, Some(problem)) => problem.clone(),
            (Some(status), None) => format!("the pod stands at {}: {}", status.code.text, status.message),
            (None, None) => "the provider has not answered yet".into(),
        };
        Error::Timeout {
            after: self.started.elapsed(),
            waiting_for,
            reached: self.connected,
            last: self.last.take(),
        }
    }
}

/// Will the same request perhaps be taken later? `wait`: also what may take long.
fn may_pass(refusal: &Refusal, wait: bool) -> bool {
    match refusal.code.known {
        Some(Code::Busy | Code::ShuttingDown | Code::ApiUnavailable | Code::NotSynced | Code::RequestTimeout) => true,
        Some(
            Code::InsufficientCapacity
            | Code::WallsMissing
            | Code::NoPriceTable
            | Code::Cordoned
            | Code::PaymentUnknown
            | Code::Terminating,
        ) => wait,
        _ => false,
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("allow_unattested", &self.allow_unattested)
            .field("timeout", &self.timeout)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NetError;

    fn settings() -> Settings {
        Settings {
            backoff: Backoff {
                first: Duration::ZERO,
                most: Duration::ZERO,
            },
            ..Settings::default()
        }
    }

    fn refused(code: Code, retry_after: u32) -> Error {
        Error::from(Refusal {
            retry_after,
            ..Refusal::new(code, "x")
        })
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let (patient, waiting) = (
            settings(),
            Settings {
                wait: true,
                ..settings()
            },
        );
        for &code in Code::ALL {
            let at_once = Course::new().retry(&refused(code, 0), &patient).is_some();
            let with_wait = Course::new().retry(&refused(code, 0), &waiting).is_some();
            let passing = matches!(
                code,
                Code::Busy | Code::ShuttingDown | Code::ApiUnavailable | Code::NotSynced | Code::RequestTimeout
            );
            assert_eq!(at_once, passing, "{code}");
            assert!(with_wait || !at_once, "{code}");
            assert!(
                !with_wait || passing || code.class() != apocryph_proto::outcome::Class::Invalid,
                "{code}"
            );
        }
        assert!(
            Course::new()
                .retry(&refused(Code::InsufficientCapacity, 0), &waiting)
                .is_some()
        );
    }

    fn status() -> Status {
        let mut status = Status::from(apocryph_proto::v0::provision_pod::PodStatus::default());
        status.code = Code::Running.into();
        status
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_status_over_and_over_is_no_progress() {
        let lost = Error::Session(SessionError::StreamLost("x".into()));
        let (settings, mut course) = (settings(), Course::new());
        course.connected = true;
        // The first one is news.
        course.status(&status());
        let mut dials = 0;
        while course.retry(&lost, &settings).is_some() {
            dials += 1;
            assert_eq!(course.failures, dials, "the backoff grows");
            tokio::time::advance(Duration::from_secs(60)).await;
            course.sent = Some(Instant::now());
            course.status(&Status {
                at: dials.into(),
                ..status()
            });
        }
        assert_eq!(Duration::from_secs(60) * dials, settings.patience);
    }

    #[tokio::test(start_paused = true)]
    async fn news_and_a_stream_that_lasts_begin_anew() {
        let lost = Error::Session(SessionError::StreamLost("x".into()));
        let (settings, mut course) = (settings(), Course::new());
        course.status(&status());
        course.retry(&lost, &settings).unwrap();
        course.status(&Status { life: 2, ..status() });
        assert_eq!(course.failures, 0);

        course.retry(&lost, &settings).unwrap();
        course.sent = Some(Instant::now());
        tokio::time::advance(STREAM_LIFE_MIN).await;
        course.status(&Status { life: 2, ..status() });
        assert_eq!((course.failures, course.progress), (0, Instant::now()));
    }

    #[test]
    fn an_end_is_waited_for_when_the_answer_before_it_was_lost() {
        let terminating = refused(Code::Terminating, 5);
        let lost = Error::Session(SessionError::StreamLost("x".into()));
        let (settings, mut course) = (settings(), Course::new());
        course.connected = true;
        course.retry(&lost, &settings).unwrap();
        assert!(course.retry(&terminating, &settings).is_none(), "nothing was sent");
        course.sent = Some(Instant::now());
        course.retry(&refused(Code::Busy, 0), &settings).unwrap();
        assert!(course.retry(&terminating, &settings).is_none(), "it was not taken");
        course.retry(&lost, &settings).unwrap();
        assert_eq!(course.retry(&terminating, &settings), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_provider_says_when_to_come_back() {
        assert_eq!(
            Course::new().retry(&refused(Code::Busy, 9), &settings()),
            Some(Duration::from_secs(9))
        );
    }

    #[test]
    fn another_peer_or_another_protocol_is_final_and_losses_are_not() {
        let lost = Error::Net(NetError::Unreachable("x".into()));
        assert!(Course::new().retry(&lost, &settings()).is_some());
        let unsupported = Error::Net(NetError::Unsupported { protocol: "x".into() });
        assert!(Course::new().retry(&unsupported, &settings()).is_none());
        let unsupported = Error::Session(SessionError::Net(NetError::Unsupported { protocol: "x".into() }));
        assert!(Course::new().retry(&unsupported, &settings()).is_none());
    }

    #[test]
    fn a_first_contact_is_given_up_earlier_than_a_connection_that_was_there() {
        let settings = Settings {
            first_contact: Duration::ZERO,
            ..settings()
        };
        let lost = Error::Net(NetError::Unreachable("x".into()));
        assert!(Course::new().retry(&lost, &settings).is_none());
        let mut course = Course::new();
        course.connected = true;
        assert!(course.retry(&lost, &settings).is_some());
    }
}

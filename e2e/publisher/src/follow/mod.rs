//! Keeps asking until a goal is reached: dials, attests, signs, sends, reads status; on loss waits and does it again.
//! [`course`] decides whether and when.
//!
//! What is sent is decided by the goal each time ([`Goal::ask`]), so a deployment that was accepted meanwhile is watched, not
//! sent again.

mod course;

use std::{fmt, sync::Arc, time::Duration};

use apocryph_proto::v0::provision_pod::LogLines;
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
use course::Course;

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
    /// How long to go on without progress, once there was a connection: the pod further than ever, or a stream that lasts.
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
    /// Of a log; none of them was told before.
    Lines(LogLines),
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

    /// The request's first byte leaves next: from here on it may have been taken. An `Err` keeps it from leaving.
    fn sending(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// `Some`: reached. `Err` ends it, without another attempt.
    fn status(&mut self, status: &Status) -> Result<Option<Self::Done>, Error>;

    /// A final status with which [`Goal::status`] did not reach the goal.
    fn closed(&mut self, _status: &Status) -> Option<Self::Done> {
        None
    }

    /// A message that is no status. `Some`: reached.
    fn told(&mut self, _body: &Body, _last: bool, _on: Listener<'_>) -> Result<Option<Self::Done>, Error> {
        Err(SessionError::BadReply("not an answer to what was asked".into()).into())
    }

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
    let stream = connection.open(ask.protocol).await.map_err(SessionError::from)?;
    // Before it is: a loss while it is written may be a loss after it was read.
    goal.sending()?;
    course.sent = Some(Instant::now());
    let mut session = Session::send(stream, envelope, link.settings.silence).await?;
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
            let (done, last_word) = match &reply.body {
                Body::Refusal(refusal) => return goal.refused(refusal.clone()),
                Body::Status(status) => {
                    course.status(status);
                    on(Event::Status(status.clone()));
                    let done = match goal.status(status)? {
                        None if reply.last => goal.closed(status),
                        done => done,
                    };
                    (done, status.code.text.as_str())
                }
                body => {
                    course.told();
                    (goal.told(body, reply.last, on)?, "not all of it")
                }
            };
            decide(Point::Handled {
                operation,
                index,
                reply: &reply,
            })?;
            if let Some(done) = done {
                return Ok(done);
            }
            if reply.last {
                let why = format!("the provider's last word was {last_word}");
                return Err(SessionError::StreamLost(why).into());
            }
        }
        Err(SessionError::StreamLost("more messages than can be counted".into()).into())
    };
    let outcome = exchange.await;
    connection.abort().await;
    outcome
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

//! What has been seen so far, and what follows from it: whether another attempt is of use, and when.

use std::time::Duration;

use apocryph_proto::outcome::Code;
use tokio::time::Instant;

use super::Settings;
use crate::{
    error::Error,
    reply::{Phase, Refusal, Status},
};

/// A stream that lived this long was worth the connection, whatever it told: what comes after its loss begins anew. A shorter
/// one counts as a failure unless it brought the pod further than ever, so that nobody makes this client dial and sign without
/// pause.
const STREAM_LIFE_MIN: Duration = Duration::from_secs(10);

/// What one call of [`super::follow`] has seen so far.
pub(super) struct Course {
    pub started: Instant,
    /// Of the last progress, or the start.
    progress: Instant,
    /// The furthest that the pod has ever been told to be.
    furthest: Phase,
    /// When this attempt sent its request.
    pub sent: Option<Instant>,
    /// The request was sent before and its answer was lost: the provider may have taken it.
    pub resuming: bool,
    pub connected: bool,
    pub attempts: u32,
    /// Since the last progress.
    failures: u32,
    last: Option<Box<Status>>,
    pub problem: Option<String>,
}

impl Course {
    pub fn new() -> Course {
        let now = Instant::now();
        Course {
            started: now,
            progress: now,
            furthest: Phase::Unspecified,
            sent: None,
            resuming: false,
            connected: false,
            attempts: 0,
            failures: 0,
            last: None,
            problem: None,
        }
    }

    /// Takes note of a status. What a provider can make up without end (words, numbers, times) is no progress: phases are few,
    /// and a stream that lasts takes its time.
    pub fn status(&mut self, status: &Status) {
        if status.phase > self.furthest {
            self.begin_anew();
        }
        self.told();
        self.furthest = self.furthest.max(status.phase);
        self.last = Some(Box::new(status.clone()));
    }

    /// Takes note of any other message: it proves nothing but that the stream lasts.
    pub fn told(&mut self) {
        if self.sent.is_some_and(|sent| sent.elapsed() >= STREAM_LIFE_MIN) {
            self.begin_anew();
        }
        self.problem = None;
    }

    fn begin_anew(&mut self) {
        self.progress = Instant::now();
        self.failures = 0;
    }

    /// How long to wait before the next attempt; `None`: there is no use in one.
    pub fn retry(&mut self, error: &Error, settings: &Settings) -> Option<Duration> {
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

    pub fn out_of_time(&mut self) -> Error {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backoff::Backoff, net::NetError, session::SessionError};

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

    fn status(phase: Phase) -> Status {
        let mut status = Status::from(apocryph_proto::v0::provision_pod::PodStatus::default());
        status.phase = phase;
        status
    }

    /// Whatever words, numbers and times a provider changes in it.
    #[tokio::test(start_paused = true)]
    async fn a_status_that_is_no_further_is_no_progress() {
        let lost = Error::Session(SessionError::StreamLost("x".into()));
        let (settings, mut course) = (settings(), Course::new());
        course.connected = true;
        course.status(&status(Phase::Running));
        let mut dials = 0;
        while course.retry(&lost, &settings).is_some() {
            dials += 1;
            assert_eq!(course.failures, dials, "the backoff grows");
            tokio::time::advance(Duration::from_secs(60)).await;
            course.sent = Some(Instant::now());
            let back_and_forth = if dials % 2 == 0 { Phase::Running } else { Phase::Pulling };
            course.status(&Status {
                at: dials.into(),
                message: format!("words, the {dials}th"),
                generation: dials.into(),
                life: dials.into(),
                ..status(back_and_forth)
            });
        }
        assert_eq!(Duration::from_secs(60) * dials, settings.patience);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_is_further_and_a_stream_that_lasts_begin_anew() {
        let lost = Error::Session(SessionError::StreamLost("x".into()));
        let (settings, mut course) = (settings(), Course::new());
        course.status(&status(Phase::Pulling));
        course.retry(&lost, &settings).unwrap();
        course.status(&status(Phase::Running));
        assert_eq!(course.failures, 0);

        course.retry(&lost, &settings).unwrap();
        course.sent = Some(Instant::now());
        tokio::time::advance(STREAM_LIFE_MIN).await;
        course.status(&status(Phase::Running));
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

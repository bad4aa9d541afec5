//! The client's own `deploy`, with the connection cut at a place of the test's choosing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::Result;
use apocryph_publisher::{
    Provider,
    follow::{Decision, Point},
    reply::{Phase, Status},
    session::{Body, Reply},
};

use crate::tenant::Tenant;

/// Where the connection of the provision is cut, once.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// The request is written; no message has come.
    Sent,
    /// The message has come and nothing has taken note of it: as if it had been lost on the way.
    Before(Message),
    /// The message was taken note of, in the state file too.
    After(Message),
}

/// A message of the provision's stream.
#[derive(Clone, Copy, Debug)]
pub enum Message {
    /// By its place, from 0 (`accepted`).
    Nth(usize),
    /// The one that says running.
    Running,
}

impl Message {
    fn is(self, index: usize, reply: &Reply) -> bool {
        match self {
            Message::Nth(n) => n == index,
            Message::Running => matches!(&reply.body, Body::Status(status) if status.phase == Phase::Running),
        }
    }
}

/// A deployment that arrived at running.
pub struct Arrived {
    pub tenant: Tenant,
    pub status: Status,
    /// The place was reached: the connection was cut.
    pub cut: bool,
    /// How many messages the provision's stream had until running, if it was not cut.
    pub messages: usize,
}

/// Deploys until running, with one cut on the way.
pub async fn deploy(provider: &Provider, manifest: &str, cut: Cut) -> Result<Arrived> {
    let done = Arc::new(AtomicBool::new(false));
    let messages = Arc::new(AtomicUsize::new(0));
    let (once, seen) = (done.clone(), messages.clone());
    let tenant = Tenant::new(Some(Arc::new(move |point| {
        let here = match (cut, point) {
            (Cut::Sent, Point::Sent { operation }) => operation == "provision",
            (
                cut,
                Point::Received {
                    operation: "provision",
                    index,
                    reply,
                },
            ) => {
                seen.fetch_max(index + 1, Ordering::SeqCst);
                matches!(cut, Cut::Before(message) if message.is(index, reply))
            }
            (
                Cut::After(message),
                Point::Handled {
                    operation,
                    index,
                    reply,
                },
            ) => operation == "provision" && message.is(index, reply),
            _ => false,
        };
        if here && !once.swap(true, Ordering::SeqCst) {
            Decision::Cut
        } else {
            Decision::Go
        }
    })))?;
    let status = tenant.deploy(provider, manifest).await?;
    Ok(Arrived {
        tenant,
        status,
        cut: done.load(Ordering::SeqCst),
        messages: messages.load(Ordering::SeqCst),
    })
}

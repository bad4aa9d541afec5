//! The publisher's pods at one provider.

use apocryph_proto::{
    protocol,
    v0::{
        manage_pod::{List, ManagePodRequest, manage_pod_request::Operation},
        provision_pod::PodEntry,
    },
};
use prost::Message;

use crate::{
    error::Error,
    follow::{Ask, Goal, Link, Listener, follow},
    pod_id::PodId,
    reply::Status,
    session::{Body, SessionError},
};

/// More pods of one publisher at one provider are not believed.
pub const PODS_MAX: usize = 10_000;

/// All of them, ended ones that are still remembered included.
pub async fn list(link: Link<'_>, on: Listener<'_>) -> Result<Vec<PodEntry>, Error> {
    follow(link, &mut Listing::default(), on).await
}

#[derive(Default)]
struct Listing(Vec<PodEntry>);

impl Goal for Listing {
    type Done = Vec<PodEntry>;

    /// None: all zero.
    fn pod(&self) -> PodId {
        PodId([0; 32])
    }

    fn ask(&self) -> Ask {
        Ask {
            operation: "list",
            protocol: protocol::MANAGE_POD,
            bytes: ManagePodRequest {
                operation: Some(Operation::List(List {})),
            }
            .encode_to_vec(),
            chain_id: 0,
            attest: false,
        }
    }

    /// What a lost stream told is told again.
    fn sending(&mut self) -> Result<(), Error> {
        self.0.clear();
        Ok(())
    }

    fn status(&mut self, _: &Status) -> Result<Option<Vec<PodEntry>>, Error> {
        Ok(None)
    }

    fn told(&mut self, body: &Body, last: bool, _: Listener<'_>) -> Result<Option<Vec<PodEntry>>, Error> {
        match body {
            Body::List(page) if self.0.len() + page.pods.len() <= PODS_MAX => {
                self.0.extend(page.pods.iter().cloned());
                Ok(last.then(|| std::mem::take(&mut self.0)))
            }
            Body::List(_) => Err(SessionError::BadReply(format!("more than {PODS_MAX} pods")).into()),
            _ => Err(SessionError::BadReply("not a list".into()).into()),
        }
    }
}

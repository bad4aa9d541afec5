//! What containers write, from the kubelets by way of the API server.
//!
//! ```text
//! kubelet ── API server ── one HTTP/1 connection per log ── Splitter (one line) ── Chunk (32 KiB) ── stream's reader
//! ```
//!
//! Nothing here runs by itself: a log is read when the reader of the stream asks for more. So what it does not take stays at
//! the node, and the bytes in memory are those of the connection's buffer, one line and one chunk.

mod follow;
mod lines;
mod permits;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use apocryph_crd::ApocryphPod;
use apocryph_proto::outcome::Code;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};

pub use permits::Permits;
use source::Place;

use super::objects::meta;
use crate::{
    model::{
        key::{PodName, Publisher},
        logs::{Logged, LogsWanted},
        pod::PodRecord,
        refusal::Refusal,
    },
    watches::Watches,
};

/// Seconds after which asking again may help.
const RETRY_AFTER: u32 = 10;

/// Reads logs. Cheap to clone.
#[derive(Clone)]
pub struct LogReader {
    pub client: Client,
    pub watches: Watches,
    pub permits: Permits,
}

/// Whose logs.
struct Subject {
    name: PodName,
    publisher: Publisher,
    life: u64,
    container: String,
    /// The last item is out.
    told: bool,
}

impl LogReader {
    /// `object` and its record, just read.
    pub fn read(
        &self,
        object: &ApocryphPod,
        record: PodRecord,
        wanted: LogsWanted,
    ) -> Result<BoxStream<'static, Result<Logged, Refusal>>, Refusal> {
        let subject = Subject {
            name: record.name,
            publisher: record.key.publisher,
            life: record.life,
            container: container(object, wanted.container.as_deref())?,
            told: false,
        };
        if wanted.follow {
            // Each replica takes its own; who could not even read one is told so at once.
            drop(self.permits.take(subject.publisher)?);
            return Ok(follow::following(self.clone(), subject, wanted));
        }
        if wanted.previous {
            let has_run_before = |pod: &Arc<Pod>| source::has_previous(pod, &subject.container);
            if !self.replicas(&subject).iter().any(has_run_before) {
                return Err(Refusal::new(
                    Code::NotFound,
                    format!(
                        "the container `{}` has not run before in any replica",
                        subject.container
                    ),
                )
                .field("logs.previous")
                .remedy("leave it out: the lines since its start are all there are"));
            }
        }
        let permit = self.permits.take(subject.publisher)?;
        Ok(follow::present(self.clone(), subject, wanted, permit))
    }

    fn api(&self) -> Api<ApocryphPod> {
        Api::all(self.client.clone())
    }

    /// The pod's own Pods, by name; an admin's others in its namespace are not the publisher's to read.
    fn replicas(&self, subject: &Subject) -> Vec<Arc<Pod>> {
        replicas(&self.watches, &subject.name)
    }

    fn place(&self, subject: &Subject, pod: &Pod) -> Place {
        Place {
            client: self.client.clone(),
            pods: self.watches.pods.clone(),
            namespace: subject.name.namespace(),
            pod: pod.name_any(),
            uid: pod.metadata.uid.clone(),
            container: subject.container.clone(),
        }
    }
}

/// The Pods that are replicas of the pod, by name.
pub(super) fn replicas(watches: &Watches, name: &PodName) -> Vec<Arc<Pod>> {
    let namespace = name.namespace();
    let mut pods = watches.pods.state_filter(|pod: &Pod| {
        pod.metadata.namespace.as_deref() == Some(&namespace)
            && pod.labels().get(meta::POD).is_some_and(|label| label == name.as_str())
    });
    pods.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    pods
}

fn container(object: &ApocryphPod, wanted: Option<&str>) -> Result<String, Refusal> {
    let names: Vec<&str> = object
        .spec
        .containers
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    let refused = |message: String| {
        Err(Refusal::new(Code::InvalidRequest, message)
            .field("logs.containerName")
            .remedy(format!("containers are {}", names.join(", "))))
    };
    match (wanted, names.as_slice()) {
        (Some(wanted), names) if names.contains(&wanted) => Ok(wanted.to_owned()),
        (Some(_), _) => refused("the pod has no such container".to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => refused(format!("the pod has {} containers: one has to be named", names.len())),
    }
}

fn unreadable(replica: &str) -> Refusal {
    Refusal::new(
        Code::ApiUnavailable,
        format!("the log of replica {replica} cannot be read to its end now"),
    )
    .remedy("ask again; its node may be out of reach")
    .retry_after(RETRY_AFTER)
}

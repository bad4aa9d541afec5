//! All replicas of a pod: those that are there, those that come, until the pod has ended.

use std::collections::{BTreeSet, VecDeque};

use futures::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};

use super::{
    LogReader, Subject,
    permits::Permit,
    source::{self, Place},
};
use crate::{
    model::{
        logs::{LogLines, Logged, LogsWanted},
        refusal::Refusal,
        status::{Phase, PodStatus},
    },
    pods::{api::read, stream::status_stream, view},
    watches::Subscription,
};

type Item = Result<Logged, Refusal>;

/// What is there, one replica after the other, then how the pod stands.
pub(super) fn present(
    reader: LogReader,
    subject: Subject,
    wanted: LogsWanted,
    permit: Permit,
) -> BoxStream<'static, Item> {
    let places: VecDeque<Place> = reader
        .replicas(&subject)
        .iter()
        .map(|pod| reader.place(&subject, pod))
        .collect();
    let present = Present {
        reader,
        subject,
        wanted,
        places,
        open: None,
        failed: None,
        over: false,
        _permit: permit,
    };
    stream::unfold(present, |mut present| async move {
        present.next().await.map(|item| (item, present))
    })
    .boxed()
}

struct Present {
    reader: LogReader,
    subject: Subject,
    wanted: LogsWanted,
    places: VecDeque<Place>,
    open: Option<BoxStream<'static, Result<LogLines, Refusal>>>,
    /// The other replicas are read all the same.
    failed: Option<Refusal>,
    over: bool,
    _permit: Permit,
}

impl Present {
    async fn next(&mut self) -> Option<Item> {
        while !self.over {
            let Some(open) = &mut self.open else {
                match self.places.pop_front() {
                    Some(place) => self.open = Some(source::once(place, self.wanted.clone())),
                    None => self.over = true,
                }
                continue;
            };
            match open.next().await {
                Some(Ok(lines)) => return Some(Ok(Logged::Lines(lines))),
                Some(Err(refusal)) => self.failed = Some(refusal),
                None => self.open = None,
            }
        }
        if let Some(refusal) = self.failed.take() {
            self.subject.told = true;
            return Some(Err(refusal));
        }
        if std::mem::replace(&mut self.subject.told, true) {
            return None;
        }
        match read(&self.reader.api(), &self.subject.name).await {
            Ok(object) => Some(Ok(Logged::End(view::status(&object?)?))),
            Err(error) => {
                tracing::warn!(pod = %self.subject.name, %error, "pod could not be read");
                Some(Err(crate::pods::gateway::unavailable()))
            }
        }
    }
}

/// What is there and what comes.
pub(super) fn following(reader: LogReader, subject: Subject, wanted: LogsWanted) -> BoxStream<'static, Item> {
    let statuses = status_stream(&reader.watches, reader.api(), &subject.name);
    let changes = reader.watches.changes.subscribe_replicas(&subject.name);
    let follow = Follow {
        reader,
        subject,
        wanted,
        sources: SelectAll::new(),
        known: BTreeSet::new(),
        changes,
        statuses,
        ended: None,
    };
    stream::unfold(follow, |mut follow| async move {
        follow.next().await.map(|item| (item, follow))
    })
    .boxed()
}

struct Follow {
    reader: LogReader,
    subject: Subject,
    wanted: LogsWanted,
    sources: SelectAll<BoxStream<'static, LogLines>>,
    /// Uids of the Pods that are read or have been, as long as they are there.
    known: BTreeSet<String>,
    changes: Subscription,
    statuses: BoxStream<'static, PodStatus>,
    /// The life is over: with the status that says so, or because the object is gone.
    ended: Option<Option<PodStatus>>,
}

impl Follow {
    async fn next(&mut self) -> Option<Item> {
        if self.subject.told {
            return None;
        }
        loop {
            if let Err(refusal) = self.take_up() {
                self.subject.told = true;
                return Some(Err(refusal));
            }
            if self.sources.is_empty()
                && let Some(ended) = self.ended.take()
            {
                self.subject.told = true;
                return ended.map(|status| Ok(Logged::End(status)));
            }
            tokio::select! {
                // `None`: the last of them is over.
                lines = self.sources.next(), if !self.sources.is_empty() => if let Some(lines) = lines {
                    return Some(Ok(Logged::Lines(lines)));
                },
                () = self.changes.changed() => {}
                status = self.statuses.next(), if self.ended.is_none() => match status {
                    Some(status) if status.life == self.subject.life && status.phase != Phase::Ended => {
                        return Some(Ok(Logged::Status(status)));
                    }
                    ended => self.ended = Some(ended),
                },
            }
        }
    }

    /// Begins to read the replicas that are new.
    fn take_up(&mut self) -> Result<(), Refusal> {
        let pods = self.reader.replicas(&self.subject);
        let there: BTreeSet<String> = pods.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        self.known.retain(|uid| there.contains(uid));
        for pod in pods {
            let Some(uid) = &pod.metadata.uid else { continue };
            if !self.known.insert(uid.clone()) {
                continue;
            }
            let permit = self.reader.permits.take(self.subject.publisher)?;
            let changes = self.reader.watches.changes.subscribe_replicas(&self.subject.name);
            let place = self.reader.place(&self.subject, &pod);
            self.sources
                .push(source::follow(place, self.wanted.clone(), changes, permit));
        }
        Ok(())
    }
}

//! One container of one replica. It is read only when it is asked: what is not yet read waits at the node, behind the API
//! server's connection.

use std::{pin::Pin, time::Duration};

use futures::{
    AsyncBufRead, AsyncBufReadExt, FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::LogParams,
    runtime::reflector::{ObjectRef, Store},
};
use tokio::time::{sleep, timeout};

use super::{
    lines::{Chunk, Cursor, Splitter},
    permits::Permit,
};
use crate::{
    model::{
        logs::{LogLine, LogLines, LogsWanted},
        refusal::Refusal,
    },
    watches::Subscription,
};

/// Lines that are there come without a pause.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A program may be silent for as long as it likes, but so is a connection whose other end is gone: after this long the log is
/// opened anew, where it was left.
const FOLLOW_SILENCE_MAX: Duration = Duration::from_secs(120);
/// Waits between two tries.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Where a container's log is.
pub(super) struct Place {
    pub client: Client,
    pub pods: Store<Pod>,
    pub namespace: String,
    /// The Pod, and which one of that name.
    pub pod: String,
    pub uid: Option<String>,
    pub container: String,
}

impl Place {
    fn pod(&self) -> Option<std::sync::Arc<Pod>> {
        let reference = ObjectRef::new(&self.pod).within(&self.namespace);
        self.pods.get(&reference).filter(|pod| pod.metadata.uid == self.uid)
    }

    fn labelled(&self, lines: Vec<LogLine>) -> LogLines {
        LogLines {
            replica: self.pod.clone(),
            container: self.container.clone(),
            lines,
        }
    }
}

fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    pod.status
        .as_ref()?
        .container_statuses
        .iter()
        .flatten()
        .find(|status| status.name == container)
}

/// The run of the container before the present one.
pub(super) fn has_previous(pod: &Pod, container: &str) -> bool {
    status(pod, container)
        .and_then(|status| status.last_state.as_ref()?.terminated.as_ref()?.container_id.as_deref())
        .is_some_and(|id| !id.is_empty())
}

/// Which run of the container a kubelet would read, and whether it still writes; `None`: it has not run yet.
fn run_of(pod: &Pod, container: &str) -> Option<Run> {
    let status = status(pod, container)?;
    let named = |id: Option<&String>| id.filter(|id| !id.is_empty()).cloned();
    let state = status.state.as_ref();
    if state.is_some_and(|state| state.running.is_some()) {
        return named(status.container_id.as_ref()).map(|id| Run { id, writes: true });
    }
    let over = |state: Option<&k8s_openapi::api::core::v1::ContainerState>| {
        named(state.and_then(|state| state.terminated.as_ref()?.container_id.as_ref()))
    };
    over(state)
        .or_else(|| over(status.last_state.as_ref()))
        .map(|id| Run { id, writes: false })
}

struct Run {
    id: String,
    writes: bool,
}

type Open = Pin<Box<dyn AsyncBufRead + Send>>;

/// Why a log is not read on.
enum Trouble {
    /// The Pod is gone.
    Gone,
    /// The container has not run yet, or the node keeps nothing of it.
    Nothing,
    Failed(String),
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Trouble {
        match error {
            kube::Error::Api(status) if status.code == 404 => Trouble::Gone,
            kube::Error::Api(status) if status.code == 400 => Trouble::Nothing,
            other => Trouble::Failed(other.to_string()),
        }
    }
}

/// Reads one container's log as far as it has been opened.
struct Reader {
    place: Place,
    wanted: LogsWanted,
    cursor: Cursor,
    splitter: Splitter,
    open: Option<Open>,
    /// Told after the lines that came before it.
    failed: Option<String>,
}

impl Reader {
    fn new(place: Place, wanted: LogsWanted) -> Reader {
        Reader {
            place,
            wanted,
            cursor: Cursor::default(),
            splitter: Splitter::default(),
            open: None,
            failed: None,
        }
    }

    fn silence(&self) -> Duration {
        if self.wanted.follow {
            FOLLOW_SILENCE_MAX
        } else {
            SILENCE_MAX
        }
    }

    /// A kubelet answers with its first line: that may take as long as any other line.
    async fn open(&mut self) -> Result<Open, Trouble> {
        let told = self.cursor.second();
        let since = told.or_else(|| self.wanted.since.and_then(|second| i64::try_from(second).ok()));
        let parameters = LogParams {
            container: Some(self.place.container.clone()),
            follow: self.wanted.follow,
            previous: self.wanted.previous,
            tail_lines: self.wanted.tail.filter(|_| told.is_none()).map(i64::from),
            // kube rounds to seconds, so only whole ones go through unchanged.
            since_time: since.and_then(|second| Timestamp::from_second(second).ok()),
            timestamps: true,
            ..LogParams::default()
        };
        self.cursor.again();
        self.splitter = Splitter::default();
        let api = Api::<Pod>::namespaced(self.place.client.clone(), &self.place.namespace);
        match timeout(self.silence(), api.log_stream(&self.place.pod, &parameters)).await {
            Ok(Ok(open)) => Ok(Box::pin(open)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Trouble::Failed("no line, and no answer".to_owned())),
        }
    }

    /// The next lines; `None`: the log is read to its end.
    async fn next(&mut self) -> Result<Option<Vec<LogLine>>, Trouble> {
        if let Some(why) = self.failed.take() {
            return Err(Trouble::Failed(why));
        }
        let silence = self.silence();
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open().await?,
        };
        let mut chunk = Chunk::default();
        loop {
            let read = if chunk.is_empty() {
                timeout(silence, open.fill_buf())
                    .await
                    .map_err(|_| Trouble::Failed("no line".to_owned()))?
            } else {
                // What is there already goes along; nobody waits for more.
                match open.fill_buf().now_or_never() {
                    Some(read) => read,
                    None => break,
                }
            };
            let bytes = match read {
                Ok(bytes) => bytes,
                Err(error) if chunk.is_empty() => return Err(Trouble::Failed(error.to_string())),
                Err(error) => {
                    self.failed = Some(error.to_string());
                    return Ok(Some(chunk.into_lines()));
                }
            };
            if bytes.is_empty() {
                self.splitter.finish(&mut self.cursor, &mut chunk);
                if chunk.is_empty() {
                    return Ok(None);
                }
                break;
            }
            let used = self.splitter.take(bytes, &mut self.cursor, &mut chunk);
            open.consume_unpin(used);
            if chunk.is_full() {
                break;
            }
        }
        self.open = Some(open);
        Ok(Some(chunk.into_lines()))
    }
}

/// The lines that are there.
pub(super) fn once(place: Place, wanted: LogsWanted) -> BoxStream<'static, Result<LogLines, Refusal>> {
    stream::unfold(Some(Reader::new(place, wanted)), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(lines)) => Some((Ok(reader.place.labelled(lines)), Some(reader))),
            Ok(None) | Err(Trouble::Gone | Trouble::Nothing) => None,
            Err(Trouble::Failed(why)) => {
                tracing::warn!(replica = reader.place.pod, why, "a log could not be read");
                Some((Err(super::unreadable(&reader.place.pod)), None))
            }
        }
    })
    .boxed()
}

/// What is there and what comes, until the Pod is gone.
pub(super) fn follow(
    place: Place,
    wanted: LogsWanted,
    changes: Subscription,
    permit: Permit,
) -> BoxStream<'static, LogLines> {
    let following = Following {
        reader: Reader::new(place, wanted),
        changes,
        opened: None,
        read: None,
        failures: 0,
        _permit: permit,
    };
    stream::unfold(following, |mut following| async move {
        following.next().await.map(|lines| (lines, following))
    })
    .boxed()
}

struct Following {
    reader: Reader,
    changes: Subscription,
    /// The run that was there when the log was opened; a kubelet may have read the one after it.
    opened: Option<String>,
    /// The run that has been read to its end.
    read: Option<String>,
    /// Since the last line.
    failures: u32,
    _permit: Permit,
}

impl Following {
    async fn next(&mut self) -> Option<LogLines> {
        loop {
            if self.reader.open.is_none() {
                self.opened = Some(self.something_to_read().await?);
            }
            match self.reader.next().await {
                Ok(Some(lines)) if lines.is_empty() => {}
                Ok(Some(lines)) => {
                    self.failures = 0;
                    return Some(self.reader.place.labelled(lines));
                }
                Ok(None) => self.at_an_end().await?,
                Err(trouble) => {
                    if let Trouble::Failed(why) = trouble {
                        tracing::debug!(replica = self.reader.place.pod, why, "a log is opened again");
                    }
                    self.pause().await;
                }
            }
        }
    }

    fn run(&self) -> Option<Option<Run>> {
        let place = &self.reader.place;
        place.pod().map(|pod| run_of(&pod, &place.container))
    }

    /// `None`: the Pod is gone.
    async fn something_to_read(&mut self) -> Option<String> {
        loop {
            match self.run()? {
                Some(run) if self.read.as_ref() != Some(&run.id) => return Some(run.id),
                _ => self.changes.changed().await,
            }
        }
    }

    /// A log comes to its end with its run, or because the kubelet started again: the Pod tells. `None`: it is gone.
    async fn at_an_end(&mut self) -> Option<()> {
        let run = self.run()?;
        if run.is_some_and(|run| run.writes && self.opened.as_ref() == Some(&run.id)) {
            self.pause().await;
        } else {
            self.read = self.opened.take();
        }
        Some(())
    }

    async fn pause(&mut self) {
        let wait = RETRY_MIN
            .saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        sleep(wait).await;
    }
}

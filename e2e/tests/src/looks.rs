//! What a publisher is told of pods that exist: list, describe, logs.

use anyhow::{Result, bail};
use apocryph_proto::v0::{
    manage_pod::{Describe, List, Logs, manage_pod_request::Operation},
    provision_pod::{PodDescription, PodEntry},
};
use apocryph_publisher::{
    PodId,
    reply::{Refusal, Status},
    session::Body,
};

use crate::{
    actor::{Actor, Answer, Stream},
    wait::within,
};

/// One line as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub replica: String,
    pub container: String,
    pub at: u64,
    pub text: String,
}

impl Actor {
    pub async fn list(&self) -> Result<Vec<PodEntry>> {
        let mut stream = self.manage("list", PodId([0; 32]), Operation::List(List {})).await?;
        let mut pods = Vec::new();
        within("the list's last page", async {
            loop {
                match stream.next().await {
                    Ok(Answer::Told(Body::List(page))) => pods.extend(page.pods),
                    Ok(other) => bail!("no page: {other:?}"),
                    Err(_) => return Ok(()),
                }
            }
        })
        .await?;
        Ok(pods)
    }

    pub async fn describe(&self, pod_id: PodId) -> Result<PodDescription> {
        let mut stream = self
            .manage("describe", pod_id, Operation::Describe(Describe {}))
            .await?;
        match within("a description", stream.next()).await? {
            Answer::Told(Body::Description(description)) => Ok(*description),
            other => bail!("no description: {other:?}"),
        }
    }

    /// The stream is in the caller's hand.
    pub async fn log_stream(&self, pod_id: PodId, wanted: Logs) -> Result<Stream> {
        self.manage("logs", pod_id, Operation::Logs(wanted)).await
    }

    /// All lines, and the status that closed them.
    pub async fn logs(&self, pod_id: PodId, wanted: Logs) -> Result<(Vec<Line>, Status)> {
        let mut stream = self.log_stream(pod_id, wanted).await?;
        within("the log's end", async {
            let (mut lines, mut last) = (Vec::new(), None);
            loop {
                match stream.next().await {
                    Ok(Answer::Status(status)) => last = Some(status),
                    Ok(answer) => lines.extend(lines_of(answer)?),
                    // Nothing follows the final message.
                    Err(_) if last.is_some() => break,
                    Err(error) => return Err(error),
                }
            }
            match last {
                Some(status) => Ok((lines, status)),
                None => bail!("no final status"),
            }
        })
        .await
    }

    /// Why nothing is told.
    pub async fn logs_refused(&self, pod_id: PodId, wanted: Logs) -> Result<Refusal> {
        self.log_stream(pod_id, wanted).await?.refused().await
    }
}

/// The lines of one message.
pub fn lines_of(answer: Answer) -> Result<Vec<Line>> {
    match answer {
        Answer::Told(Body::Log(lines)) => Ok(lines
            .lines
            .iter()
            .map(|line| Line {
                replica: lines.replica.clone(),
                container: lines.container_name.clone(),
                at: line.at,
                text: String::from_utf8_lossy(&line.text).into_owned(),
            })
            .collect()),
        Answer::Status(_) => Ok(Vec::new()),
        other => bail!("no lines: {other:?}"),
    }
}

impl Stream {
    /// Reads on until a line with this text; gives the lines until then, that one included.
    pub async fn until_line(&mut self, text: &str) -> Result<Vec<Line>> {
        within(&format!("the line {text:?}"), async {
            let mut lines = Vec::new();
            loop {
                lines.extend(lines_of(self.next().await?)?);
                if lines.iter().any(|line| line.text == text) {
                    return Ok(lines);
                }
            }
        })
        .await
    }
}

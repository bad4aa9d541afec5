//! What a pod's containers write. A stream that is lost goes on where it broke off.

use std::collections::BTreeMap;

use apocryph_proto::{
    protocol,
    v0::{
        manage_pod::{Logs, ManagePodRequest, manage_pod_request::Operation},
        provision_pod::{LogLine, LogLines},
    },
};
use prost::Message;

use crate::{
    error::Error,
    follow::{Ask, Event, Goal, Link, Listener, follow},
    pod_id::PodId,
    reply::Status,
    session::{Body, SessionError},
};

/// Replicas whose place is remembered; a provider names as many as it likes. Of one beyond that lines may come twice after a
/// loss.
const REPLICAS_MAX: usize = 256;
const NANOSECONDS: u64 = 1_000_000_000;

/// Reports [`Event::Lines`]; gives how the pod stood after the last line. With `follow` that is its end.
pub async fn logs(link: Link<'_>, pod: PodId, chain_id: u64, wanted: Logs, on: Listener<'_>) -> Result<Status, Error> {
    let mut reading = Reading {
        pod,
        chain_id,
        wanted,
        told: BTreeMap::new(),
    };
    follow(link, &mut reading, on).await
}

struct Reading {
    pod: PodId,
    chain_id: u64,
    wanted: Logs,
    told: BTreeMap<String, Told>,
}

/// The last time of which a line was told (nanoseconds), and how many of that time.
#[derive(Default)]
struct Told {
    at: u64,
    count: usize,
    /// What of it comes again on a new stream.
    again: Option<(u64, usize)>,
}

impl Told {
    fn is_news(&mut self, line: &LogLine) -> bool {
        let at = line.at;
        if at == 0 {
            return true;
        }
        match &mut self.again {
            Some((told, _)) if at < *told => return false,
            Some((told, count)) if at == *told && *count > 0 => {
                *count -= 1;
                return false;
            }
            again => *again = None,
        }
        if at > self.at {
            (self.at, self.count) = (at, 1);
        } else if at == self.at {
            self.count += 1;
        }
        true
    }
}

impl Goal for Reading {
    type Done = Status;

    fn pod(&self) -> PodId {
        self.pod
    }

    fn ask(&self) -> Ask {
        let mut wanted = self.wanted.clone();
        // The provider counts in seconds; what comes again is left out here.
        if let Some(earliest) = self.told.values().map(|told| told.at).filter(|at| *at > 0).min() {
            (wanted.since, wanted.tail_lines) = (earliest / NANOSECONDS, 0);
        }
        Ask {
            operation: "logs",
            protocol: protocol::MANAGE_POD,
            bytes: ManagePodRequest {
                operation: Some(Operation::Logs(wanted)),
            }
            .encode_to_vec(),
            chain_id: self.chain_id,
            attest: false,
        }
    }

    fn sending(&mut self) -> Result<(), Error> {
        for told in self.told.values_mut() {
            told.again = Some((told.at, told.count));
        }
        Ok(())
    }

    fn status(&mut self, _: &Status) -> Result<Option<Status>, Error> {
        Ok(None)
    }

    fn closed(&mut self, status: &Status) -> Option<Status> {
        Some(status.clone())
    }

    fn told(&mut self, body: &Body, _: bool, on: Listener<'_>) -> Result<Option<Status>, Error> {
        let Body::Log(lines) = body else {
            return Err(SessionError::BadReply("no lines of a log".into()).into());
        };
        let mut news = LogLines {
            lines: Vec::new(),
            ..lines.clone()
        };
        if self.told.len() < REPLICAS_MAX {
            self.told.entry(lines.replica.clone()).or_default();
        }
        news.lines = match self.told.get_mut(&lines.replica) {
            Some(told) => lines.lines.iter().filter(|line| told.is_news(line)).cloned().collect(),
            None => lines.lines.clone(),
        };
        if !news.lines.is_empty() {
            on(Event::Lines(news));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        Reading {
            pod: PodId([1; 32]),
            chain_id: 0,
            wanted: Logs {
                follow: true,
                tail_lines: 5,
                ..Logs::default()
            },
            told: BTreeMap::new(),
        }
    }

    fn asked(reading: &mut Reading) -> Logs {
        reading.sending().unwrap();
        match ManagePodRequest::decode(reading.ask().bytes.as_slice())
            .unwrap()
            .operation
        {
            Some(Operation::Logs(logs)) => logs,
            other => panic!("{other:?}"),
        }
    }

    fn tell(reading: &mut Reading, replica: &str, lines: &[(u64, &str)]) -> Vec<String> {
        let lines = LogLines {
            replica: replica.into(),
            lines: lines
                .iter()
                .map(|(at, text)| LogLine {
                    at: *at,
                    text: text.as_bytes().to_vec(),
                    cut: false,
                })
                .collect(),
            ..LogLines::default()
        };
        let mut news = Vec::new();
        reading
            .told(&Body::Log(lines), false, &mut |event| {
                let Event::Lines(lines) = event else {
                    panic!("{event:?}")
                };
                news.extend(
                    lines
                        .lines
                        .into_iter()
                        .map(|line| String::from_utf8(line.text).unwrap()),
                );
            })
            .unwrap();
        news
    }

    #[test]
    fn a_lost_stream_goes_on_behind_the_last_line_of_each_replica() {
        let mut reading = reading();
        assert_eq!((asked(&mut reading).since, asked(&mut reading).tail_lines), (0, 5));
        let second = NANOSECONDS;
        tell(
            &mut reading,
            "a",
            &[(7 * second + 1, "1"), (9 * second, "2"), (9 * second, "3")],
        );
        tell(&mut reading, "b", &[(8 * second, "1"), (0, "without a time")]);
        let again = asked(&mut reading);
        assert_eq!((again.since, again.tail_lines, again.follow), (8, 0, true));
        let a = tell(
            &mut reading,
            "a",
            &[
                (9 * second, "2"),
                (9 * second, "3"),
                (9 * second, "4"),
                (10 * second, "5"),
            ],
        );
        assert_eq!(a, ["4", "5"]);
        assert_eq!(
            tell(&mut reading, "b", &[(8 * second, "1"), (8 * second + 1, "2")]),
            ["2"]
        );
        assert_eq!(tell(&mut reading, "new", &[(8 * second, "1")]), ["1"]);
    }
}

//! The API server's audit log: who wrote what, as the server saw it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{
    cluster::cluster,
    install::{NAMESPACE, RELEASE},
    wait::within,
};

/// One line of the log that was written after the request was answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub stage: String,
    pub verb: String,
    pub user: User,
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    #[serde(default)]
    pub object_ref: Option<ObjectRef>,
    #[serde(default)]
    pub response_status: Option<ResponseStatus>,
    #[serde(default)]
    pub request_received_timestamp: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct User {
    pub username: String,
    #[serde(default)]
    pub extra: std::collections::BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ObjectRef {
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ResponseStatus {
    #[serde(default)]
    pub code: u16,
}

impl Event {
    /// Name of the Pod whose token made the request.
    pub fn pod(&self) -> Option<&str> {
        self.user
            .extra
            .get("authentication.kubernetes.io/pod-name")?
            .first()
            .map(String::as_str)
    }

    pub fn is_operators(&self) -> bool {
        self.user.username == format!("system:serviceaccount:{NAMESPACE}:{RELEASE}")
    }

    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }

    pub fn resource(&self) -> &str {
        self.object_ref.as_ref().map_or("", |object| &object.resource)
    }

    pub fn subresource(&self) -> &str {
        self.object_ref.as_ref().map_or("", |object| &object.subresource)
    }

    pub fn succeeded(&self) -> bool {
        self.response_status
            .as_ref()
            .is_some_and(|status| (200..300).contains(&status.code))
    }
}

/// Reads the log from now on.
pub struct Tail {
    file: File,
    partial: String,
}

impl Tail {
    /// From the log's present end.
    pub fn from_now() -> Result<Tail> {
        let path = PathBuf::from(cluster(&["audit-log"])?.trim());
        let mut file = File::open(&path).with_context(|| format!("audit log {}", path.display()))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Tail {
            file,
            partial: String::new(),
        })
    }

    /// What was completed since the last call.
    pub fn read(&mut self) -> Result<Vec<Event>> {
        self.file.read_to_string(&mut self.partial)?;
        let Some(end) = self.partial.rfind('\n') else {
            return Ok(Vec::new());
        };
        let lines: String = self.partial.drain(..=end).collect();
        let mut events = Vec::new();
        for line in lines.lines() {
            let event: Event = serde_json::from_str(line).with_context(|| format!("audit log: {line}"))?;
            if event.stage == "ResponseComplete" {
                events.push(event);
            }
        }
        Ok(events)
    }

    /// Awaits the n-th event (from 1) for which `wanted` holds; gives all that were read meanwhile.
    pub async fn nth(&mut self, what: &str, n: usize, wanted: impl Fn(&Event) -> bool) -> Result<Vec<Event>> {
        within(what, async {
            let mut all = Vec::new();
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            loop {
                all.extend(self.read()?);
                if all.iter().filter(|event| wanted(event)).count() >= n {
                    return Ok(all);
                }
                tick.tick().await;
            }
        })
        .await
    }
}

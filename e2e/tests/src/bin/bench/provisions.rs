//! What provisions cost the API server, by its audit log.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use apocryph_e2e::audit::Event;
use k8s_openapi::jiff::Timestamp;

use crate::{is_for, table::Table};

/// Why a provision writes what it writes: verb, resource/subresource, need.
const NEEDS: [(&str, &str, &str); 11] = [
    (
        "create",
        "apocryphpods",
        "the commit: what was accepted outlives the process",
    ),
    ("patch", "namespaces", "a place of its own, with its Pod Security level"),
    (
        "create",
        "rolebindings",
        "the operator's rights in that place and nowhere else",
    ),
    ("patch", "resourcequotas", "no more than was admitted, in sum"),
    ("patch", "limitranges", "no more than was admitted, in each container"),
    ("patch", "networkpolicies", "the walls, before what they hold"),
    ("patch", "deployments", "the pod"),
    (
        "patch",
        "apocryphpods",
        "marks of this life: its namespace was made; it was Ready once",
    ),
    (
        "patch",
        "apocryphpods/status",
        "each change that the stream and kubectl tell",
    ),
    ("create", "events", "each new reason, for kubectl describe"),
    ("patch", "events", "a reason that came again"),
];

/// From the first request that was written to the last Deployment.
pub fn per_second(events: &[Event], names: &[String]) -> Result<f64> {
    let own: Vec<&Event> = events
        .iter()
        .filter(|event| event.is_write() && names.iter().any(|name| is_for(event, name)))
        .collect();
    let at = |event: &&Event| event.request_received_timestamp.parse::<Timestamp>();
    let first = own.iter().map(at).collect::<Result<Vec<_>, _>>()?.into_iter().min();
    let deployments = own.iter().filter(|event| event.resource() == "deployments");
    let last = deployments.map(at).collect::<Result<Vec<_>, _>>()?.into_iter().max();
    let (first, last) = (first.context("no write")?, last.context("no Deployment")?);
    let seconds = last.duration_since(first).as_secs_f64();
    ensure!(seconds > 0.0, "all at the same time");
    Ok(names.len() as f64 / seconds)
}

/// One row for each kind of write that one provision needed until it ran.
pub fn writes(table: &mut Table, events: &[Event], name: &str) {
    let mut kinds: BTreeMap<(String, String), usize> = BTreeMap::new();
    for event in events.iter().filter(|event| event.is_write() && is_for(event, name)) {
        let resource = match event.subresource() {
            "" => event.resource().to_owned(),
            subresource => format!("{}/{subresource}", event.resource()),
        };
        *kinds.entry((event.verb.clone(), resource)).or_default() += 1;
    }
    table.row(
        "API writes per provision",
        kinds.values().sum::<usize>().to_string(),
        "until it is Ready:".into(),
    );
    for ((verb, resource), times) in kinds {
        let need = NEEDS.iter().find(|(v, r, _)| (*v, *r) == (&verb, &resource));
        let need = need.map_or("NOBODY HAS SAID WHAT FOR", |(_, _, need)| need);
        table.row(&format!("  {verb} {resource}"), times.to_string(), need.into());
    }
}

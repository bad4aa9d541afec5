//! The chart's dashboard and Prometheus rules name only metrics that a scrape of this program has.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use apocryph_provider::{pods, telemetry::metrics::Metrics};
use prometheus_client::{encoding::text::encode, registry::Registry};

const DASHBOARD: &str = include_str!("../../charts/apocryph-provider/monitoring/dashboard.json");
const RULES: &str = include_str!("../../charts/apocryph-provider/monitoring/rules.yaml");

/// Registered as in the program, each metric counted once: a family without a value is not told.
fn scrape() -> String {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let of_pods = pods::Metrics::register(registry.sub_registry_with_prefix("apocryph"));
    metrics.request("/apocryph/attest/0.0.1", "ok");
    let _active = metrics.session("/apocryph/attest/0.0.1");
    metrics.stream_refused("peer");
    metrics.stream_reset("peer");
    metrics.connection_denied("address");
    metrics.accepted_after(Duration::from_millis(7));
    metrics.pods("running", 1);
    metrics.capacity_free("memory", 1);
    metrics.capacity_sold("memory", 1);
    metrics.refused("busy");
    metrics.watch_answered("pods".to_owned(), SystemTime::now());
    of_pods
        .reconciles
        .get_or_create(&pods::metrics::OutcomeLabel { outcome: "applied" })
        .inc();
    of_pods
        .failures
        .get_or_create(&pods::metrics::FailureLabel { category: "conflict" })
        .inc();
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

/// Names of ours in an expression.
fn named(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("apocryph_"))
}

/// Every `expr` of the dashboard's panels.
fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            found.extend(map.get("expr").and_then(|one| one.as_str()).map(str::to_owned));
            map.values().for_each(|value| expressions(value, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn every_metric_that_dashboard_and_rules_name_is_exported() {
    let scrape = scrape();
    let exported: BTreeSet<&str> = scrape
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for (what, text, least) in [
        ("dashboard", serde_json::from_str(DASHBOARD).unwrap(), 15),
        ("rules", serde_saphyr::from_str::<serde_json::Value>(RULES).unwrap(), 8),
    ] {
        let mut found = Vec::new();
        expressions(&text, &mut found);
        assert!(found.len() >= least, "{what}: {} expressions only", found.len());
        for expression in &found {
            let names: Vec<&str> = named(expression).collect();
            assert!(!names.is_empty(), "{what}: {expression} names none of ours");
            for name in names {
                assert!(exported.contains(name), "{what}: {name} is not exported ({expression})");
            }
        }
    }
}

#[test]
fn every_metric_has_its_help_and_durations_and_sizes_their_unit() {
    let scrape = scrape();
    for line in scrape.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        let help = scrape
            .lines()
            .find(|line| line.starts_with(&format!("# HELP {name} ")))
            .unwrap();
        assert!(help.len() > format!("# HELP {name} ").len() + 10, "{help}");
    }
    for (name, unit) in [
        ("apocryph_accept_duration_seconds", "seconds"),
        ("apocryph_capacity_free_bytes", "bytes"),
        ("apocryph_capacity_sold_bytes", "bytes"),
        ("apocryph_capacity_sold_cpu_cores", "cores"),
        ("apocryph_watch_answered_timestamp_seconds", "seconds"),
    ] {
        assert!(scrape.contains(&format!("# UNIT {name} {unit}\n")), "{name}");
    }
}

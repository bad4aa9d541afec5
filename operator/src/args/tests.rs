use super::*;

fn args() -> Args {
    Args::parse_from([
        "apocryph-provider",
        "--config=config.yaml",
        "--pod-name=apocryph-provider-0",
        "--pod-uid=u1",
        "--pod-namespace=apocryph-system",
        "--node-name=node0",
        "--memory-limit=1073741824",
    ])
}

/// config.yaml out of a snapshot of the chart: what helm renders is what is read here.
fn chart(rendered: &str) -> String {
    rendered
        .split("\n---\n")
        .filter_map(|document| serde_saphyr::from_str::<serde_json::Value>(document).ok())
        .find_map(|object| object["data"]["config.yaml"].as_str().map(str::to_owned))
        .unwrap()
}

fn defaults() -> String {
    chart(include_str!(
        "../../../charts/apocryph-provider/tests/defaults.rendered.yaml"
    ))
}

/// What the chart's own values come to.
pub(crate) fn default_config() -> Config {
    args().with_file(&defaults()).unwrap()
}

#[test]
fn the_charts_defaults_hold() {
    let config = default_config();
    assert_eq!(config.lease.identity, "apocryph-provider-0_u1");
    assert_eq!(config.capacity.max_pods, None);
    assert_eq!(
        (config.pods.ended_per_publisher, config.capacity.max_ended),
        (64, Some(2000))
    );
    assert_eq!(config.capacity.storage, None);
    assert_eq!(config.pods.storage_class, None);
    assert_eq!(config.pods.ended_ttl, Duration::from_secs(7 * 86400));
    assert_eq!(config.net.connections.memory_bytes, 768 << 20);
    // The chart's numbers are the program's own.
    let defaults = net::Settings::default();
    assert_eq!(config.net.streams, defaults.streams);
    assert_eq!(
        config.net.connections,
        net::Connections {
            memory_bytes: 768 << 20,
            ..defaults.connections
        }
    );
    assert_eq!(config.payment_address, None);
}

#[test]
fn everything_that_the_chart_can_set_arrives() {
    let file = chart(include_str!(
        "../../../charts/apocryph-provider/tests/everything.rendered.yaml"
    ));
    let config = args().with_file(&file).unwrap();
    insta::assert_debug_snapshot!((
        &config.logs,
        &config.lease,
        &config.capacity,
        &config.pods,
        &config.defaults,
        &config.net.streams,
        &config.net.connections,
        &config.announce,
        &config.payment_address,
        &config.walls.policies,
    ));
}

#[test]
fn what_does_not_hold_is_refused_by_its_name() {
    for (from, to, says) in [
        (
            "runtimeClass: \"\"",
            "runtimeClass: \"\"\nruntimeClasses: 1",
            "runtimeClasses",
        ),
        (
            "forceRestricted\":false",
            "forceRestricted\":\"maybe\"",
            "forceRestricted",
        ),
        (
            "\"duration\":\"15s\"",
            "\"duration\":\"14s\"",
            "lease.renewDeadline: must be more than 4s",
        ),
        (
            "\"retryPeriod\":\"2s\"",
            "\"retryPeriod\":\"6s\"",
            "lease.retryPeriod: must be at most half",
        ),
        ("\"endedTTL\":\"7d\"", "\"endedTTL\":\"7 days\"", "is not a time"),
        (
            "\"sweepAfter\":\"10m\"",
            "\"sweepAfter\":\"1s\"",
            "timings.sweepAfter: must be at least 10s",
        ),
        ("storageGiB: null", "storageGiB: 10", "storage.class: is empty"),
        (
            "\"sharedClass\":\"\"",
            "\"sharedClass\":\"many\"",
            "storage.sharedClass: is set",
        ),
        (
            "\"emptyVolume\":\"256Mi\"",
            "\"emptyVolume\":\"1\"",
            "defaults.emptyVolume: must be from",
        ),
        (
            "\"cpu\":\"250m\"",
            "\"cpu\":\"lots\"",
            "capacity.reserve: \"lots\" is not a quantity",
        ),
        (
            "\"memory\":\"128Mi\"",
            "\"memory\":\"1Mi\"",
            "defaults.requests.memory: must be from",
        ),
        (
            "egress: {\"deny\":[]}",
            "egress: {\"deny\":[\"10.0.0.0/33\"]}",
            "egress.deny: \"10.0.0.0/33\"",
        ),
        (
            "payment: {\"address\":\"\"}",
            "payment: {\"address\":\"0x12\"}",
            "payment.address: \"0x12\"",
        ),
        ("hash: ", "hash: x", "walls.hash"),
        (
            "perConnection: 16",
            "perConnection: 1025",
            "libp2p.limits.streams.perConnection: must be at most 1024",
        ),
        (
            "\"addresses\":[],\"internal\"",
            "\"addresses\":[\"provider.example\"],\"internal\"",
            "invalid multiaddr",
        ),
        ("hostPort: null", "hostPort: 0", "libp2p.hostPort: must be at least 1"),
    ] {
        let file = defaults();
        assert!(file.contains(from), "{from}");
        let error = args().with_file(&file.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(says), "{to}: {error}");
    }
    let mut nameless = args();
    nameless.pod_name.clear();
    assert!(
        nameless
            .with_file(&defaults())
            .unwrap_err()
            .to_string()
            .contains("--pod-name")
    );
    let missing = Args {
        config: "/nowhere/config.yaml".into(),
        ..args()
    };
    assert!(
        missing
            .load()
            .unwrap_err()
            .to_string()
            .contains("--config /nowhere/config.yaml")
    );
}

#[test]
fn times_are_numbers_with_units() {
    assert_eq!(crate::model::span::span("1h30m"), Some(Duration::from_secs(5400)));
    for bad in ["", "10", "m", "1.5h", "-1s", "1w", "99999999999999999999d", "9999999d"] {
        assert_eq!(crate::model::span::span(bad), None, "{bad}");
    }
}

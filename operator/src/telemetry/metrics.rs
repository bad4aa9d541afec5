//! One registry for libp2p's metrics and ours. Ours begin with `apocryph_`; labels are outcome codes, protocol names and the
//! names of limits, never peers or pods.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// Seconds from 5 ms to 82 s.
const DURATION_BUCKETS: (f64, f64, u16) = (0.005, 2.0, 15);

/// Everything that is counted. Cloning shares the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    sessions: Family<ProtocolLabels, Gauge>,
    streams_refused: Family<LimitLabels, Counter>,
    streams_reset: Family<LimitLabels, Counter>,
    connections_denied: Family<LimitLabels, Counter>,
    accept_duration: Histogram,
    pods: Family<PhaseLabels, Gauge>,
    capacity_free_cpu: Gauge<f64, AtomicU64>,
    capacity_free: Family<ResourceLabels, Gauge>,
    capacity_sold_cpu: Gauge<f64, AtomicU64>,
    capacity_sold: Family<ResourceLabels, Gauge>,
    refusals: Family<CodeLabels, Counter>,
    watch_answered: Family<WatchLabels, Gauge>,
    accepting: Gauge,
    lease_held: Gauge,
    panics: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    protocol: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProtocolLabels {
    protocol: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    resource: &'static str,
}

impl Metrics {
    /// Registers all of ours under the prefix `apocryph`. libp2p's register themselves under `libp2p` in the same registry.
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            requests: Family::default(),
            sessions: Family::default(),
            streams_refused: Family::default(),
            streams_reset: Family::default(),
            connections_denied: Family::default(),
            accept_duration: duration(),
            pods: Family::default(),
            capacity_free_cpu: Gauge::default(),
            capacity_free: Family::default(),
            capacity_sold_cpu: Gauge::default(),
            capacity_sold: Family::default(),
            refusals: Family::default(),
            watch_answered: Family::default(),
            accepting: Gauge::default(),
            lease_held: Gauge::default(),
            panics: Counter::default(),
        };
        let Metrics {
            requests,
            sessions,
            streams_refused,
            streams_reset,
            connections_denied,
            accept_duration,
            pods,
            capacity_free_cpu,
            capacity_free,
            capacity_sold_cpu,
            capacity_sold,
            refusals,
            watch_answered,
            accepting,
            lease_held,
            panics,
        } = metrics.clone();
        let ours = registry.sub_registry_with_prefix("apocryph");
        ours.register(
            "requests",
            "Streams that were served to their end, by protocol and by the outcome code of the final message, or by how they \
             ended without one",
            requests,
        );
        ours.register(
            "sessions_active",
            "Streams that are being served now, by protocol",
            sessions,
        );
        ours.register(
            "streams_refused",
            "Inbound streams over a limit that were answered busy or shutting_down, by the limit",
            streams_refused,
        );
        ours.register(
            "streams_reset",
            "Inbound streams over a limit that were reset because the refuser was full, or that a refuser could not answer in \
             time, by the limit",
            streams_reset,
        );
        ours.register(
            "connections_denied",
            "Inbound connections over a limit per address, by the limit; the limits in all are in libp2p_swarm",
            connections_denied,
        );
        ours.register_with_unit(
            "accept_duration",
            "Time from a provision request that was read to its accepted",
            Unit::Seconds,
            accept_duration,
        );
        ours.register("pods", "ApocryphPods, by phase", pods);
        ours.register_with_unit(
            "capacity_free_cpu",
            "Processor that would be rented out now",
            Unit::Other("cores".to_owned()),
            capacity_free_cpu,
        );
        ours.register_with_unit(
            "capacity_free",
            "What would be rented out now, by resource: memory, storage, ephemeral-storage",
            Unit::Bytes,
            capacity_free,
        );
        ours.register_with_unit(
            "capacity_sold_cpu",
            "Processor that pods which have not ended hold, replicas that are not yet there included",
            Unit::Other("cores".to_owned()),
            capacity_sold_cpu,
        );
        ours.register_with_unit(
            "capacity_sold",
            "What pods which have not ended hold, by resource: memory, storage, ephemeral-storage",
            Unit::Bytes,
            capacity_sold,
        );
        ours.register(
            "refusals",
            "Requests that were refused, by the outcome code; deploy/codes.md explains each",
            refusals,
        );
        ours.register_with_unit(
            "watch_answered_timestamp",
            "When the API server last answered a watch, by the resource; each is asked anew every minute",
            Unit::Seconds,
            watch_answered,
        );
        ours.register("accepting", "1 while new pods are accepted", accepting);
        ours.register("lease_held", "1 while this process is the leader", lease_held);
        ours.register("panics", "Sessions that ended in a panic: each is a bug", panics);
        metrics
    }

    /// Values that nobody exports, for tests.
    pub fn unregistered() -> Metrics {
        Metrics::register(&mut Registry::default())
    }

    /// One stream has ended. `code`: an outcome code, or how it ended without a final message.
    pub fn request(&self, protocol: &'static str, code: &'static str) {
        self.requests.get_or_create(&RequestLabels { protocol, code }).inc();
    }

    /// How often `request` was called with these labels.
    pub fn requests(&self, protocol: &'static str, code: &'static str) -> u64 {
        self.requests.get_or_create(&RequestLabels { protocol, code }).get()
    }

    /// A stream is being served until the guard goes.
    pub fn session(&self, protocol: &'static str) -> ActiveSession {
        let gauge = self.sessions.get_or_create_owned(&ProtocolLabels { protocol });
        gauge.inc();
        ActiveSession(gauge)
    }

    pub fn stream_refused(&self, limit: &'static str) {
        self.streams_refused.get_or_create(&LimitLabels { limit }).inc();
    }

    pub fn stream_reset(&self, limit: &'static str) {
        self.streams_reset.get_or_create(&LimitLabels { limit }).inc();
    }

    /// How many streams were refused and how many reset for this limit.
    pub fn streams_over(&self, limit: &'static str) -> (u64, u64) {
        let labels = LimitLabels { limit };
        (
            self.streams_refused.get_or_create(&labels).get(),
            self.streams_reset.get_or_create(&labels).get(),
        )
    }

    pub fn connection_denied(&self, limit: &'static str) {
        self.connections_denied.get_or_create(&LimitLabels { limit }).inc();
    }

    /// How many connections were denied for this limit.
    pub fn denied(&self, limit: &'static str) -> u64 {
        self.connections_denied.get_or_create(&LimitLabels { limit }).get()
    }

    /// From the request read to `accepted` written.
    pub fn accepted_after(&self, time: Duration) {
        self.accept_duration.observe(time.as_secs_f64());
    }

    /// How many ApocryphPods are in that phase now.
    pub fn pods(&self, phase: &'static str, count: u64) {
        self.pods.get_or_create(&PhaseLabels { phase }).set(saturating(count));
    }

    /// Processor in thousandths of a core.
    pub fn capacity_free_cpu(&self, millis: u64) {
        // Far below 2^53: exact.
        self.capacity_free_cpu.set(millis as f64 / 1000.0);
    }

    /// Bytes of memory, storage or ephemeral-storage.
    pub fn capacity_free(&self, resource: &'static str, bytes: u64) {
        self.capacity_free
            .get_or_create(&ResourceLabels { resource })
            .set(saturating(bytes));
    }

    /// Processor in thousandths of a core.
    pub fn capacity_sold_cpu(&self, millis: u64) {
        self.capacity_sold_cpu.set(millis as f64 / 1000.0);
    }

    /// Bytes of memory, storage or ephemeral-storage.
    pub fn capacity_sold(&self, resource: &'static str, bytes: u64) {
        self.capacity_sold
            .get_or_create(&ResourceLabels { resource })
            .set(saturating(bytes));
    }

    /// A request was refused by this outcome code.
    pub fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&CodeLabels { code }).inc();
    }

    /// The API server has answered a watch of this resource.
    pub fn watch_answered(&self, resource: String, at: SystemTime) {
        let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.watch_answered
            .get_or_create(&WatchLabels { resource })
            .set(saturating(seconds));
    }

    pub fn accepting(&self, yes: bool) {
        self.accepting.set(yes.into());
    }

    pub fn lease_held(&self, yes: bool) {
        self.lease_held.set(yes.into());
    }

    pub fn panicked(&self) {
        self.panics.inc();
    }
}

/// Counts a stream as being served.
#[derive(Debug)]
pub struct ActiveSession(Gauge);

impl Drop for ActiveSession {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn duration() -> Histogram {
    let (first, factor, count) = DURATION_BUCKETS;
    Histogram::new(exponential_buckets(first, factor, count))
}

fn saturating(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_units_and_labels_are_as_prometheus_wants_them() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.request("/apocryph/attest/0.0.1", "busy");
        let active = metrics.session("/apocryph/attest/0.0.1");
        metrics.stream_refused("peer");
        metrics.accepted_after(Duration::from_millis(7));
        metrics.capacity_free_cpu(1250);
        metrics.capacity_free("memory", u64::MAX);
        let text = encode(&registry);
        for line in [
            "apocryph_requests_total{protocol=\"/apocryph/attest/0.0.1\",code=\"busy\"} 1",
            "apocryph_sessions_active{protocol=\"/apocryph/attest/0.0.1\"} 1",
            "apocryph_streams_refused_total{limit=\"peer\"} 1",
            "apocryph_accept_duration_seconds_bucket{le=\"0.01\"} 1",
            "apocryph_capacity_free_cpu_cores 1.25",
            "apocryph_capacity_free_bytes{resource=\"memory\"} 9223372036854775807",
            "apocryph_lease_held 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        drop(active);
        assert!(encode(&registry).contains("apocryph_sessions_active{protocol=\"/apocryph/attest/0.0.1\"} 0"));
    }

    fn encode(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }
}

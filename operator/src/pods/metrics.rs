//! What the controller counts. Labels are outcomes, never pods.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// applied, unchanged, waiting, ended or failed
    pub outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabel {
    /// See `reconcile::Error::category`.
    pub category: &'static str,
}

/// Cheap to clone: all clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub reconciles: Family<OutcomeLabel, Counter>,
    pub failures: Family<FailureLabel, Counter>,
    /// Namespaces of our form without an ApocryphPod: reported, never removed.
    pub orphan_namespaces: Gauge,
    /// Staged Secrets that no ApocryphPod came to name.
    pub swept_secrets: Counter,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics::default();
        registry.register(
            "reconciles",
            "Looks at an ApocryphPod, by what came of them",
            metrics.reconciles.clone(),
        );
        registry.register(
            "reconcile_failures",
            "Looks that failed, by why",
            metrics.failures.clone(),
        );
        registry.register(
            "orphan_namespaces",
            "Tenants' namespaces without an ApocryphPod; they are reported, never removed",
            metrics.orphan_namespaces.clone(),
        );
        registry.register(
            "swept_secrets",
            "Staged Secrets that no ApocryphPod came to name",
            metrics.swept_secrets.clone(),
        );
        metrics
    }
}

//! A namespace per pod, with the Pod Security level that holds everything in it.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{Decided, Level, PullPolicy, meta};
use crate::pods::validate::ValidatedPod;

/// Label that decides; the other two only tell.
pub const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// Annotation: the life that the namespace was made for. One of an earlier life, with its volumes, is not taken over.
pub const LIFE: &str = "apocryph.network/life";
/// Annotation: the pull policy of this life's containers.
pub const PULL_POLICY: &str = "apocryph.network/image-pull-policy";
const MODES: [&str; 3] = ["enforce", "audit", "warn"];

pub fn build(pod: &ValidatedPod, decided: Decided) -> Namespace {
    let mut labels = meta::labels(pod);
    for mode in MODES {
        labels.insert(
            format!("pod-security.kubernetes.io/{mode}"),
            decided.level.as_str().to_owned(),
        );
        // Later versions of a level only forbid more.
        labels.insert(
            format!("pod-security.kubernetes.io/{mode}-version"),
            "latest".to_owned(),
        );
    }
    meta::hashed(Namespace {
        metadata: ObjectMeta {
            name: Some(pod.name.namespace()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([
                (LIFE.to_owned(), pod.life.to_string()),
                (PULL_POLICY.to_owned(), decided.pull.as_str().to_owned()),
            ])),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    })
}

/// The level that a namespace was made with; `None`: none that we give.
pub fn level(namespace: &Namespace) -> Option<Level> {
    let label = namespace.metadata.labels.as_ref()?.get(ENFORCE)?;
    [Level::Baseline, Level::Restricted]
        .into_iter()
        .find(|level| level.as_str() == label)
}

/// The pull policy that it was made with; `None`: none that we give.
pub fn pull_policy(namespace: &Namespace) -> Option<PullPolicy> {
    let recorded = namespace.metadata.annotations.as_ref()?.get(PULL_POLICY)?;
    [PullPolicy::IfNotPresent, PullPolicy::Always]
        .into_iter()
        .find(|policy| policy.as_str() == recorded)
}

/// Was it made for this pod in this life? By both marks.
pub fn is_of(namespace: &Namespace, pod: &str, life: i64) -> bool {
    marks(namespace, pod, life) == [Some(true); 2]
}

/// Does a mark say that it was made for another pod or another life?
pub fn is_of_another(namespace: &Namespace, pod: &str, life: i64) -> bool {
    marks(namespace, pod, life).contains(&Some(false))
}

/// Does the label name this pod, the annotation this life? `None`: the mark is missing.
fn marks(namespace: &Namespace, pod: &str, life: i64) -> [Option<bool>; 2] {
    let says = |map: &Option<BTreeMap<String, String>>, key: &str, value: &str| Some(map.as_ref()?.get(key)? == value);
    [
        says(&namespace.metadata.labels, meta::POD, pod),
        says(&namespace.metadata.annotations, LIFE, &life.to_string()),
    ]
}

//! How many ended ApocryphPods are kept: each publisher may end as many pods as he likes within `endedTTL`, and all of them are
//! in etcd and in the caches.

use std::{collections::BTreeMap, sync::Arc};

use apocryph_crd::{ApocryphPod, condition};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::pods::{
    status::{condition_of, of_this_life},
    view,
};

/// Most ended ApocryphPods of one publisher; beyond, the longest ended go before `endedTTL`.
pub const PER_PUBLISHER_MAX: usize = 64;
/// Most of all publishers together.
pub const MAX: usize = 2000;

/// What is too much, longest ended first.
pub fn surplus(objects: Vec<Arc<ApocryphPod>>, per_publisher: usize, all: usize) -> Vec<Arc<ApocryphPod>> {
    let mut ended: Vec<(Timestamp, Arc<ApocryphPod>)> = objects
        .into_iter()
        .filter_map(|object| Some((since(&object)?, object)))
        .collect();
    // Latest first; names make it the same each time.
    ended.sort_by_key(|(since, object)| (std::cmp::Reverse(*since), object.name_any()));
    let mut kept = 0usize;
    let mut of_publisher: BTreeMap<String, usize> = BTreeMap::new();
    let mut surplus = Vec::new();
    for (_, object) in ended {
        let his = of_publisher.entry(object.spec.publisher.clone()).or_default();
        if *his < per_publisher && kept < all {
            *his = his.saturating_add(1);
            kept = kept.saturating_add(1);
        } else {
            surplus.push(object);
        }
    }
    surplus.reverse();
    surplus
}

/// Since when it has ended. `None`: it has not.
fn since(object: &ApocryphPod) -> Option<Timestamp> {
    let ended = of_this_life(object).and_then(|status| condition_of(status, condition::ENDED))?;
    view::is_ended(object).then_some(ended.last_transition_time.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, publisher: &str, ended: Option<&str>) -> Arc<ApocryphPod> {
        let mut object = serde_json::json!({"metadata": {"name": name},
            "spec": {"publisher": publisher, "podId": "", "payment": {"free": {}}, "containers": []}});
        if let Some(at) = ended {
            object["spec"]["end"] = serde_json::json!({"at": at, "reason": "StartTimeout", "by": "controller"});
            object["status"] = serde_json::json!({"life": 1, "conditions": [{"type": "Ended", "status": "True",
                "reason": "StartTimeout", "message": "", "lastTransitionTime": at}]});
        }
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn the_longest_ended_go_by_publisher_and_then_of_all() {
        let pods = vec![
            pod("a1", "a", Some("2026-01-01T00:00:01Z")),
            pod("a2", "a", Some("2026-01-01T00:00:05Z")),
            pod("a3", "a", Some("2026-01-01T00:00:06Z")),
            pod("a4", "a", None),
            pod("b1", "b", Some("2026-01-01T00:00:02Z")),
            pod("c1", "c", Some("2026-01-01T00:00:03Z")),
        ];
        let names = |per_publisher, all| -> Vec<String> {
            let surplus = surplus(pods.clone(), per_publisher, all);
            surplus.iter().map(|object| object.name_any()).collect()
        };
        assert_eq!(names(3, 5), Vec::<String>::new());
        assert_eq!(names(2, 5), ["a1"], "more of one publisher do not push out another's");
        assert_eq!(names(2, 3), ["a1", "b1"]);
        assert_eq!(names(1, 1), ["a1", "b1", "c1", "a2"], "never what has not ended");
    }
}

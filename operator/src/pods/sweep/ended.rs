//! How many ended ApocryphPods of one publisher are kept: he may end as many as he likes within `endedTTL`, and all of them are
//! in etcd and in the caches. Of all publishers together capacity bounds the number: with too many it takes no new pod.

use std::{collections::BTreeMap, sync::Arc};

use apocryph_crd::{ApocryphPod, condition};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::pods::{
    status::{condition_of, of_this_life},
    view,
};

/// What of each publisher is too much, longest ended first. His own pods alone pay for it: a refusal would shut out, for as long
/// as `endedTTL`, whoever deploys often; and another's ended pod, forgotten before its time, would be started again by whoever
/// resumes it.
pub fn surplus(objects: Vec<Arc<ApocryphPod>>, per_publisher: usize) -> Vec<Arc<ApocryphPod>> {
    let mut ended: Vec<(Timestamp, Arc<ApocryphPod>)> = objects
        .into_iter()
        .filter_map(|object| Some((since(&object)?, object)))
        .collect();
    // Latest first; names make it the same each time.
    ended.sort_by_key(|(since, object)| (std::cmp::Reverse(*since), object.name_any()));
    let mut of_publisher: BTreeMap<String, usize> = BTreeMap::new();
    let mut surplus = Vec::new();
    for (_, object) in ended {
        let his = of_publisher.entry(object.spec.publisher.clone()).or_default();
        if *his < per_publisher {
            *his = his.saturating_add(1);
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
    fn of_each_publisher_the_longest_ended_go_and_never_anothers() {
        let pods = vec![
            pod("a1", "a", Some("2026-01-01T00:00:01Z")),
            pod("a2", "a", Some("2026-01-01T00:00:05Z")),
            pod("a3", "a", Some("2026-01-01T00:00:06Z")),
            pod("a4", "a", None),
            pod("b1", "b", Some("2026-01-01T00:00:02Z")),
            pod("c1", "c", Some("2026-01-01T00:00:03Z")),
        ];
        let names = |per_publisher| -> Vec<String> {
            let surplus = surplus(pods.clone(), per_publisher);
            surplus.iter().map(|object| object.name_any()).collect()
        };
        assert_eq!(names(3), Vec::<String>::new());
        assert_eq!(names(2), ["a1"], "more of one publisher do not push out another's");
        assert_eq!(names(1), ["a1", "a2"], "never what has not ended");
    }
}

use serde::de::DeserializeOwned;

use super::*;

const SEEN: &str = include_str!("seen.yaml");

/// The documents of a YAML text that are of this kind.
fn objects<T: DeserializeOwned>(text: &str, kind: &str) -> Vec<Arc<T>> {
    text.split("\n---\n")
        .filter(|document| document.lines().any(|line| line == format!("kind: {kind}")))
        .map(|document| Arc::new(serde_saphyr::from_str(document).unwrap_or_else(|e| panic!("{document}: {e}"))))
        .collect()
}

pub(in crate::capacity) fn seen(text: &str) -> Seen {
    Seen {
        nodes: objects(text, "Node"),
        pods: objects(text, "Pod"),
        apocryph_pods: objects(text, "ApocryphPod"),
        claims: objects(text, "PersistentVolumeClaim"),
    }
}

fn settings() -> Settings {
    Settings {
        reserve: Resources {
            cpu_millis: 500,
            memory: 1 << 30,
            ephemeral_storage: 1 << 30,
        },
        node_selector: [("rent".to_owned(), "yes".to_owned())].into(),
        ..Settings::default()
    }
}

#[test]
fn what_nodes_have_left_and_pods_are_promised() {
    let usage = usage(&seen(SEEN), &settings());
    let mut lives: Vec<String> = usage
        .lives
        .iter()
        .map(|(name, life)| format!("{name}: {life:?}"))
        .collect();
    lives.sort();
    let mut bound: Vec<String> = usage
        .bound
        .iter()
        .map(|(name, pods)| format!("{name}: {pods}"))
        .collect();
    bound.sort();
    insta::assert_debug_snapshot!((
        usage.nodes,
        usage.lacking,
        usage.taken,
        lives,
        bound,
        usage.user_namespaces
    ));
}

#[test]
fn user_namespaces_need_every_counting_node_and_the_right_handler() {
    let all = seen(SEEN);
    let with = |class: Option<&str>, selector: &[(&str, &str)]| {
        let node_selector = selector
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let settings = Settings {
            runtime_class: class.map(str::to_owned),
            node_selector,
            ..Settings::default()
        };
        usage(&all, &settings).user_namespaces
    };
    assert!(with(None, &[("rent", "yes")]));
    // Another node, which counts too, does not report it.
    assert!(!with(None, &[]));
    // The second node has no such handler.
    assert!(!with(Some("kata"), &[("rent", "yes")]));
    assert!(with(Some("kata"), &[("name", "one")]));
    // No node.
    assert!(!with(None, &[("rent", "never")]));
}

#[test]
fn a_pod_takes_what_the_scheduler_counts_for_it() {
    let pod = |text: &str| requests(&serde_saphyr::from_str::<Pod>(text).unwrap()).cpu_millis;
    // Containers and sidecars run together: 100 + 20 + 30. Init: the sidecar before it runs beside it, the one after does not.
    let init = "spec:\n  containers: [{name: a, resources: {requests: {cpu: 100m}}}]\n  initContainers:\n  \
                - {name: s, restartPolicy: Always, resources: {requests: {cpu: 20m}}}\n  \
                - {name: i, resources: {requests: {cpu: INIT}}}\n  \
                - {name: t, restartPolicy: Always, resources: {requests: {cpu: 30m}}}\n";
    assert_eq!(pod(&init.replace("INIT", "10m")), 150);
    assert_eq!(pod(&init.replace("INIT", "500m")), 520);
    assert_eq!(
        pod(&format!("{}  overhead: {{cpu: 250m}}\n", init.replace("INIT", "500m"))),
        770
    );
    // The Pod's own request stands for its containers'.
    assert_eq!(
        pod(&format!(
            "{}  resources: {{requests: {{cpu: '2'}}}}\n",
            init.replace("INIT", "500m")
        )),
        2000
    );
    // While it is resized downwards, the node still sets aside the old amount.
    let resized = "spec: {containers: [{name: a, resources: {requests: {cpu: 100m}}}]}\n\
                   status: {containerStatuses: [{name: a, image: i, imageID: x, ready: true, restartCount: 0, \
                   allocatedResources: {cpu: 300m}, resources: {requests: {cpu: 200m}}}]}\n";
    assert_eq!(pod(resized), 300);
    // Rounded up; what cannot be read takes all.
    assert_eq!(
        pod("spec: {containers: [{name: a, resources: {requests: {cpu: 1u}}}]}"),
        1
    );
    assert_eq!(
        pod("spec: {containers: [{name: a, resources: {requests: {cpu: much}}}]}"),
        u64::MAX
    );
}

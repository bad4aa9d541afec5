//! What is decided once for a life, from the nodes that there are then, and kept: it is recorded at the namespace, so nodes
//! that come and go never restart what runs.
//!
//! What this does not do: keep a pod of level `baseline` off a node without user namespaces that joins later. Kubernetes has no
//! label to select by, and naming the nodes in the template would restart pods whenever one joins. The kubelet there does not
//! start such a pod, and its status says so (`pod_refused`); the admin keeps such nodes out by `placement.nodeSelector`.

use k8s_openapi::api::core::v1::{Namespace, Node};

use super::namespace;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    pub level: Level,
    pub pull: PullPolicy,
}

impl Decided {
    /// For a life that begins now.
    pub fn by_nodes<'a>(images_may_run_as_root: bool, nodes: impl IntoIterator<Item = &'a Node>) -> Decided {
        Decided {
            level: if images_may_run_as_root {
                Level::Baseline
            } else {
                Level::Restricted
            },
            pull: PullPolicy::on(nodes),
        }
    }

    /// What the namespace records; what it does not record is `now`.
    pub fn kept(namespace: Option<&Namespace>, now: Decided) -> Decided {
        Decided {
            level: namespace.and_then(namespace::level).unwrap_or(now.level),
            pull: namespace.and_then(namespace::pull_policy).unwrap_or(now.pull),
        }
    }
}

/// Pod Security level of a tenant's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// In a user namespace: images may start as root.
    Baseline,
    /// Images must not start as root.
    Restricted,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        }
    }
}

/// `imagePullPolicy` of every container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// The kubelet itself asks for the right to an image that another pod's secret has pulled.
    IfNotPresent,
    /// It does not: only the registry does, at each start.
    Always,
}

/// First minor version of Kubernetes 1 whose kubelet runs an image that is on the node only for who may pull it
/// (KubeletEnsureSecretPulledImages is on by default).
const CHECKED_SINCE: u32 = 35;

impl PullPolicy {
    pub const fn as_str(self) -> &'static str {
        match self {
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Always => "Always",
        }
    }

    /// `Always` where any node's kubelet is older than 1.35 or does not say, and where no node is known.
    pub fn on<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> PullPolicy {
        let mut nodes = nodes.into_iter().peekable();
        if nodes.peek().is_some() && nodes.all(checks_images) {
            PullPolicy::IfNotPresent
        } else {
            PullPolicy::Always
        }
    }
}

fn checks_images(node: &Node) -> bool {
    node.status
        .as_ref()
        .and_then(|status| status.node_info.as_ref())
        .and_then(|info| version(&info.kubelet_version))
        .is_some_and(|version| version >= (1, CHECKED_SINCE))
}

/// Major and minor of `v1.35.4`, `v1.34.2+k3s1`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix('v')?.split('.');
    let (major, minor) = (parts.next()?, parts.next()?);
    parts.next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{NodeStatus, NodeSystemInfo};

    use super::*;

    fn node(version: &str) -> Node {
        Node {
            status: Some(NodeStatus {
                node_info: Some(NodeSystemInfo {
                    kubelet_version: version.to_owned(),
                    ..NodeSystemInfo::default()
                }),
                ..NodeStatus::default()
            }),
            ..Node::default()
        }
    }

    #[test]
    fn one_kubelet_that_does_not_check_or_does_not_say_is_enough_for_always() {
        let on = |versions: &[&str]| PullPolicy::on(&versions.iter().map(|one| node(one)).collect::<Vec<_>>());
        for new in ["v1.35.0", "v1.35.4+k3s1", "v1.36.1-gke.100", "v1.100.0", "v2.0.0"] {
            assert_eq!(on(&[new]), PullPolicy::IfNotPresent, "{new}");
        }
        for old in [
            "v1.34.9",
            "v1.33.0-eks-1",
            "v1.9.0",
            "v0.36.0",
            "",
            "1.35.0",
            "v1.35",
            "v1.x.0",
            "unknown",
        ] {
            assert_eq!(on(&[old]), PullPolicy::Always, "{old}");
            assert_eq!(on(&["v1.35.0", old, "v1.36.0"]), PullPolicy::Always, "{old}");
        }
        assert_eq!(PullPolicy::on([&Node::default()]), PullPolicy::Always, "no status yet");
        assert_eq!(on(&[]), PullPolicy::Always, "no node is known");
    }
}

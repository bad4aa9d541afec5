//! What is in the way of a Pod, read from what kubelet, scheduler and controllers say of it.
//!
//! Their texts hold addresses, ports, attempts and ids that change from one try to the next and tell of the cluster's inside.
//! They are only searched for words; what is said is ours.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use apocryph_crd::ApocryphPodStatus;
use apocryph_proto::outcome::Code;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{
            ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Node, PersistentVolumeClaim, Pod,
        },
    },
    jiff::{SignedDuration, Timestamp},
};

use super::{
    Finding,
    conditions::pod_is,
    image::{ImageOf, of_pull},
    preparing,
};
use crate::{capacity::nodes::has_user_namespaces, pods::validate::ValidatedPod};

/// A volume that is bound by then was only on its way.
const VOLUME_GRACE: SignedDuration = SignedDuration::from_secs(15);
/// A container that was started again and runs for this long has recovered; before, what ended it is still the news.
const SETTLED: SignedDuration = SignedDuration::from_secs(10);

/// The earliest time at which a judgement may change by itself.
#[derive(Debug, Default)]
pub(super) struct Recheck(Option<SignedDuration>);

impl Recheck {
    fn within(&mut self, wait: SignedDuration) {
        self.0 = Some(self.0.map_or(wait, |other| other.min(wait)));
    }

    pub(super) fn after(self) -> Option<Duration> {
        // Never at once: the clock that made the condition ticks in seconds.
        self.0
            .map(|wait| Duration::try_from(wait).unwrap_or_default() + Duration::from_secs(1))
    }
}

/// A Pod is missing: does somebody refuse it?
pub(super) fn of_missing(deployment: &Deployment, pod: &ValidatedPod) -> Finding {
    let refused = deployment
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True");
    let Some(message) = refused.and_then(|condition| condition.message.as_deref()) else {
        return preparing();
    };
    let text = message.to_lowercase();
    // What a new namespace needs a moment for.
    let on_its_way = [
        "serviceaccount",
        "service account",
        "status unknown for quota",
        "being terminated",
    ];
    if on_its_way.iter().any(|words| text.contains(words)) {
        return preparing();
    }
    if text.contains("podsecurity") && text.contains("runasuser=0") {
        let as_root = pod
            .containers
            .iter()
            .filter(|one| one.user.is_some_and(|user| user.uid == 0));
        return Finding::new(
            Code::ImageRunsAsRoot,
            format!(
                "{} to run as user 0 (root), which this provider does not allow.",
                these(as_root.map(|one| one.name.as_str()))
            ),
            "Leave user out or give another number, or take a provider whose images may run as root.",
        );
    }
    let who = if text.contains("podsecurity") {
        "Pod Security of its namespace"
    } else if text.contains("exceeded quota") {
        "the ResourceQuota of its namespace"
    } else if text.contains("validatingadmissionpolicy") || text.contains("webhook") {
        "an admission policy of the cluster"
    } else if text.contains("per container is") || text.contains("per pod is") {
        "the LimitRange of its namespace"
    } else {
        "the cluster"
    };
    Finding::new(
        Code::PodRefused,
        format!("The Pod is refused by {who}."),
        "Ask the provider: the Deployment's condition ReplicaFailure says what exactly is refused.",
    )
}

/// The one thing to say of a Pod.
pub(super) fn of_pod(
    pod: &Pod,
    claims: &[Arc<PersistentVolumeClaim>],
    nodes: &[Arc<Node>],
    before: Option<&ApocryphPodStatus>,
    now: Timestamp,
    recheck: &mut Recheck,
) -> Finding {
    let status = pod.status.clone().unwrap_or_default();
    if pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none()) {
        return of_unplaced(pod, claims, now, recheck);
    }
    let containers = status.container_statuses.unwrap_or_default();
    for container in &containers {
        if let Some(finding) = of_container(container, &ImageOf::new(pod, container), before, now, recheck) {
            return finding;
        }
    }
    let runs = |container: &&ContainerStatus| container.state.as_ref().is_some_and(|state| state.running.is_some());
    if !containers.is_empty() && containers.iter().all(|container| runs(&container)) {
        let unready = containers.iter().filter(|container| !container.ready);
        return Finding::new(
            Code::Starting,
            format!(
                "{} started and not ready yet.",
                these(unready.map(|one| one.name.as_str()))
            ),
            "",
        );
    }
    if pod_is(pod, "PodReadyToStartContainers") {
        let waiting = containers.iter().filter(|container| !runs(container));
        let whose = these(waiting.map(|one| one.name.as_str()));
        return Finding::new(Code::PullingImage, format!("{whose} waiting for the image."), "");
    }
    if lacks_user_namespaces(pod, nodes) {
        return Finding::new(
            Code::PodRefused,
            "The node that was found cannot run the pod: it has no user namespaces.",
            "Ask the provider: such a node must not take tenants (chart value placement.nodeSelector).",
        );
    }
    Finding::new(Code::Scheduled, "A node was found.", "")
}

/// Is it to run in a user namespace, on a node that offers none? The kubelet never starts it then, and the scheduler does not
/// look: the node came after the life had begun (`Decided`).
fn lacks_user_namespaces(pod: &Pod, nodes: &[Arc<Node>]) -> bool {
    let Some(spec) = pod.spec.as_ref().filter(|spec| spec.host_users == Some(false)) else {
        return false;
    };
    let handler = spec.runtime_class_name.as_deref().unwrap_or_default();
    nodes
        .iter()
        .any(|node| node.metadata.name == spec.node_name && !has_user_namespaces(node, handler))
}

/// Containers as the subject of a sentence, with its verb.
fn these<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "The containers are".to_owned(),
        [one] => format!("The container {one} is"),
        several => format!("The containers {} are", several.join(", ")),
    }
}

fn of_unplaced(pod: &Pod, claims: &[Arc<PersistentVolumeClaim>], now: Timestamp, recheck: &mut Recheck) -> Finding {
    let unschedulable = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|one| {
            one.type_ == "PodScheduled" && one.status == "False" && one.reason.as_deref() == Some("Unschedulable")
        })
        .map(|one| one.message.clone().unwrap_or_default().to_lowercase());
    let pending: Vec<&PersistentVolumeClaim> = claims
        .iter()
        .map(Arc::as_ref)
        .filter(|claim| claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound"))
        .collect();
    let about_volumes = match &unschedulable {
        Some(text) => {
            text.contains("persistentvolume") || text.contains("persistent volume") || text.contains("volume node")
        }
        None => !pending.is_empty(),
    };
    match unschedulable {
        _ if about_volumes => of_volumes(&pending, now, recheck),
        Some(text) => {
            let lacks = lacks(&text);
            let what = if lacks.is_empty() {
                String::new()
            } else {
                format!(": {}", lacks.join(", "))
            };
            Finding::new(
                Code::Unschedulable,
                format!("No node takes the pod although it was admitted{what}."),
                "Wait until the provider has room again, or delete the pod and ask for less.",
            )
        }
        None => preparing(),
    }
}

fn of_volumes(pending: &[&PersistentVolumeClaim], now: Timestamp, recheck: &mut Recheck) -> Finding {
    let waiting = || Finding::new(Code::WaitingForVolume, "The volumes are being made.", "");
    let oldest = pending
        .iter()
        .filter_map(|claim| {
            Some((
                claim.metadata.creation_timestamp.as_ref()?.0,
                claim.metadata.name.as_deref()?,
            ))
        })
        .min();
    let Some((since, _)) = oldest else { return waiting() };
    let age = now.duration_since(since);
    if age < VOLUME_GRACE {
        recheck.within(VOLUME_GRACE - age);
        return waiting();
    }
    let names: BTreeSet<&str> = pending
        .iter()
        .filter_map(|claim| claim.metadata.name.as_deref())
        .collect();
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    Finding::new(
        Code::VolumeUnbound,
        format!("The provider's storage does not make the volume {}.", names.join(", ")),
        "Ask the provider: the PersistentVolumeClaim's events say why. Or deploy without the volume.",
    )
}

/// What the scheduler misses, in our words; sorted, without counts of nodes.
fn lacks(text: &str) -> Vec<&'static str> {
    const WORDS: [(&str, &str); 8] = [
        ("insufficient cpu", "not enough cpu"),
        ("insufficient ephemeral-storage", "not enough ephemeral storage"),
        ("insufficient memory", "not enough memory"),
        ("node affinity/selector", "no node with the labels it must have"),
        ("too many pods", "no node with room for one more pod"),
        ("untolerated taint", "nodes that keep pods away"),
        ("were unschedulable", "nodes that are cordoned"),
        ("no nodes available", "no nodes"),
    ];
    let told = text.split("preemption:").next().unwrap_or(text);
    WORDS
        .iter()
        .filter(|(theirs, _)| told.contains(theirs))
        .map(|(_, ours)| *ours)
        .collect()
}

fn of_container(
    container: &ContainerStatus,
    image: &ImageOf<'_>,
    before: Option<&ApocryphPodStatus>,
    now: Timestamp,
    recheck: &mut Recheck,
) -> Option<Finding> {
    let state = container.state.clone().unwrap_or_default();
    let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    if let Some(terminated) = &state.terminated {
        return Some(of_terminated(container, terminated));
    }
    if let Some(running) = &state.running {
        // Started again: not yet better.
        let last = last.filter(|_| container.restart_count > 0)?;
        let age = running
            .started_at
            .as_ref()
            .map_or(SETTLED, |started| now.duration_since(started.0));
        if age >= SETTLED {
            return None;
        }
        recheck.within(SETTLED - age);
        return Some(of_terminated(container, last));
    }
    of_waiting(container, image, state.waiting.as_ref()?, last, before)
}

fn of_waiting(
    container: &ContainerStatus,
    image: &ImageOf<'_>,
    waiting: &ContainerStateWaiting,
    last: Option<&ContainerStateTerminated>,
    before: Option<&ApocryphPodStatus>,
) -> Option<Finding> {
    let name = &container.name;
    let text = waiting.message.clone().unwrap_or_default();
    match waiting.reason.as_deref()? {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some(of_pull(image, &text, before)),
        "InvalidImageName" => Some(Finding::new(
            Code::InvalidImageName,
            format!("`{}` (container `{name}`) is not an image reference.", image.reference),
            "Correct the container's image: [host[:port]/]path[:tag][@digest].",
        )),
        "CreateContainerConfigError" if text.contains("non-numeric user") => Some(Finding::new(
            Code::ImageUserNamed,
            format!(
                "The image of container `{name}` names its user, and this provider, which allows no root, must see a number."
            ),
            "Give the container's user.uid, or use an image whose USER is a number other than 0.",
        )),
        "CreateContainerConfigError" if text.contains("runAsNonRoot") || text.contains("non-root") => {
            Some(Finding::new(
                Code::ImageRunsAsRoot,
                format!("The image of container `{name}` starts as root, which this provider does not allow."),
                "Give the container's user.uid, use an image whose USER is a number other than 0, or a provider whose images may run as root.",
            ))
        }
        "CrashLoopBackOff" => Some(match last {
            Some(last) => of_terminated(container, last),
            None => Finding::new(
                Code::ContainerExited,
                format!("The container `{name}` ends again and again."),
                "See what the program writes; correct its command or arguments.",
            ),
        }),
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "PreStartHookError"
        | "PostStartHookError" => Some(of_start(name, &text)),
        // ContainerCreating, PodInitializing
        _ => None,
    }
}

fn of_start(name: &str, message: &str) -> Finding {
    let text = message.to_lowercase();
    if text.contains("idmap") {
        return Finding::new(
            Code::VolumeWithoutIdmap,
            format!("A volume of container `{name}` lies on a file system that cannot be used in a user namespace."),
            "Ask the provider for a storage class whose file system can be id-mapped, or deploy without the volume.",
        );
    }
    let why = if text.contains("executable file not found") || text.contains("no such file or directory") {
        ": its command is not in the image"
    } else if text.contains("permission denied") {
        ": its command may not be executed"
    } else if text.contains("not a directory") || text.contains("chdir") {
        ": its working directory is not one"
    } else if text.contains("exec format error") {
        ": its program is for another processor"
    } else {
        ""
    };
    Finding::new(
        Code::ContainerCannotStart,
        format!("The container `{name}` could not be started{why}."),
        "Correct command, args, workingDir or the image.",
    )
}

fn of_terminated(container: &ContainerStatus, terminated: &ContainerStateTerminated) -> Finding {
    let name = &container.name;
    match terminated.reason.as_deref() {
        Some("OOMKilled") => Finding::new(
            Code::OutOfMemory,
            format!("The container `{name}` was killed for using more memory than it asked for."),
            "Ask for more memory.",
        ),
        Some("StartError" | "ContainerCannotRun") => of_start(name, terminated.message.as_deref().unwrap_or_default()),
        _ => Finding::new(
            Code::ContainerExited,
            format!("The container `{name}` exited with status {}.", terminated.exit_code),
            "See what the program writes; a container must run until it is stopped.",
        ),
    }
}

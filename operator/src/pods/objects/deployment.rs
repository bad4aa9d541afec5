//! What runs.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
        core::v1::{
            Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, HostAlias, KeyToPath,
            LocalObjectReference, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec,
            ResourceRequirements, SeccompProfile, SecretKeySelector, SecretVolumeSource, SecurityContext, Volume,
            VolumeMount,
        },
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use super::{Decided, Level, WORKLOAD, meta, protocol, quantity, secret};
use crate::pods::{Settings, validate};

/// Seconds that a container is given to end by itself.
const GRACE: i64 = 30;
/// Seconds that a replica must have been ready before it counts: what ends at once never counts as running.
pub const MIN_READY: i32 = 2;
/// What images of nginx, redis or postgres need at start (chown, setuid, port 80). Root in a user namespace is nobody on
/// the node.
const ROOTS_CAPABILITIES: [&str; 8] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
];
/// Name of a secret volume's one file within it. Mounted by this name (subPath), so that the mount path itself is the file:
/// what the existing network does.
const SECRET_FILE: &str = "data";
/// The one that Pod Security `restricted` lets through.
const BIND: [&str; 1] = ["NET_BIND_SERVICE"];

pub fn build(pod: &validate::ValidatedPod, settings: &Settings, decided: Decided) -> Deployment {
    let deadline = i32::try_from(settings.start_deadline.as_secs()).unwrap_or(i32::MAX);
    meta::hashed(Deployment {
        metadata: meta::namespaced(pod, WORKLOAD),
        spec: Some(DeploymentSpec {
            replicas: Some(i32::try_from(pod.replicas).unwrap_or(i32::MAX)),
            selector: LabelSelector {
                match_labels: Some(meta::selector(pod)),
                ..LabelSelector::default()
            },
            // A volume is read-write by one node, and capacity is held for one set of replicas.
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                rolling_update: None,
            }),
            revision_history_limit: Some(1),
            min_ready_seconds: Some(MIN_READY),
            // The server wants it larger than minReadySeconds.
            progress_deadline_seconds: Some(deadline.max(MIN_READY + 1)),
            paused: None,
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(meta::labels(pod)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(pod, settings, decided)),
            },
        }),
        status: None,
    })
}

fn pod_spec(pod: &validate::ValidatedPod, settings: &Settings, decided: Decided) -> PodSpec {
    let Decided { level, pull: _ } = decided;
    PodSpec {
        containers: pod.containers.iter().map(|one| container(pod, one, decided)).collect(),
        volumes: listed(pod.volumes.iter().map(|one| volume(pod, one)).collect()),
        image_pull_secrets: pod
            .secret
            .as_ref()
            .filter(|_| pod.pull_secret)
            .map(|name| vec![LocalObjectReference { name: name.clone() }]),
        // Containers of a pod reach each other by name.
        host_aliases: Some(vec![HostAlias {
            ip: "127.0.0.1".to_owned(),
            hostnames: Some(pod.containers.iter().map(|container| container.name.clone()).collect()),
        }]),
        restart_policy: Some("Always".to_owned()),
        termination_grace_period_seconds: Some(GRACE),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        host_users: match level {
            Level::Baseline => Some(false),
            // Not every node may have user namespaces.
            Level::Restricted => None,
        },
        security_context: Some(PodSecurityContext {
            run_as_non_root: match level {
                Level::Baseline => None,
                Level::Restricted => Some(true),
            },
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            fs_group: pod.fs_group,
            ..PodSecurityContext::default()
        }),
        runtime_class_name: settings.runtime_class.clone(),
        node_selector: (!settings.node_selector.is_empty()).then(|| settings.node_selector.clone()),
        ..PodSpec::default()
    }
}

fn container(pod: &validate::ValidatedPod, container: &validate::Container, decided: Decided) -> Container {
    let Decided { level, pull } = decided;
    let amounts = BTreeMap::from([
        ("cpu".to_owned(), quantity::millis(container.resources.cpu_millis)),
        ("memory".to_owned(), quantity::plain(container.resources.memory)),
        (
            "ephemeral-storage".to_owned(),
            quantity::plain(container.resources.ephemeral_storage),
        ),
    ]);
    let env = |variable: &String| EnvVar {
        name: variable.clone(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: pod.secret.clone().unwrap_or_default(),
                key: secret::env_key(&container.name, variable),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    };
    let port = |port: &validate::Port| ContainerPort {
        name: Some(port.name.clone()),
        container_port: i32::from(port.target_port),
        protocol: Some(protocol(port.protocol).to_owned()),
        ..ContainerPort::default()
    };
    let mount = |mount: &validate::Mount| {
        let is_secret =
            |volume: &validate::Volume| volume.name == mount.volume && volume.kind == validate::VolumeKind::Secret;
        let secret = pod.volumes.iter().any(is_secret);
        VolumeMount {
            name: mount.volume.clone(),
            mount_path: mount.path.clone(),
            sub_path: secret.then(|| SECRET_FILE.to_owned()),
            // The server leaves `false` out.
            read_only: (secret || mount.read_only).then_some(true),
            ..VolumeMount::default()
        }
    };
    // Two ports may lead to one: the list is keyed by containerPort and protocol.
    let mut seen = BTreeSet::new();
    let capabilities: &[&str] = match level {
        Level::Baseline => &ROOTS_CAPABILITIES,
        Level::Restricted => &BIND,
    };
    Container {
        name: container.name.clone(),
        image: Some(container.image.clone()),
        image_pull_policy: Some(pull.as_str().to_owned()),
        command: listed(container.command.clone()),
        args: listed(container.args.clone()),
        working_dir: container.working_dir.clone(),
        env: listed(container.env.iter().map(env).collect()),
        ports: listed(
            container
                .ports
                .iter()
                .filter(|port| seen.insert((port.protocol, port.target_port)))
                .map(port)
                .collect(),
        ),
        volume_mounts: listed(container.mounts.iter().map(mount).collect()),
        resources: Some(ResourceRequirements {
            requests: Some(amounts.clone()),
            limits: Some(amounts),
            claims: None,
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: Some(capabilities.iter().map(|&name| name.to_owned()).collect()),
                drop: Some(vec!["ALL".to_owned()]),
            }),
            privileged: Some(false),
            run_as_user: container.user.map(|user| user.uid.into()),
            run_as_group: container.user.and_then(|user| user.gid).map(i64::from),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn volume(pod: &validate::ValidatedPod, volume: &validate::Volume) -> Volume {
    let mut built = Volume {
        name: volume.name.clone(),
        ..Volume::default()
    };
    match volume.kind {
        validate::VolumeKind::Filesystem { .. } => {
            built.persistent_volume_claim = Some(PersistentVolumeClaimVolumeSource {
                claim_name: volume.name.clone(),
                read_only: None,
            });
        }
        validate::VolumeKind::Empty { size } => {
            built.empty_dir = Some(EmptyDirVolumeSource {
                medium: None,
                size_limit: Some(quantity::plain(size)),
            });
        }
        validate::VolumeKind::Secret => {
            built.secret = Some(SecretVolumeSource {
                secret_name: pod.secret.clone(),
                items: Some(vec![KeyToPath {
                    key: secret::volume_key(&volume.name),
                    path: SECRET_FILE.to_owned(),
                    mode: None,
                }]),
                ..SecretVolumeSource::default()
            });
        }
    }
    built
}

/// The server leaves empty lists out.
fn listed<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

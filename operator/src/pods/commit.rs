//! The write by which a request becomes an ApocryphPod, and how its outcome is found out when the answer is lost.

use std::{collections::BTreeMap, time::Duration};

use apocryph_crd::{
    AccessMode, ApocryphPod, ApocryphPodSpec, Container, EnvVar, FINALIZER, Free, Payment, Port, Protocol, Resources,
    User, Volume, VolumeMount, VolumeType,
};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt, api::PostParams};

use super::{
    annotation,
    api::{Failed, ask, found, read},
    gateway::rejected,
    view,
};
use crate::{
    admission::admitted::AdmittedRequest,
    model::{
        key::PodName,
        manifest::{self, Access, Complete, VolumeKind},
        pod::{PodRecord, Terms},
        refusal::Refusal,
        services::Hold,
    },
};

/// A request that the API server got may be carried out this long after it was sent (its own `--request-timeout` is 60 s).
const LATE_WRITE: Duration = Duration::from_secs(75);
/// Between two reads.
const ASK_AGAIN: Duration = Duration::from_secs(5);

pub enum Commit {
    Made(PodRecord),
    Raced,
    Refused(Refusal),
    Unknown,
}

/// What tells our object from another one of the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    life: i64,
    tag: Option<String>,
    request_id: String,
}

pub fn identity(request: &AdmittedRequest) -> Identity {
    Identity {
        life: i64::try_from(request.life).unwrap_or(i64::MAX),
        tag: Some(request.tag.0.clone()),
        request_id: request.request_id.clone(),
    }
}

fn identity_of(object: &ApocryphPod) -> Identity {
    Identity {
        life: object.spec.life,
        tag: object.spec.tag.clone(),
        request_id: object
            .annotations()
            .get(annotation::REQUEST_ID)
            .cloned()
            .unwrap_or_default(),
    }
}

/// One write, and what is read after it when it was not answered.
pub struct Write<'a> {
    pub api: &'a Api<ApocryphPod>,
    pub object: &'a ApocryphPod,
    /// resourceVersion of the ended object that gives way.
    pub replaces: Option<&'a str>,
}

impl Write<'_> {
    /// `None`: not known.
    pub async fn once(&self) -> Option<Commit> {
        let answer = match self.replaces {
            None => self.create().await,
            Some(version) => self.replace(version).await,
        };
        match answer {
            Ok(Some(made)) => Some(self.made(&made)),
            Ok(None) => Some(Commit::Raced),
            // Perhaps by an earlier try of ours.
            Err(failed) if failed.is_conflict() => self.look(Some(Commit::Raced)).await,
            Err(failed) if failed.is_unknown() => self.look(None).await,
            Err(failed) => Some(Commit::Refused(rejected(&failed))),
        }
    }

    async fn create(&self) -> Result<Option<ApocryphPod>, Failed> {
        let name = self.object.name_any();
        ask(
            "create",
            "ApocryphPod",
            &name,
            self.api.create(&PostParams::default(), self.object),
        )
        .await
        .map(Some)
    }

    /// One update of exactly the version that was seen ended: life, TAG, payment and Secret in, `end` out. `Ok(None)`: it is
    /// another version by now.
    async fn replace(&self, version: &str) -> Result<Option<ApocryphPod>, Failed> {
        let name = self.object.name_any();
        let Some(mut there) = found(ask("get", "ApocryphPod", &name, self.api.get(&name)).await)? else {
            return Ok(None);
        };
        if identity_of(&there) == identity_of(self.object) {
            return Ok(Some(there));
        }
        if there.resource_version().as_deref() != Some(version) {
            return Ok(None);
        }
        // What the publisher has revoked outlives the life.
        let delegations_not_before = there.spec.delegations_not_before;
        there.spec = self.object.spec.clone();
        there.spec.delegations_not_before = delegations_not_before;
        let annotations = there.annotations_mut();
        for key in [annotation::BUILT, annotation::READY, annotation::END] {
            annotations.remove(key);
        }
        annotations.extend(self.object.annotations().clone());
        ask(
            "update",
            "ApocryphPod",
            &name,
            self.api.replace(&name, &PostParams::default(), &there),
        )
        .await
        .map(Some)
    }

    fn made(&self, made: &ApocryphPod) -> Commit {
        match view::record(made) {
            Some(record) => Commit::Made(record),
            // The name is derived from the key: cannot be, and would be no pod of ours.
            None => Commit::Raced,
        }
    }

    /// Reads: is it ours? `otherwise`: what it means that it is not there.
    async fn look(&self, otherwise: Option<Commit>) -> Option<Commit> {
        let name = self.object.name_any();
        match found(ask("get", "ApocryphPod", &name, self.api.get(&name)).await) {
            Ok(Some(there)) if identity_of(&there) == identity_of(self.object) => Some(self.made(&there)),
            // Unchanged: the update was not carried out (yet); it is tried again.
            Ok(Some(there)) if otherwise.is_none() && there.resource_version().as_deref() == self.replaces => None,
            Ok(Some(_)) => Some(Commit::Raced),
            Ok(None) => otherwise,
            Err(_) => None,
        }
    }
}

/// Reads on until it is known whether the object came to be, and holds its capacity until then.
pub async fn find_out(api: Api<ApocryphPod>, name: PodName, ours: Identity, hold: Hold) {
    let late = tokio::time::Instant::now() + LATE_WRITE;
    loop {
        match read(&api, &name).await {
            Ok(Some(there)) if identity_of(&there) == ours => {
                tracing::info!(pod = %name, "the pod was created after all");
                hold.commit();
                return;
            }
            // A write that was still on its way has arrived by then, or never does.
            Ok(_) if tokio::time::Instant::now() >= late => {
                tracing::info!(pod = %name, "the pod was not created");
                return;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(pod = %name, %error, "still not known"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// The object as it is first written.
pub fn object(request: &AdmittedRequest, secret_name: Option<String>, now: Timestamp) -> ApocryphPod {
    let AdmittedRequest {
        key,
        life,
        tag,
        terms,
        pod,
        replaces: _,
        request_id,
    } = request;
    let Complete {
        manifest,
        resources,
        empty_volume,
    } = pod;
    let containers = manifest
        .containers()
        .iter()
        .zip(resources)
        .map(|(container, resources)| Container {
            name: container.name.clone(),
            image: container.image.clone(),
            command: container.command.clone(),
            args: container.args.clone(),
            working_dir: container.working_dir.clone(),
            ports: container
                .ports
                .iter()
                .map(|port| Port {
                    name: port.name.clone(),
                    port: port.port.into(),
                    target_port: port.target_port.into(),
                    protocol: match port.protocol {
                        manifest::Protocol::Tcp => Protocol::Tcp,
                        manifest::Protocol::Udp => Protocol::Udp,
                    },
                })
                .collect(),
            env: container.env.keys().map(|name| EnvVar { name: name.clone() }).collect(),
            volume_mounts: container
                .mounts
                .iter()
                .map(|mount| VolumeMount {
                    name: mount.volume.clone(),
                    mount_path: mount.path.clone(),
                    read_only: mount.read_only,
                })
                .collect(),
            resources: Resources {
                cpu_millis: amount(resources.cpu_millis),
                memory: amount(resources.memory),
                ephemeral_storage: amount(resources.ephemeral_storage),
            },
            user: container.user.map(|user| User {
                uid: user.uid.into(),
                gid: user.gid.map(i64::from),
            }),
        });
    let Terms::Free { table } = terms;
    let mut object = ApocryphPod::new(
        key.name().as_str(),
        ApocryphPodSpec {
            publisher: key.publisher.to_string(),
            pod_id: key.pod_id.to_string(),
            life: amount(*life),
            tag: Some(tag.0.clone()),
            payment: Payment {
                free: Free {
                    table: Some(table.clone()),
                },
            },
            containers: containers.collect(),
            volumes: manifest
                .volumes()
                .iter()
                .map(|one| volume(one, *empty_volume))
                .collect(),
            replicas: i32::try_from(manifest.replicas()).unwrap_or(i32::MAX),
            fs_group: manifest.fs_group().map(i64::from),
            secret_name,
            pull_secret: manifest.containers().iter().any(|one| one.pull_secret.is_some()),
            end: None,
            delegations_not_before: None,
        },
    );
    object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    object.metadata.annotations = Some(BTreeMap::from([
        (annotation::STARTED.to_owned(), now.to_string()),
        (annotation::REQUEST_ID.to_owned(), request_id.clone()),
    ]));
    object
}

fn volume(volume: &manifest::Volume, empty_volume: u64) -> Volume {
    let (kind, access_mode, size) = match &volume.kind {
        VolumeKind::Empty { size } => (VolumeType::Empty, None, Some(size.unwrap_or(empty_volume))),
        VolumeKind::Filesystem { size, access } => {
            let mode = match access {
                Access::One => AccessMode::ReadWriteOnce,
                Access::Many => AccessMode::ReadWriteMany,
            };
            (VolumeType::Filesystem, Some(mode), Some(*size))
        }
        VolumeKind::Secret(_) => (VolumeType::Secret, None, None),
    };
    Volume {
        name: volume.name.clone(),
        kind,
        access_mode,
        size: size.map(amount),
    }
}

/// Amounts within the limits fit; what does not is refused by the schema's bounds.
fn amount(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

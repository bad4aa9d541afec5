//! What scripts read: one JSON object a line; its field `event` says which. Names are stable; new ones may be added.
//! README.md of this crate lists them.

use apocryph_proto::{
    descriptors,
    manifest::{Protocol, VolumeKind},
    v0::{
        provision_pod::{ContainerState, LogLines, PodDescription, PodEntry, container_state::State, terms},
        provisioning_capacity::CapacityResponse,
    },
};
use prost::Message;
use serde_json::{Value, json};

use crate::{
    attest::{Attested, Kind},
    dry_run::DryRun,
    error::{Ended, Error},
    follow::Event,
    key::address_text,
    manifest::{Checked, ManifestError},
    reply::{Address, Status, phase_name},
    time,
};

pub fn event(event: &Event) -> Value {
    match event {
        Event::Connecting { attempt } => json!({"event": "connecting", "attempt": attempt}),
        Event::Connected { address } => json!({"event": "connected", "address": address.to_string()}),
        Event::Attested(attested) => attestation(None, attested),
        Event::Sent { operation } => json!({"event": "sent", "operation": operation}),
        Event::Status(status) => self::status(status),
        // One object per line: see log_lines.
        Event::Lines(lines) => json!({"event": "lines", "count": lines.lines.len()}),
        Event::Retrying { reason, code, delay } => json!({
            "event": "retrying",
            "reason": reason,
            "code": code.as_ref().map(|c| &c.text),
            "delaySeconds": delay.as_secs_f64(),
        }),
    }
}

pub fn status(status: &Status) -> Value {
    let mut value = json!({
        "event": "status",
        "phase": phase_name(status.phase),
        "code": status.code.text,
        "message": status.message,
        "remedy": status.remedy,
        "name": status.name,
        "life": status.life,
        "generation": status.generation,
        "addresses": addresses(&status.addresses),
        "replicasReady": status.replicas_ready,
        "replicas": status.replicas,
        "at": status.at,
    });
    if status.ends_at != 0 {
        value["endsAt"] = status.ends_at.into();
    }
    if let Some(pod) = &status.admitted {
        value["admitted"] = message("pod.Pod", pod.as_ref());
    }
    value
}

/// What a dry run told.
pub fn dry_run(told: &DryRun) -> Value {
    let blockers: Value = told
        .blockers
        .iter()
        .map(|blocker| {
            json!({
                "code": blocker.code.text,
                "message": blocker.message,
                "remedy": blocker.remedy,
                "field": blocker.field,
                "resource": blocker.resource,
                "retryAfter": blocker.retry_after,
            })
        })
        .collect();
    let hex = |bytes: &[u8]| format!("0x{}", data_encoding::HEXLOWER.encode(bytes));
    let prices: Value = told
        .prices
        .iter()
        .map(|price| {
            json!({
                "table": price.table,
                "perHour": price.per_hour,
                "chainId": price.token.as_ref().map(|(chain_id, _)| chain_id),
                "token": price.token.as_ref().map(|(_, token)| hex(token)),
            })
        })
        .collect();
    json!({
        "event": "dryRun",
        "blockers": blockers,
        "name": told.name,
        "life": told.life,
        "attached": told.attached,
        "prices": prices,
        "admitted": told.admitted.as_ref().map(|pod| message("pod.Pod", pod.as_ref())),
        "objectsDigest": (!told.objects_digest.is_empty()).then(|| hex(&told.objects_digest)),
    })
}

pub fn addresses(list: &[Address]) -> Value {
    list.iter()
        .map(|a| json!({"container": a.container, "port": a.port, "multiaddr": a.multiaddr}))
        .collect()
}

/// `provider` where it is not known from elsewhere.
pub fn attestation(provider: Option<&str>, attested: &Attested) -> Value {
    let claims = &attested.claims;
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let evidence: Value = attested
        .evidence
        .iter()
        .map(|entry| match &entry.kind {
            Kind::None { reason } => json!({"subject": entry.subject, "kind": "none", "reason": reason}),
            Kind::Unverifiable { kind } => json!({"subject": entry.subject, "kind": "unverifiable", "reason": kind}),
        })
        .collect();
    let reasons = attested.accepted().err().map(|e| e.0).unwrap_or_default();
    let mut value = json!({
        "event": "attestation",
        "accepted": attested.accepted().is_ok(),
        "reasons": reasons,
        "evidence": evidence,
        "notProven": attested.not_proven,
        "claims": {
            "sealingKey": hex(&claims.sealing_key),
            "paymentAddress": claims.payment_address.as_ref().map(address_text),
            "imageId": claims.image_id,
            "policiesHash": hex(&claims.policies_hash),
            "secretsVisibleTo": claims.secrets_visible_to,
        },
    });
    if let Some(provider) = provider {
        value["provider"] = provider.into();
    }
    value
}

/// `capacity` is the message in protobuf-JSON, as the .proto file names its fields.
pub fn capacity(capacity: &CapacityResponse) -> Value {
    json!({
        "event": "capacity",
        "accepting": capacity.not_accepting.is_none(),
        "fits": capacity.fits,
        "blockingResource": capacity.blocking_resource,
        "capacity": message("provisioningCapacity.CapacityResponse", capacity),
    })
}

/// Protobuf-JSON; null for what is not in the schema, which no message of ours is.
fn message(name: &str, message: &impl Message) -> Value {
    descriptors::message(name)
        .and_then(|descriptor| descriptors::decode(descriptor, &message.encode_to_vec()).ok())
        .and_then(|dynamic| serde_json::to_value(dynamic).ok())
        .unwrap_or(Value::Null)
}

/// One object per line. Bytes that are no UTF-8 are replaced.
pub fn log_lines(lines: &LogLines) -> Vec<String> {
    lines
        .lines
        .iter()
        .map(|line| {
            json!({
                "event": "line",
                "replica": lines.replica,
                "container": lines.container_name,
                "at": (line.at > 0).then(|| time::nanoseconds(line.at)),
                "text": String::from_utf8_lossy(&line.text),
                "cut": line.cut,
            })
            .to_string()
        })
        .collect()
}

fn pod_id(bytes: &[u8]) -> String {
    format!("0x{}", data_encoding::HEXLOWER.encode(bytes))
}

pub fn listed(pod: &PodEntry) -> Value {
    json!({
        "event": "listed",
        "podId": pod_id(&pod.pod_id),
        "name": pod.name,
        "phase": phase_name(pod.phase()),
        "code": pod.code,
        "since": pod.since,
        "life": pod.life,
        "replicasReady": pod.replicas_ready,
        "replicas": pod.replicas,
    })
}

/// Times are Unix seconds; null: not yet, or not known.
pub fn description(told: &PodDescription) -> Value {
    let time = |unix: u64| (unix > 0).then_some(unix);
    let status = told.status.clone().map(|status| {
        let mut status = self::status(&status.into());
        if let Some(fields) = status.as_object_mut() {
            fields.remove("event");
        }
        status
    });
    let terms = told
        .terms
        .as_ref()
        .and_then(|terms| terms.payment.as_ref())
        .map(|payment| match payment {
            terms::Payment::Free(free) => json!({"free": {"table": free.table}}),
        });
    let container = |container: &ContainerState| {
        let state = match container.state() {
            State::Unspecified => "unknown",
            State::Waiting => "waiting",
            State::Running => "running",
            State::Exited => "exited",
        };
        json!({
            "name": container.name,
            "state": state,
            "since": time(container.since),
            "restarts": container.restarts,
            "lastExit": container.last_exit.as_ref().map(|exit| json!({
                "exitCode": exit.exit_code, "at": time(exit.at), "outOfMemory": exit.out_of_memory,
            })),
        })
    };
    json!({
        "event": "description",
        "podId": pod_id(&told.pod_id),
        "status": status,
        "since": time(told.since),
        "startedAt": time(told.started_at),
        "readySince": time(told.ready_since),
        "terms": terms,
        "end": told.end.as_ref().map(|end| json!({"code": end.code, "at": end.at, "by": end.by})),
        "conditions": told.conditions.iter().map(|c| json!({
            "type": c.r#type, "holds": c.holds, "code": c.code, "message": c.message, "since": c.since,
        })).collect::<Vec<_>>(),
        "replicas": told.replicas.iter().map(|replica| json!({
            "name": replica.name,
            "ready": replica.ready,
            "code": replica.code,
            "message": replica.message,
            "remedy": replica.remedy,
            "startedAt": time(replica.started_at),
            "containers": replica.containers.iter().map(container).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "reasons": told.reasons.iter().map(|reason| json!({
            "code": reason.code, "message": reason.message, "at": reason.at, "count": reason.count,
        })).collect::<Vec<_>>(),
    })
}

/// Names of environment variables, never their values.
pub fn checked(checked: &Checked) -> Value {
    let containers: Value = checked
        .manifest
        .containers()
        .iter()
        .map(|container| {
            let ports: Value = container
                .ports
                .iter()
                .map(|p| {
                    let protocol = if p.protocol == Protocol::Udp { "UDP" } else { "TCP" };
                    json!({"name": p.name, "port": p.port, "targetPort": p.target_port, "protocol": protocol})
                })
                .collect();
            let mounts: Value = container
                .mounts
                .iter()
                .map(|m| json!({"volume": m.volume, "mountPath": m.path, "readOnly": m.read_only}))
                .collect();
            json!({
                "name": container.name,
                "image": container.image,
                "ports": ports,
                "env": container.env.keys().collect::<Vec<_>>(),
                "mounts": mounts,
                "user": container.user.map(|user| json!({"uid": user.uid, "gid": user.gid})),
                "pullUsername": container.pull_secret.as_ref().map(|secret| &secret.username),
                "cpuMillis": container.requests.cpu_millis,
                "memoryBytes": container.requests.memory,
                "ephemeralStorageBytes": container.requests.ephemeral_storage,
            })
        })
        .collect();
    let volumes: Value = checked
        .manifest
        .volumes()
        .iter()
        .map(|v| {
            let (kind, bytes) = match &v.kind {
                VolumeKind::Filesystem { size, .. } => ("filesystem", Some(*size)),
                VolumeKind::Empty { size } => ("empty", *size),
                VolumeKind::Secret(_) => ("secret", None),
            };
            json!({"name": v.name, "type": kind, "bytes": bytes})
        })
        .collect();
    json!({
        "event": "checked",
        "valid": true,
        "containers": containers,
        "volumes": volumes,
        "replicas": checked.manifest.replicas(),
        "defaults": checked.defaults,
        "notes": checked.notes,
    })
}

pub fn ended(ended: &Ended) -> Value {
    json!({"life": ended.life, "code": ended.code.text, "message": ended.message, "at": ended.at})
}

pub fn error(error: &Error) -> Value {
    let mut value = json!({
        "event": "error",
        "code": error.code(),
        "message": error.to_string(),
        "remedy": error.remedy(),
        "exitCode": error.exit().status(),
    });
    if let Some(refusal) = error.refusal() {
        value["field"] = refusal.field.as_str().into();
        value["resource"] = refusal.resource.as_str().into();
        value["retryAfter"] = refusal.retry_after.into();
    }
    match error {
        Error::Manifest(invalid) => value["field"] = ManifestError::field(invalid).into(),
        Error::Ended(end) => value["ended"] = ended(end),
        _ => {}
    }
    value
}

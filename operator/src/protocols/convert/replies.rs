//! Out: refusals, status, capacity and attestation as messages.

use apocryph_proto::{
    manifest::Kind,
    outcome::Code,
    v0::{attest as attest_wire, pod as pod_wire, provision_pod as wire, provisioning_capacity as capacity_wire},
};

use super::unix_seconds;
use crate::{
    admission::dry_run::DryRun,
    model::{
        key::Publisher,
        manifest::{Complete, Requests, Resources},
        pod::PodRecord,
        refusal::Refusal,
        services::{Attestation, CapacityReport, Evidence, NodeShape, Tables},
        status::{Phase, PodStatus},
    },
    pricing::{
        Decimal,
        quote::Price,
        table::{Channel, FreeFor, Payment, Table},
    },
    protocols::session::{Outcome, Replies},
};

/// Replies of provision-pod and manage-pod.
pub struct PodReplies;
/// Replies of provisioning-capacity.
pub struct CapacityReplies;
/// Replies of attest.
pub struct AttestReplies;

impl Replies for PodReplies {
    type Message = wire::PodReply;

    fn refusal(refusal: &Refusal) -> wire::PodReply {
        wire::PodReply {
            r#final: true,
            message: Some(wire::pod_reply::Message::Refusal(refusal_message(refusal))),
        }
    }
}

impl Replies for CapacityReplies {
    type Message = capacity_wire::CapacityReply;

    fn refusal(refusal: &Refusal) -> capacity_wire::CapacityReply {
        use capacity_wire::capacity_reply::Message;
        capacity_wire::CapacityReply {
            message: Some(Message::Refusal(refusal_message(refusal))),
        }
    }
}

impl Replies for AttestReplies {
    type Message = attest_wire::AttestReply;

    fn refusal(refusal: &Refusal) -> attest_wire::AttestReply {
        use attest_wire::attest_reply::Message;
        attest_wire::AttestReply {
            message: Some(Message::Refusal(refusal_message(refusal))),
        }
    }
}

fn refusal_message(refusal: &Refusal) -> wire::Refusal {
    let Refusal {
        code,
        message,
        remedy,
        field,
        resource,
        retry_after,
        ended,
    } = refusal;
    wire::Refusal {
        code: code.as_str().to_owned(),
        message: message.clone(),
        remedy: remedy.clone(),
        field: field.clone().unwrap_or_default(),
        resource: resource.unwrap_or_default().to_owned(),
        retry_after: retry_after.unwrap_or_default(),
        ended_life: ended.as_ref().map_or(0, |ended| ended.life),
        ended_code: ended
            .as_ref()
            .map_or_else(String::new, |ended| ended.code.as_str().to_owned()),
        ended_at: ended.as_ref().map_or(0, |ended| unix_seconds(ended.at)),
    }
}

/// `accepted`, and whether it is final. `pod`: what was admitted, for the request that made it.
pub fn accepted(record: &PodRecord, pod: Option<&Complete>, last: bool, at: u64) -> wire::PodReply {
    let status = wire::PodStatus {
        phase: wire::pod_status::Phase::Accepted.into(),
        code: Code::Accepted.as_str().to_owned(),
        message: format!(
            "life {} of the pod is recorded; it survives everything but its end",
            record.life
        ),
        name: record.name.to_string(),
        life: record.life,
        generation: generation(record.generation),
        replicas: pod.map_or(0, |pod| pod.manifest.replicas()),
        admitted: pod.map(admitted),
        at,
        ..Default::default()
    };
    wire::PodReply {
        r#final: last,
        message: Some(wire::pod_reply::Message::Status(status)),
    }
}

/// What a dry run came to; final.
pub fn dry_run(told: &DryRun) -> wire::PodReply {
    let DryRun {
        name,
        life,
        attached,
        blockers,
        prices,
        pod,
        digest,
    } = told;
    let prices = prices.iter().map(|Price { table, per_hour, token }| wire::Price {
        table: table.clone(),
        per_hour: per_hour.clone(),
        chain_id: token.map_or(0, |(chain_id, _)| chain_id),
        token: token.map_or_else(Vec::new, |(_, token)| token.to_vec()),
    });
    let message = wire::DryRun {
        blockers: blockers.iter().map(refusal_message).collect(),
        name: name.to_string(),
        life: *life,
        attached: *attached,
        prices: prices.collect(),
        admitted: Some(admitted(pod)),
        objects_digest: digest.map_or_else(Vec::new, |digest| digest.to_vec()),
    };
    wire::PodReply {
        r#final: true,
        message: Some(wire::pod_reply::Message::DryRun(message)),
    }
}

/// What is revoked from now on; final.
pub fn revoked(not_before: u64) -> wire::PodReply {
    wire::PodReply {
        r#final: true,
        message: Some(wire::pod_reply::Message::Revoked(wire::Revoked { not_before })),
    }
}

/// Defaults filled in, secrets left out.
fn admitted(pod: &Complete) -> pod_wire::Pod {
    let requests: Vec<Requests> = pod
        .resources
        .iter()
        .map(|given| Requests {
            cpu_millis: Some(given.cpu_millis),
            memory: Some(given.memory),
            ephemeral_storage: Some(given.ephemeral_storage),
        })
        .collect();
    pod.manifest.to_pod(&requests, Some(pod.empty_volume))
}

fn generation(generation: i64) -> u64 {
    // The API server counts from 1.
    u64::try_from(generation).unwrap_or_default()
}

/// One message of a status stream; the end of the life is final.
pub fn status(status: &PodStatus, at: u64) -> wire::PodReply {
    wire::PodReply {
        r#final: status.phase == Phase::Ended,
        message: Some(wire::pod_reply::Message::Status(status_message(status, at))),
    }
}

pub(super) fn phase(phase: Phase) -> wire::pod_status::Phase {
    use wire::pod_status::Phase as Wire;
    match phase {
        Phase::Accepted => Wire::Accepted,
        Phase::Scheduled => Wire::Scheduled,
        Phase::Pulling => Wire::Pulling,
        Phase::Starting => Wire::Starting,
        Phase::Running => Wire::Running,
        Phase::Degraded => Wire::Degraded,
        Phase::Ending => Wire::Ending,
        Phase::Ended => Wire::Ended,
    }
}

pub(super) fn status_message(status: &PodStatus, at: u64) -> wire::PodStatus {
    wire::PodStatus {
        phase: phase(status.phase).into(),
        code: status.code.as_str().to_owned(),
        message: status.message.clone(),
        remedy: status.remedy.clone(),
        name: status.name.to_string(),
        life: status.life,
        generation: generation(status.generation),
        addresses: status
            .addresses
            .iter()
            .map(|address| wire::Address {
                container_name: address.container.clone(),
                port_name: address.port.clone(),
                multiaddr: address.multiaddr.clone(),
            })
            .collect(),
        replicas_ready: status.replicas_ready,
        replicas: status.replicas,
        admitted: None,
        at,
        ends_at: status.ends_at.map_or(0, unix_seconds),
    }
}

/// What the session is counted as when `status` ends it.
pub fn outcome(status: &PodStatus) -> Outcome {
    status.code.into()
}

fn amount(kind: Kind, amount: u64) -> pod_wire::Resource {
    use pod_wire::resource::Quantity::{Amount, AmountMillis};
    let quantity = if kind == Kind::Cpu {
        AmountMillis(amount)
    } else {
        Amount(amount)
    };
    pod_wire::Resource {
        resource: kind.as_str().to_owned(),
        quantity: Some(quantity),
    }
}

fn resources(free: &Resources) -> Vec<pod_wire::Resource> {
    vec![
        amount(Kind::Cpu, free.cpu_millis),
        amount(Kind::Memory, free.memory),
        amount(Kind::EphemeralStorage, free.ephemeral_storage),
    ]
}

/// Everything that a capacity reply says beside the report.
pub struct Terms<'a> {
    pub tables: Vec<capacity_wire::PriceTable>,
    pub payment_address: Option<Publisher>,
    /// Would it be admitted, and what blocks.
    pub fits: Result<(), &'a Refusal>,
    pub accepting: Result<(), &'a Refusal>,
}

pub fn capacity(report: &CapacityReport, terms: Terms<'_>) -> capacity_wire::CapacityResponse {
    let CapacityReport {
        free,
        storage,
        shapes,
        images_may_run_as_root,
        // For the admin alone.
        sold: _,
        sold_storage: _,
    } = report;
    let mut available_resources = resources(free);
    available_resources.extend(storage.map(|bytes| amount(Kind::Storage, bytes)));
    let paid = terms
        .tables
        .iter()
        .any(|table| matches!(table.payment, Some(capacity_wire::price_table::Payment::Channel(_))));
    capacity_wire::CapacityResponse {
        available_resources,
        provider_address: terms
            .payment_address
            .filter(|_| paid)
            .map(|address| address.0.to_vec())
            .unwrap_or_default(),
        tables: terms.tables,
        fits: terms.fits.is_ok() && terms.accepting.is_ok(),
        blocking_resource: terms
            .fits
            .err()
            .and_then(|refusal| refusal.resource)
            .unwrap_or_default()
            .to_owned(),
        nodes: shapes
            .iter()
            .map(|NodeShape { count, free }| capacity_wire::NodeShape {
                count: *count,
                free: resources(free),
                ..Default::default()
            })
            .collect(),
        images_may_run_as_root: *images_may_run_as_root,
        not_accepting: terms.accepting.err().map(|refusal| capacity_wire::NotAccepting {
            code: refusal.code.as_str().to_owned(),
            message: refusal.message.clone(),
        }),
        shared_addresses: Vec::new(),
    }
}

/// Every table in force; of an allow-list, its length alone.
pub fn price_tables(tables: &Tables) -> Vec<capacity_wire::PriceTable> {
    use capacity_wire::price_table::Payment as Wire;
    let decimal = |price: &Option<Decimal>| price.as_ref().map_or_else(String::new, Decimal::to_string);
    tables
        .iter()
        .map(
            |Table {
                 name,
                 payment,
                 per_hour,
                 minimum,
             }| capacity_wire::PriceTable {
                name: name.clone(),
                payment: Some(match payment {
                    Payment::Free(FreeFor::Everyone) => Wire::Free(capacity_wire::Free {
                        everyone: true,
                        listed: 0,
                    }),
                    Payment::Free(FreeFor::Publishers(publishers)) => Wire::Free(capacity_wire::Free {
                        everyone: false,
                        listed: u32::try_from(publishers.len()).unwrap_or(u32::MAX),
                    }),
                    Payment::Channel(Channel {
                        chain_id,
                        contract,
                        token,
                        decimals,
                    }) => Wire::Channel(capacity_wire::Channel {
                        chain_id: *chain_id,
                        contract: contract.to_vec(),
                        token: token.to_vec(),
                        decimals: (*decimals).into(),
                    }),
                }),
                per_hour: Some(capacity_wire::PerHour {
                    cpu: decimal(&per_hour.cpu),
                    memory_gib: decimal(&per_hour.memory_gib),
                    storage_gib: decimal(&per_hour.storage_gib),
                    ephemeral_storage_gib: decimal(&per_hour.ephemeral_storage_gib),
                    external_ip: decimal(&per_hour.external_ip),
                    gpu: per_hour
                        .gpu
                        .iter()
                        .map(|(model, price)| (model.clone(), price.to_string()))
                        .collect(),
                }),
                minimum: Some(capacity_wire::Minimum {
                    runway_hours: minimum.runway_hours.unwrap_or_default(),
                    settlement: decimal(&minimum.settlement),
                }),
            },
        )
        .collect()
}

pub fn capacity_reply(response: capacity_wire::CapacityResponse) -> capacity_wire::CapacityReply {
    capacity_wire::CapacityReply {
        message: Some(capacity_wire::capacity_reply::Message::Capacity(response)),
    }
}

pub fn attestation(
    attestation: Attestation,
    capacity: Option<capacity_wire::CapacityResponse>,
) -> attest_wire::AttestReply {
    let Attestation {
        claims,
        leaf_index,
        tree_size,
        path,
        root: _,
        leaf,
        evidence,
        not_proven,
    } = attestation;
    let response = attest_wire::AttestResponse {
        claims: claims.encoded,
        leaf: leaf.to_vec(),
        leaf_index,
        tree_size,
        path: path.iter().map(|hash| hash.to_vec()).collect(),
        evidence: evidence
            .into_iter()
            .map(
                |Evidence {
                     subject,
                     none_because,
                     report_data,
                 }| attest_wire::Evidence {
                    subject,
                    kind: attest_wire::evidence::Kind::None.into(),
                    reason: none_because,
                    report_data: report_data.to_vec(),
                    report: Vec::new(),
                    certificates: Vec::new(),
                },
            )
            .collect(),
        not_proven,
        capacity,
    };
    attest_wire::AttestReply {
        message: Some(attest_wire::attest_reply::Message::Attestation(response)),
    }
}

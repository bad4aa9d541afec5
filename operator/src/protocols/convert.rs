//! Between wire and model, both ways: only here.
//!
//! In: bytes as they came, through `served::decode` (unknown and unserved fields by their code), to types that hold. Out:
//! refusals, status, capacity and attestation as messages. Times are Unix seconds.

use std::time::{SystemTime, UNIX_EPOCH};

use apocryph_proto::{
    limits,
    manifest::{Invalid, Kind, Quantity},
    outcome::Code,
    served,
    v0::{
        attest as attest_wire, manage_pod as manage_wire, pod as pod_wire, provision_pod as wire,
        provisioning_capacity as capacity_wire, signing as signing_wire,
    },
};
use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, skip_field},
};
use zeroize::Zeroizing;

use super::session::{Outcome, Replies};
use crate::{
    admission::{
        Request,
        credential::{Envelope, Operation},
    },
    model::{
        key::{PodId, PodKey, Publisher},
        manifest::{Complete, Defaults, Demand, Manifest, Requests, Resources},
        pod::{Offer, PodRecord},
        refusal::Refusal,
        services::{Attestation, CapacityReport, Evidence, NodeShape, Tables},
        status::{Phase, PodStatus},
    },
    pricing::{
        Decimal,
        table::{Channel, FreeFor, Payment, Table},
    },
};

/// A message as it came: `served::decode` reads the bytes themselves, since decoding drops what it does not know.
#[derive(Clone, Debug, Default)]
pub struct Raw(pub Bytes);

impl Message for Raw {
    fn decode(mut from: impl Buf) -> Result<Raw, DecodeError> {
        let len = from.remaining();
        Ok(Raw(from.copy_to_bytes(len)))
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, from, context)
    }

    fn encode_raw(&self, to: &mut impl BufMut) {
        to.put_slice(&self.0);
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// Seconds since 1970; a clock before that counts as 0.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// By this machine's clock.
pub fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

// ---- in

fn refused(refused: served::Refused) -> Refusal {
    let refusal = Refusal::new(refused.code, refused.message).remedy(refused.remedy);
    if refused.field.is_empty() {
        refusal
    } else {
        refusal.field(refused.field)
    }
}

/// Decodes a request; every field that is set is served.
pub fn request<M: served::Request>(bytes: &[u8]) -> Result<M, Refusal> {
    served::decode(bytes).map_err(refused)
}

fn fixed<const LEN: usize>(bytes: &[u8], field: &str) -> Result<[u8; LEN], Refusal> {
    <[u8; LEN]>::try_from(bytes).map_err(|_| {
        Refusal::new(
            Code::InvalidRequest,
            format!("{} bytes; exactly {LEN} are needed", bytes.len()),
        )
        .field(field)
    })
}

/// The envelope, and the request bytes in it.
pub fn envelope(bytes: &[u8]) -> Result<(Envelope, Vec<u8>), Refusal> {
    let message: signing_wire::Envelope = request(bytes)?;
    let operation = Operation::parse(&message.operation).ok_or_else(|| {
        Refusal::new(Code::WrongOperation, "no such operation")
            .field("operation")
            .remedy(format!(
                "operations are {}",
                Operation::ALL.map(Operation::as_str).join(", ")
            ))
    })?;
    let envelope = Envelope {
        operation,
        pod_id: PodId(fixed(&message.pod_id, "podId")?),
        request_hash: fixed(&message.request_hash, "requestHash")?,
        provider: message.provider,
        requester: message.requester,
        publisher: Publisher(fixed(&message.publisher, "publisher")?),
        chain_id: message.chain_id,
        issued_at: message.issued_at,
        expires_at: message.expires_at,
        after_generation: message.after_generation,
        signature: message.signature,
    };
    Ok((envelope, message.request))
}

/// Whose pod the payment is for, what it offers, and on which chain.
pub fn payment(message: Option<&wire::PaymentChannel>) -> Result<(PodKey, Offer, u64), Refusal> {
    let Some(message) = message else {
        return Err(Refusal::new(Code::InvalidRequest, "no payment is given")
            .field("payment")
            .remedy("for a free pod give publisherAddress and podID"));
    };
    let wire::PaymentChannel {
        chain_id,
        contract_address,
        publisher_address,
        provider_address,
        pod_id,
    } = message;
    for (bytes, field) in [
        (chain_id, "payment.chainID"),
        (contract_address, "payment.contractAddress"),
        (provider_address, "payment.providerAddress"),
    ] {
        if !bytes.is_empty() {
            return Err(Refusal::new(
                Code::PaymentNotOffered,
                "payment channels are not taken here, free pods are",
            )
            .field(field)
            .remedy("leave it empty"));
        }
    }
    let key = PodKey {
        publisher: Publisher(fixed(publisher_address, "payment.publisherAddress")?),
        pod_id: PodId(fixed(pod_id, "payment.podID")?),
    };
    if key.pod_id.0 == [0; 32] {
        return Err(Refusal::new(Code::InvalidRequest, "all zero is no pod's id")
            .field("payment.podID")
            .remedy("choose 32 random bytes"));
    }
    if key.publisher.0 == [0; 20] {
        return Err(
            Refusal::new(Code::InvalidRequest, "all zero is nobody's address").field("payment.publisherAddress")
        );
    }
    Ok((key, Offer::Free, 0))
}

fn invalid(invalid: Invalid, root: &str) -> Refusal {
    let field = match (root, invalid.field.as_str()) {
        (root, "") => root.to_owned(),
        ("", field) => field.to_owned(),
        (root, field) => format!("{root}.{field}"),
    };
    Refusal::new(invalid.code, invalid.message).field(field)
}

/// What admission decides about. `message` decoded, `key` and `offer` from its [`payment`].
pub fn provision(
    message: wire::ProvisionPodRequest,
    key: PodKey,
    offer: Offer,
    request_id: &str,
) -> Result<Request, Refusal> {
    let Some(pod) = message.pod else {
        return Err(Refusal::new(Code::InvalidRequest, "no pod is given").field("pod"));
    };
    let manifest = Manifest::parse(&pod).map_err(|fault| invalid(fault, "pod"))?;
    // Maps are sorted in the generated types, so equal pods encode alike.
    let encoded = Zeroizing::new(pod.encode_to_vec());
    Ok(Request {
        key,
        offer,
        manifest,
        encoded,
        after_life: message.after_life,
        request_id: request_id.to_owned(),
    })
}

/// A manage-pod request that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manage {
    Watch,
    /// `None`: whichever life is running.
    Delete {
        life: Option<u64>,
    },
}

impl Manage {
    pub fn operation(self) -> Operation {
        match self {
            Manage::Watch => Operation::Watch,
            Manage::Delete { .. } => Operation::Delete,
        }
    }
}

pub fn manage(bytes: &[u8]) -> Result<Manage, Refusal> {
    use manage_wire::manage_pod_request::Operation::{Delete, Describe, List, Logs, Update, Watch};
    let message: manage_wire::ManagePodRequest = request(bytes)?;
    match message.operation {
        Some(Watch(_)) => Ok(Manage::Watch),
        Some(Delete(manage_wire::Delete { life: 0 })) => Ok(Manage::Delete { life: None }),
        Some(Delete(manage_wire::Delete { life })) if limits::LIFE.contains(&life) => {
            Ok(Manage::Delete { life: Some(life) })
        }
        Some(Delete(_)) => Err(Refusal::new(
            Code::InvalidRequest,
            format!("lives are counted up to {}", limits::LIFE.end()),
        )
        .field("delete.life")),
        Some(List(_) | Describe(_) | Update(_) | Logs(_)) => Err(Refusal::new(
            Code::Unimplemented,
            "this operation is not served by this version",
        )),
        None => Err(Refusal::new(Code::InvalidRequest, "no operation is given").remedy("set watch or delete")),
    }
}

/// What one pod would be given that asks for these resources; the provider's defaults where none is named.
pub fn demand(resources: &[pod_wire::Resource], defaults: &Defaults) -> Result<Demand, Refusal> {
    let mut asked: [(Kind, Option<u64>); 4] = [
        (Kind::Cpu, None),
        (Kind::Memory, None),
        (Kind::EphemeralStorage, None),
        (Kind::Storage, None),
    ];
    for (index, resource) in resources.iter().enumerate() {
        let field = format!("resources[{index}]");
        let quantity = Quantity::parse(resource, &field).map_err(|fault| {
            let refusal = invalid(fault, "");
            // There is no manifest here.
            let code = if refusal.code == Code::InvalidManifest {
                Code::InvalidRequest
            } else {
                refusal.code
            };
            Refusal { code, ..refusal }
        })?;
        let Some((_, amount)) = asked.iter_mut().find(|(kind, _)| *kind == quantity.kind) else {
            continue;
        };
        if amount.replace(quantity.amount).is_some() {
            return Err(Refusal::new(
                Code::InvalidRequest,
                format!("{} is named twice", quantity.kind.as_str()),
            )
            .field(format!("{field}.resource"))
            .remedy("name each resource once"));
        }
    }
    let [(_, cpu), (_, memory), (_, ephemeral), (_, storage)] = asked;
    Ok(Demand {
        replicas: 1,
        per_replica: Resources {
            cpu_millis: cpu.unwrap_or(defaults.requests.cpu_millis),
            memory: memory.unwrap_or(defaults.requests.memory),
            ephemeral_storage: ephemeral.unwrap_or(defaults.requests.ephemeral_storage),
        },
        storage: storage.unwrap_or(0),
    })
}

/// The nonce of an attest request.
pub fn nonce(message: &attest_wire::AttestRequest) -> Result<&[u8], Refusal> {
    if limits::NONCE.contains(&message.nonce.len()) {
        return Ok(&message.nonce);
    }
    Err(Refusal::new(
        Code::InvalidNonce,
        format!(
            "the nonce has {} bytes; {} to {} are taken",
            message.nonce.len(),
            limits::NONCE.start(),
            limits::NONCE.end()
        ),
    )
    .field("nonce")
    .remedy("send fresh random bytes, for example 32"))
}

// ---- out

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

/// Defaults filled in, environment values left out.
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
    pod.manifest.to_pod(&requests)
}

fn generation(generation: i64) -> u64 {
    // The API server counts from 1.
    u64::try_from(generation).unwrap_or_default()
}

/// One message of a status stream; the end of the life is final.
pub fn status(status: &PodStatus, at: u64) -> wire::PodReply {
    use wire::pod_status::Phase as Wire;
    let phase = match status.phase {
        Phase::Accepted => Wire::Accepted,
        Phase::Scheduled => Wire::Scheduled,
        Phase::Pulling => Wire::Pulling,
        Phase::Starting => Wire::Starting,
        Phase::Running => Wire::Running,
        Phase::Degraded => Wire::Degraded,
        Phase::Ending => Wire::Ending,
        Phase::Ended => Wire::Ended,
    };
    let message = wire::PodStatus {
        phase: phase.into(),
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
    };
    wire::PodReply {
        r#final: status.phase == Phase::Ended,
        message: Some(wire::pod_reply::Message::Status(message)),
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

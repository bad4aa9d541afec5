//! In: bytes as they came, through `served::decode` (unknown and unserved fields by their code), to types that hold.

use apocryph_proto::{
    limits,
    manifest::{Invalid, Kind, Quantity},
    outcome::Code,
    served,
    v0::{
        attest as attest_wire, manage_pod as manage_wire, pod as pod_wire, provision_pod as wire,
        signing as signing_wire,
    },
};
use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, skip_field},
};
use zeroize::Zeroizing;

use crate::{
    admission::{
        Request,
        credential::{Envelope, Operation, Proof},
        delegation::Delegation,
    },
    model::{
        key::{PodId, PodKey, Publisher},
        logs::LogsWanted,
        manifest::{Defaults, Demand, Manifest, Resources},
        pod::Offer,
        refusal::Refusal,
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

fn refused(refused: served::Refused) -> Refusal {
    let mut refusal = Refusal::new(refused.code, refused.message);
    if !refused.remedy.is_empty() {
        refusal = refusal.remedy(refused.remedy);
    }
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
        proof: proof(message.signature, message.delegation)?,
    };
    Ok((envelope, message.request))
}

fn proof(signature: Vec<u8>, delegation: Option<signing_wire::Delegation>) -> Result<Proof, Refusal> {
    let Some(message) = delegation else {
        return Ok(Proof::Signature(signature));
    };
    if !signature.is_empty() {
        return Err(Refusal::new(
            Code::InvalidRequest,
            "an envelope has a signature or a delegation, not both",
        )
        .field("signature")
        .remedy("leave the signature out, or the delegation"));
    }
    Ok(Proof::Delegation(Delegation {
        publisher: Publisher(fixed(&message.publisher, "delegation.publisher")?),
        delegate: message.delegate,
        operations: message.operations,
        pod_id: PodId(fixed(&message.pod_id, "delegation.podId")?),
        any_pod: message.any_pod,
        expires_at: message.expires_at,
        chain_id: message.chain_id,
        signature: message.signature,
    }))
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
        delegated_until: None,
        request_id: request_id.to_owned(),
    })
}

/// A manage-pod request that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manage {
    Watch,
    List,
    Describe,
    Logs(LogsWanted),
    /// `None`: whichever life is running.
    Delete {
        life: Option<u64>,
    },
    /// Unix seconds.
    Revoke {
        not_before: u64,
    },
}

impl Manage {
    pub fn operation(&self) -> Operation {
        match self {
            Manage::Watch => Operation::Watch,
            Manage::List => Operation::List,
            Manage::Describe => Operation::Describe,
            Manage::Logs(_) => Operation::Logs,
            Manage::Delete { .. } => Operation::Delete,
            Manage::Revoke { .. } => Operation::Revoke,
        }
    }
}

/// `now`: Unix seconds.
pub fn manage(bytes: &[u8], now: u64) -> Result<Manage, Refusal> {
    use manage_wire::manage_pod_request::Operation::{Delete, Describe, List, Logs, Revoke, Update, Watch};
    let message: manage_wire::ManagePodRequest = request(bytes)?;
    match message.operation {
        Some(Watch(_)) => Ok(Manage::Watch),
        Some(List(_)) => Ok(Manage::List),
        Some(Describe(_)) => Ok(Manage::Describe),
        Some(Logs(wanted)) => logs(wanted, now).map(Manage::Logs),
        Some(Delete(manage_wire::Delete { life: 0 })) => Ok(Manage::Delete { life: None }),
        Some(Delete(manage_wire::Delete { life })) if limits::LIFE.contains(&life) => {
            Ok(Manage::Delete { life: Some(life) })
        }
        Some(Delete(_)) => Err(Refusal::new(
            Code::InvalidRequest,
            format!("lives are counted up to {}", limits::LIFE.end()),
        )
        .field("delete.life")),
        Some(Revoke(manage_wire::Revoke { not_before })) => revoke(not_before, now),
        Some(Update(_)) => Err(Refusal::new(
            Code::Unimplemented,
            "this operation is not served by this version",
        )),
        None => Err(Refusal::new(Code::InvalidRequest, "no operation is given")
            .remedy("set watch, list, describe, logs or delete")),
    }
}

fn logs(message: manage_wire::Logs, now: u64) -> Result<LogsWanted, Refusal> {
    let manage_wire::Logs {
        container_name,
        follow,
        tail_lines,
        since,
        previous,
    } = message;
    if follow && previous {
        return Err(
            Refusal::new(Code::InvalidRequest, "a run that is over writes nothing more")
                .field("logs.previous")
                .remedy("leave out follow, or previous"),
        );
    }
    if since > now.saturating_add(limits::CLOCK_SKEW) {
        return Err(Refusal::new(
            Code::InvalidRequest,
            format!("it lies {} s ahead of this provider's clock ({now})", since - now),
        )
        .field("logs.since")
        .remedy("give Unix seconds in the past"));
    }
    Ok(LogsWanted {
        container: (!container_name.is_empty()).then_some(container_name),
        follow,
        tail: (tail_lines > 0).then_some(tail_lines),
        since: (since > 0).then_some(since),
        previous,
    })
}

/// Further ahead no delegation that is taken expires.
/// `now`: Unix seconds.
fn revoke(not_before: u64, now: u64) -> Result<Manage, Refusal> {
    let most = now.saturating_add(limits::DELEGATION_VALIDITY_MAX + 2 * limits::CLOCK_SKEW);
    if (*limits::UNIX_TIME.start()..=most).contains(&not_before) {
        return Ok(Manage::Revoke { not_before });
    }
    Err(Refusal::new(
        Code::InvalidRequest,
        format!("{not_before} is not a time from 1 to {most} (Unix seconds)"),
    )
    .field("revoke.notBefore")
    .remedy("give the expiresAt of the last delegation that is to be void"))
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
        shared: false,
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

//! Who asks: an envelope against what is served. Pure: no service, no clock of its own.
//!
//! The order is fixed, cheapest first, and each fault has its code, so that a test can break one thing at a time:
//! operation, pod, provider, requester, body, expiry, start, length of validity, chain, generation; then the signature, or what
//! stands in its place ([`delegation`]).

use apocryph_proto::{limits, outcome::Code, signing};

use super::delegation::{self, Delegation};
use crate::model::{
    key::{PodId, PodKey, Publisher},
    refusal::Refusal,
};

/// What may be asked of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Provision,
    Watch,
    List,
    Describe,
    Update,
    Logs,
    Delete,
    Revoke,
}

impl Operation {
    pub const ALL: [Operation; 8] = [
        Operation::Provision,
        Operation::Watch,
        Operation::List,
        Operation::Describe,
        Operation::Update,
        Operation::Logs,
        Operation::Delete,
        Operation::Revoke,
    ];

    /// From the envelope's text.
    pub fn parse(text: &str) -> Option<Operation> {
        Operation::ALL.into_iter().find(|operation| operation.as_str() == text)
    }

    /// As it stands in the envelope and is signed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Operation::Provision => "provision",
            Operation::Watch => "watch",
            Operation::List => "list",
            Operation::Describe => "describe",
            Operation::Update => "update",
            Operation::Logs => "logs",
            Operation::Delete => "delete",
            Operation::Revoke => "revoke",
        }
    }
}

/// An envelope whose fields have their lengths; nothing in it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub operation: Operation,
    pub pod_id: PodId,
    pub request_hash: [u8; 32],
    /// Peer ids as base58btc text.
    pub provider: String,
    pub requester: String,
    pub publisher: Publisher,
    pub chain_id: u64,
    /// Unix seconds.
    pub issued_at: u64,
    pub expires_at: u64,
    pub after_generation: u64,
    pub proof: Proof,
}

/// What speaks for the publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// r ‖ s ‖ v over this envelope.
    Signature(Vec<u8>),
    Delegation(Delegation),
}

impl Envelope {
    /// When the delegation expires under which it is sent; `None`: the publisher signed it.
    pub fn delegated_until(&self) -> Option<u64> {
        match &self.proof {
            Proof::Signature(_) => None,
            Proof::Delegation(delegation) => Some(delegation.expires_at),
        }
    }
}

/// What the envelope must say. What depends on a request that could not be read is not compared: its sender is told what is
/// wrong with it only after all the rest held.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// What the request is; `None`: it could not be read.
    pub operation: Option<Operation>,
    pub pod: Addressed,
    /// Our peer id and that of the connection, as base58btc text.
    pub provider: &'a str,
    pub requester: &'a str,
    /// keccak256 of the request bytes as they arrived.
    pub request_hash: [u8; 32],
    /// Of the pod's payment; 0 for a free pod and where the request has no payment. `None`: the request could not be read.
    pub chain_id: Option<u64>,
    /// Unix seconds.
    pub now: u64,
}

/// Which pod the request speaks of, beside what the envelope says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressed {
    /// The payment in the request names it.
    Payment(PodKey),
    /// The envelope alone names it.
    Envelope,
    /// None: the request is about all pods of the publisher.
    All,
    /// The request could not be read.
    Unknown,
}

/// Why `high_s` and `bad_signature` happen and what helps, for every wallet alike.
const SIGN_REMEDY: &str =
    "sign the EIP-712 message Request of this envelope with the key of `publisher` and send r, s (low), v";

/// `Ok`: the publisher's key signed exactly this request, for this provider, from this peer, for now; or signed that this peer may
/// ask it.
pub fn check(envelope: &Envelope, expected: &Expected<'_>) -> Result<PodKey, Refusal> {
    operation(envelope, expected.operation)?;
    pod(envelope, expected.pod)?;
    peers(envelope, expected)?;
    if envelope.request_hash != expected.request_hash {
        return Err(Refusal::new(
            Code::BodyChanged,
            "requestHash is not the keccak256 of the request bytes: they were changed after signing",
        )
        .field("requestHash")
        .remedy("hash and sign the bytes that are sent, without encoding them again"));
    }
    validity(envelope, expected.now)?;
    if let Some(chain_id) = expected.chain_id
        && envelope.chain_id != chain_id
    {
        return Err(Refusal::new(
            Code::WrongChain,
            format!(
                "chainId is {}, the pod's payment is on chain {chain_id}",
                envelope.chain_id
            ),
        )
        .field("chainId")
        .remedy("use the chain of the payment; 0 for a free pod"));
    }
    if envelope.after_generation != 0 && envelope.operation != Operation::Update {
        return Err(Refusal::new(
            Code::InvalidRequest,
            format!("afterGeneration has no meaning in `{}`", envelope.operation.as_str()),
        )
        .field("afterGeneration")
        .remedy("leave it 0; only `update` uses it"));
    }
    match &envelope.proof {
        Proof::Signature(bytes) => signature(envelope, bytes)?,
        Proof::Delegation(delegation) => delegation::check(delegation, envelope, expected.requester, expected.now)?,
    }
    Ok(PodKey {
        publisher: envelope.publisher,
        pod_id: envelope.pod_id,
    })
}

fn operation(envelope: &Envelope, expected: Option<Operation>) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != envelope.operation => Err(Refusal::new(
            Code::WrongOperation,
            format!(
                "the envelope is for `{}`, its request is `{}`",
                envelope.operation.as_str(),
                expected.as_str()
            ),
        )
        .field("operation")
        .remedy("sign the operation that the request is")),
        _ => Ok(()),
    }
}

fn pod(envelope: &Envelope, addressed: Addressed) -> Result<(), Refusal> {
    match addressed {
        Addressed::Payment(key) if key.pod_id != envelope.pod_id => {
            Err(Refusal::new(Code::WrongPod, "podId is not the payment's podID")
                .field("podId")
                .remedy("sign the podID of the payment in the request"))
        }
        Addressed::Payment(key) if key.publisher != envelope.publisher => Err(Refusal::new(
            Code::WrongPod,
            "publisher is not the payment's publisherAddress",
        )
        .field("publisher")
        .remedy("the address that signs is the one that the pod belongs to")),
        Addressed::Envelope if envelope.pod_id.0 == [0; 32] => {
            Err(Refusal::new(Code::WrongPod, "podId is all zero: no pod has that id").field("podId"))
        }
        Addressed::All if envelope.pod_id.0 != [0; 32] => Err(Refusal::new(
            Code::WrongPod,
            format!("`{}` is about all pods of the publisher", envelope.operation.as_str()),
        )
        .field("podId")
        .remedy("sign 32 zero bytes as podId")),
        _ => Ok(()),
    }
}

fn peers(envelope: &Envelope, expected: &Expected<'_>) -> Result<(), Refusal> {
    if envelope.provider != expected.provider {
        return Err(Refusal::new(
            Code::WrongProvider,
            format!(
                "the envelope is addressed to another provider; this is {}",
                expected.provider
            ),
        )
        .field("provider")
        .remedy("sign for the peer id that was dialled"));
    }
    if envelope.requester != expected.requester {
        return Err(Refusal::new(
            Code::WrongRequester,
            format!(
                "the envelope was signed for another sender; this connection is {}'s",
                expected.requester
            ),
        )
        .field("requester")
        .remedy("sign for the peer id that the connection is made with"));
    }
    Ok(())
}

fn validity(envelope: &Envelope, now: u64) -> Result<(), Refusal> {
    let Envelope {
        issued_at, expires_at, ..
    } = *envelope;
    if expires_at < issued_at {
        return Err(Refusal::new(
            Code::Expired,
            "expiresAt lies before issuedAt: the envelope was never valid",
        )
        .field("expiresAt"));
    }
    if now > expires_at.saturating_add(limits::CLOCK_SKEW) {
        return Err(Refusal::new(
            Code::Expired,
            format!(
                "the envelope expired {} s ago by this provider's clock ({now})",
                now.saturating_sub(expires_at)
            ),
        )
        .field("expiresAt")
        .remedy("sign the same request bytes anew"));
    }
    if issued_at > now.saturating_add(limits::CLOCK_SKEW) {
        return Err(Refusal::new(
            Code::NotYetValid,
            format!(
                "issuedAt lies {} s ahead of this provider's clock ({now})",
                issued_at.saturating_sub(now)
            ),
        )
        .field("issuedAt")
        .remedy("set the clock and sign anew"));
    }
    if expires_at - issued_at > limits::VALIDITY_MAX {
        return Err(Refusal::new(
            Code::ValidityTooLong,
            format!(
                "valid for {} s; at most {} s are taken",
                expires_at - issued_at,
                limits::VALIDITY_MAX
            ),
        )
        .field("expiresAt"));
    }
    Ok(())
}

fn signature(envelope: &Envelope, bytes: &[u8]) -> Result<(), Refusal> {
    let message = signing::Request {
        operation: envelope.operation.as_str().to_owned(),
        podId: envelope.pod_id.0.into(),
        requestHash: envelope.request_hash.into(),
        provider: envelope.provider.clone(),
        requester: envelope.requester.clone(),
        issuedAt: envelope.issued_at,
        expiresAt: envelope.expires_at,
        afterGeneration: envelope.after_generation,
    };
    let digest = signing::digest(&message, envelope.chain_id);
    recovered(digest, bytes, envelope.publisher).map_err(|refusal| refusal.field("signature").remedy(SIGN_REMEDY))
}

/// `Ok`: `publisher` signed the digest. The caller names the field.
pub(super) fn recovered(digest: [u8; 32], signature: &[u8], publisher: Publisher) -> Result<(), Refusal> {
    let bad = |message: String| Err(Refusal::new(Code::BadSignature, message));
    match signing::recover(digest, signature) {
        Ok(address) if address == publisher.0 => Ok(()),
        Ok(address) => bad(format!(
            "the signature is {}'s, not the publisher's",
            Publisher(address)
        )),
        Err(signing::SignatureError::HighS) => {
            Err(Refusal::new(Code::HighS, signing::SignatureError::HighS.to_string()))
        }
        Err(other) => bad(format!("the signature is not valid: {other}")),
    }
}

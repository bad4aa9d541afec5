//! What a wallet signed once for a named peer: compared field by field, cheapest first, then the signature. Pure.
//!
//! When a delegation was given is not signed, when it expires is. So the wallet takes delegations back by their expiry: the pod
//! keeps an instant (`delegationsNotBefore`), and what expires at or before it is void. It only grows, so an instant that covers a
//! delegation covers it for good, whatever life the pod is in; since no delegation is taken that expires more than
//! [`limits::DELEGATION_VALIDITY_MAX`] from now, an instant that far ahead covers every one that there can be. Of delegations of
//! one length the later one expires later, so the next one is good again.

use apocryph_proto::{limits, outcome::Code, signing};

use super::credential::{Envelope, Operation, recovered};
use crate::model::{
    key::{PodId, Publisher},
    pod::PodRecord,
    refusal::Refusal,
};

/// As it came; nothing in it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    pub publisher: Publisher,
    /// Peer id, base58btc.
    pub delegate: String,
    /// As they were signed; names of a newer version are none of ours.
    pub operations: Vec<String>,
    /// All zero with `any_pod`.
    pub pod_id: PodId,
    pub any_pod: bool,
    /// Unix seconds.
    pub expires_at: u64,
    pub chain_id: u64,
    pub signature: Vec<u8>,
}

const SIGN_REMEDY: &str = "have the wallet sign the EIP-712 message Delegation of these fields and send r, s (low), v";

/// `Ok`: the envelope's publisher lets `requester`, whom the connection has proved, ask just this. Whether it was taken back
/// since, the pod says: see [`revoked`].
pub fn check(delegation: &Delegation, envelope: &Envelope, requester: &str, now: u64) -> Result<(), Refusal> {
    if delegation.delegate != requester {
        return Err(Refusal::new(
            Code::WrongDelegate,
            format!("the delegation is for another peer; this connection is {requester}'s"),
        )
        .field("delegation.delegate")
        .remedy(
            "connect with the peer id that the delegation names (`apocryph peer`), or have one given to this peer",
        ));
    }
    operation(delegation, envelope.operation)?;
    pod(delegation, envelope)?;
    validity(delegation, now)?;
    if delegation.chain_id != envelope.chain_id {
        return Err(Refusal::new(
            Code::WrongChain,
            format!(
                "the delegation is for chain {}, the envelope for chain {}",
                delegation.chain_id, envelope.chain_id
            ),
        )
        .field("delegation.chainId"));
    }
    let message = signing::Delegation {
        publisher: delegation.publisher.0.into(),
        delegate: delegation.delegate.clone(),
        operations: delegation.operations.clone(),
        podId: delegation.pod_id.0.into(),
        anyPod: delegation.any_pod,
        expiresAt: delegation.expires_at,
    };
    recovered(
        signing::digest(&message, delegation.chain_id),
        &delegation.signature,
        delegation.publisher,
    )
    .map_err(|refusal| refusal.field("delegation.signature").remedy(SIGN_REMEDY))
}

fn operation(delegation: &Delegation, operation: Operation) -> Result<(), Refusal> {
    let name = operation.as_str();
    let refusal = |message| Refusal::new(Code::OperationNotDelegated, message).field("delegation.operations");
    // Who may take delegations back could bring theirs back to life by no means, but could take everybody else's.
    if operation == Operation::Revoke {
        return Err(refusal(format!("`{name}` is the wallet's alone")).remedy("sign the request with the wallet"));
    }
    if !delegation.operations.iter().any(|listed| listed == name) {
        return Err(
            refusal(format!("the delegation does not list `{name}`")).remedy("have the wallet sign one that does")
        );
    }
    Ok(())
}

fn pod(delegation: &Delegation, envelope: &Envelope) -> Result<(), Refusal> {
    const NO_POD: PodId = PodId([0; 32]);
    if delegation.publisher != envelope.publisher {
        return Err(
            Refusal::new(Code::PodNotDelegated, "the delegation is another publisher's").field("delegation.publisher"),
        );
    }
    if delegation.any_pod && delegation.pod_id != NO_POD {
        return Err(Refusal::new(
            Code::InvalidRequest,
            "a delegation is for any pod or for one, not for both",
        )
        .field("delegation.podId")
        .remedy("sign 32 zero bytes as podId with anyPod"));
    }
    // `list` names no pod: a delegation for one pod is none for all.
    let named = delegation.pod_id == envelope.pod_id && delegation.pod_id != NO_POD;
    if delegation.any_pod || named {
        return Ok(());
    }
    Err(Refusal::new(Code::PodNotDelegated, "the delegation is for another pod").field("delegation.podId"))
}

fn validity(delegation: &Delegation, now: u64) -> Result<(), Refusal> {
    let expires_at = delegation.expires_at;
    if is_over(expires_at, now) {
        return Err(expired(expires_at, now));
    }
    if expires_at.saturating_sub(now) > limits::DELEGATION_VALIDITY_MAX + limits::CLOCK_SKEW {
        return Err(Refusal::new(
            Code::ValidityTooLong,
            format!(
                "the delegation expires in {} s; at most {} s are taken",
                expires_at - now,
                limits::DELEGATION_VALIDITY_MAX
            ),
        )
        .field("delegation.expiresAt"));
    }
    Ok(())
}

/// By a clock that may stand behind the wallet's.
pub fn is_over(expires_at: u64, now: u64) -> bool {
    now > expires_at.saturating_add(limits::CLOCK_SKEW)
}

/// The answer under a delegation that is over.
pub fn expired(expires_at: u64, now: u64) -> Refusal {
    Refusal::new(
        Code::DelegationExpired,
        format!(
            "the delegation expired {} s ago by this provider's clock ({now})",
            now.saturating_sub(expires_at)
        ),
    )
    .field("delegation.expiresAt")
    .remedy("have the wallet sign a new one")
}

/// Has the pod's wallet taken back what expires then?
pub fn revoked(record: &PodRecord, expires_at: u64) -> Result<(), Refusal> {
    if is_revoked(record.delegations_not_before, expires_at) {
        Err(taken_back(record.delegations_not_before))
    } else {
        Ok(())
    }
}

/// `not_before` 0: nothing was.
pub fn is_revoked(not_before: u64, expires_at: u64) -> bool {
    expires_at <= not_before
}

/// The answer under a delegation that was taken back.
pub fn taken_back(not_before: u64) -> Refusal {
    Refusal::new(
        Code::DelegationRevoked,
        format!("the pod's publisher has revoked every delegation that expires by {not_before}"),
    )
    .field("delegation.expiresAt")
    .remedy("have the wallet sign one that expires later")
}

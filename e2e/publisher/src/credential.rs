//! Requests as envelopes: who asks whom for what, signed by the publisher's key (EIP-712), or under a delegation of theirs.

use std::time::{SystemTime, UNIX_EPOCH};

use apocryph_proto::{signing, v0::signing::Envelope};
use libp2p::PeerId;

use crate::{key::PublisherKey, pod_id::PodId};

/// How long a signed request is good for, in seconds: time for a slow upload, half of what a provider admits.
pub const VALIDITY: u64 = apocryph_proto::limits::VALIDITY_MAX / 2;

/// What is asked, before it is signed.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// `provision`, `watch`, `delete`, …
    pub operation: &'a str,
    pub pod_id: PodId,
    /// The encoded message, sent exactly so.
    pub bytes: &'a [u8],
    /// Chain of the pod's payment; 0: free.
    pub chain_id: u64,
}

/// Who speaks to whom.
#[derive(Clone, Copy)]
pub struct Parties {
    pub provider: PeerId,
    pub requester: PeerId,
}

#[derive(Debug, thiserror::Error)]
#[error("the key could not sign: {0}")]
pub struct SignError(#[from] k256::ecdsa::Error);

/// An envelope that is valid from `now` (Unix seconds) for [`VALIDITY`].
pub fn envelope(key: &PublisherKey, request: Request<'_>, parties: Parties, now: u64) -> Result<Envelope, SignError> {
    let mut envelope = Envelope {
        operation: request.operation.to_owned(),
        pod_id: request.pod_id.0.to_vec(),
        request_hash: signing::request_hash(request.bytes).to_vec(),
        provider: parties.provider.to_base58(),
        requester: parties.requester.to_base58(),
        request: request.bytes.to_vec(),
        publisher: key.address().to_vec(),
        chain_id: request.chain_id,
        issued_at: now,
        expires_at: now.saturating_add(VALIDITY),
        ..Envelope::default()
    };
    match key.delegation() {
        Some(delegation) => envelope.delegation = Some(delegation.clone()),
        None => envelope.signature = sign(key, &envelope)?.to_vec(),
    }
    Ok(envelope)
}

/// Signs the envelope's fields as they stand (tests sign wrong ones).
pub fn sign(key: &PublisherKey, envelope: &Envelope) -> Result<[u8; signing::SIGNATURE_LEN], SignError> {
    let word = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).unwrap_or_default().into();
    let message = signing::Request {
        operation: envelope.operation.clone(),
        podId: word(&envelope.pod_id),
        requestHash: word(&envelope.request_hash),
        provider: envelope.provider.clone(),
        requester: envelope.requester.clone(),
        issuedAt: envelope.issued_at,
        expiresAt: envelope.expires_at,
        afterGeneration: envelope.after_generation,
    };
    Ok(signing::sign(
        signing::digest(&message, envelope.chain_id),
        key.signing_key(),
    )?)
}

/// Unix seconds; 0 when the clock stands before 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_speaks_for_the_publisher_and_covers_every_field() {
        let key = PublisherKey::random();
        let parties = Parties {
            provider: PeerId::random(),
            requester: PeerId::random(),
        };
        let request = Request {
            operation: "watch",
            pod_id: PodId::random(),
            bytes: b"bytes",
            chain_id: 0,
        };
        let signed = envelope(&key, request, parties, 1_000).unwrap();
        assert_eq!((signed.issued_at, signed.expires_at), (1_000, 1_300));
        assert_eq!(signed.request_hash, signing::request_hash(b"bytes"));

        let changes: [fn(&mut Envelope); 8] = [
            |e| e.operation = "delete".into(),
            |e| e.pod_id[0] ^= 1,
            |e| e.request_hash[0] ^= 1,
            |e| e.provider.push('x'),
            |e| e.requester.push('x'),
            |e| e.issued_at += 1,
            |e| e.expires_at += 1,
            |e| e.chain_id = 1,
        ];
        for change in changes {
            let mut changed = signed.clone();
            change(&mut changed);
            assert_ne!(sign(&key, &changed).unwrap().as_slice(), signed.signature);
        }
    }
}

//! EIP-712 signatures over requests and delegations.
//!
//! Domain `{name: "Apocryph", version: "1", chainId}`; the primary types are those of DESIGN: [`Request`] and [`Delegation`].
//! Vectors made by viem are in `vectors/eip712.json`.

use alloy_primitives::{Address, B256, Signature, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct, eip712_domain, sol};
use k256::ecdsa::{SigningKey, VerifyingKey};

sol! {
    /// What a wallet signs for each request of provision-pod and manage-pod.
    #[derive(Debug, PartialEq, Eq)]
    struct Request {
        string operation;
        bytes32 podId;
        bytes32 requestHash;
        string provider;
        string requester;
        uint64 issuedAt;
        uint64 expiresAt;
        uint64 afterGeneration;
    }

    /// What a wallet signs once to let a peer act without further signatures.
    #[derive(Debug, PartialEq, Eq)]
    struct Delegation {
        address publisher;
        string delegate;
        string[] operations;
        bytes32 podId;
        bool anyPod;
        uint64 expiresAt;
    }
}

/// Bytes of a signature: r ‖ s ‖ v.
pub const SIGNATURE_LEN: usize = 65;

/// Why a signature does not speak for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// s lies in the upper half of the group order (EIP-2): a second valid form of the same signature.
    #[error("the signature's s is in the upper half of the group order (EIP-2)")]
    HighS,
    #[error("not 65 bytes r ‖ s ‖ v with v 0, 1, 27 or 28")]
    Malformed,
    #[error("no public key could be recovered")]
    Unrecoverable,
}

/// The domain on a chain; 0 for a free pod and for `list`.
pub fn domain(chain_id: u64) -> Eip712Domain {
    eip712_domain! { name: "Apocryph", version: "1", chain_id: chain_id, }
}

/// keccak256 of the request bytes as sent.
pub fn request_hash(request: &[u8]) -> [u8; 32] {
    keccak256(request).0
}

/// The hash that is signed (EIP-712 `hashTypedData`).
pub fn digest<T: SolStruct>(message: &T, chain_id: u64) -> [u8; 32] {
    message.eip712_signing_hash(&domain(chain_id)).0
}

/// The address whose key made `signature` over `digest`.
pub fn recover(digest: [u8; 32], signature: &[u8]) -> Result<[u8; 20], SignatureError> {
    let bytes: &[u8; SIGNATURE_LEN] = signature.try_into().map_err(|_| SignatureError::Malformed)?;
    let odd_y = match bytes[64] {
        0 | 27 => false,
        1 | 28 => true,
        _ => return Err(SignatureError::Malformed),
    };
    let signature =
        Signature::new(U256::from_be_slice(&bytes[..32]), U256::from_be_slice(&bytes[32..64]), odd_y);
    if signature.normalize_s().is_some() {
        return Err(SignatureError::HighS);
    }
    let address = signature.recover_address_from_prehash(&B256::from(digest)).map_err(|_| SignatureError::Unrecoverable)?;
    Ok(address.into_array())
}

/// Signs `digest`; low s, v 27 or 28.
pub fn sign(digest: [u8; 32], key: &SigningKey) -> Result<[u8; SIGNATURE_LEN], k256::ecdsa::Error> {
    let (signature, recovery) = key.sign_prehash_recoverable(&digest)?;
    let mut bytes = [0; SIGNATURE_LEN];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = 27 + u8::from(recovery.is_y_odd());
    Ok(bytes)
}

/// The Ethereum address of a key.
pub fn address(key: &SigningKey) -> [u8; 20] {
    Address::from_public_key(&VerifyingKey::from(key)).into_array()
}

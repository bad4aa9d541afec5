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
    let signature = Signature::new(
        U256::from_be_slice(&bytes[..32]),
        U256::from_be_slice(&bytes[32..64]),
        odd_y,
    );
    if signature.normalize_s().is_some() {
        return Err(SignatureError::HighS);
    }
    let address = signature
        .recover_address_from_prehash(&B256::from(digest))
        .map_err(|_| SignatureError::Unrecoverable)?;
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

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER_PERMISSIVE;
    use serde_json::Value;

    use super::*;

    /// Made by viem; `vectors/make.mjs`.
    const VECTORS: &str = include_str!("../vectors/eip712.json");

    fn bytes<const N: usize>(value: &Value) -> [u8; N] {
        let text = value.as_str().unwrap();
        HEXLOWER_PERMISSIVE
            .decode(text.strip_prefix("0x").unwrap().as_bytes())
            .unwrap()
            .try_into()
            .unwrap()
    }

    fn text(value: &Value) -> String {
        value.as_str().unwrap().into()
    }

    fn number(value: &Value) -> u64 {
        value.as_str().unwrap().parse().unwrap()
    }

    fn digest_of(vector: &Value) -> [u8; 32] {
        let message = &vector["message"];
        let chain_id = number(&vector["chainId"]);
        match vector["primaryType"].as_str().unwrap() {
            "Request" => digest(
                &Request {
                    operation: text(&message["operation"]),
                    podId: bytes(&message["podId"]).into(),
                    requestHash: bytes(&message["requestHash"]).into(),
                    provider: text(&message["provider"]),
                    requester: text(&message["requester"]),
                    issuedAt: number(&message["issuedAt"]),
                    expiresAt: number(&message["expiresAt"]),
                    afterGeneration: number(&message["afterGeneration"]),
                },
                chain_id,
            ),
            "Delegation" => digest(
                &Delegation {
                    publisher: bytes::<20>(&message["publisher"]).into(),
                    delegate: text(&message["delegate"]),
                    operations: message["operations"].as_array().unwrap().iter().map(text).collect(),
                    podId: bytes(&message["podId"]).into(),
                    anyPod: message["anyPod"].as_bool().unwrap(),
                    expiresAt: number(&message["expiresAt"]),
                },
                chain_id,
            ),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn types_are_written_as_the_design_writes_them() {
        assert_eq!(
            Request::eip712_encode_type(),
            "Request(string operation,bytes32 podId,bytes32 requestHash,string provider,string requester,uint64 issuedAt,\
             uint64 expiresAt,uint64 afterGeneration)"
        );
        assert_eq!(
            Delegation::eip712_encode_type(),
            "Delegation(address publisher,string delegate,string[] operations,bytes32 podId,bool anyPod,uint64 expiresAt)"
        );
    }

    #[test]
    fn digests_addresses_and_signatures_are_those_of_viem() {
        let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
        assert!(vectors.len() >= 17);
        let mut digests = std::collections::BTreeSet::new();
        for vector in &vectors {
            let name = &vector["name"];
            let digest = digest_of(vector);
            assert_eq!(digest, bytes(&vector["digest"]), "{name}");
            assert!(digests.insert(digest), "{name}: the same digest as another");
            let signature: [u8; SIGNATURE_LEN] = bytes(&vector["signature"]);
            assert_eq!(recover(digest, &signature), Ok(bytes(&vector["address"])), "{name}");
            let key = SigningKey::from_slice(&bytes::<32>(&vector["privateKey"])).unwrap();
            assert_eq!(address(&key), bytes(&vector["address"]), "{name}");
            assert_eq!(sign(digest, &key).unwrap(), signature, "{name}");
        }
    }

    fn signed() -> ([u8; 32], [u8; SIGNATURE_LEN], [u8; 20]) {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let digest = request_hash(b"anything");
        (digest, sign(digest, &key).unwrap(), address(&key))
    }

    #[test]
    fn both_spellings_of_v_are_read_and_no_other() {
        let (digest, mut signature, signer) = signed();
        let v = signature[64];
        signature[64] = v - 27;
        assert_eq!(recover(digest, &signature), Ok(signer));
        for other in (2..=26).chain(29..=255) {
            signature[64] = other;
            assert_eq!(recover(digest, &signature), Err(SignatureError::Malformed), "v {other}");
        }
        signature[64] = 27 + (28 - v);
        assert_ne!(recover(digest, &signature), Ok(signer));
    }

    #[test]
    fn the_other_valid_form_of_a_signature_is_refused() {
        let (digest, signature, signer) = signed();
        // n - s, and the other v: mathematically as good.
        let order =
            U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16).unwrap();
        let high = order - U256::from_be_slice(&signature[32..64]);
        let mut twin = signature;
        twin[32..64].copy_from_slice(&high.to_be_bytes::<32>());
        twin[64] = 27 + (28 - signature[64]);
        assert_eq!(recover(digest, &twin), Err(SignatureError::HighS));
        assert_eq!(recover(digest, &signature), Ok(signer));
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let (digest, signature, signer) = signed();
        assert_eq!(recover(digest, &signature[..64]), Err(SignatureError::Malformed));
        assert_eq!(
            recover(digest, &[&signature[..], &[0]].concat()),
            Err(SignatureError::Malformed)
        );
        assert_eq!(recover(digest, &[]), Err(SignatureError::Malformed));
        for r_and_s in [[0; 32], [0xff; 32]] {
            let mut wrong = signature;
            wrong[..32].copy_from_slice(&r_and_s);
            assert_eq!(recover(digest, &wrong), Err(SignatureError::Unrecoverable));
        }
        let mut zero_s = signature;
        zero_s[32..64].fill(0);
        assert_eq!(recover(digest, &zero_s), Err(SignatureError::Unrecoverable));
        let mut all_s = signature;
        all_s[32..64].fill(0xff);
        assert!(matches!(
            recover(digest, &all_s),
            Err(SignatureError::HighS | SignatureError::Unrecoverable)
        ));
        let mut other = digest;
        other[0] ^= 1;
        assert_ne!(recover(other, &signature), Ok(signer));
    }
}

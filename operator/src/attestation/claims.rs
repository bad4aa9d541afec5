//! What this process says of itself (`ProviderClaims`), made anew for each answer from live facts.

use apocryph_proto::v0::attest::ProviderClaims;
use prost::Message;
use rand::rngs::OsRng;
use tokio::sync::watch;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::model::{key::Publisher, services::Claims};

/// Who can read a pod's secrets: delivered into no confidential pod, so everybody who administers the cluster.
pub const SECRETS_VISIBLE_TO: &str = "cluster-admins";

/// X25519, made by this process, never stored, wiped at its end: only the process that was attested can open what was sealed
/// to it.
pub struct SealingKey(StaticSecret);

impl SealingKey {
    pub fn generate() -> SealingKey {
        SealingKey(StaticSecret::random_from_rng(OsRng))
    }

    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.0).to_bytes()
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey")
    }
}

/// Where the claims come from.
#[derive(Debug)]
pub struct ClaimsMaker {
    pub sealing_key: SealingKey,
    /// Chart value `payment.address`.
    pub payment_address: Option<Publisher>,
    /// imageID of the operator's own container, as its Pod's status gives it; empty while unknown.
    pub image_id: watch::Receiver<String>,
    /// SHA-256 over the RFC 8785 JSON of the admission policies and bindings; empty while not read.
    pub policies_hash: watch::Receiver<Vec<u8>>,
}

impl ClaimsMaker {
    /// What holds now.
    pub fn claims(&self) -> Claims {
        let message = ProviderClaims {
            sealing_key: self.sealing_key.public().to_vec(),
            payment_address: self
                .payment_address
                .map(|address| address.0.to_vec())
                .unwrap_or_default(),
            receipt_key: Vec::new(),
            image_id: self.image_id.borrow().clone(),
            policies_hash: self.policies_hash.borrow().clone(),
            secrets_visible_to: SECRETS_VISIBLE_TO.to_owned(),
        };
        Claims {
            sealing_key: self.sealing_key.public(),
            payment_address: self.payment_address,
            encoded: message.encode_to_vec(),
            image_id: message.image_id,
            policies_hash: message.policies_hash,
            secrets_visible_to: SECRETS_VISIBLE_TO,
        }
    }
}

//! Asks a provider to prove what it runs on. [`verify`] checks that the answer is to this question; what the evidence in it
//! proves is a second question, answered by [`Attested::accepted`].

mod verify;

use apocryph_proto::{
    protocol,
    v0::{
        attest::{AttestReply, AttestRequest},
        provisioning_capacity::CapacityResponse,
    },
};
use rand::{RngCore, rngs::OsRng};

use crate::{
    net::Connection,
    reply::Refusal,
    session::{SessionError, exchange},
};
pub use verify::verify;

/// Bytes of a fresh nonce.
pub const NONCE_LEN: usize = 32;
/// The provider whose stack the evidence must speak for.
const OPERATOR: &str = "operator";

/// What a verified answer says.
#[derive(Clone, Debug, PartialEq)]
pub struct Attested {
    pub claims: Claims,
    pub evidence: Vec<Evidence>,
    /// What no evidence speaks for, in the provider's own words.
    pub not_proven: Vec<String>,
    /// When it was asked for.
    pub capacity: Option<CapacityResponse>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// X25519: requests are sealed to it once evidence is accepted.
    pub sealing_key: [u8; 32],
    pub payment_address: Option<[u8; 20]>,
    /// Empty: unknown.
    pub image_id: String,
    /// SHA-256; empty: not told.
    pub policies_hash: Vec<u8>,
    pub secrets_visible_to: String,
}

/// One subject and what was said for it; bound to the question either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// `operator` or `node/NAME`.
    pub subject: String,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing proves the subject; the provider's reason.
    None { reason: String },
    /// A report of a kind that this client cannot verify, so it proves nothing to it.
    Unverifiable { kind: String },
}

/// Why a provider's stack is not proven to this client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider gave no evidence that this client accepts: {}", .0.join("; "))]
pub struct NotAccepted(pub Vec<String>);

/// Why an answer is not one to this question.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the provider refused: {}", .0.message)]
    Refused(Box<Refusal>),
    #[error("the attestation's {field} is not well-formed: {reason}")]
    Malformed { field: &'static str, reason: &'static str },
    #[error("the attestation answers another question: nonce, peer ids or claims are not those of this connection")]
    OtherQuestion,
    #[error("the attestation's path does not lead from its leaf to a root")]
    NoRoot,
    #[error("the evidence for {subject} is bound to something else")]
    OtherReportData { subject: String },
}

impl Attested {
    /// Does the evidence prove the provider's stack to this client? No kind does yet: `Err` says why, per subject.
    pub fn accepted(&self) -> Result<(), NotAccepted> {
        let mut reasons: Vec<_> = self.evidence.iter().map(Evidence::why_not).collect();
        if !self.evidence.iter().any(|e| e.subject == OPERATOR) {
            reasons.push(format!("nothing is said about the {OPERATOR}"));
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(NotAccepted(reasons))
        }
    }
}

impl Evidence {
    fn why_not(&self) -> String {
        match &self.kind {
            Kind::None { reason } if reason.is_empty() => format!("{}: no evidence", self.subject),
            Kind::None { reason } => format!("{}: no evidence ({reason})", self.subject),
            Kind::Unverifiable { kind } => format!("{}: this client cannot verify {kind}", self.subject),
        }
    }
}

/// Asks with a fresh nonce and checks the answer.
pub async fn attest(connection: &Connection, want_capacity: bool) -> Result<Attested, AttestError> {
    let mut nonce = [0; NONCE_LEN];
    OsRng.fill_bytes(&mut nonce);
    let request = AttestRequest {
        nonce: nonce.to_vec(),
        want_capacity,
    };
    let reply: AttestReply = exchange(connection, protocol::ATTEST, request).await?;
    verify(reply, &nonce, connection.provider(), connection.requester())
}

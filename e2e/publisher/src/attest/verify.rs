//! Is the answer to this question? Own nonce, own peer id, this provider, these claims, and all of the evidence bound to them.

use apocryph_proto::{
    binding, limits, protocol,
    v0::attest::{self as wire, AttestReply, AttestResponse, ProviderClaims},
};
use libp2p::PeerId;
use prost::Message;

use super::{AttestError, Attested, Claims, Evidence, Kind};
use crate::{reply::printable, session::SessionError};

/// A Merkle path is as long as the logarithm of the tree's size, which is a u64.
const PATH_MAX: usize = 64;
/// Subjects and words of `not_proven` that are read.
const LIST_MAX: usize = 1_024;

/// Checks an answer against the question: nonce as asked, provider as connected to, requester as ourselves.
pub fn verify(reply: AttestReply, nonce: &[u8], provider: PeerId, requester: PeerId) -> Result<Attested, AttestError> {
    debug_assert!(limits::NONCE.contains(&nonce.len()));
    let response = match reply.message {
        Some(wire::attest_reply::Message::Attestation(response)) => response,
        Some(wire::attest_reply::Message::Refusal(refusal)) => {
            return Err(AttestError::Refused(Box::new(refusal.into())));
        }
        None => return Err(SessionError::BadReply("neither attestation nor refusal".into()).into()),
    };
    let leaf = binding::leaf(&binding::Question {
        protocol: protocol::ATTEST,
        nonce,
        provider: &provider.to_bytes(),
        requester: &requester.to_bytes(),
        claims: &response.claims,
    });
    if response.leaf != leaf {
        return Err(AttestError::OtherQuestion);
    }
    let root = root(&response, leaf)?;
    Ok(Attested {
        claims: claims(&response.claims)?,
        evidence: evidence(response.evidence, &root)?,
        not_proven: response
            .not_proven
            .iter()
            .take(LIST_MAX)
            .map(|w| printable(w))
            .collect(),
        capacity: response.capacity,
    })
}

fn root(response: &AttestResponse, leaf: binding::Hash) -> Result<binding::Hash, AttestError> {
    if response.path.len() > PATH_MAX {
        return Err(AttestError::Malformed {
            field: "path",
            reason: "longer than any tree is high",
        });
    }
    let path: Vec<binding::Hash> = response
        .path
        .iter()
        .map(|hash| hash.as_slice().try_into())
        .collect::<Result<_, _>>()
        .map_err(|_| AttestError::Malformed {
            field: "path",
            reason: "a hash has 32 bytes",
        })?;
    binding::root_of_path(leaf, response.leaf_index, response.tree_size, &path).ok_or(AttestError::NoRoot)
}

fn claims(encoded: &[u8]) -> Result<Claims, AttestError> {
    let malformed = |field, reason| AttestError::Malformed { field, reason };
    let claims = ProviderClaims::decode(encoded).map_err(|_| malformed("claims", "not a ProviderClaims message"))?;
    Ok(Claims {
        sealing_key: claims
            .sealing_key
            .try_into()
            .map_err(|_| malformed("sealingKey", "an X25519 key has 32 bytes"))?,
        payment_address: match claims.payment_address.as_slice() {
            [] => None,
            bytes => Some(
                bytes
                    .try_into()
                    .map_err(|_| malformed("paymentAddress", "an address has 20 bytes"))?,
            ),
        },
        image_id: printable(&claims.image_id),
        policies_hash: match claims.policies_hash.len() {
            0 | 32 => claims.policies_hash,
            _ => return Err(malformed("policiesHash", "a SHA-256 has 32 bytes")),
        },
        secrets_visible_to: printable(&claims.secrets_visible_to),
    })
}

/// Every entry, also of kind NONE, must be bound to the root that our leaf is under.
fn evidence(list: Vec<wire::Evidence>, root: &binding::Hash) -> Result<Vec<Evidence>, AttestError> {
    if list.len() > LIST_MAX {
        return Err(AttestError::Malformed {
            field: "evidence",
            reason: "too many subjects",
        });
    }
    let mut found: Vec<Evidence> = Vec::with_capacity(list.len());
    for entry in list {
        let subject = printable(&entry.subject);
        if entry.report_data != binding::report_data(&entry.subject, root) {
            return Err(AttestError::OtherReportData { subject });
        }
        if found.iter().any(|other| other.subject == subject) {
            return Err(AttestError::Malformed {
                field: "evidence",
                reason: "one subject stands in it twice",
            });
        }
        let kind = match wire::evidence::Kind::try_from(entry.kind) {
            Ok(wire::evidence::Kind::None) => Kind::None {
                reason: printable(&entry.reason),
            },
            Ok(kind) => Kind::Unverifiable {
                kind: kind.as_str_name().to_owned(),
            },
            Err(_) => Kind::Unverifiable {
                kind: format!("evidence of kind {}", entry.kind),
            },
        };
        found.push(Evidence { subject, kind });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{super::NotAccepted, *};

    /// An honest provider's answer among `others` more questions.
    fn answer(nonce: &[u8], provider: PeerId, requester: PeerId, others: u8) -> AttestReply {
        let claims = ProviderClaims {
            sealing_key: vec![7; 32],
            secrets_visible_to: "cluster-admins".into(),
            ..ProviderClaims::default()
        }
        .encode_to_vec();
        let (provider, requester) = (provider.to_bytes(), requester.to_bytes());
        let question = binding::Question {
            protocol: protocol::ATTEST,
            nonce,
            provider: &provider,
            requester: &requester,
            claims: &claims,
        };
        let mine = binding::leaf(&question);
        let mut leaves: Vec<binding::Hash> = (0..others).map(|n| [n; 32]).collect();
        let index = leaves.len() / 2;
        leaves.insert(index, mine);
        let root = binding::root(&leaves).unwrap();
        let entry = |subject: &str| wire::Evidence {
            subject: subject.into(),
            kind: wire::evidence::Kind::None.into(),
            reason: "there is no hardware".into(),
            report_data: binding::report_data(subject, &root).to_vec(),
            ..wire::Evidence::default()
        };
        let response = AttestResponse {
            claims,
            leaf: mine.to_vec(),
            leaf_index: index as u64,
            tree_size: leaves.len() as u64,
            path: binding::path(&leaves, index)
                .unwrap()
                .iter()
                .map(|h| h.to_vec())
                .collect(),
            evidence: vec![entry("operator"), entry("node/one")],
            not_proven: vec!["operator-code".into()],
            capacity: None,
        };
        AttestReply {
            message: Some(wire::attest_reply::Message::Attestation(response)),
        }
    }

    fn change(mut reply: AttestReply, edit: impl FnOnce(&mut AttestResponse)) -> AttestReply {
        let Some(wire::attest_reply::Message::Attestation(response)) = &mut reply.message else {
            unreachable!()
        };
        edit(response);
        reply
    }

    #[test]
    fn an_honest_answer_verifies_and_none_is_not_accepted() {
        let (provider, me) = (PeerId::random(), PeerId::random());
        for others in 0..9 {
            let attested = verify(answer(&[1; 32], provider, me, others), &[1; 32], provider, me).unwrap();
            assert_eq!(attested.claims.sealing_key, [7; 32]);
            let NotAccepted(reasons) = attested.accepted().unwrap_err();
            assert_eq!(
                reasons,
                [
                    "operator: no evidence (there is no hardware)",
                    "node/one: no evidence (there is no hardware)"
                ]
            );
        }
    }

    #[test]
    fn an_answer_to_another_question_is_refused() {
        let (provider, me, other) = (PeerId::random(), PeerId::random(), PeerId::random());
        let reply = || answer(&[1; 32], provider, me, 3);
        let replayed = verify(reply(), &[2; 32], provider, me);
        let relayed_to_me = verify(answer(&[1; 32], provider, other, 3), &[1; 32], provider, me);
        let relayed_from_another = verify(answer(&[1; 32], other, me, 3), &[1; 32], provider, me);
        let other_claims = change(reply(), |r| {
            r.claims = ProviderClaims {
                sealing_key: vec![8; 32],
                ..ProviderClaims::default()
            }
            .encode_to_vec();
        });
        for result in [
            replayed,
            relayed_to_me,
            relayed_from_another,
            verify(other_claims, &[1; 32], provider, me),
        ] {
            assert!(matches!(result, Err(AttestError::OtherQuestion)), "{result:?}");
        }
    }

    #[test]
    fn each_broken_part_is_refused() {
        let (provider, me) = (PeerId::random(), PeerId::random());
        let check = |edit: fn(&mut AttestResponse)| {
            verify(change(answer(&[1; 32], provider, me, 3), edit), &[1; 32], provider, me).unwrap_err()
        };
        assert!(matches!(check(|r| r.leaf[0] ^= 1), AttestError::OtherQuestion));
        assert!(matches!(
            check(|r| r.path[0] = vec![0xee; 32]),
            AttestError::OtherReportData { .. }
        ));
        assert!(matches!(
            check(|r| r.path[0].truncate(31)),
            AttestError::Malformed { field: "path", .. }
        ));
        assert!(matches!(
            check(|r| r.path = vec![vec![0; 32]; 65]),
            AttestError::Malformed { field: "path", .. }
        ));
        assert!(matches!(check(|r| drop(r.path.pop())), AttestError::NoRoot));
        assert!(matches!(check(|r| r.leaf_index = 4), AttestError::NoRoot));
        assert!(matches!(check(|r| r.tree_size = 0), AttestError::NoRoot));
        assert!(matches!(
            check(|r| r.evidence[1].report_data[0] ^= 1),
            AttestError::OtherReportData { .. }
        ));
        assert!(matches!(
            check(|r| r.evidence[1].subject = "node/two".into()),
            AttestError::OtherReportData { .. }
        ));
        assert!(matches!(
            check(|r| r.evidence[1] = r.evidence[0].clone()),
            AttestError::Malformed { field: "evidence", .. }
        ));
    }

    #[test]
    fn silence_about_the_operator_and_unknown_kinds_prove_nothing() {
        let (provider, me) = (PeerId::random(), PeerId::random());
        let reasons = |edit: fn(&mut AttestResponse)| {
            let reply = change(answer(&[1; 32], provider, me, 0), edit);
            verify(reply, &[1; 32], provider, me)
                .unwrap()
                .accepted()
                .unwrap_err()
                .0
                .join("; ")
        };
        assert_eq!(reasons(|r| r.evidence.clear()), "nothing is said about the operator");
        assert!(
            reasons(|r| r.evidence[0].kind = wire::evidence::Kind::SevSnp.into()).contains("cannot verify SEV_SNP")
        );
        assert!(reasons(|r| r.evidence[0].kind = 77).contains("cannot verify evidence of kind 77"));
    }

    #[test]
    fn claims_of_the_wrong_size_are_named() {
        let encoded = |claims: ProviderClaims| super::claims(&claims.encode_to_vec());
        let short = ProviderClaims {
            sealing_key: vec![1; 31],
            ..ProviderClaims::default()
        };
        assert!(matches!(
            encoded(short),
            Err(AttestError::Malformed {
                field: "sealingKey",
                ..
            })
        ));
        let address = ProviderClaims {
            sealing_key: vec![1; 32],
            payment_address: vec![1; 19],
            ..ProviderClaims::default()
        };
        assert!(matches!(
            encoded(address),
            Err(AttestError::Malformed {
                field: "paymentAddress",
                ..
            })
        ));
        let hash = ProviderClaims {
            sealing_key: vec![1; 32],
            policies_hash: vec![1; 31],
            ..ProviderClaims::default()
        };
        assert!(matches!(
            encoded(hash),
            Err(AttestError::Malformed {
                field: "policiesHash",
                ..
            })
        ));
    }
}

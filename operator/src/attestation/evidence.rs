//! Who proves what: the answer to one question, over one binding (`apocryph_proto::binding`).

use apocryph_proto::{binding, outcome::Code, protocol};
use futures::future::{self, BoxFuture, FutureExt};

use super::claims::ClaimsMaker;
use crate::model::{
    refusal::Refusal,
    services::{Asked, Attestation, Attester, Evidence},
};

/// The program that answers on this stream.
pub const SUBJECT_OPERATOR: &str = "operator";
/// What nothing speaks for until sources and node agents exist: the operator's code, the cluster's control plane, the nodes
/// where pods run.
pub const NOT_PROVEN: [&str; 3] = ["operator-code", "control-plane", "nodes"];

/// Something that can prove one subject, for example the firmware below this process.
pub trait Source: Send + Sync {
    /// Evidence over this report data; a source that fails says so in the evidence, it never lets the answer fail.
    fn evidence(&self, report_data: [u8; 64]) -> BoxFuture<'_, Evidence>;

    /// `operator` or `node/NAME`.
    fn subject(&self) -> String;
}

/// Stands where nothing is configured: kind `NONE`, said openly.
#[derive(Debug)]
pub struct NoSource;

impl Source for NoSource {
    fn evidence(&self, report_data: [u8; 64]) -> BoxFuture<'_, Evidence> {
        future::ready(Evidence {
            subject: self.subject(),
            none_because:
                "no evidence source is configured: this provider does not claim to run in a confidential machine"
                    .to_owned(),
            report_data,
        })
        .boxed()
    }

    fn subject(&self) -> String {
        SUBJECT_OPERATOR.to_owned()
    }
}

/// Implements [`Attester`].
pub struct Attestations {
    /// Our peer id as multihash bytes.
    provider: Vec<u8>,
    claims: ClaimsMaker,
    sources: Vec<Box<dyn Source>>,
}

impl Attestations {
    /// `sources`: one per subject; [`NoSource`] where there is none.
    pub fn new(provider: Vec<u8>, claims: ClaimsMaker, sources: Vec<Box<dyn Source>>) -> Attestations {
        Attestations {
            provider,
            claims,
            sources,
        }
    }

    /// The answers to the questions of one moment, in their order, all under one root.
    async fn answer(&self, questions: &[Asked<'_>]) -> Option<Vec<Attestation>> {
        let claims = self.claims.claims();
        let leaves: Vec<binding::Hash> = questions
            .iter()
            .map(|asked| {
                binding::leaf(&binding::Question {
                    protocol: protocol::ATTEST,
                    nonce: asked.nonce,
                    provider: &self.provider,
                    requester: asked.requester,
                    claims: &claims.encoded,
                })
            })
            .collect();
        let root = binding::root(&leaves)?;
        let evidence = future::join_all(
            self.sources
                .iter()
                .map(|source| source.evidence(binding::report_data(&source.subject(), &root))),
        )
        .await;
        leaves
            .iter()
            .enumerate()
            .map(|(index, leaf)| {
                Some(Attestation {
                    claims: claims.clone(),
                    leaf_index: index as u64,
                    tree_size: leaves.len() as u64,
                    path: binding::path(&leaves, index)?,
                    root,
                    leaf: *leaf,
                    evidence: evidence.clone(),
                    not_proven: NOT_PROVEN.map(str::to_owned).to_vec(),
                })
            })
            .collect()
    }
}

impl Attester for Attestations {
    fn attest<'a>(&'a self, question: Asked<'a>) -> BoxFuture<'a, Result<Attestation, Refusal>> {
        async move {
            // One question at a time while no source costs anything; firmware will answer those of a tenth of a second.
            self.answer(&[question])
                .await
                .and_then(|mut answers| answers.pop())
                .ok_or_else(|| Refusal::new(Code::Busy, "the question found no place among the others"))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use apocryph_proto::v0::attest::ProviderClaims;
    use prost::Message;
    use tokio::sync::watch;

    use super::{super::claims::SealingKey, *};
    use crate::model::key::Publisher;

    fn attestations() -> (Attestations, watch::Sender<String>, watch::Sender<Vec<u8>>) {
        let (image_sender, image_id) = watch::channel(String::new());
        let (hash_sender, policies_hash) = watch::channel(Vec::new());
        let claims = ClaimsMaker {
            sealing_key: SealingKey::generate(),
            payment_address: Some(Publisher([7; 20])),
            image_id,
            policies_hash,
        };
        (
            Attestations::new(vec![1, 2, 3], claims, vec![Box::new(NoSource)]),
            image_sender,
            hash_sender,
        )
    }

    #[tokio::test]
    async fn the_answer_is_bound_to_the_question_and_says_what_nothing_proves() {
        let (attestations, ..) = attestations();
        let nonce = [9; 16];
        let answer = attestations
            .attest(Asked {
                nonce: &nonce,
                requester: &[4, 5],
            })
            .await
            .unwrap();
        let leaf = binding::leaf(&binding::Question {
            protocol: "/apocryph/attest/0.0.1",
            nonce: &nonce,
            provider: &[1, 2, 3],
            requester: &[4, 5],
            claims: &answer.claims.encoded,
        });
        assert_eq!(answer.leaf, leaf);
        assert_eq!(
            binding::root_of_path(leaf, answer.leaf_index, answer.tree_size, &answer.path),
            Some(answer.root)
        );
        let [evidence] = answer.evidence.as_slice() else {
            panic!("one subject")
        };
        assert_eq!(evidence.subject, "operator");
        assert_eq!(evidence.report_data, binding::report_data("operator", &answer.root));
        assert!(evidence.none_because.starts_with("no evidence source is configured: "));
        assert_eq!(answer.not_proven, ["operator-code", "control-plane", "nodes"]);
    }

    #[tokio::test]
    async fn several_questions_share_one_root_and_each_has_its_path() {
        let (attestations, ..) = attestations();
        let nonces: Vec<[u8; 16]> = (0..5).map(|at| [at; 16]).collect();
        let questions: Vec<_> = nonces.iter().map(|nonce| Asked { nonce, requester: &[4] }).collect();
        let answers = attestations.answer(&questions).await.unwrap();
        for answer in &answers {
            assert_eq!(answer.root, answers[0].root);
            assert_eq!(
                binding::root_of_path(answer.leaf, answer.leaf_index, answer.tree_size, &answer.path),
                Some(answer.root)
            );
        }
    }

    #[tokio::test]
    async fn claims_follow_the_facts_and_are_what_was_hashed() {
        let (attestations, image, hash) = attestations();
        let ask = Asked {
            nonce: &[9; 16],
            requester: &[4],
        };
        assert_eq!(attestations.attest(ask).await.unwrap().claims.image_id, "");
        image.send_replace("registry.example/operator@sha256:00".to_owned());
        hash.send_replace(vec![8; 32]);
        let claims = attestations.attest(ask).await.unwrap().claims;
        let message = ProviderClaims::decode(claims.encoded.as_slice()).unwrap();
        assert_eq!(message.image_id, "registry.example/operator@sha256:00");
        assert_eq!(message.policies_hash, [8; 32]);
        assert_eq!(message.payment_address, [7; 20]);
        assert_eq!(message.secrets_visible_to, "cluster-admins");
        assert_eq!(message.receipt_key, Vec::<u8>::new());
        assert_eq!(message.sealing_key, claims.sealing_key);
    }

    #[test]
    fn every_process_has_its_own_sealing_key() {
        assert_ne!(SealingKey::generate().public(), SealingKey::generate().public());
    }
}

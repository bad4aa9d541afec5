//! What the pod that exists says to a provision: pure, and the fingerprint by which two requests are the same.

use apocryph_proto::{limits, outcome::Code};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::{
    pod::{End, LifeState, Offer, PodRecord, Tag},
    refusal::{EndedLife, Refusal},
};

/// First byte under the HMAC: a change of what is hashed changes it, so that no old tag matches by accident.
const TAG_FORMAT: u8 = 1;
/// Hex digits of a [`Tag`].
pub const TAG_LEN: usize = 16;
/// Seconds after which a pod that is ending may be gone.
pub const TERMINATING_RETRY: u32 = 5;

/// The key of every TAG, from the identity Secret.
pub struct TagKey(Zeroizing<[u8; 32]>);

impl TagKey {
    pub fn new(key: [u8; 32]) -> TagKey {
        TagKey(Zeroizing::new(key))
    }

    /// First 16 hex digits of HMAC-SHA-256(format version ‖ the encoded pod). `encoded` is the decoded pod encoded again
    /// (maps sorted, before defaults), so two encodings of one pod have one tag.
    pub fn tag(&self, encoded: &[u8]) -> Tag {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.0.as_slice()).expect("any length is a key");
        mac.update(&[TAG_FORMAT]);
        mac.update(encoded);
        let digest = mac.finalize().into_bytes();
        Tag(data_encoding::HEXLOWER.encode(&digest[..TAG_LEN / 2]))
    }
}

impl std::fmt::Debug for TagKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TagKey")
    }
}

/// What a provision asks to be there.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub tag: &'a Tag,
    pub offer: &'a Offer,
    /// The life it follows; 0 for the first.
    pub after_life: u64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It runs already: the same pod, the same payment, the same life.
    Attach(PodRecord),
    Create {
        life: u64,
        /// resourceVersion of the ended object that gives way.
        replaces: Option<String>,
    },
}

/// The life that a provision asks for; a number past the limit is the request's fault.
pub fn life(after_life: u64) -> Result<u64, Refusal> {
    after_life
        .checked_add(1)
        .filter(|life| limits::LIFE.contains(life))
        .ok_or_else(|| {
            Refusal::new(
                Code::InvalidRequest,
                format!(
                    "afterLife is {after_life}; lives are counted up to {}",
                    limits::LIFE.end()
                ),
            )
            .field("afterLife")
        })
}

/// The existing object against what is wanted.
///
/// An admin's own pod (no tag) is never touched by a stranger, whatever its state. Of several differences the one that
/// explains the others is named: the life first (another life has content and payment of its own), then the content, then
/// the payment.
pub fn existing(record: Option<PodRecord>, wanted: &Wanted<'_>) -> Result<Step, Refusal> {
    let life = life(wanted.after_life)?;
    let Some(record) = record else {
        return Ok(Step::Create { life, replaces: None });
    };
    let Some(tag) = &record.tag else {
        return Err(Refusal::new(
            Code::ContentDiffers,
            "the cluster's admin runs a pod of their own under this publisher and podID; nothing was changed",
        )
        .field("payment.podID")
        .remedy("use another podID"));
    };
    match &record.state {
        LifeState::Ending(end) => Err(terminating(record.life, end)),
        LifeState::Ended(_) if wanted.after_life == record.life => Ok(Step::Create {
            life,
            replaces: Some(record.version.clone()),
        }),
        LifeState::Ended(end) => Err(ended(record.life, end)),
        LifeState::Alive if life != record.life => Err(Refusal::new(
            Code::OtherLife,
            format!(
                "life {} of this pod is running; the request is for life {life}",
                record.life
            ),
        )
        .field("afterLife")
        .remedy("watch the running pod, or delete it first")),
        LifeState::Alive if tag != wanted.tag => Err(Refusal::new(
            Code::ContentDiffers,
            "a pod with other content runs under this podID; nothing was changed",
        )
        .field("pod")
        .remedy("use another podID for another pod, or delete the running one first")),
        LifeState::Alive if !record.terms.same_payment(wanted.offer) => Err(Refusal::new(
            Code::PaymentDiffers,
            "this pod runs under another payment; nothing was changed",
        )
        .field("payment")
        .remedy("send the payment that the pod was accepted with")),
        LifeState::Alive => Ok(Step::Attach(record)),
    }
}

fn terminating(life: u64, end: &End) -> Refusal {
    Refusal::new(
        Code::Terminating,
        format!(
            "life {life} of this pod is ending ({}) and its namespace is not yet gone",
            end.reason
        ),
    )
    .remedy("ask again when it is gone")
    .retry_after(TERMINATING_RETRY)
}

fn ended(life: u64, end: &End) -> Refusal {
    Refusal::new(
        Code::Ended,
        format!(
            "life {life} of this pod has ended: {} (by {})",
            end.reason,
            end.by.as_str()
        ),
    )
    .field("afterLife")
    .remedy(format!(
        "to start it anew, sign a request with afterLife {life}; its volumes are gone"
    ))
    .ended(EndedLife {
        life,
        code: end.reason,
        at: end.at,
    })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::model::{
        key::{PodId, PodKey, Publisher},
        pod::{EndedBy, Terms},
    };

    fn record(life: u64, state: LifeState) -> PodRecord {
        let key = PodKey {
            publisher: Publisher([1; 20]),
            pod_id: PodId([2; 32]),
        };
        PodRecord {
            key,
            name: key.name(),
            life,
            tag: Some(Tag("00000000000000aa".into())),
            terms: Terms::Free { table: "open".into() },
            state,
            generation: 3,
            delegations_not_before: 0,
            version: "77".into(),
        }
    }

    fn end() -> End {
        End {
            at: UNIX_EPOCH,
            reason: Code::StartTimeout,
            by: EndedBy::Controller,
        }
    }

    fn decide(record: Option<PodRecord>, tag: &str, after_life: u64) -> Result<Step, Code> {
        let tag = Tag(tag.into());
        existing(
            record,
            &Wanted {
                tag: &tag,
                offer: &Offer::Free,
                after_life,
            },
        )
        .map_err(|refusal| refusal.code)
    }

    const SAME: &str = "00000000000000aa";
    const OTHER: &str = "00000000000000bb";

    #[test]
    fn every_state_of_the_existing_pod_has_its_one_answer() {
        use LifeState::{Alive, Ended, Ending};
        let alive = || Some(record(2, Alive));
        assert_eq!(
            decide(None, SAME, 0),
            Ok(Step::Create {
                life: 1,
                replaces: None
            })
        );
        assert_eq!(
            decide(None, SAME, 4),
            Ok(Step::Create {
                life: 5,
                replaces: None
            })
        );
        assert_eq!(decide(alive(), SAME, 1), Ok(Step::Attach(record(2, Alive))));
        assert_eq!(decide(alive(), OTHER, 1), Err(Code::ContentDiffers));
        assert_eq!(decide(alive(), SAME, 0), Err(Code::OtherLife));
        assert_eq!(decide(alive(), SAME, 2), Err(Code::OtherLife));
        assert_eq!(
            decide(alive(), OTHER, 0),
            Err(Code::OtherLife),
            "the life explains the content"
        );
        assert_eq!(decide(Some(record(2, Ending(end()))), SAME, 1), Err(Code::Terminating));
        assert_eq!(decide(Some(record(2, Ending(end()))), SAME, 2), Err(Code::Terminating));
        assert_eq!(
            decide(Some(record(2, Ended(end()))), OTHER, 2),
            Ok(Step::Create {
                life: 3,
                replaces: Some("77".into())
            })
        );
        for after_life in [0, 1, 3] {
            assert_eq!(
                decide(Some(record(2, Ended(end()))), SAME, after_life),
                Err(Code::Ended)
            );
        }
    }

    #[test]
    fn an_admins_own_pod_is_never_taken_over() {
        for state in [LifeState::Alive, LifeState::Ending(end()), LifeState::Ended(end())] {
            let own = PodRecord {
                tag: None,
                ..record(1, state)
            };
            assert_eq!(decide(Some(own.clone()), SAME, 0), Err(Code::ContentDiffers));
            assert_eq!(decide(Some(own), SAME, 1), Err(Code::ContentDiffers));
        }
    }

    #[test]
    fn ended_tells_which_life_and_why_and_terminating_when_to_ask_again() {
        let tag = Tag(SAME.into());
        let wanted = Wanted {
            tag: &tag,
            offer: &Offer::Free,
            after_life: 0,
        };
        let refusal = existing(Some(record(2, LifeState::Ended(end()))), &wanted).unwrap_err();
        assert_eq!(
            refusal.ended,
            Some(EndedLife {
                life: 2,
                code: Code::StartTimeout,
                at: UNIX_EPOCH
            })
        );
        let refusal = existing(Some(record(2, LifeState::Ending(end()))), &wanted).unwrap_err();
        assert_eq!(refusal.retry_after, Some(TERMINATING_RETRY));
    }

    #[test]
    fn lives_past_the_limit_are_the_requests_fault() {
        assert_eq!(life(*limits::LIFE.end() - 1), Ok(*limits::LIFE.end()));
        assert_eq!(life(*limits::LIFE.end()).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(life(u64::MAX).unwrap_err().code, Code::InvalidRequest);
    }

    #[test]
    fn the_tag_is_the_published_construction() {
        // python3: hmac.new(bytes(range(32)), b"\x01pod", "sha256").hexdigest()[:16]
        let key = TagKey::new(std::array::from_fn(|at| at as u8));
        assert_eq!(key.tag(b"pod").0, "3b980a1c545ddf70");
        assert_eq!(format!("{key:?}"), "TagKey");
    }
}

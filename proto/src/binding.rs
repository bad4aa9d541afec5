//! What binds evidence to a provider, a process and a question (DESIGN 12): the leaf, the Merkle tree over the leaves of
//! everyone who asked at the same time (RFC 6962 shape), and the report data that hardware signs.

use sha2::{Digest, Sha256, Sha512};

pub type Hash = [u8; 32];

/// Fields of one question, in the order in which they are hashed.
pub struct Question<'a> {
    pub protocol: &'a str,
    pub nonce: &'a [u8],
    /// Peer ids as multihash bytes.
    pub provider: &'a [u8],
    pub requester: &'a [u8],
    /// The encoded ProviderClaims.
    pub claims: &'a [u8],
}

/// A field with its length before it (u32, big-endian), so that no two lists of fields hash alike.
fn field(hasher: &mut impl Digest, bytes: &[u8]) {
    // Every field is far below 4 GiB: limits::MESSAGE_MAX bounds what can be in one.
    hasher.update((bytes.len() as u32).to_be_bytes());
    hasher.update(bytes);
}

/// SHA-256(0x00 ‖ protocol, nonce, provider, requester, SHA-256(claims)).
pub fn leaf(question: &Question<'_>) -> Hash {
    let mut hasher = Sha256::new_with_prefix([0]);
    field(&mut hasher, question.protocol.as_bytes());
    field(&mut hasher, question.nonce);
    field(&mut hasher, question.provider);
    field(&mut hasher, question.requester);
    field(&mut hasher, &Sha256::digest(question.claims));
    hasher.finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new_with_prefix([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// RFC 6962 section 2.1: where a list of more than one leaf is split.
fn split(len: usize) -> usize {
    len.next_power_of_two() / 2
}

/// The Merkle tree hash of leaves that are already leaf hashes; `None` for no leaves.
pub fn root(leaves: &[Hash]) -> Option<Hash> {
    match leaves {
        [] => None,
        [only] => Some(*only),
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            Some(node(&root(left)?, &root(right)?))
        }
    }
}

/// The audit path of one leaf, lowest sibling first; `None` when there is no such leaf.
pub fn path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    match leaves {
        [] => None,
        [_] => (index == 0).then(Vec::new),
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            let (mut below, sibling) = if index < left.len() {
                (path(left, index)?, root(right)?)
            } else {
                (path(right, index - left.len())?, root(left)?)
            };
            below.push(sibling);
            Some(below)
        }
    }
}

/// The root that a leaf and its path lead to; `None` when the path does not fit the place in a tree of that size.
pub fn root_of_path(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    // RFC 9162 section 2.1.3.2.
    let (mut first, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if first & 1 == 1 || first == last {
            hash = node(sibling, &hash);
            while first & 1 == 0 && first != 0 {
                first >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        first >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// What the hardware signs: SHA-512(`apocryph-attest-v0`, subject, root); subject is `operator` or `node/NAME`.
pub fn report_data(subject: &str, root: &Hash) -> [u8; 64] {
    let mut hasher = Sha512::new();
    field(&mut hasher, b"apocryph-attest-v0");
    field(&mut hasher, subject.as_bytes());
    field(&mut hasher, root);
    hasher.finalize().into()
}

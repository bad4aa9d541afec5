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

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Leaf data and roots of the trees of 1 to 8 leaves, computed apart (Python's hashlib, by the text of RFC 6962).
    const DATA: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"@ABC",
        b"PQRSTUVW",
        b"`abcdefghijklmno",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|n| Sha256::digest(n.to_be_bytes()).into()).collect()
    }

    #[test]
    fn roots_are_those_of_rfc_6962() {
        let hashes: Vec<Hash> = DATA
            .iter()
            .map(|data| Sha256::new_with_prefix([0]).chain_update(data).finalize().into())
            .collect();
        for (count, expected) in (1..).zip(ROOTS) {
            assert_eq!(
                HEXLOWER.encode(&root(&hashes[..count]).unwrap()),
                expected,
                "{count} leaves"
            );
        }
        assert_eq!(root(&[]), None);
    }

    #[test]
    fn each_path_leads_to_the_root_and_to_nothing_else() {
        for size in 1..=33 {
            let leaves = leaves(size);
            let expected = root(&leaves);
            assert_eq!(path(&leaves, size), None);
            for index in 0..size {
                let path = path(&leaves, index).unwrap();
                let at = |leaf, index, size, path: &[Hash]| root_of_path(leaf, index as u64, size as u64, path);
                assert_eq!(at(leaves[index], index, size, &path), expected, "{index} of {size}");

                assert_ne!(at([7; 32], index, size, &path), expected, "another leaf");
                assert_eq!(at(leaves[index], size, size, &path), None, "outside of the tree");
                let longer = [path.as_slice(), &[[7; 32]]].concat();
                assert_eq!(at(leaves[index], index, size, &longer), None, "a longer path");
                for other in (0..size).filter(|other| *other != index) {
                    assert_ne!(
                        at(leaves[index], other, size, &path),
                        expected,
                        "another place: {other} of {size}"
                    );
                }
                for level in 0..path.len() {
                    let mut changed = path.clone();
                    changed[level][31] ^= 1;
                    assert_ne!(at(leaves[index], index, size, &changed), expected, "a changed path");
                }
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(at(leaves[index], index, size, shorter), None, "a shorter path");
                }
            }
        }
    }

    /// The bytes under the hash, written out: each field with its length before it.
    #[test]
    fn leaf_and_report_data_hash_the_fields_with_their_lengths() {
        let question = Question {
            protocol: "/p",
            nonce: &[1, 2],
            provider: &[3],
            requester: &[],
            claims: b"claims",
        };
        let mut bytes =
            b"\x00\x00\x00\x00\x02/p\x00\x00\x00\x02\x01\x02\x00\x00\x00\x01\x03\x00\x00\x00\x00\x00\x00\x00\x20"
                .to_vec();
        bytes.extend(Sha256::digest(b"claims"));
        assert_eq!(leaf(&question), <Hash>::from(Sha256::digest(&bytes)));

        let mut bytes = b"\x00\x00\x00\x12apocryph-attest-v0\x00\x00\x00\x08operator\x00\x00\x00\x20".to_vec();
        bytes.extend([9; 32]);
        assert_eq!(
            report_data("operator", &[9; 32]),
            <[u8; 64]>::from(Sha512::digest(&bytes))
        );
    }

    #[test]
    fn a_byte_that_moves_from_one_field_to_the_next_changes_the_leaf() {
        let question = |nonce, provider| Question {
            protocol: "/p",
            nonce,
            provider,
            requester: b"r",
            claims: b"c",
        };
        assert_ne!(leaf(&question(b"ab", b"c")), leaf(&question(b"a", b"bc")));
    }
}

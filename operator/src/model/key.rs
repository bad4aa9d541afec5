//! Whose pod: (publisher, pod id), and the names made from it.

use std::fmt;

use alloy_primitives::keccak256;
use data_encoding::BASE32_NOPAD;

/// Ethereum address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Publisher(pub [u8; 20]);

/// 32 bytes, chosen by the publisher.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodId(pub [u8; 32]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    pub publisher: Publisher,
    pub pod_id: PodId,
}

/// Name of the ApocryphPod: lowercase base32 (RFC 4648, no padding) of the first 130 bits of
/// keccak256(publisher ‖ pod id), 26 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodName(String);

/// Characters of a [`PodName`].
pub const NAME_LEN: usize = 26;
/// Before the name, in a namespace's.
pub const NAMESPACE_PREFIX: &str = "apod-";

impl PodKey {
    pub fn name(&self) -> PodName {
        let mut bytes = [0; 52];
        bytes[..20].copy_from_slice(&self.publisher.0);
        bytes[20..].copy_from_slice(&self.pod_id.0);
        let mut text = BASE32_NOPAD.encode(&keccak256(bytes).0).to_ascii_lowercase();
        text.truncate(NAME_LEN);
        PodName(text)
    }
}

impl PodName {
    /// From an object's name; `None` when it is not of the form.
    pub fn parse(text: &str) -> Option<PodName> {
        (text.len() == NAME_LEN && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')))
            .then(|| PodName(text.to_owned()))
    }

    /// From a tenant namespace's name.
    pub fn from_namespace(namespace: &str) -> Option<PodName> {
        PodName::parse(namespace.strip_prefix(NAMESPACE_PREFIX)?)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `apod-` and the name.
    pub fn namespace(&self) -> String {
        format!("{NAMESPACE_PREFIX}{}", self.0)
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! hex_text {
    ($type:ident, $len:literal) => {
        impl $type {
            /// `0x` and lowercase hex; `None` for anything else.
            pub fn parse(text: &str) -> Option<$type> {
                let digits = text.strip_prefix("0x")?;
                let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).ok()?;
                Some($type(<[u8; $len]>::try_from(bytes).ok()?))
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", data_encoding::HEXLOWER.encode(&self.0))
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
hex_text!(Publisher, 20);
hex_text!(PodId, 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_namespace_have_the_form_the_policies_hold_us_to() {
        let key = PodKey {
            publisher: Publisher([1; 20]),
            pod_id: PodId([2; 32]),
        };
        let name = key.name();
        assert_eq!(name.as_str().len(), NAME_LEN);
        assert_eq!(PodName::parse(name.as_str()), Some(name.clone()));
        assert_eq!(PodName::from_namespace(&name.namespace()), Some(name));
        assert_eq!(PodName::from_namespace("apod-short"), None);
        assert_eq!(PodName::from_namespace("kube-system"), None);
    }

    #[test]
    fn hex_is_lowercase_and_of_full_length() {
        let publisher = Publisher([0xab; 20]);
        assert_eq!(Publisher::parse(&publisher.to_string()), Some(publisher));
        assert_eq!(Publisher::parse(&publisher.to_string().to_uppercase()), None);
        assert_eq!(Publisher::parse("0xab"), None);
    }
}

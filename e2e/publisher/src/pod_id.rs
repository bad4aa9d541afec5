//! A pod id: 32 bytes, chosen by the publisher, unique among their pods.

use std::{fmt, str::FromStr};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use rand::{RngCore, rngs::OsRng};

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodId(pub [u8; 32]);

#[derive(Debug, thiserror::Error)]
#[error("a pod id is 64 hex digits, with or without 0x")]
pub struct NotAPodId;

impl PodId {
    pub fn random() -> PodId {
        let mut bytes = [0; 32];
        OsRng.fill_bytes(&mut bytes);
        PodId(bytes)
    }

    /// 64 hex digits, without `0x`.
    pub fn hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

/// `0x` and 64 hex digits.
impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", self.hex())
    }
}

impl fmt::Debug for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PodId {
    type Err = NotAPodId;

    fn from_str(text: &str) -> Result<PodId, NotAPodId> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| NotAPodId)?;
        bytes.try_into().map(PodId).map_err(|_| NotAPodId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let id = PodId::random();
        assert_ne!(id, PodId::random());
        assert_eq!(id.to_string().parse::<PodId>().unwrap(), id);
        assert_eq!(id.hex().to_uppercase().parse::<PodId>().unwrap(), id);
        for text in ["", "0x", "0x00", &id.hex()[1..], "g"] {
            assert!(text.parse::<PodId>().is_err(), "{text}");
        }
    }
}

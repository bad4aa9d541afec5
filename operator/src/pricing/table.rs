//! The pricing ConfigMap (key `pricing.yaml`), parsed strictly; a bad edit keeps the last good one.

/// All tables of one good ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {}

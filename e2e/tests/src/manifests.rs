//! The text of manifests.yaml.

use serde::de::DeserializeOwned;

/// Reads the table. It is ours, and says the same thing in few words by many aliases: more than a stranger's YAML may have.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let budget = serde_saphyr::budget! { enforce_alias_anchor_ratio: false };
    serde_saphyr::from_str_with_options(text, serde_saphyr::options! { budget: budget })
}

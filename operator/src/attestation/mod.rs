//! Evidence of what the provider runs on: what this process claims of itself, and who proves it.

pub mod claims;
pub mod evidence;

pub use claims::{ClaimsMaker, SealingKey};
pub use evidence::{Attestations, Source};

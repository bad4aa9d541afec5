//! Evidence of what the provider runs on.

pub mod claims;
pub mod evidence;

//! A ConfigMap that the admin edits while the operator runs: read strictly, with the line of every value, and followed; a bad
//! edit leaves the last good one in force.

mod read;
pub mod watch;

pub use read::{EditError, Field, Map, open, quote, read};

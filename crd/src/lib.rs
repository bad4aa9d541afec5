//! The `ApocryphPod`: one accepted request, the only record of it.
//!
//! The controller reads the spec and writes the status; libp2p requests and `kubectl apply` go through the same schema and
//! CEL rules, so both get the same answer for everything that depends on the manifest alone. The bounds are those of
//! `apocryph_proto::limits`; the tests in `crd` see to it that nothing is without one.

mod codes;
mod crd;
pub mod form;
mod spec;
mod status;

pub use codes::codes;
pub use crd::{chart, definition, yaml};
pub use spec::*;
pub use status::*;

/// Finalizer: our own, in the object from its first write.
pub const FINALIZER: &str = "apocryph.network/pod";
/// Annotation: the life whose namespace the controller has made; set before anything is put into the namespace.
pub const BUILT: &str = "apocryph.network/built";

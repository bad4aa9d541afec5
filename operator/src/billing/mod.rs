//! What was paid. `free` is the only payment of this version.

pub mod free;

//! Written by the runtime part.

//! Written by the protocols part.

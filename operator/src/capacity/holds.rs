//! Written by the capacity part.

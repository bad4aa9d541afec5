//! Written by the admission part.

//! Written by the pods part.

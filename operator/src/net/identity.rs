//! Written by the net part.

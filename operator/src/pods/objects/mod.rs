//! Pure builders, one file per kind: one validated type in, typed objects out; no client, no clock.

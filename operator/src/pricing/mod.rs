//! What it costs: the admin's ConfigMap, the last good reading of it.

pub mod table;

pub use table::Tables;

//! What it costs: the admin's ConfigMap, the last good reading of it.

pub mod decimal;
mod holder;
pub mod quote;
pub mod table;

pub use decimal::Decimal;
pub use holder::{KEY, Pricing};
pub use table::{FreeAnswer, Tables};

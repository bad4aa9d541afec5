//! What it costs: the admin's ConfigMap, the last good reading of it.

pub mod decimal;
mod holder;
pub mod quote;
mod read;
pub mod table;
pub mod watch;

pub use decimal::Decimal;
pub use holder::{Applied, Pricing};
pub use read::PricingError;
pub use table::{FreeAnswer, Tables};

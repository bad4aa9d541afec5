//! May this request become an ApocryphPod? Ordered, cheapest first, each "no" with its code; nothing before `facts` makes an
//! API call.

pub mod admitted;
pub mod checks;
pub mod credential;
pub mod facts;

pub use admitted::Admitted;

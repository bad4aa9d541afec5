//! What the services are asked for, each with its bound; "could not find out" is an answer of its own.

use std::time::Duration;

use apocryph_proto::outcome::Code;
use tokio::time::timeout;

use crate::model::{
    key::PodKey,
    pod::{Offer, Terms},
    refusal::Refusal,
    services::{Payments, Verdict},
};

/// Longest time in which a payment must be found out. Less than a stream's patience, so that its opener gets the answer.
pub const PAYMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Seconds after which an unknown payment may be known.
pub const PAYMENT_RETRY: u32 = 15;

/// The terms that the offer buys.
pub async fn terms(payments: &dyn Payments, key: &PodKey, offer: &Offer) -> Result<Terms, Refusal> {
    let because = match timeout(PAYMENT_TIMEOUT, payments.check(key, offer)).await {
        Ok(Verdict::Enough(terms)) => return Ok(terms),
        Ok(Verdict::NotEnough(refusal)) => return Err(refusal),
        Ok(Verdict::Unknown(because)) => because,
        Err(_) => format!("no answer within {} s", PAYMENT_TIMEOUT.as_secs()),
    };
    Err(Refusal::new(
        Code::PaymentUnknown,
        format!("whether it is paid could not be found out: {because}"),
    )
    .field("payment")
    .remedy("send the same request again")
    .retry_after(PAYMENT_RETRY))
}

//! Pods that cost nothing: the tables in force say for whom.

use std::sync::Arc;

use apocryph_proto::outcome::Code;
use futures::future::{self, BoxFuture, FutureExt};

use crate::{
    model::{
        key::PodKey,
        pod::{Offer, Terms},
        refusal::Refusal,
        services::{Payments, Prices, Verdict},
    },
    pricing::FreeAnswer,
};

/// Implements [`Payments`] for `free`, without a question to anybody.
pub struct Free {
    prices: Arc<dyn Prices>,
}

impl Free {
    pub fn new(prices: Arc<dyn Prices>) -> Free {
        Free { prices }
    }

    fn verdict(&self, key: &PodKey, offer: &Offer) -> Verdict {
        let Offer::Free = offer;
        let Some(tables) = self.prices.tables() else {
            return Verdict::NotEnough(
                Refusal::new(
                    Code::NoPriceTable,
                    "no price table is in force: this provider accepts nothing yet",
                )
                .remedy("ask the provider's admin"),
            );
        };
        match tables.free_for(&key.publisher) {
            FreeAnswer::Allowed(table) => Verdict::Enough(Terms::Free { table }),
            FreeAnswer::NotListed => Verdict::NotEnough(
                Refusal::new(
                    Code::PublisherNotAllowed,
                    format!(
                        "free pods are for listed publishers, and {} is not listed",
                        key.publisher
                    ),
                )
                .field("payment.publisherAddress")
                .remedy("ask the provider's admin to list this address"),
            ),
            FreeAnswer::NoFreeTable => Verdict::NotEnough(
                Refusal::new(Code::PaymentNotOffered, "no table in force is free of charge")
                    .field("payment")
                    .remedy("ask provisioning-capacity for the tables in force"),
            ),
        }
    }
}

impl Payments for Free {
    fn check<'a>(&'a self, key: &'a PodKey, offer: &'a Offer) -> BoxFuture<'a, Verdict> {
        future::ready(self.verdict(key, offer)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        key::{PodId, Publisher},
        services::Tables,
    };

    struct Fixed(Option<Arc<Tables>>);

    impl Prices for Fixed {
        fn tables(&self) -> Option<Arc<Tables>> {
            self.0.clone()
        }
    }

    async fn check(tables: Option<&str>, publisher: u8) -> Result<Terms, Code> {
        let tables = tables.map(|yaml| {
            let text = format!("apiVersion: pricing.apocryph.network/v1alpha1\ntables:\n{yaml}");
            Arc::new(Tables::parse(&text).unwrap().unwrap())
        });
        let key = PodKey {
            publisher: Publisher([publisher; 20]),
            pod_id: PodId([9; 32]),
        };
        match Free::new(Arc::new(Fixed(tables))).check(&key, &Offer::Free).await {
            Verdict::Enough(terms) => Ok(terms),
            Verdict::NotEnough(refusal) => Err(refusal.code),
            Verdict::Unknown(_) => panic!("nothing here is unknown"),
        }
    }

    const LISTED: &str =
        "- {name: friends, payment: {free: {publishers: ['0x0101010101010101010101010101010101010101']}}}\n";
    const EVERYONE: &str = "- {name: open, payment: {free: {everyone: true}}}\n";
    const CHANNEL: &str = "- name: usdc
  payment: {channel: {chainId: 1, contract: '0x0101010101010101010101010101010101010101', token: '0x0202020202020202020202020202020202020202', decimals: 6}}
  perHour: {cpu: '0.012', memoryGiB: '0.004', storageGiB: '0.0001', ephemeralStorageGiB: '0'}
";

    fn free(table: &str) -> Result<Terms, Code> {
        Ok(Terms::Free {
            table: table.to_owned(),
        })
    }

    #[tokio::test]
    async fn the_tables_in_force_say_who_pays_nothing() {
        assert_eq!(check(None, 1).await, Err(Code::NoPriceTable));
        assert_eq!(check(Some(CHANNEL), 1).await, Err(Code::PaymentNotOffered));
        assert_eq!(check(Some(LISTED), 1).await, free("friends"));
        assert_eq!(check(Some(LISTED), 2).await, Err(Code::PublisherNotAllowed));
        assert_eq!(check(Some(EVERYONE), 2).await, free("open"));
        assert_eq!(
            check(Some(&format!("{CHANNEL}{LISTED}{EVERYONE}")), 2).await,
            free("open")
        );
    }
}

//! What a pod costs in an hour: integers, rounded up.

use super::{
    decimal::FRACTION_DIGITS_MAX,
    table::{Channel, FreeFor, Payment, PerHour, Table, Tables},
};
use crate::model::{key::Publisher, manifest::Demand};

/// Thousandths of a core in a core.
const MILLIS: u128 = 1000;
const GIB: u128 = 1 << 30;
/// Parts of a token that are counted: 10^18.
const ATTOS: u128 = 10u128.pow(FRACTION_DIGITS_MAX as u32);

/// By one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    pub table: String,
    /// Whole tokens, decimal text; `0` when nothing is owed.
    pub per_hour: String,
    /// Chain and token; `None`: nothing is owed.
    pub token: Option<(u64, [u8; 20])>,
}

/// By each table that takes the publisher and has a price for all of it, in their order.
pub fn prices(tables: &Tables, publisher: &Publisher, demand: &Demand) -> Vec<Price> {
    tables
        .iter()
        .filter_map(|table| price(table, publisher, demand))
        .collect()
}

fn price(table: &Table, publisher: &Publisher, demand: &Demand) -> Option<Price> {
    let (per_hour, token) = match &table.payment {
        Payment::Free(FreeFor::Everyone) => ("0".to_owned(), None),
        Payment::Free(FreeFor::Publishers(listed)) if listed.contains(publisher) => ("0".to_owned(), None),
        Payment::Free(FreeFor::Publishers(_)) => return None,
        Payment::Channel(Channel { chain_id, token, .. }) => {
            (text(attos(&table.per_hour, demand)?), Some((*chain_id, *token)))
        }
    };
    Some(Price {
        table: table.name.clone(),
        per_hour,
        token,
    })
}

/// Each resource rounded up to a part of 10^-18. `None`: one has no price, or it is more than can be counted.
fn attos(prices: &PerHour, demand: &Demand) -> Option<u128> {
    let replicas = u128::from(demand.replicas);
    let of = |amount: u64| replicas.checked_mul(amount.into());
    let each = &demand.per_replica;
    [
        (&prices.cpu, of(each.cpu_millis)?, MILLIS),
        (&prices.memory_gib, of(each.memory)?, GIB),
        (&prices.ephemeral_storage_gib, of(each.ephemeral_storage)?, GIB),
        (&prices.storage_gib, demand.storage.into(), GIB),
    ]
    .into_iter()
    .filter(|(_, amount, _)| *amount > 0)
    .try_fold(0u128, |sum, (price, amount, unit)| {
        let cost = price.as_ref()?.attos().checked_mul(amount)?.div_ceil(unit);
        sum.checked_add(cost)
    })
}

/// Decimal text without zeros at its end.
fn text(attos: u128) -> String {
    let fraction = format!("{:0FRACTION_DIGITS_MAX$}", attos % ATTOS);
    let whole = attos / ATTOS;
    match fraction.trim_end_matches('0') {
        "" => whole.to_string(),
        fraction => format!("{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{model::manifest::Resources, pricing::Decimal};

    fn tables() -> Tables {
        let text = "apiVersion: pricing.apocryph.network/v1alpha1
tables:
- name: usdc
  payment: {channel: {chainId: 5, contract: '0x0101010101010101010101010101010101010101', token: '0x0202020202020202020202020202020202020202', decimals: 6}}
  perHour: {cpu: '0.012', memoryGiB: '0.004', storageGiB: '0.0001', ephemeralStorageGiB: '0'}
- {name: friends, payment: {free: {publishers: ['0x0101010101010101010101010101010101010101']}}}
- {name: open, payment: {free: {everyone: true}}}
";
        Tables::parse(text).unwrap().unwrap()
    }

    const DEMAND: Demand = Demand {
        replicas: 2,
        per_replica: Resources {
            cpu_millis: 500,
            memory: 256 << 20,
            ephemeral_storage: 1 << 30,
        },
        storage: 10 << 30,
        shared: false,
    };

    #[test]
    fn each_table_that_takes_the_publisher_has_its_price() {
        let told = |publisher: u8| {
            prices(&tables(), &Publisher([publisher; 20]), &DEMAND)
                .into_iter()
                .map(|price| (price.table, price.per_hour))
                .collect::<Vec<_>>()
        };
        let price = |table: &str, per_hour: &str| (table.to_owned(), per_hour.to_owned());
        // 1 core, 0.5 GiB, 10 GiB: 0.012 + 0.002 + 0.001
        let paid = price("usdc", "0.015");
        assert_eq!(told(1), [paid.clone(), price("friends", "0"), price("open", "0")]);
        assert_eq!(told(2), [paid, price("open", "0")]);
        assert_eq!(
            prices(&tables(), &Publisher([2; 20]), &DEMAND)[0].token,
            Some((5, [2; 20]))
        );
    }

    #[test]
    fn a_price_that_is_missing_is_not_nothing_and_what_is_not_wanted_needs_none() {
        let cpu_only = PerHour {
            cpu: Some(Decimal::parse("1").unwrap()),
            ..PerHour::default()
        };
        assert_eq!(attos(&cpu_only, &DEMAND), None);
        let bare = Demand {
            replicas: 1,
            per_replica: Resources {
                cpu_millis: 1,
                ..Resources::default()
            },
            ..Demand::default()
        };
        assert_eq!(attos(&cpu_only, &bare).map(text).as_deref(), Some("0.001"));
    }

    #[test]
    fn what_cannot_be_divided_is_rounded_up_and_what_cannot_be_counted_is_not_told() {
        let one = |price: &str, bytes: u64| {
            let prices = PerHour {
                storage_gib: Some(Decimal::parse(price).unwrap()),
                ..PerHour::default()
            };
            let demand = Demand {
                storage: bytes,
                ..Demand::default()
            };
            attos(&prices, &demand)
        };
        assert_eq!(one("0.000000000000000001", 1), Some(1));
        assert_eq!(one("1", 1), Some(931_322_575)); // 10^18 / 2^30 = 931322574.6…
        assert_eq!(one("999999999999999999", u64::MAX), None);
    }

    proptest! {
        #[test]
        fn the_text_is_the_number(attos in any::<u128>()) {
            let text = text(attos);
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            let back = whole.parse::<u128>().unwrap() * ATTOS + format!("{fraction:0<18}").parse::<u128>().unwrap();
            prop_assert_eq!(back, attos);
            prop_assert!(!text.ends_with('.') && (fraction.is_empty() || !fraction.ends_with('0')));
        }
    }
}

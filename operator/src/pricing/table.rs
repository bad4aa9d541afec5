//! The tables of the pricing ConfigMap (key `pricing.yaml`), parsed strictly: what is not understood is refused with its
//! line, never guessed.

use std::collections::{BTreeMap, BTreeSet};

use super::decimal::Decimal;
use crate::{
    config_map::{EditError, Field, Map, open, quote},
    model::key::Publisher,
};

/// The one form that is known.
pub const API_VERSION: &str = "pricing.apocryph.network/v1alpha1";
/// Bytes of the text.
pub const TEXT_MAX: usize = 512 << 10;
pub const TABLES_MAX: usize = 32;
/// Publishers of one free table.
pub const PUBLISHERS_MAX: usize = 4096;
pub const GPUS_MAX: usize = 64;
/// Characters of a GPU model's name.
pub const GPU_NAME_MAX: usize = 128;
/// Decimals of a token.
pub const TOKEN_DECIMALS_MAX: u64 = 36;
/// A year.
pub const RUNWAY_HOURS_MAX: u64 = 8784;
/// Characters of a table's name, a DNS label: it stands in the resource.
const NAME_MAX: usize = apocryph_proto::limits::NAME_MAX;

/// All tables of one good ConfigMap, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    tables: Vec<Table>,
}

/// One way to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub payment: Payment,
    pub per_hour: PerHour,
    pub minimum: Minimum,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payment {
    Free(FreeFor),
    /// Told to publishers; pods that are paid so are not served by this version.
    Channel(Channel),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FreeFor {
    Everyone,
    Publishers(BTreeSet<Publisher>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    pub chain_id: u64,
    pub contract: [u8; 20],
    pub token: [u8; 20],
    pub decimals: u8,
}

/// In whole tokens. `None`: not offered at a price.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerHour {
    /// One core.
    pub cpu: Option<Decimal>,
    pub memory_gib: Option<Decimal>,
    pub storage_gib: Option<Decimal>,
    pub ephemeral_storage_gib: Option<Decimal>,
    pub external_ip: Option<Decimal>,
    /// By model.
    pub gpu: BTreeMap<String, Decimal>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Minimum {
    /// A channel must pay for at least so long.
    pub runway_hours: Option<u32>,
    /// Less than this is not settled; whole tokens.
    pub settlement: Option<Decimal>,
}

/// May this publisher have pods for nothing?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FreeAnswer {
    /// Name of the table.
    Allowed(String),
    /// There are free tables, for others.
    NotListed,
    NoFreeTable,
}

impl Tables {
    /// `None`: the text has no table (`tables: []`).
    pub fn parse(text: &str) -> Result<Option<Tables>, EditError> {
        let mut root = open(text, TEXT_MAX, API_VERSION)?;
        let tables = match root.take("tables") {
            Some(list) => list.list(TABLES_MAX)?,
            None => Vec::new(),
        };
        root.end()?;
        let mut names = BTreeSet::new();
        let tables = tables
            .into_iter()
            .map(|table| parse_table(table, &mut names))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((!tables.is_empty()).then_some(Tables { tables }))
    }

    /// In the order of the ConfigMap.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Table> {
        self.tables.iter()
    }

    /// The first table that takes the publisher counts.
    pub fn free_for(&self, publisher: &Publisher) -> FreeAnswer {
        let mut free = self.tables.iter().filter_map(|table| match &table.payment {
            Payment::Free(who) => Some((table, who)),
            Payment::Channel(_) => None,
        });
        let mut answer = FreeAnswer::NoFreeTable;
        let taken = free.find(|(_, who)| {
            answer = FreeAnswer::NotListed;
            match who {
                FreeFor::Everyone => true,
                FreeFor::Publishers(publishers) => publishers.contains(publisher),
            }
        });
        taken.map_or(answer, |(table, _)| FreeAnswer::Allowed(table.name.clone()))
    }
}

fn parse_table(field: Field, names: &mut BTreeSet<String>) -> Result<Table, EditError> {
    let mut table = field.map()?;
    let name = table.need("name", "a table has a name of its own")?;
    let text = name.text("a DNS label, such as usdc")?;
    if !is_label(text) {
        return Err(name.error(format!(
            "is {}; write 1 to {NAME_MAX} lowercase letters, digits and '-', with no '-' at the ends",
            quote(text)
        )));
    }
    if !names.insert(text.to_owned()) {
        return Err(name.error(format!("is {}, as another table's; names are unique", quote(text))));
    }
    let name = text.to_owned();
    let payment = parse_payment(table.need("payment", "write free or channel")?)?;
    let per_hour = match &payment {
        Payment::Channel(_) => parse_per_hour(
            table.need("perHour", "a table that is paid by channel has prices")?,
            Missing::Refused,
        )?,
        // Prices may stay in a table while it is free.
        Payment::Free(_) => table
            .take("perHour")
            .map(|field| parse_per_hour(field, Missing::Allowed))
            .transpose()?
            .unwrap_or_default(),
    };
    let minimum = table
        .take("minimum")
        .map(parse_minimum)
        .transpose()?
        .unwrap_or_default();
    table.end()?;
    Ok(Table {
        name,
        payment,
        per_hour,
        minimum,
    })
}

fn parse_payment(field: Field) -> Result<Payment, EditError> {
    let mut payment = field.map()?;
    let (free, channel) = (payment.take("free"), payment.take("channel"));
    let parsed = match (free, channel) {
        (Some(free), None) => Payment::Free(parse_free(free)?),
        (None, Some(channel)) => Payment::Channel(parse_channel(channel)?),
        (Some(_), Some(_)) => return Err(payment.error("has both free and channel; one table is one way to pay")),
        (None, None) => {
            let neither = payment.error("has neither free nor channel; write one of them");
            payment.end()?;
            return Err(neither);
        }
    };
    payment.end()?;
    Ok(parsed)
}

fn parse_free(field: Field) -> Result<FreeFor, EditError> {
    const CHOICE: &str = "write publishers: [\"0x…\"], or everyone: true";
    let mut free = field.map()?;
    let publishers = free.take("publishers");
    let everyone = free
        .take("everyone")
        .map(|field| field.bool())
        .transpose()?
        .unwrap_or(false);
    let who = match (publishers, everyone) {
        (Some(_), true) => return Err(free.error(format!("has both publishers and everyone; {CHOICE}"))),
        (None, true) => FreeFor::Everyone,
        (Some(publishers), false) => {
            let empty = publishers.error(format!("lists nobody; {CHOICE}"));
            let listed = publishers
                .list(PUBLISHERS_MAX)?
                .iter()
                .map(|field| field.address().map(Publisher))
                .collect::<Result<BTreeSet<_>, _>>()?;
            if listed.is_empty() {
                return Err(empty);
            }
            FreeFor::Publishers(listed)
        }
        (None, false) => {
            let nobody = free.error(format!("is free for nobody; {CHOICE}"));
            free.end()?;
            return Err(nobody);
        }
    };
    free.end()?;
    Ok(who)
}

fn parse_channel(field: Field) -> Result<Channel, EditError> {
    let mut channel = field.map()?;
    let parsed = Channel {
        chain_id: channel
            .need("chainId", "write the chain's number")?
            .integer(1, i64::MAX as u64)?,
        contract: channel
            .need("contract", "write the payment contract's address")?
            .address()?,
        token: channel.need("token", "write the token's address")?.address()?,
        decimals: channel
            .need("decimals", "write the token's number of decimals")?
            .integer(0, TOKEN_DECIMALS_MAX)?
            .try_into()
            .unwrap_or(u8::MAX),
    };
    channel.end()?;
    Ok(parsed)
}

/// Of the prices that every pod needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Allowed,
    /// A price that is missing is not nothing.
    Refused,
}

fn parse_per_hour(field: Field, missing: Missing) -> Result<PerHour, EditError> {
    let mut prices = field.map()?;
    let mut gpu = BTreeMap::new();
    let mut needed = |name| match missing {
        Missing::Allowed => price(&mut prices, name),
        Missing::Refused => prices
            .need(name, "write \"0\" when it costs nothing")
            .and_then(|field| decimal(&field))
            .map(Some),
    };
    let parsed = PerHour {
        cpu: needed("cpu")?,
        memory_gib: needed("memoryGiB")?,
        storage_gib: needed("storageGiB")?,
        ephemeral_storage_gib: needed("ephemeralStorageGiB")?,
        external_ip: price(&mut prices, "externalIP")?,
        gpu: BTreeMap::new(),
    };
    if let Some(models) = prices.take("gpu") {
        for (model, field) in models.map()?.all(GPUS_MAX)? {
            if model.is_empty() || model.chars().count() > GPU_NAME_MAX || model.chars().any(char::is_control) {
                return Err(field.error(format!("is no model's name: 1 to {GPU_NAME_MAX} characters")));
            }
            let price = decimal(&field)?;
            gpu.insert(model, price);
        }
    }
    prices.end()?;
    Ok(PerHour { gpu, ..parsed })
}

fn parse_minimum(field: Field) -> Result<Minimum, EditError> {
    let mut minimum = field.map()?;
    let runway_hours = minimum
        .take("runwayHours")
        .map(|field| field.integer(0, RUNWAY_HOURS_MAX))
        .transpose()?
        .map(|hours| u32::try_from(hours).unwrap_or(u32::MAX));
    let settlement = price(&mut minimum, "settlement")?;
    minimum.end()?;
    Ok(Minimum {
        runway_hours,
        settlement,
    })
}

fn price(map: &mut Map, name: &'static str) -> Result<Option<Decimal>, EditError> {
    map.take(name).map(|field| decimal(&field)).transpose()
}

fn decimal(field: &Field) -> Result<Decimal, EditError> {
    let text = field.text("a decimal in quotes, such as \"0.012\"")?;
    Decimal::parse(text).map_err(|fault| field.error(format!("{} {fault}", quote(text))))
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=NAME_MAX).contains(&text.len())
        && text.bytes().all(|b| inner(b) || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests;

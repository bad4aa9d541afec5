//! Amounts of resources: names are a closed set, units are those of the schema, arithmetic is checked.

use std::ops::RangeInclusive;

use super::Invalid;
use crate::{
    limits,
    outcome::Code,
    v0::pod::{Resource, resource::Quantity as Amount},
};

/// Resources that can be counted by this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Thousandths of a core.
    Cpu,
    /// Bytes.
    Memory,
    /// Bytes, of a volume.
    Storage,
    /// Bytes of the container's own file system, logs and emptyDirs.
    EphemeralStorage,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::Memory => "memory",
            Kind::Storage => "storage",
            Kind::EphemeralStorage => "ephemeral-storage",
        }
    }

    /// What one container, or one volume, may ask for.
    pub const fn bounds(self) -> RangeInclusive<u64> {
        match self {
            Kind::Cpu => limits::CPU_MILLIS,
            Kind::Memory => limits::MEMORY,
            Kind::Storage => limits::VOLUME_SIZE,
            Kind::EphemeralStorage => limits::EPHEMERAL_STORAGE,
        }
    }
}

/// An amount of a resource, in [`Kind`]'s unit. Not yet held against bounds: a capacity request may ask for any sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    pub kind: Kind,
    pub amount: u64,
}

const KNOWN: &str = "known are cpu, memory (or ram), storage, ephemeral-storage, gpu and external-ip";

impl Quantity {
    /// `field` is the path of the resource, for the error.
    pub fn parse(resource: &Resource, field: &str) -> Result<Quantity, Invalid> {
        let kind = match resource.resource.as_str() {
            "cpu" => Kind::Cpu,
            "memory" | "ram" => Kind::Memory,
            "storage" => Kind::Storage,
            "ephemeral-storage" => Kind::EphemeralStorage,
            name @ ("gpu" | "external-ip") => {
                return Err(Invalid::new(
                    Code::NotServed,
                    format!("{field}.resource"),
                    format!("`{name}` is not served by this version; leave it out"),
                ));
            }
            "" => {
                return Err(Invalid::manifest(
                    format!("{field}.resource"),
                    format!("no resource is named; {KNOWN}"),
                ));
            }
            name => {
                return Err(Invalid::manifest(
                    format!("{field}.resource"),
                    format!("{} is not a resource; {KNOWN}", super::text::quote(name)),
                ));
            }
        };
        let Some(amount) = resource.quantity else {
            return Err(Invalid::manifest(
                field,
                format!(
                    "no amount of {} is given; write one of amount, amountMillis, amountKibi, amountMebi, amountGibi",
                    kind.as_str()
                ),
            ));
        };
        let counted = match kind {
            Kind::Cpu => millis(amount),
            _ => bytes(amount),
        };
        let amount = counted.map_err(|fault| {
            let (unit, value) = unit(amount);
            let why = match fault {
                Fault::TooLarge => "is more than can be counted",
                Fault::Fraction => "is no whole number of bytes; write a multiple of 1000, or amount",
            };
            Invalid::manifest(format!("{field}.{unit}"), format!("{value} of {} {why}", kind.as_str()))
        })?;
        Ok(Quantity { kind, amount })
    }

    /// Parses, and holds it against what one container or volume may ask for.
    pub fn parse_within_bounds(resource: &Resource, field: &str) -> Result<Quantity, Invalid> {
        let quantity = Quantity::parse(resource, field)?;
        let bounds = quantity.kind.bounds();
        if bounds.contains(&quantity.amount) {
            return Ok(quantity);
        }
        let unit_name = resource.quantity.map_or("amount", |amount| unit(amount).0);
        let unit = if quantity.kind == Kind::Cpu {
            "thousandths of a core"
        } else {
            "bytes"
        };
        Err(Invalid::manifest(
            format!("{field}.{unit_name}"),
            format!(
                "{} {unit} of {} is out of bounds; at least {} and at most {}",
                quantity.amount,
                quantity.kind.as_str(),
                bounds.start(),
                bounds.end()
            ),
        ))
    }
}

enum Fault {
    TooLarge,
    Fraction,
}

fn scaled(amount: u64, factor: u64) -> Result<u64, Fault> {
    amount.checked_mul(factor).ok_or(Fault::TooLarge)
}

fn millis(amount: Amount) -> Result<u64, Fault> {
    match amount {
        Amount::Amount(cores) => scaled(cores, 1000),
        Amount::AmountMillis(millis) => Ok(millis),
        Amount::AmountKibi(kibi) => scaled(kibi, 1000 << 10),
        Amount::AmountMebi(mebi) => scaled(mebi, 1000 << 20),
        Amount::AmountGibi(gibi) => scaled(gibi, 1000 << 30),
    }
}

fn bytes(amount: Amount) -> Result<u64, Fault> {
    match amount {
        Amount::Amount(bytes) => Ok(bytes),
        Amount::AmountMillis(millis) if millis.is_multiple_of(1000) => Ok(millis / 1000),
        Amount::AmountMillis(_) => Err(Fault::Fraction),
        Amount::AmountKibi(kibi) => scaled(kibi, 1 << 10),
        Amount::AmountMebi(mebi) => scaled(mebi, 1 << 20),
        Amount::AmountGibi(gibi) => scaled(gibi, 1 << 30),
    }
}

fn unit(amount: Amount) -> (&'static str, u64) {
    match amount {
        Amount::Amount(value) => ("amount", value),
        Amount::AmountMillis(value) => ("amountMillis", value),
        Amount::AmountKibi(value) => ("amountKibi", value),
        Amount::AmountMebi(value) => ("amountMebi", value),
        Amount::AmountGibi(value) => ("amountGibi", value),
    }
}

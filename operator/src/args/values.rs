//! Single values: quantities, times, CIDRs. Each error names the field.

use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

use super::{
    Error, bad,
    file::{Span, Text, Three},
};
use crate::{
    capacity::quantity::{Exact, Rounding},
    model::manifest::Resources,
};

pub(super) fn cidrs(field: &'static str, list: Vec<String>) -> Result<Vec<String>, Error> {
    for text in &list {
        let bits = text.split_once('/').and_then(|(address, bits)| {
            let most = if address.parse::<IpAddr>().ok()?.is_ipv4() {
                32
            } else {
                128
            };
            bits.parse::<u8>().ok().filter(|bits| *bits <= most)
        });
        if bits.is_none() {
            return Err(bad(field, format!("{text:?} is not a CIDR, such as 10.0.0.0/8")));
        }
    }
    Ok(list)
}

pub(super) fn positive(field: &'static str, span: Span) -> Result<Duration, Error> {
    at_least(field, span, Duration::from_secs(1))
}

pub(super) fn at_least(field: &'static str, span: Span, least: Duration) -> Result<Duration, Error> {
    if span.0 < least {
        return Err(bad(field, format!("must be at least {least:?}")));
    }
    Ok(span.0)
}

pub(super) fn at_least_one(field: &'static str, number: u32) -> Result<u32, Error> {
    if number == 0 {
        return Err(bad(field, "must be at least 1"));
    }
    Ok(number)
}

fn exact(field: &'static str, text: &Text) -> Result<Exact, Error> {
    Exact::parse(&text.0).map_err(|error| bad(field, error))
}

/// What is kept free is rounded up.
pub(super) fn resources(field: &'static str, three: &Three<Text>) -> Result<Resources, Error> {
    Ok(Resources {
        cpu_millis: exact(field, &three.cpu)?.millis(Rounding::Up),
        memory: exact(field, &three.memory)?.units(Rounding::Up),
        ephemeral_storage: exact(field, &three.ephemeral_storage)?.units(Rounding::Up),
    })
}

/// Within what a publisher could have asked for himself.
pub(super) fn default_requests(three: &Three<Text>) -> Result<Resources, Error> {
    use apocryph_proto::limits::{CPU_MILLIS, EPHEMERAL_STORAGE, MEMORY};
    let requests = resources("defaults.requests", three)?;
    for (field, value, bounds) in [
        ("defaults.requests.cpu", requests.cpu_millis, CPU_MILLIS),
        ("defaults.requests.memory", requests.memory, MEMORY),
        (
            "defaults.requests.ephemeralStorage",
            requests.ephemeral_storage,
            EPHEMERAL_STORAGE,
        ),
    ] {
        within(field, value, bounds)?;
    }
    Ok(requests)
}

/// Of a volume that is emptied, within the same.
pub(super) fn default_volume(text: &Text) -> Result<u64, Error> {
    let field = "defaults.emptyVolume";
    let size = exact(field, text)?.units(Rounding::Up);
    within(field, size, apocryph_proto::limits::EPHEMERAL_STORAGE)
}

fn within(field: &'static str, value: u64, bounds: RangeInclusive<u64>) -> Result<u64, Error> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(bad(
        field,
        format!("must be from {} to {}", bounds.start(), bounds.end()),
    ))
}

pub(super) fn most(
    field: &'static str,
    text: &Option<Text>,
    read: fn(Exact, Rounding) -> u64,
) -> Result<Option<u64>, Error> {
    text.as_ref()
        .map(|text| Ok(read(exact(field, text)?, Rounding::Down)))
        .transpose()
}

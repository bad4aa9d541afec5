//! Amounts as people write them in Kubernetes: `500m`, `1.5`, `256Mi`, `2G`. Integers only: a fraction that is not a whole
//! unit is refused, never rounded.

use apocryph_proto::v0::pod::{Resource, resource::Quantity};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} is not an amount of {resource}: write {example}")]
pub struct NotAnAmount {
    text: String,
    resource: &'static str,
    example: &'static str,
}

/// Processor: cores with up to three decimals, or thousandths with `m`.
pub fn cpu(text: &str) -> Result<Resource, NotAnAmount> {
    let millis = match text.strip_suffix('m') {
        Some(millis) => whole(millis),
        None => scaled(text, 1_000),
    };
    match millis {
        Some(millis) if millis > 0 => Ok(resource("cpu", Quantity::AmountMillis(millis))),
        _ => Err(NotAnAmount {
            text: text.into(),
            resource: "cpu",
            example: "500m, 1 or 1.5",
        }),
    }
}

/// `memory`, `storage`, `ephemeral-storage`: bytes, with Ki, Mi, Gi, Ti or k, M, G, T.
pub fn bytes(name: &'static str, text: &str) -> Result<Resource, NotAnAmount> {
    const UNITS: [(&str, u64); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let amount = match UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))
    {
        Some((number, unit)) => scaled(number, unit),
        None => whole(text),
    };
    match amount {
        Some(amount) if amount > 0 => Ok(resource(name, Quantity::Amount(amount))),
        _ => Err(NotAnAmount {
            text: text.into(),
            resource: name,
            example: "256Mi, 1Gi or 500M",
        }),
    }
}

fn resource(name: &str, quantity: Quantity) -> Resource {
    Resource {
        resource: name.into(),
        quantity: Some(quantity),
    }
}

/// Digits alone: `u64::from_str` also takes a sign.
fn whole(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Decimal text times `unit`, when that is a whole number.
fn scaled(text: &str, unit: u64) -> Option<u64> {
    let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole(&format!("{integer}{fraction}"))?;
    if integer.is_empty() || text.ends_with('.') {
        return None;
    }
    let divisor = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let product = u128::from(digits) * u128::from(unit);
    (product % divisor == 0)
        .then(|| u64::try_from(product / divisor).ok())
        .flatten()
}

/// As people read it: `500m`, `1.5 GiB`. Exact for what a Resource can say; unknown forms are shown as they are.
pub fn show(resource: &Resource) -> String {
    let (amount, unit) = match &resource.quantity {
        Some(Quantity::Amount(n)) => (*n, 1),
        Some(Quantity::AmountMillis(n)) if n % 1_000 == 0 => return (n / 1_000).to_string(),
        Some(Quantity::AmountMillis(n)) => return format!("{n}m"),
        Some(Quantity::AmountKibi(n)) => (*n, 1u128 << 10),
        Some(Quantity::AmountMebi(n)) => (*n, 1u128 << 20),
        Some(Quantity::AmountGibi(n)) => (*n, 1u128 << 30),
        None => return "none".into(),
    };
    let total = u128::from(amount) * unit;
    if matches!(resource.resource.as_str(), "cpu" | "gpu" | "external-ip") {
        return total.to_string();
    }
    binary(total)
}

/// Bytes in the largest binary unit, with one decimal where it is not whole; `~` marks a rounded one.
pub fn binary(bytes: u128) -> String {
    const UNITS: [(&str, u128); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (name, unit) in UNITS {
        if bytes >= unit {
            let tenths = bytes * 10 / unit;
            return match (bytes % unit, bytes * 10 % unit) {
                (0, _) => format!("{} {name}", bytes / unit),
                (_, 0) => format!("{}.{} {name}", tenths / 10, tenths % 10),
                _ => format!("~{}.{} {name}", tenths / 10, tenths % 10),
            };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_as_people_write_them() {
        let millis = |text| cpu(text).map(|r| r.quantity);
        assert_eq!(millis("500m"), Ok(Some(Quantity::AmountMillis(500))));
        assert_eq!(millis("2"), Ok(Some(Quantity::AmountMillis(2_000))));
        assert_eq!(millis("1.5"), Ok(Some(Quantity::AmountMillis(1_500))));
        let memory = |text| bytes("memory", text).map(|r| r.quantity);
        assert_eq!(memory("256Mi"), Ok(Some(Quantity::Amount(256 << 20))));
        assert_eq!(memory("1.5Gi"), Ok(Some(Quantity::Amount(3 << 29))));
        assert_eq!(memory("500M"), Ok(Some(Quantity::Amount(500_000_000))));
        assert_eq!(memory("1024"), Ok(Some(Quantity::Amount(1_024))));
    }

    #[test]
    fn what_is_no_whole_positive_amount_is_refused() {
        for text in [
            "",
            "0",
            "m",
            "+1",
            "-1",
            "1.0005",
            "1.",
            ".5",
            "1e3",
            "18446744073709551616",
            "1Mi",
            "1..2",
        ] {
            assert!(cpu(text).is_err(), "cpu {text}");
        }
        for text in ["", "0", "Mi", "1m", "1.5", "0.3Ki", "16777216Ti", "1 Gi", "1mi"] {
            assert!(bytes("memory", text).is_err(), "memory {text}");
        }
    }

    #[test]
    fn amounts_as_people_read_them() {
        assert_eq!(show(&cpu("1500m").unwrap()), "1500m");
        assert_eq!(show(&cpu("2").unwrap()), "2");
        assert_eq!(show(&bytes("memory", "256Mi").unwrap()), "256 MiB");
        assert_eq!(show(&bytes("memory", "1536Mi").unwrap()), "1.5 GiB");
        assert_eq!(show(&bytes("memory", "1000000000").unwrap()), "~953.6 MiB");
        assert_eq!(show(&bytes("storage", "12").unwrap()), "12 B");
    }
}

//! Kubernetes quantities: how we write them, and whether two mean the same.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Thousandths of a core.
pub fn millis(millis: u64) -> Quantity {
    Quantity(if millis.is_multiple_of(1000) { (millis / 1000).to_string() } else { format!("{millis}m") })
}

/// Bytes, or a count.
pub fn plain(number: u64) -> Quantity {
    Quantity(number.to_string())
}

/// Do both say the same amount? Text that is not a quantity equals only itself.
pub fn same(one: &str, other: &str) -> bool {
    one == other || matches!((nanos(one), nanos(other)), (Some(one), Some(other)) if one == other)
}

/// In billionths; `None`: not a quantity, finer than that, or too large.
fn nanos(text: &str) -> Option<i128> {
    const NANO: i128 = 1_000_000_000;
    let split = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (factor, divisor) = match suffix {
        "" => (NANO, 1),
        "n" => (1, 1),
        "u" => (1_000, 1),
        "m" => (1_000_000, 1),
        "k" => (NANO * 1_000, 1),
        "M" => (NANO * 1_000_000, 1),
        "G" => (NANO * 1_000_000_000, 1),
        "T" => (NANO * 1_000_000_000_000, 1),
        "P" => (NANO * 1_000_000_000_000_000, 1),
        "E" => (NANO * 1_000_000_000_000_000_000, 1),
        "Ki" => (NANO << 10, 1),
        "Mi" => (NANO << 20, 1),
        "Gi" => (NANO << 30, 1),
        "Ti" => (NANO << 40, 1),
        "Pi" => (NANO << 50, 1),
        "Ei" => (NANO << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            match u32::try_from(exponent) {
                Ok(up) => (NANO.checked_mul(10i128.checked_pow(up)?)?, 1),
                Err(_) => (NANO, 10i128.checked_pow(exponent.unsigned_abs())?),
            }
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = digits.checked_mul(factor)?;
    let divisor = scale.checked_mul(divisor)?;
    (scaled % divisor == 0).then(|| scaled / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_amounts_in_different_words() {
        for (one, other) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            ("128Mi", "134217728"),
            ("1Gi", "1024Mi"),
            ("1e3", "1k"),
            ("1E3", "1000"),
            ("1500e-3", "1.5"),
            ("2", "2.0"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [("1", "1001m"), ("128M", "128Mi"), ("1", "one"), ("1", ""), ("1Q", "1")] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn ours_are_in_canonical_form() {
        assert_eq!(millis(1500).0, "1500m");
        assert_eq!(millis(2000).0, "2");
        assert_eq!(plain(134_217_728).0, "134217728");
    }
}

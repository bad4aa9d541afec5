//! Kubernetes quantities: how we write them, and whether two mean the same.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::capacity::quantity::Exact;

/// Thousandths of a core.
pub fn millis(millis: u64) -> Quantity {
    Quantity(if millis.is_multiple_of(1000) {
        (millis / 1000).to_string()
    } else {
        format!("{millis}m")
    })
}

/// Bytes, or a count.
pub fn plain(number: u64) -> Quantity {
    Quantity(number.to_string())
}

/// Do both say the same amount? Text that is not a quantity equals only itself.
pub fn same(one: &str, other: &str) -> bool {
    one == other || matches!((Exact::parse(one), Exact::parse(other)), (Ok(one), Ok(other)) if one == other)
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

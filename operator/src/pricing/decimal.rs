//! Prices: decimal text, held exactly.

use std::fmt;

/// Digits before the point.
pub const WHOLE_DIGITS_MAX: usize = 18;
/// Digits behind the point.
pub const FRACTION_DIGITS_MAX: usize = 18;

/// A decimal that is not negative, as it was written and as an integer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Decimal {
    text: String,
    attos: u128,
}

impl Decimal {
    /// `12`, `0.012`: digits, and at most one point with digits on both sides. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Decimal, &'static str> {
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err("digits are missing behind the point"),
            Some((whole, fraction)) => (whole, fraction),
            None => (text, ""),
        };
        if text.starts_with('-') {
            return Err("is negative");
        }
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err("is not a decimal number such as \"0.012\"");
        }
        if whole.len() > WHOLE_DIGITS_MAX {
            return Err("has more than 18 digits before the point");
        }
        if fraction.len() > FRACTION_DIGITS_MAX {
            return Err("has more than 18 digits behind the point");
        }
        // 36 digits: always within a u128.
        let attos = format!("{whole}{fraction:0<FRACTION_DIGITS_MAX$}")
            .parse()
            .map_err(|_| "is too large")?;
        Ok(Decimal {
            text: text.to_owned(),
            attos,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// In parts of 10^-18.
    pub fn attos(&self) -> u128 {
        self.attos
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_at_the_edge() {
        assert_eq!(Decimal::parse("0").unwrap().attos(), 0);
        assert_eq!(Decimal::parse("1.5").unwrap().attos(), 1_500_000_000_000_000_000);
        assert_eq!(Decimal::parse("0.000000000000000001").unwrap().attos(), 1);
        assert_eq!(
            Decimal::parse("999999999999999999.999999999999999999").unwrap().attos(),
            10u128.pow(36) - 1
        );
        for bad in [
            "",
            ".",
            ".5",
            "5.",
            "-1",
            "+1",
            "1e3",
            "1,5",
            " 1",
            "1 ",
            "0x1",
            "1.2.3",
            "١",
            "1000000000000000000",
            "0.0000000000000000001",
        ] {
            assert!(Decimal::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_integer_say_the_same(whole in 0u64..10u64.pow(18), fraction in "[0-9]{0,18}") {
            let text = if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") };
            let decimal = Decimal::parse(&text).unwrap();
            prop_assert_eq!(decimal.as_str(), &text);
            let unit = 10u128.pow(18);
            prop_assert_eq!(decimal.attos() / unit, u128::from(whole));
            let digits = format!("{:018}", decimal.attos() % unit);
            prop_assert_eq!(digits.trim_end_matches('0'), fraction.trim_end_matches('0'));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = Decimal::parse(&text);
        }
    }
}

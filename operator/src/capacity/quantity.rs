//! Kubernetes quantities (`500m`, `1.5Gi`, `2e3`), read exactly.
//!
//! Grammar: apimachinery's `resource.Quantity`. What is free is rounded down and what is taken is rounded up, so rounding
//! never promises what is not there.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Billionths: the finest unit of the grammar.
const NANO: u128 = 1_000_000_000;
/// Thousandths of a billionth part of a unit.
const NANOS_PER_MILLI: u128 = NANO / 1000;
/// Digits of a text that are read; the API server writes far fewer.
const DIGITS_MAX: usize = 64;

/// A quantity that is not negative, in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exact(u128);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("{0:?} is not a quantity")]
    Form(String),
    #[error("{0:?} is negative")]
    Negative(String),
    #[error("{0:?} is too large")]
    TooLarge(String),
}

impl Exact {
    /// Reads a quantity's text. Fractions finer than a billionth are rounded up, as Kubernetes does.
    pub fn parse(text: &str) -> Result<Exact, QuantityError> {
        let form = || QuantityError::Form(text.to_owned());
        let too_large = || QuantityError::TooLarge(text.to_owned());
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let number_end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > DIGITS_MAX {
            return Err(form());
        }
        // The number is `digits` × 10^(-fraction.len()) × 10^exponent × 2^shift.
        let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| too_large())?;
        let (exponent, shift) = scale(suffix).ok_or_else(form)?;
        if negative && digits > 0 {
            return Err(QuantityError::Negative(text.to_owned()));
        }
        if digits == 0 {
            return Ok(Exact(0));
        }
        let fraction_digits = i32::try_from(fraction.len()).map_err(|_| too_large())?;
        // In billionths: + 9.
        let power = exponent + 9 - fraction_digits;
        let shifted = digits.checked_mul(1 << shift).ok_or_else(too_large)?;
        let factor = 10u128.checked_pow(power.unsigned_abs());
        let nanos = if power >= 0 {
            factor
                .and_then(|factor| shifted.checked_mul(factor))
                .ok_or_else(too_large)?
        } else {
            // Smaller than any unit: something, not nothing.
            factor.map_or(1, |factor| shifted.div_ceil(factor))
        };
        Ok(Exact(nanos))
    }

    /// Whole units; more than a u64 holds counts as its largest value.
    pub fn units(self, rounding: Rounding) -> u64 {
        self.in_steps_of(NANO, rounding)
    }

    /// Thousandths.
    pub fn millis(self, rounding: Rounding) -> u64 {
        self.in_steps_of(NANOS_PER_MILLI, rounding)
    }

    fn in_steps_of(self, step: u128, rounding: Rounding) -> u64 {
        let steps = match rounding {
            Rounding::Down => self.0 / step,
            Rounding::Up => self.0.div_ceil(step),
        };
        u64::try_from(steps).unwrap_or(u64::MAX)
    }
}

impl TryFrom<&Quantity> for Exact {
    type Error = QuantityError;

    fn try_from(quantity: &Quantity) -> Result<Exact, QuantityError> {
        Exact::parse(&quantity.0)
    }
}

/// Which way a part of a unit goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// For what is there.
    Down,
    /// For what is taken.
    Up,
}

/// Exponent of ten and of two of a suffix.
fn scale(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            // Beyond it nothing fits, or everything is less than a billionth.
            (exponent.clamp(-128, 128), 0)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanos(text: &str) -> u128 {
        Exact::parse(text).unwrap().0
    }

    #[test]
    fn every_suffix_counts_exactly() {
        for (text, expected) in [
            ("0", 0),
            ("+7", 7 * NANO),
            ("1n", 1),
            ("1u", 1_000),
            ("100m", NANO / 10),
            ("1.5", NANO + NANO / 2),
            (".5", NANO / 2),
            ("5.", 5 * NANO),
            ("2k", 2_000 * NANO),
            ("3M", 3_000_000 * NANO),
            ("1G", NANO * NANO),
            ("1T", 1_000 * NANO * NANO),
            ("1P", 1_000_000 * NANO * NANO),
            ("1E", NANO * NANO * NANO),
            ("1E3", 1_000 * NANO),
            ("1e+3", 1_000 * NANO),
            ("25e-2", NANO / 4),
            ("1Ki", 1024 * NANO),
            ("1.5Mi", 3 * 512 * 1024 * NANO),
            ("1Gi", (1 << 30) * NANO),
            ("1Ti", (1 << 40) * NANO),
            ("1Pi", (1 << 50) * NANO),
            ("1Ei", (1 << 60) * NANO),
            ("0.0000000001", 1),
            ("1e-100", 1),
            ("-0", 0),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_free_rounds_down_and_what_is_taken_rounds_up() {
        let quantity = Exact::parse("1500100u").unwrap();
        assert_eq!(
            (quantity.millis(Rounding::Down), quantity.millis(Rounding::Up)),
            (1500, 1501)
        );
        assert_eq!((quantity.units(Rounding::Down), quantity.units(Rounding::Up)), (1, 2));
        assert_eq!(Exact::parse("32Ei").unwrap().units(Rounding::Up), u64::MAX);
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "", ".", "m", "1.2.3", "1 Gi", "1gi", "1K", "0x10", "1e", "e3", "١", "NaN", "1e3.5", "--1",
        ] {
            assert_eq!(Exact::parse(text), Err(QuantityError::Form(text.into())), "{text}");
        }
        assert_eq!(Exact::parse("-1"), Err(QuantityError::Negative("-1".into())));
        assert_eq!(Exact::parse("1e100"), Err(QuantityError::TooLarge("1e100".into())));
        let long = "9".repeat(60);
        assert_eq!(Exact::parse(&long), Err(QuantityError::TooLarge(long)));
    }

    proptest! {
        #[test]
        fn whole_numbers_and_thousandths_read_back(n in any::<u64>()) {
            prop_assert_eq!(Exact::parse(&n.to_string()).unwrap().units(Rounding::Down), n);
            prop_assert_eq!(Exact::parse(&format!("{n}m")).unwrap().millis(Rounding::Down), n);
            prop_assert_eq!(Exact::parse(&format!("{n}m")).unwrap().millis(Rounding::Up), n);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+]?[0-9.]{0,70}[a-zA-Z]{0,2}[-+]?[0-9]{0,12}") {
            let _ = Exact::parse(&text);
        }
    }
}

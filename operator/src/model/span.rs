//! Times with their units, as admins write them.

use std::time::Duration;

/// Longer than any date: added to one it would overflow.
const MAX: u64 = 100 * 365 * 86400;

/// `90s`, `10m`, `1h30m`, `7d`; at most a hundred years. `None`: it is not of that form.
pub fn span(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86400,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty() && seconds <= MAX).then(|| Duration::from_secs(seconds))
}

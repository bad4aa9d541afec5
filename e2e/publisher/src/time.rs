//! Times as people read them: UTC, RFC 3339.

const DAY: u64 = 86_400;
/// Later than any time that four digits of a year can tell: 9999-12-31T23:59:59Z.
const LATEST: u64 = 253_402_300_799;

/// `2026-11-24T13:35:23Z`.
pub fn seconds(unix: u64) -> String {
    format!("{}Z", moment(unix.min(LATEST)))
}

/// `2026-11-24T13:35:23.000000007Z`, from nanoseconds since 1970.
pub fn nanoseconds(unix: u64) -> String {
    format!("{}.{:09}Z", moment(unix / 1_000_000_000), unix % 1_000_000_000)
}

fn moment(unix: u64) -> String {
    let (day, second) = (unix / DAY, unix % DAY);
    let (year, month, day) = date(day);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// Days since 1970 as a date. Counted in eras of 400 years that begin in March, so that the leap day is a year's last
/// (Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_calendar() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LATEST, "9999-12-31T23:59:59Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(seconds(unix), text);
        }
        assert_eq!(nanoseconds(1_700_000_000_000_000_007), "2023-11-14T22:13:20.000000007Z");
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut before = date(0);
        for day in 1..200_000 {
            let (year, month, of_month) = date(day);
            let next_day = (year, month, of_month) == (before.0, before.1, before.2 + 1);
            let next_month = of_month == 1 && (28..=31).contains(&before.2);
            assert!(next_day || next_month && (month == before.1 + 1 || (month, before.1) == (1, 12)));
            before = (year, month, of_month);
        }
    }
}

//! Numbers as a person reads them.

/// Four significant digits; counts in full, with commas; very large and very small ones with a power
/// of ten.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if value.fract() == 0.0 && size < 1e15 {
        return signed(value, &with_thousands(&format!("{size:.0}")));
    }
    if !(1e-4..1e6).contains(&size) {
        let (digits, exponent) = split_exponent(size);
        return signed(value, &format!("{digits}e{exponent}"));
    }
    let decimals = (3 - size.log10().floor() as i32).clamp(0, 7) as usize;
    let plain = format!("{size:.decimals$}");
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let rest = rest.trim_end_matches('0').trim_end_matches('.');
    signed(value, &format!("{}{rest}", with_thousands(whole)))
}

/// As [`number`], with a plus before what is above zero.
pub(crate) fn change(value: f64) -> String {
    let plus = if 0.0 < value { "+" } else { "" };
    format!("{plus}{}", number(value))
}

/// A share of one as a percentage with one decimal; what is small does not become nothing.
pub(crate) fn percent(share: f64) -> String {
    if 0.0 < share && share < 0.0005 {
        return "< 0.1 %".to_owned();
    }
    let rounded = (share * 1000.0).round() / 10.0 + 0.0;
    signed(rounded, &format!("{:.1} %", rounded.abs()))
}

/// Binary multiples of a byte.
pub(crate) fn bytes(n_bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = n_bytes.max(0.0);
    let mut unit_idx = 0;
    while 1023.95 <= size && unit_idx + 1 < units.len() {
        size /= 1024.0;
        unit_idx += 1;
    }
    if unit_idx == 0 {
        format!("{size:.0} B")
    } else {
        format!("{size:.1} {}", units[unit_idx])
    }
}

/// A length of time in the two largest units that matter.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 0.0995 {
        return format!("{:.2} ms", seconds * 1000.0);
    }
    if seconds < 59.95 {
        let decimals = if seconds < 9.995 { 2 } else { 1 };
        return format!("{seconds:.decimals$} s");
    }
    let whole = seconds.round() as u64;
    let (minutes, rest) = (whole / 60, whole % 60);
    if minutes < 60 {
        return format!("{minutes} min {rest} s");
    }
    let (hours, minutes) = (whole.div_ceil(30) / 2 / 60, whole.div_ceil(30) / 2 % 60);
    if hours < 48 {
        return format!("{hours} h {minutes} min");
    }
    format!("{} d {} h", hours / 24, hours % 24)
}

/// Seconds since 1970 as a date and time in UTC; nothing for times outside the years 1970 to 9999.
pub(crate) fn date(unix_seconds: f64) -> Option<String> {
    if !(0.0..253_402_300_800.0).contains(&unix_seconds) {
        return None;
    }
    let whole = unix_seconds as i64;
    let (days, rest) = (whole / 86_400, whole % 86_400);
    // Days are counted from 1 March of the year 0, so that a leap day ends its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    Some(format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        rest / 3600,
        rest / 60 % 60
    ))
}

/// `n` of something, in words: `1 step`, `2 steps`.
pub(crate) fn count(n: usize, one: &str, many: &str) -> String {
    let what = if n == 1 { one } else { many };
    format!("{} {what}", with_thousands(&n.to_string()))
}

/// `12345` as `12,345`; digits only.
pub(crate) fn with_thousands(digits: &str) -> String {
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx != 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A minus sign, which is as wide as a digit, before what is below zero.
fn signed(value: f64, size: &str) -> String {
    if value < 0.0 {
        format!("−{size}")
    } else {
        size.to_owned()
    }
}

/// `1.23` and `-7` of `1.234e-7`.
fn split_exponent(size: f64) -> (String, String) {
    let text = format!("{size:.2e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    (digits.to_owned(), exponent.replace('-', "−"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.489_583_333, "0.4896"),
            (0.5, "0.5"),
            (-1.604_09, "−1.604"),
            (12_345.0, "12,345"),
            (12_345.678, "12,346"),
            (999.96, "1,000"),
            (0.0005, "0.0005"),
            (6.156e-14, "6.16e−14"),
            (-2.5e30, "−2.5e30"),
            (1_234_567.5, "1.23e6"),
        ] {
            assert_eq!(number(value), expected, "{value}");
        }
        assert_eq!(change(0.25), "+0.25");
        assert_eq!(change(-0.25), "−0.25");
        assert_eq!(change(0.0), "0");
    }

    #[test]
    fn shares_and_sizes() {
        assert_eq!(percent(0.882_5), "88.3 %");
        assert_eq!(percent(-0.000_1), "0.0 %");
        assert_eq!(percent(0.000_4), "< 0.1 %");
        assert_eq!(percent(0.0), "0.0 %");
        assert_eq!(percent(-0.05), "−5.0 %");
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(88_793_088.0), "84.7 MiB");
        assert_eq!(bytes(1_048_570.0), "1.0 MiB");
        assert_eq!(count(1, "step", "steps"), "1 step");
        assert_eq!(count(1200, "step", "steps"), "1,200 steps");
    }

    #[test]
    fn times() {
        for (seconds, expected) in [
            (0.0708, "70.80 ms"),
            (1.234, "1.23 s"),
            (40.76, "40.8 s"),
            (59.96, "1 min 0 s"),
            (3_599.9, "1 h 0 min"),
            (3_661.0, "1 h 1 min"),
            (200_000.0, "2 d 7 h"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn dates() {
        // date -u -d @1700000000 '+%F %R'
        for (seconds, expected) in [
            (0.0, "1970-01-01 00:00 UTC"),
            (1_700_000_000.5, "2023-11-14 22:13 UTC"),
            (951_782_400.0, "2000-02-29 00:00 UTC"),
            (1_709_251_199.0, "2024-02-29 23:59 UTC"),
        ] {
            assert_eq!(date(seconds).as_deref(), Some(expected));
        }
        assert_eq!(date(-1.0), None);
        assert_eq!(date(1e18), None);
    }
}

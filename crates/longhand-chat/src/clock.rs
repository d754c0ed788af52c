//! The time that templates see, and how they write it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where a template's `strftime_now` takes the time from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The system's, in UTC. Hugging Face takes the local time zone, so two machines may write two
    /// dates into the same prompt; here they do not.
    #[default]
    System,
    /// Always this time.
    Fixed(DateTime),
}

/// A time of the Gregorian calendar, without a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    /// Year.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: u32,
    /// Day of the month, from 1.
    pub day: u32,
    /// Hour, 0 to 23.
    pub hour: u32,
    /// Minute, 0 to 59.
    pub minute: u32,
    /// Second, 0 to 59.
    pub second: u32,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// 1970-01-01 was a Thursday.
const WEEKDAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];

impl Clock {
    pub(crate) fn now(self) -> DateTime {
        match self {
            Self::Fixed(time) => time,
            Self::System => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                DateTime::from_unix(i64::try_from(since.as_secs()).unwrap_or(0))
            }
        }
    }
}

impl DateTime {
    /// The time so many seconds after 1970 began in UTC.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let of_day = u32::try_from(rest).unwrap_or(0);
        // Years that begin in March put the leap day at their end; 400 of them have 146,097 days.
        let days = days + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12 + 1;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self {
            year,
            month: u32::try_from(month).unwrap_or(1),
            day: u32::try_from(day).unwrap_or(1),
            hour: of_day / 3_600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    /// Days since 1970 began.
    fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let month_from_march = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
            - 719_468
    }

    /// As Python's `strftime` in the C locale; directives that it lacks stay as they are.
    pub(crate) fn format(self, format: &str) -> String {
        let weekday = usize::try_from(self.days().rem_euclid(7)).unwrap_or(0);
        let month = usize::try_from(self.month.saturating_sub(1))
            .unwrap_or(0)
            .min(11);
        let (weekday_name, month_name) = (WEEKDAYS[weekday], MONTHS[month]);
        let hour12 = match self.hour % 12 {
            0 => 12,
            hour => hour,
        };
        let new_year = Self {
            month: 1,
            day: 1,
            ..self
        };
        let mut out = String::new();
        let mut rest = format.chars();
        while let Some(letter) = rest.next() {
            if letter != '%' {
                out.push(letter);
                continue;
            }
            let mut directive = rest.next();
            // glibc's `%-d` writes no leading zero.
            let unpadded = directive == Some('-');
            if unpadded {
                directive = rest.next();
            }
            let two = |number: u32| {
                if unpadded {
                    number.to_string()
                } else {
                    format!("{number:02}")
                }
            };
            match directive {
                Some('Y') => out.push_str(&self.year.to_string()),
                Some('y') => {
                    out.push_str(&two(u32::try_from(self.year.rem_euclid(100)).unwrap_or(0)));
                }
                Some('m') => out.push_str(&two(self.month)),
                Some('d') => out.push_str(&two(self.day)),
                Some('e') => out.push_str(&format!("{:>2}", self.day)),
                Some('H') => out.push_str(&two(self.hour)),
                Some('I') => out.push_str(&two(hour12)),
                Some('M') => out.push_str(&two(self.minute)),
                Some('S') => out.push_str(&two(self.second)),
                Some('p') => out.push_str(if self.hour < 12 { "AM" } else { "PM" }),
                Some('B') => out.push_str(month_name),
                Some('b' | 'h') => out.push_str(&month_name[..3]),
                Some('A') => out.push_str(weekday_name),
                Some('a') => out.push_str(&weekday_name[..3]),
                Some('j') => {
                    let day_of_year = self.days() - new_year.days() + 1;
                    if unpadded {
                        out.push_str(&day_of_year.to_string());
                    } else {
                        out.push_str(&format!("{day_of_year:03}"));
                    }
                }
                Some('F') => out.push_str(&self.format("%Y-%m-%d")),
                Some('T') => out.push_str(&self.format("%H:%M:%S")),
                Some('D') => out.push_str(&self.format("%m/%d/%y")),
                Some('f') => out.push_str("000000"),
                Some('%') => out.push('%'),
                Some(other) => {
                    out.push('%');
                    if unpadded {
                        out.push('-');
                    }
                    out.push(other);
                }
                None => out.push('%'),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_python_writes_them() {
        // datetime.fromtimestamp(t, timezone.utc).strftime(f)
        for (seconds, format, expected) in [
            (1_721_952_000, "%d %b %Y", "26 Jul 2024"),
            (1_709_164_800, "%Y-%m-%d %A %j", "2024-02-29 Thursday 060"),
            (0, "%a %B %-d, %I:%M:%S %p", "Thu January 1, 12:00:00 AM"),
            (1_735_689_599, "%F %T %y%%", "2024-12-31 23:59:59 24%"),
            (951_782_400, "%-d.%-m. %e", "29.2. 29"),
        ] {
            assert_eq!(
                DateTime::from_unix(seconds).format(format),
                expected,
                "{seconds} {format}"
            );
        }
    }

    #[test]
    fn days_count_back() {
        for days in (-800_000..800_000).step_by(37) {
            assert_eq!(DateTime::from_unix(days * 86_400).days(), days);
        }
    }
}

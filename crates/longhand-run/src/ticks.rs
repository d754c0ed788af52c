//! Where an axis has its ticks, and what they say.

/// Places of ticks inside `low..=high`, at multiples of 1, 2 or 5 times a power of ten, at most
/// `max_ticks` of them, with their labels. `whole` keeps fractions off an axis of counts.
///
/// # Panics
///
/// If `low` is not below `high`, either is not finite, or `max_ticks` is below 2.
pub(crate) fn round_ticks(
    low: f64,
    high: f64,
    max_ticks: usize,
    whole: bool,
) -> Vec<(f64, String)> {
    assert!(
        low.is_finite() && high.is_finite() && low < high,
        "{low}..{high} is no range"
    );
    assert!(2 <= max_ticks, "{max_ticks} ticks span no axis");
    let step =
        steps(low, high, whole).find(|step| n_multiples(low, high, *step) <= max_ticks as f64);
    let Some(step) = step else {
        // Only a range at the edge of what a number can hold has no such step.
        return vec![(low, format!("{low:e}")), (high, format!("{high:e}"))];
    };
    let first = (low / step).ceil();
    let n_ticks = n_multiples(low, high, step) as usize;
    let largest = low.abs().max(high.abs());
    (0..n_ticks)
        .map(|idx| {
            let value = (first + idx as f64) * step;
            (value, label(value, step, largest))
        })
        .collect()
}

/// Steps that grow: 1, 2, 5, 10, 20, 50, ..., from far too small for the range on.
fn steps(low: f64, high: f64, whole: bool) -> impl Iterator<Item = f64> {
    let start = (high - low).log10().floor() - 2.0;
    let start = if whole { start.max(0.0) } else { start };
    (0..5).flat_map(move |idx| {
        let power = 10_f64.powf(start + f64::from(idx));
        [1.0, 2.0, 5.0].map(|digit| digit * power)
    })
}

/// How many multiples of `step` lie in `low..=high`; NaN where they cannot be counted.
fn n_multiples(low: f64, high: f64, step: f64) -> f64 {
    (high / step).floor() - (low / step).ceil() + 1.0
}

/// A tick's label: as many decimals as the step needs, or powers of ten where that is too long.
fn label(value: f64, step: f64, largest: f64) -> String {
    // `+ 0.0` turns the negative zero into zero.
    let value = value + 0.0;
    if 1e9 <= largest || step < 1e-5 {
        let exponent = |value: f64| value.log10().floor();
        let digits = if value == 0.0 {
            0.0
        } else {
            (exponent(value.abs()) - exponent(step)).max(0.0)
        };
        return format!("{value:.digits$e}", digits = digits as usize);
    }
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let plain = format!("{value:.decimals$}");
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    format!("{}{rest}", with_thousands(whole))
}

/// `-12345` as `-12,345`.
pub(crate) fn with_thousands(digits: &str) -> String {
    let (sign, digits) = digits.split_at(usize::from(digits.starts_with('-')));
    let mut text = sign.to_owned();
    for (idx, digit) in digits.chars().enumerate() {
        if idx != 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(low: f64, high: f64, whole: bool, expected: &[&str]) {
        let ticks = round_ticks(low, high, 6, whole);
        let labels: Vec<&str> = ticks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, expected, "{low}..{high}");
    }

    #[test]
    fn labels_are_as_long_as_they_need_to_be() {
        check(0.0, 1.0, false, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check(-0.05, 0.31, false, &["0.0", "0.1", "0.2", "0.3"]);
        check(0.981, 0.994, false, &["0.985", "0.990"]);
        check(
            1.0,
            3000.0,
            true,
            &["500", "1,000", "1,500", "2,000", "2,500", "3,000"],
        );
        check(-3.0, 3.0, false, &["-2", "0", "2"]);
        check(0.0, 4e-6, false, &["0e0", "1e-6", "2e-6", "3e-6", "4e-6"]);
        check(
            0.0,
            2.2e-5,
            false,
            &["0e0", "5e-6", "1.0e-5", "1.5e-5", "2.0e-5"],
        );
        check(0.0, 4e12, false, &["0e0", "1e12", "2e12", "3e12", "4e12"]);
    }

    #[test]
    fn counts_have_no_fractions() {
        check(4.0, 6.0, true, &["4", "5", "6"]);
        check(4.0, 6.0, false, &["4.0", "4.5", "5.0", "5.5", "6.0"]);
    }

    #[test]
    fn thousands() {
        for (plain, grouped) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("-100", "-100"),
            ("-1234567", "-1,234,567"),
        ] {
            assert_eq!(with_thousands(plain), grouped);
        }
    }

    proptest! {
        #[test]
        fn ticks_are_few_rising_and_inside(
            one in any::<f64>(), other in any::<f64>(), max_ticks in 2_usize..12, whole: bool,
        ) {
            let (low, high) = (one.min(other), one.max(other));
            prop_assume!(low.is_finite() && high.is_finite() && low < high);
            let ticks = round_ticks(low, high, max_ticks, whole);
            prop_assert!(ticks.len() <= max_ticks);
            prop_assert!(ticks.windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", ticks);
        }

        #[test]
        fn usual_ranges_have_ticks_inside(low in -1e6..1e6_f64, span in 1e-6..1e6_f64) {
            let high = low + span;
            let ticks = round_ticks(low, high, 8, false);
            prop_assert!(2 <= ticks.len() && ticks.len() <= 8, "{:?}", ticks);
            let slack = span * 1e-6;
            prop_assert!(ticks.iter().all(|(at, _)| low - slack <= *at && *at <= high + slack));
        }
    }
}

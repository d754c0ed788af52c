//! An axis: its range, its scale, and where it has ticks.

use crate::numbers::with_thousands;

/// How values are laid out along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Equal steps are equally long.
    Linear,
    /// Equal factors are equally long; every value is above zero.
    Log,
}

/// A range with its scale and ticks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) scale: Scale,
    /// Place and label.
    pub(crate) ticks: Vec<(f64, String)>,
}

/// Beyond this a value is drawn at the edge: differences of such values must stay finite.
const LARGEST: f64 = 1e150;

impl Axis {
    /// A linear axis from `low` to `high` with at most `max_ticks` round ticks; `whole` keeps
    /// fractions off an axis of counts. Without a range, one is made around the value.
    pub(crate) fn linear(low: f64, high: f64, max_ticks: usize, whole: bool) -> Self {
        let (low, high) = apart(low.clamp(-LARGEST, LARGEST), high.clamp(-LARGEST, LARGEST));
        Self {
            low,
            high,
            scale: Scale::Linear,
            ticks: round_ticks(low, high, max_ticks, whole),
        }
    }

    /// A linear axis with room for values, starting at zero where that wastes little of it.
    pub(crate) fn roomy(low: f64, high: f64, max_ticks: usize) -> Self {
        let (low, high) = apart(low.clamp(-LARGEST, LARGEST), high.clamp(-LARGEST, LARGEST));
        let room = (high - low) * 0.06;
        let floor = if 0.0 <= low && low <= high / 2.0 {
            0.0
        } else {
            low - room
        };
        Self::linear(floor, high + room, max_ticks, false)
    }

    /// An axis of powers of ten around values that are all above zero.
    pub(crate) fn powers_of_ten(low: f64, high: f64, max_ticks: usize) -> Self {
        let low = low.clamp(f64::MIN_POSITIVE, LARGEST);
        let high = high.clamp(low, LARGEST);
        let first = low.log10().floor();
        let last = high.log10().ceil().max(first + 1.0);
        let stride = ((last - first) / max_ticks.max(2) as f64).ceil().max(1.0);
        let n_ticks = ((last - first) / stride) as usize + 1;
        let ticks = (0..n_ticks).map(|idx| {
            let exponent = first + idx as f64 * stride;
            let label = if (-3.0..=4.0).contains(&exponent) {
                plain(10_f64.powf(exponent), (-exponent).max(0.0) as usize)
            } else {
                format!("1e{}", plain(exponent, 0))
            };
            (10_f64.powf(exponent), label)
        });
        Self {
            low: 10_f64.powf(first),
            high: 10_f64.powf(last),
            scale: Scale::Log,
            ticks: ticks.collect(),
        }
    }

    /// Where a value lies, from 0 at the lower end to 1 at the upper.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => {
                let at = value.max(f64::MIN_POSITIVE).ln() - self.low.ln();
                at / (self.high.ln() - self.low.ln())
            }
        };
        share.clamp(0.0, 1.0)
    }
}

/// The range, or one around it where it has no length.
fn apart(low: f64, high: f64) -> (f64, f64) {
    if low < high {
        return (low, high);
    }
    let around = if low == 0.0 { 1.0 } else { low.abs() * 0.5 };
    (low - around, low + around)
}

/// Multiples of 1, 2 or 5 times a power of ten inside `low..=high`, at most `max_ticks`.
fn round_ticks(low: f64, high: f64, max_ticks: usize, whole: bool) -> Vec<(f64, String)> {
    let exponent = (high - low).log10().floor() - 2.0;
    let exponent = if whole { exponent.max(0.0) } else { exponent };
    let steps = (0..5).flat_map(|idx| {
        let power = 10_f64.powf(exponent + f64::from(idx));
        [1.0, 2.0, 5.0].map(|digit| digit * power)
    });
    // A range such as 0..0.3 must not lose its upper tick to rounding.
    let slack = (high - low) * 1e-9;
    let n_in = |step: f64| ((high + slack) / step).floor() - ((low - slack) / step).ceil() + 1.0;
    let Some(step) = steps
        .into_iter()
        .find(|step| n_in(*step) <= max_ticks as f64)
    else {
        return Vec::new();
    };
    let first = ((low - slack) / step).ceil();
    let largest = low.abs().max(high.abs());
    (0..n_in(step).max(0.0) as usize)
        .map(|idx| {
            let value = (first + idx as f64) * step;
            (value, label(value, step, largest))
        })
        .collect()
}

/// As many decimals as the step needs, or a power of ten where that is too long.
fn label(value: f64, step: f64, largest: f64) -> String {
    if 1e7 <= largest || step < 1e-4 {
        if value == 0.0 {
            return "0".to_owned();
        }
        let exponent = |value: f64| (value.log10() + 1e-9).floor();
        let digits = (exponent(value.abs()) - exponent(step)).clamp(0.0, 6.0) as usize;
        let text = format!("{:.digits$e}", value.abs()).replace('-', "−");
        return if value < 0.0 {
            format!("−{text}")
        } else {
            text
        };
    }
    plain(value, (-(step.log10() + 1e-9).floor()).max(0.0) as usize)
}

fn plain(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let minus = if value < 0.0 && !is_zero { "−" } else { "" };
    format!("{minus}{}{rest}", with_thousands(whole))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(axis: &Axis, expected: &[&str]) {
        let labels: Vec<&str> = axis.ticks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, expected, "{}..{}", axis.low, axis.high);
    }

    #[test]
    fn labels_are_as_long_as_they_need_to_be() {
        let axis = |low, high| Axis::linear(low, high, 6, false);
        check(&axis(0.0, 1.0), &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        check(&axis(0.0, 0.3), &["0.0", "0.1", "0.2", "0.3"]);
        check(&axis(-3.0, 3.0), &["−2", "0", "2"]);
        check(&axis(0.0, 3e-5), &["0", "1e−5", "2e−5", "3e−5"]);
        check(
            &axis(-2e12, 0.0),
            &["−2.0e12", "−1.5e12", "−1.0e12", "−5e11", "0"],
        );
        check(
            &Axis::linear(0.0, 99_999.0, 5, true),
            &["0", "20,000", "40,000", "60,000", "80,000"],
        );
        check(&Axis::linear(4.0, 6.0, 6, true), &["4", "5", "6"]);
    }

    #[test]
    fn powers_of_ten_are_thinned() {
        check(
            &Axis::powers_of_ten(0.0021, 3.0, 6),
            &["0.001", "0.010", "0.100", "1", "10"].map(|label| match label {
                "0.010" => "0.01",
                "0.100" => "0.1",
                other => other,
            }),
        );
        check(
            &Axis::powers_of_ten(1e-14, 1.0, 4),
            &["1e−14", "1e−10", "1e−6", "0.01"],
        );
    }

    #[test]
    fn a_single_value_has_a_range_around_it() {
        for value in [0.0, 5.0, -3e-12, 1e300] {
            let axis = Axis::roomy(value, value, 5);
            assert!(axis.low < axis.high && axis.low.is_finite() && axis.high.is_finite());
            assert!(!axis.ticks.is_empty(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn ticks_are_few_rising_and_inside(
            one in any::<f64>(), other in any::<f64>(), max_ticks in 2_usize..9, whole: bool,
        ) {
            let (low, high) = (one.min(other), one.max(other));
            prop_assume!(low.is_finite() && high.is_finite());
            for axis in [
                Axis::linear(low, high, max_ticks, whole),
                Axis::roomy(low, high, max_ticks),
                Axis::powers_of_ten(low.abs(), high.abs().max(low.abs()), max_ticks),
            ] {
                prop_assert!(axis.ticks.len() <= max_ticks + 1, "{:?}", axis);
                prop_assert!(axis.ticks.windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", axis);
                for value in [low, high, 0.0] {
                    prop_assert!((0.0..=1.0).contains(&axis.place(value)));
                }
            }
        }
    }
}

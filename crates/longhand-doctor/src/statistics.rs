//! Numbers about a list of numbers.

/// The mean; 0 of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        values.iter().sum::<f64>() / values.len() as f64
    }
}

/// The median; 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value that a share of the values is not above, between two neighbours in proportion; 0 of nothing.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let place = share * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

/// Pearson's correlation; none where one side does not vary.
///
/// # Panics
///
/// If the lists differ in length.
pub(crate) fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "values come in pairs");
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f(a - mean_a, b - mean_b))
            .sum()
    };
    let spread = (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt();
    (0.0 < spread).then(|| sum(&|a, b| a * b) / spread)
}

/// The standard error of a share of `n` draws.
pub(crate) fn share_error(share: f64, n: f64) -> f64 {
    (share * (1.0 - share) / n.max(1.0)).max(0.0).sqrt()
}

/// The standard error of the difference of two means.
pub(crate) fn standard_error(a: &[f64], b: &[f64]) -> f64 {
    let of_mean = |values: &[f64]| {
        let centre = mean(values);
        let squares: Vec<f64> = values
            .iter()
            .map(|value| (value - centre).powi(2))
            .collect();
        mean(&squares) / values.len().saturating_sub(1).max(1) as f64
    };
    (of_mean(a) + of_mean(b)).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_nothing_they_are_zero() {
        assert_eq!(
            (mean(&[]), median(&[]), quantile(&[], 0.9)),
            (0.0, 0.0, 0.0)
        );
    }

    #[test]
    fn literals() {
        // numpy: quantile([1, 2, 4, 8], [.25, .5, .9]) = 1.75, 3, 6.8
        let values = [8.0, 1.0, 4.0, 2.0];
        assert_eq!(quantile(&values, 0.25), 1.75);
        assert_eq!(median(&values), 3.0);
        assert!((quantile(&values, 0.9) - 6.8).abs() < 1e-12);
        // numpy: corrcoef([1, 2, 4, 8], [3, 1, 5, 6])[0, 1] = 0.8133919626435625
        let found = correlation(&[1.0, 2.0, 4.0, 8.0], &[3.0, 1.0, 5.0, 6.0]).expect("varies");
        assert!((found - 0.813_391_962_643_562_5).abs() < 1e-12, "{found}");
        // numpy: sqrt(var([1, 2, 4, 8], ddof=1)/4 + var([3, 1, 5], ddof=1)/3) = 1.9311050377094114
        let found = standard_error(&[1.0, 2.0, 4.0, 8.0], &[3.0, 1.0, 5.0]);
        assert!((found - 1.931_105).abs() < 1e-6, "{found}");
    }

    #[test]
    fn a_share_is_as_uncertain_as_its_draws_are_few() {
        assert!((share_error(0.6, 100.0) - 0.048_989_794_855_663_56).abs() < 1e-15);
        assert_eq!(share_error(1.0, 100.0), 0.0);
        assert_eq!(share_error(0.5, 0.0), 0.5);
    }

    #[test]
    fn what_does_not_vary_correlates_with_nothing() {
        assert_eq!(correlation(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(correlation(&[], &[]), None);
    }

    proptest! {
        #[test]
        fn a_line_correlates_fully(values in prop::collection::vec(-1e3..1e3_f64, 3..20), slope in 0.1..9.0_f64) {
            prop_assume!(values.iter().any(|value| 1.0 < (value - values[0]).abs()));
            let line: Vec<f64> = values.iter().map(|value| slope * value - 7.0).collect();
            let found = correlation(&values, &line).expect("varies");
            prop_assert!((found - 1.0).abs() < 1e-6, "{found}");
        }

        #[test]
        fn quantiles_lie_among_the_values_in_their_order(
            values in prop::collection::vec(-1e3..1e3_f64, 1..20), a in 0.0..1.0_f64, b in 0.0..1.0_f64,
        ) {
            let (low, high) = (quantile(&values, a.min(b)), quantile(&values, a.max(b)));
            prop_assert!(low <= high + 1e-9);
            prop_assert!(quantile(&values, 0.0) <= low && high <= quantile(&values, 1.0));
        }
    }
}

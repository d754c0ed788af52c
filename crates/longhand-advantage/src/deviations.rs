//! Deviations from a mean that are exactly zero when all values are equal.

/// `values[i] - mean(values)`.
///
/// Measured from the first value, so that equal values give exactly zero: summing three times `0.1`
/// and dividing by three does not give `0.1` back, and the rest, divided by a tiny standard
/// deviation, would look like a signal.
pub(crate) fn deviations(values: &[f64]) -> Vec<f64> {
    let Some(&first) = values.first() else {
        return Vec::new();
    };
    let mean = values.iter().map(|value| value - first).sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - first) - mean).collect()
}

/// `values[i] - sum(counts * values) / sum(counts)`: deviations from the mean in which each value
/// is repeated `counts[i]` times. All zero when nothing is counted.
///
/// # Panics
/// If the lengths differ.
pub(crate) fn counted_deviations(values: &[f64], counts: &[usize]) -> Vec<f64> {
    assert_eq!(values.len(), counts.len(), "one count per value");
    let Some(first_counted) = counts.iter().position(|&count| count > 0) else {
        return vec![0.0; values.len()];
    };
    let first = values[first_counted];
    let total = counts.iter().sum::<usize>() as f64;
    let sum: f64 = values
        .iter()
        .zip(counts)
        // A value that is counted zero times may be anything, NaN included.
        .filter(|&(_, &count)| count > 0)
        .map(|(value, &count)| count as f64 * (value - first))
        .sum();
    let mean = sum / total;
    values.iter().map(|value| (value - first) - mean).collect()
}

/// Sample standard deviation (`n - 1` in the denominator) of values given by their deviations;
/// zero for fewer than two.
pub(crate) fn sample_std(deviations: &[f64]) -> f64 {
    if deviations.len() < 2 {
        return 0.0;
    }
    let squares: f64 = deviations.iter().map(|deviation| deviation.powi(2)).sum();
    (squares / (deviations.len() - 1) as f64).sqrt()
}

/// `deviation / (std + eps)`, and zero without spread whatever `eps` is.
pub(crate) fn standardised(deviation: f64, std: f64, eps: f64) -> f64 {
    if std == 0.0 {
        return 0.0;
    }
    deviation / (std + eps)
}

#[cfg(test)]
mod tests {
    use super::{counted_deviations, deviations, sample_std, standardised};

    #[test]
    fn nothing_has_no_deviations() {
        assert!(deviations(&[]).is_empty());
        assert!(counted_deviations(&[], &[]).is_empty());
        assert_eq!(sample_std(&[]), 0.0);
        assert_eq!(sample_std(&[0.0]), 0.0);
    }

    #[test]
    fn equal_values_deviate_by_exactly_zero_where_a_plain_mean_would_not() {
        let naive_mean = (0.1 + 0.1 + 0.1) / 3.0;
        assert_ne!(naive_mean, 0.1, "the case would not test anything");
        assert_eq!(deviations(&[0.1; 3]), [0.0; 3]);
        assert_eq!(counted_deviations(&[0.1; 3], &[3, 1, 5]), [0.0; 3]);
    }

    #[test]
    fn uncounted_values_do_not_move_the_mean() {
        // (2 * 1 + 1 * 4) / 3 = 2.
        let found = counted_deviations(&[7.0, 1.0, 4.0], &[0, 2, 1]);
        assert_eq!(found, [5.0, -1.0, 2.0]);
        let found = counted_deviations(&[f64::NAN, 1.0, 4.0], &[0, 2, 1]);
        assert_eq!(found[1..], [-1.0, 2.0]);
        assert_eq!(counted_deviations(&[7.0, 1.0], &[0, 0]), [0.0, 0.0]);
    }

    #[test]
    fn the_standard_deviation_divides_by_n_minus_one() {
        // statistics.stdev([1, 0, 0, 1]) = 0.5773502691896257
        let std = sample_std(&deviations(&[1.0, 0.0, 0.0, 1.0]));
        assert!((std - 0.577_350_269_189_625_7).abs() < 1e-15);
    }

    #[test]
    fn without_spread_a_zero_eps_is_not_nan() {
        assert_eq!(standardised(0.0, 0.0, 0.0), 0.0);
        assert_eq!(standardised(1.0, 1.0, 1.0), 0.5);
    }
}

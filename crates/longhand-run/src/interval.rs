//! The Wilson score interval of a share, such as an accuracy (Wilson 1927, doi:10.1080/01621459.1927.10502953).
//!
//! `(p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)` with `p = successes / n`: the shares from
//! which the observed one is at most `z` standard errors away. It stays inside 0..1 and has a width
//! even when all or none succeed, where the usual `p ± z √(p(1 − p)/n)` claims certainty.
//!
//! Assumes independent trials. Without any trial every share is possible: the interval is 0..1.

/// Lowest and highest share that `successes` out of `n` agree with; `z` = 1.96 for 95 %.
///
/// # Panics
///
/// If there are more successes than trials, or `z` is negative or not finite.
#[must_use]
pub fn wilson_interval(successes: usize, n: usize, z: f64) -> (f64, f64) {
    assert!(successes <= n, "{successes} successes in {n} trials");
    assert!(z.is_finite() && 0.0 <= z, "z is {z}");
    if n == 0 {
        return (0.0, 1.0);
    }
    let (trials, share) = (n as f64, successes as f64 / n as f64);
    let widening = z * z / trials;
    let centre = share + widening / 2.0;
    let half = z * (share * (1.0 - share) / trials + widening / (4.0 * trials)).sqrt();
    // At the ends the bound is exact, and rounding must not move it past.
    let low = if successes == 0 {
        0.0
    } else {
        (centre - half) / (1.0 + widening)
    };
    let high = if successes == n {
        1.0
    } else {
        (centre + half) / (1.0 + widening)
    };
    (low.clamp(0.0, share), high.clamp(share, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(successes: usize, n: usize, low: f64, high: f64) {
        // The published values are rounded to four places and use z = 1.959964.
        let found = wilson_interval(successes, n, 1.959_964);
        assert!(
            (found.0 - low).abs() < 6e-5 && (found.1 - high).abs() < 6e-5,
            "{successes} of {n}: {found:?}, not {low}..{high}"
        );
    }

    #[test]
    fn newcombes_four_examples() {
        // Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3.
        check(81, 263, 0.2553, 0.3662);
        check(15, 148, 0.0624, 0.1605);
        check(0, 20, 0.0, 0.1611);
        check(1, 29, 0.0061, 0.1718);
    }

    #[test]
    fn no_trials_say_nothing() {
        assert_eq!(wilson_interval(0, 0, 1.96), (0.0, 1.0));
    }

    #[test]
    fn all_and_none_leave_a_doubt() {
        let (low, high) = wilson_interval(0, 400, 1.96);
        assert!(low == 0.0 && 0.0 < high);
        let (low, high) = wilson_interval(400, 400, 1.96);
        assert!(low < 1.0 && high == 1.0);
    }

    proptest! {
        /// Each bound `q` inside 0..1 is `z` standard errors of its own from the observed share.
        #[test]
        fn bounds_solve_the_equation_they_come_from(
            n in 1_usize..5000, part in 0.0..=1.0_f64, z in 0.1..4.0_f64,
        ) {
            let successes = (part * n as f64) as usize;
            let (low, high) = wilson_interval(successes, n, z);
            let share = successes as f64 / n as f64;
            prop_assert!(0.0 <= low && low <= share && share <= high && high <= 1.0);
            for bound in [low, high].into_iter().filter(|bound| 0.0 < *bound && *bound < 1.0) {
                let variance = bound * (1.0 - bound) / n as f64;
                let errors = (share - bound).powi(2) / variance;
                prop_assert!((errors - z * z).abs() < 1e-6 * z * z, "{} for {}", errors, z * z);
            }
        }
    }
}

//! DAPO's soft overlong punishment, added to the outcome of a long answer (arXiv:2503.14476).
//!
//! With `start = max - buffer`:
//!
//! - [`overlong_penalty`], as in the paper: `0` up to `start`, `(start - length) / buffer` up to
//!   `max`, `-1` beyond it.
//! - [`overlong_slope`], as in verl's DAPO recipe: `min(-(length - start) / buffer * factor, 0)`,
//!   without a floor, since a sampler that stops at `max` never produces a longer answer.
//!
//! With `factor = 1` both agree up to `max`. The paper uses `max = 20480`, `buffer = 4096`.
//! Degenerate case: with `buffer = 0` the paper's form is a step at `max`.

/// The paper's form, in `[-1, 0]`; lengths in tokens.
///
/// # Panics
/// When `buffer` is larger than `max`.
pub fn overlong_penalty(length: usize, max: usize, buffer: usize) -> f64 {
    assert!(buffer <= max, "buffer {buffer} is larger than max {max}");
    if max < length {
        return -1.0;
    }
    excess(length, max - buffer, buffer)
}

/// verl's form, at most 0 and without a lower bound; lengths in tokens.
///
/// # Panics
/// When `buffer` is 0 or larger than `max`, or `factor` is negative or not finite.
pub fn overlong_slope(length: usize, max: usize, buffer: usize, factor: f64) -> f64 {
    assert!(buffer != 0, "a slope needs a buffer");
    assert!(buffer <= max, "buffer {buffer} is larger than max {max}");
    assert!(
        factor.is_finite() && 0.0 <= factor,
        "factor {factor} is not a finite number of at least 0"
    );
    // Adding 0 turns the -0 of a zero factor into 0.
    excess(length, max - buffer, buffer) * factor + 0.0
}

fn excess(length: usize, start: usize, buffer: usize) -> f64 {
    match length.checked_sub(start) {
        None | Some(0) => 0.0,
        Some(over) => -(over as f64) / buffer as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::{overlong_penalty, overlong_slope};
    use proptest::prelude::*;

    // Golden values of the formula at the paper's setting; -1/4096 = -0.000244140625.
    #[test]
    fn the_papers_setting() {
        let penalties =
            [16384, 16385, 18432, 20480, 20481].map(|length| overlong_penalty(length, 20480, 4096));
        assert_eq!(penalties, [0.0, -0.000_244_140_625, -0.5, -1.0, -1.0]);
        assert_eq!(overlong_slope(22528, 20480, 4096, 1.0), -1.5);
        assert_eq!(overlong_slope(18432, 20480, 4096, 0.5), -0.25);
    }

    #[test]
    fn no_buffer_is_a_step() {
        assert_eq!(
            [4, 5, 6].map(|n| overlong_penalty(n, 5, 0)),
            [0.0, 0.0, -1.0]
        );
        assert_eq!([0, 1].map(|n| overlong_penalty(n, 0, 0)), [0.0, -1.0]);
    }

    #[test]
    fn no_penalty_is_a_plain_zero() {
        assert!(overlong_penalty(1, 5, 3).is_sign_positive());
        assert!(overlong_slope(1, 5, 3, 1.0).is_sign_positive());
        assert!(overlong_slope(4, 5, 3, 0.0).is_sign_positive());
    }

    proptest! {
        #[test]
        fn longer_is_never_better_and_both_forms_agree_up_to_max(
            length in 0_usize..200, buffer in 1_usize..100, rest in 0_usize..100,
        ) {
            let max = buffer + rest;
            let penalty = overlong_penalty(length, max, buffer);
            prop_assert!((-1.0..=0.0).contains(&penalty));
            prop_assert!(overlong_penalty(length + 1, max, buffer) <= penalty);
            if length <= max {
                prop_assert_eq!(penalty, overlong_slope(length, max, buffer, 1.0));
            }
        }
    }
}

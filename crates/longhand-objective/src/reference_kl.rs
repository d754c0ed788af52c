//! Per-token estimates of KL(policy || reference): k1, k2 and k3 (J. Schulman, "Approximating KL
//! divergence", 2020).
//!
//! With `x = logprobs - ref_logprobs`:
//!
//! | name | value | derivative | |
//! |---|---|---|---|
//! | k1 | `x` | `1` | unbiased, may be negative; as a loss term its gradient is 0 in expectation |
//! | k2 | `x^2 / 2` | `x` | its gradient is the KL's, on-policy |
//! | k3 | `exp(-x) + x - 1` | `1 - exp(-x)` | unbiased and never negative |
//!
//! Assumptions: clamping, an option, is verl's and concerns k3 alone: `x` is kept in [-20, 20] and
//! the value at most 10; outside either, the gradient is zero.

/// Which estimate of the divergence from the reference model is added to the loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum Kl {
    /// No penalty; no reference model is needed.
    #[default]
    None,
    /// The log ratio itself.
    K1,
    /// Half the squared log ratio.
    K2,
    /// The low-variance estimate that GRPO uses (arXiv:2402.03300, Eq. 4).
    K3,
}

/// The reference penalty: `coef * kl` is added to each token's loss.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct KlPenalty {
    /// The estimate.
    pub estimator: Kl,
    /// Its weight.
    pub coef: f64,
    /// Whether k3 is clamped as verl does: log ratio to 20 either way, value to 10.
    pub clamp: bool,
}

impl Default for KlPenalty {
    /// No penalty; the coefficient, 1e-3, waits for an estimator. No clamp.
    fn default() -> Self {
        KlPenalty {
            estimator: Kl::None,
            coef: 1e-3,
            clamp: false,
        }
    }
}

/// The bound on the log ratio inside a clamped k3.
const K3_LOG_RATIO_BOUND: f64 = 20.0;
/// The bound on the value of a clamped k3.
const K3_VALUE_BOUND: f64 = 10.0;

/// One token's estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct KlTerm {
    pub(crate) value: f64,
    /// The derivative of `value` with respect to `logprobs`.
    pub(crate) slope: f64,
    pub(crate) is_clamped: bool,
}

impl KlPenalty {
    /// The estimate for one token, without the coefficient. `x = logprobs - ref_logprobs`.
    pub(crate) fn term(&self, x: f64) -> KlTerm {
        let (value, slope) = match self.estimator {
            Kl::None => (0.0, 0.0),
            Kl::K1 => (x, 1.0),
            Kl::K2 => (0.5 * x * x, x),
            Kl::K3 => (k3(x), -(-x).exp_m1()),
        };
        if self.clamp && self.estimator == Kl::K3 {
            let bounded = k3(x.clamp(-K3_LOG_RATIO_BOUND, K3_LOG_RATIO_BOUND));
            if K3_LOG_RATIO_BOUND < x.abs() || K3_VALUE_BOUND < bounded {
                return KlTerm {
                    value: bounded.min(K3_VALUE_BOUND),
                    slope: 0.0,
                    is_clamped: true,
                };
            }
        }
        KlTerm {
            value,
            slope,
            is_clamped: false,
        }
    }
}

/// `exp(-x) + x - 1`, accurate near zero too.
pub(crate) fn k3(x: f64) -> f64 {
    (-x).exp_m1() + x
}

#[cfg(test)]
mod tests {
    use super::{Kl, KlPenalty, k3};

    fn penalty(estimator: Kl, clamp: bool) -> KlPenalty {
        KlPenalty {
            estimator,
            coef: 1.0,
            clamp,
        }
    }

    #[test]
    fn equal_policies_are_at_distance_zero() {
        for estimator in [Kl::None, Kl::K1, Kl::K2, Kl::K3] {
            assert_eq!(penalty(estimator, false).term(0.0).value, 0.0);
        }
        assert_eq!(penalty(Kl::K3, false).term(0.0).slope, 0.0);
    }

    #[test]
    fn values_and_slopes_half_a_nat_apart() {
        // numpy at x = .5 and -.5: x; x**2 / 2; exp(-x) + x - 1. Slopes: 1; x; 1 - exp(-x).
        let cases = [
            (Kl::None, 0.5, 0.0, 0.0),
            (Kl::K1, 0.5, 0.5, 1.0),
            (Kl::K1, -0.5, -0.5, 1.0),
            (Kl::K2, 0.5, 0.125, 0.5),
            (Kl::K2, -0.5, 0.125, -0.5),
            (Kl::K3, 0.5, 0.106531, 0.393469),
            (Kl::K3, -0.5, 0.148721, -0.648721),
        ];
        for (estimator, x, value, slope) in cases {
            for clamp in [false, true] {
                let found = penalty(estimator, clamp).term(x);
                assert!((found.value - value).abs() < 1e-6, "{estimator:?} at {x}");
                assert!((found.slope - slope).abs() < 1e-6, "{estimator:?} at {x}");
                assert!(!found.is_clamped);
            }
        }
    }

    #[test]
    fn the_clamp_bounds_k3_only_and_stops_its_gradient() {
        // x = -3: exp(3) - 4 = 16.09 > 10. x = 25: log ratio clamped to 20, value 19 -> 10.
        for x in [-3.0, -25.0, 25.0] {
            let found = penalty(Kl::K3, true).term(x);
            assert_eq!(
                (found.value, found.slope, found.is_clamped),
                (10.0, 0.0, true)
            );
            let free = penalty(Kl::K3, false).term(x);
            assert!(10.0 < free.value && free.slope != 0.0 && !free.is_clamped);
            let k2 = penalty(Kl::K2, true).term(x);
            assert_eq!((k2.value, k2.slope, k2.is_clamped), (0.5 * x * x, x, false));
        }
        // Below the bound nothing happens: exp(-9) + 9 - 1 = 8.000123.
        let found = penalty(Kl::K3, true).term(9.0);
        assert!(!found.is_clamped && (found.value - 8.000123).abs() < 1e-6);
    }

    #[test]
    fn k3_keeps_its_digits_near_zero() {
        // x^2 / 2 - x^3 / 6 at x = 1e-6.
        let expected = 0.5e-12 - 1e-18 / 6.0;
        assert!((k3(1e-6) / expected - 1.0).abs() < 1e-9);
    }
}

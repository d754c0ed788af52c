//! Clip-Cov: a few tokens of high covariance, drawn at random, lose their gradient
//! (arXiv:2505.22617).
//!
//! ```text
//! candidates = trained tokens that PPO's clip leaves alone and low < cov_i < high
//! I          = max(1, floor(fraction * N)) of them, drawn uniformly without replacement
//! L_i        = 0 in I, elsewhere max(-r A, -clip(r) A)
//! ```
//!
//! `N` counts the trained tokens of the scope; denominators do not change, a dropped token counts.
//! [`covariances`](crate::covariances) has the covariance.
//!
//! Assumptions: what is drawn is a function of the seed and of the token's place in the scope, so
//! that the same scope, cut in any way, draws the same tokens. Give each scope another seed.
//!
//! Differs from the paper's code: the scope is an option, there it is the micro-batch.

use crate::covariance::{covariances, largest, share};
use crate::policy_loss::Clip;
use crate::ppo_clip::surrogate;
use crate::token_control::{ScopeTokens, TokenControl};
use crate::{ObjectiveError, PolicyLoss};

/// Settings of Clip-Cov.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipCov {
    /// Which part of the scope's trained tokens is dropped, at most: above 0, at most 1.
    pub fraction: f64,
    /// Covariances of candidates are above this.
    pub low: f64,
    /// Covariances of candidates are below this.
    pub high: f64,
}

impl Default for ClipCov {
    /// The authors' settings: 0.02 % of the tokens, covariances between 1 and 5.
    fn default() -> Self {
        ClipCov {
            fraction: 2e-4,
            low: 1.0,
            high: 5.0,
        }
    }
}

impl ClipCov {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// For a fraction outside `(0, 1]` and bounds between which there is nothing.
    pub fn check(&self) -> Result<(), ObjectiveError> {
        ObjectiveError::check_fraction("fraction", self.fraction)?;
        ObjectiveError::check_order("low", self.low, "high", self.high)
    }

    /// What becomes of each token of a scope; `policy_loss` says which tokens are clipped already.
    ///
    /// # Panics
    /// If the slices differ in length, or the policy loss is not PPO's clip.
    pub fn controls(
        &self,
        tokens: &ScopeTokens,
        policy_loss: &PolicyLoss,
        seed: u64,
    ) -> Vec<TokenControl> {
        let PolicyLoss::PpoClip {
            clip_low,
            clip_high,
            ..
        } = *policy_loss
        else {
            panic!("Clip-Cov needs PPO's clip, not `{}`", policy_loss.name());
        };
        let covariances = covariances(tokens);
        let trained = tokens.trained();
        let is_free = |idx: usize| {
            let ratio = (tokens.logprobs[idx] - tokens.old_logprobs[idx]).exp();
            surrogate(tokens.advantages[idx], ratio, clip_low, clip_high, None).clip == Clip::Free
        };
        let n_dropped = share(trained.len(), self.fraction);
        let candidates: Vec<usize> = trained
            .into_iter()
            .filter(|&idx| self.low < covariances[idx] && covariances[idx] < self.high)
            .filter(|&idx| is_free(idx))
            .collect();
        let mut controls = vec![TokenControl::NEUTRAL; covariances.len()];
        for idx in largest(candidates, n_dropped, |idx| draw(seed, idx)) {
            controls[idx] = TokenControl::DROPPED;
        }
        controls
    }
}

/// A number in `[0, 1)` that depends on the seed and the token's place alone (SplitMix64, Steele,
/// Lea and Flood 2014). The largest of such numbers are a uniform draw without replacement.
fn draw(seed: u64, idx: usize) -> f64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = |state: u64| {
        let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ (state >> 31)
    };
    let of_seed = mixed(seed.wrapping_add(STEP));
    let of_token = mixed(of_seed.wrapping_add((idx as u64 + 1).wrapping_mul(STEP)));
    (of_token >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::{ClipCov, draw};
    use crate::PolicyLoss;
    use crate::covariance::covariances;
    use crate::token_control::ScopeTokens;

    const PPO: PolicyLoss = PolicyLoss::PpoClip {
        clip_low: 0.2,
        clip_high: 0.2,
        dual_clip: None,
    };

    /// Covariances 1.008333, -.891667, .608333, 1.891667, -1.058333, -.108333; see `covariance`.
    fn tokens(old_logprobs: &[f64; 6]) -> ScopeTokens<'_> {
        ScopeTokens {
            logprobs: &ON_POLICY,
            old_logprobs,
            advantages: &[1.0, 1.0, 1.0, -1.0, -1.0, -1.0],
            loss_mask: &[true; 6],
            entropies: None,
        }
    }

    fn dropped(settings: ClipCov, old_logprobs: &[f64; 6], seed: u64) -> Vec<usize> {
        let controls = settings.controls(&tokens(old_logprobs), &PPO, seed);
        (0..6).filter(|&idx| controls[idx].factor == 0.0).collect()
    }

    const ON_POLICY: [f64; 6] = [-0.1, -2.0, -0.5, -3.0, -0.05, -1.0];

    #[test]
    fn candidates_lie_between_the_bounds_and_are_not_clipped() {
        let all = ClipCov {
            fraction: 1.0,
            low: 0.6,
            high: 1.8,
        };
        assert_eq!(dropped(all, &ON_POLICY, 0), [0, 2]);
        // Strictly between: a bound on the token's own covariance leaves it out.
        let [first, _, third, ..] = covariances(&tokens(&ON_POLICY))[..] else {
            panic!("six covariances");
        };
        let (low, high) = (third, first);
        assert_eq!(dropped(ClipCov { low, high, ..all }, &ON_POLICY, 0), []);
        assert_eq!(dropped(ClipCov { low, ..all }, &ON_POLICY, 0), [0]);
        // With d = .3 and A = 1 the third token is clipped already.
        let mut old_logprobs = ON_POLICY;
        old_logprobs[2] -= 0.3;
        assert_eq!(dropped(all, &old_logprobs, 0), [0]);
        // The clip does not act against the advantage: d = -.3 and A = 1.
        old_logprobs[2] += 0.6;
        assert_eq!(dropped(all, &old_logprobs, 0), [0, 2]);
    }

    #[test]
    fn a_share_of_all_tokens_is_drawn_of_the_candidates_each_as_often() {
        // One sixth of six tokens is one, of the two candidates.
        let settings = ClipCov {
            fraction: 0.2,
            low: 0.6,
            high: 1.8,
        };
        let mut n_first = 0;
        for seed in 0..1000 {
            match dropped(settings, &ON_POLICY, seed)[..] {
                [0] => n_first += 1,
                [2] => {}
                ref other => panic!("{other:?} drawn"),
            }
        }
        // A fair coin leaves 450..550 once in a thousand times.
        assert!((450..550).contains(&n_first), "{n_first} of 1000");
    }

    #[test]
    fn draws_are_spread_evenly_over_tokens_and_seeds() {
        let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
        let by_token: Vec<f64> = (0..10_000).map(|idx| draw(7, idx)).collect();
        let by_seed: Vec<f64> = (0..10_000).map(|seed| draw(seed, 7)).collect();
        for numbers in [by_token, by_seed] {
            assert!((mean(&numbers) - 0.5).abs() < 0.01);
            let squares: Vec<f64> = numbers.iter().map(|x| x * x).collect();
            assert!((mean(&squares) - 1.0 / 3.0).abs() < 0.01);
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert_eq!(ClipCov::default().check(), Ok(()));
        let (low, high) = (2.0, 2.0);
        assert!(
            ClipCov {
                low,
                high,
                ..ClipCov::default()
            }
            .check()
            .is_err()
        );
        let fraction = 20.0;
        assert!(
            ClipCov {
                fraction,
                ..ClipCov::default()
            }
            .check()
            .is_err()
        );
    }

    #[test]
    #[should_panic(expected = "not `gspo`")]
    fn other_policy_losses_are_refused() {
        let tokens = ScopeTokens {
            logprobs: &[],
            old_logprobs: &[],
            advantages: &[],
            loss_mask: &[],
            entropies: None,
        };
        let gspo = PolicyLoss::Gspo {
            clip_low: 3e-4,
            clip_high: 4e-4,
        };
        ClipCov::default().controls(&tokens, &gspo, 0);
    }
}

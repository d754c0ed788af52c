//! The 80/20 rule: only the tokens of high entropy keep their policy loss (arXiv:2506.01939).
//!
//! `kept = trained tokens with entropy >= the (1 - fraction) quantile of the scope's entropies`
//!
//! The quantile is interpolated between neighbours. Denominators do not change: a dropped token
//! counts. The reference penalty stays on all tokens, as in TRL.
//!
//! Assumptions: entropies equal to the quantile are kept, so equal entropies are all kept.
//!
//! Differs from the paper: the scope is an option, there it is the micro-batch (TRL: the batch).

use crate::ObjectiveError;
use crate::token_control::{ScopeTokens, TokenControl};

/// Settings of the 80/20 rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopEntropy {
    /// Which part of the scope's trained tokens is trained on: above 0, at most 1 (the paper: 0.2).
    pub fraction: f64,
}

impl TopEntropy {
    /// Whether the fraction is one.
    ///
    /// # Errors
    /// For a fraction outside `(0, 1]`.
    pub fn check(&self) -> Result<(), ObjectiveError> {
        ObjectiveError::check_fraction("top_entropy_fraction", self.fraction)
    }

    /// What becomes of each token of a scope.
    ///
    /// # Panics
    /// If the slices differ in length or there are no entropies.
    pub fn controls(&self, tokens: &ScopeTokens) -> Vec<TokenControl> {
        let entropies = tokens
            .entropies
            .expect("the tokens of highest entropy need `entropies`");
        let trained = tokens.trained();
        let mut controls = vec![TokenControl::NEUTRAL; tokens.loss_mask.len()];
        let mut sorted: Vec<f64> = trained.iter().map(|&idx| entropies[idx]).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let Some(threshold) = quantile(&sorted, 1.0 - self.fraction) else {
            return controls;
        };
        for idx in trained {
            if entropies[idx] < threshold {
                controls[idx] = TokenControl::DROPPED;
            }
        }
        controls
    }
}

/// A quantile of sorted numbers, linear between neighbours; `None` of no numbers.
fn quantile(sorted: &[f64], level: f64) -> Option<f64> {
    let place = level * sorted.len().checked_sub(1)? as f64;
    // Rounding must not move a quantile off the number it falls on, which would then be dropped.
    let rounded = place.round();
    let place = if (place - rounded).abs() < 1e-9 {
        rounded
    } else {
        place
    };
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    Some(below + place.fract() * (above - below))
}

#[cfg(test)]
mod tests {
    use super::{TopEntropy, quantile};
    use crate::token_control::ScopeTokens;

    fn kept(entropies: &[f64], loss_mask: &[bool], fraction: f64) -> Vec<usize> {
        let unread = vec![f64::NAN; entropies.len()];
        let controls = TopEntropy { fraction }.controls(&ScopeTokens {
            logprobs: &unread,
            old_logprobs: &unread,
            advantages: &unread,
            loss_mask,
            entropies: Some(entropies),
        });
        let is_kept = |idx: &usize| controls[*idx].factor == 1.0;
        (0..entropies.len()).filter(is_kept).collect()
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        // np.quantile([0, 1, 4, 9, 16], [0, .25, .8, .9, 1])
        let numbers = [0.0, 1.0, 4.0, 9.0, 16.0];
        for (level, expected) in [
            (0.0, 0.0),
            (0.25, 1.0),
            (0.8, 10.4),
            (0.9, 13.2),
            (1.0, 16.0),
        ] {
            let found = quantile(&numbers, level).expect("five numbers");
            assert!(
                (found - expected).abs() < 1e-12,
                "{found} is not {expected}"
            );
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7.0], 0.8), Some(7.0));
    }

    #[test]
    fn the_tokens_of_highest_entropy_are_kept_wherever_they_stand() {
        let entropies = [0.9, 0.1, f64::NAN, 0.5, 0.0, 0.7];
        let loss_mask = [true, true, false, true, true, true];
        // An untrained token is not touched. Of five, the .8 quantile is .74 and the .5 one .5.
        assert_eq!(kept(&entropies, &loss_mask, 0.2), [0, 2]);
        assert_eq!(kept(&entropies, &loss_mask, 0.5), [0, 2, 3, 5]);
        assert_eq!(kept(&entropies, &loss_mask, 1.0), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_token_that_the_quantile_falls_on_is_kept_despite_rounding() {
        // (1 - .7) * 10 is a little more than 3 in f64.
        let entropies: Vec<f64> = (0..11).map(|i| f64::from(i) * 1e6).collect();
        assert_eq!(
            kept(&entropies, &[true; 11], 0.7),
            [3, 4, 5, 6, 7, 8, 9, 10]
        );
    }

    #[test]
    fn equal_entropies_and_single_tokens_are_all_kept() {
        assert_eq!(kept(&[0.3; 4], &[true; 4], 0.2), [0, 1, 2, 3]);
        assert_eq!(kept(&[0.3], &[true], 0.2), [0]);
        assert_eq!(kept(&[0.3], &[false], 0.2), [0]);
    }
}

//! What an evaluation reports, as sums that merge exactly over micro-batches.
//!
//! Fields are sums or counts over trained tokens, unweighted unless said otherwise; the methods of
//! the same names divide. With no trained token the means are 0.

/// Sums over the trained tokens of one or more micro-batches.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Metrics {
    /// Trained tokens.
    pub n_tokens: usize,
    /// The policy's part of the loss: sum of weight * importance * policy loss.
    pub policy_loss: f64,
    /// The penalty's part of the loss: sum of weight * coefficient * KL estimate.
    pub kl_loss: f64,
    /// The entropy bonus's part of the loss: minus the sum of weight * coefficient * entropy.
    pub entropy_loss: f64,
    /// KL-Cov's part of `policy_loss`: sum of weight * importance * coefficient * `|ln r|`.
    pub log_ratio_penalty: f64,
    /// Tokens that entropy control weighed, dropped or penalised.
    pub n_selected: usize,
    /// Trained tokens that came with an entropy.
    pub n_entropy_tokens: usize,
    /// Sum of these entropies, in nats.
    pub entropy_sum: f64,
    /// Sum of `|ln r|`, not clamped: what KL-Cov penalises.
    pub abs_log_ratio_sum: f64,
    /// Sum of `(r - 1) - ln r`, `r` the token's ratio: k3 for KL(old || current), `ln r` clamped as
    /// the objective says.
    pub approx_kl_sum: f64,
    /// Sum of the ratios the loss used (GSPO: the sequence's).
    pub ratio_sum: f64,
    /// The largest `|ratio - 1|`, over the ratios the loss used.
    pub ratio_max_deviation: f64,
    /// Tokens stopped by the lower bound (CISPO: whose weight it raised).
    pub n_clipped_low: usize,
    /// Tokens stopped by the upper bound (CISPO: whose weight it lowered).
    pub n_clipped_high: usize,
    /// Tokens stopped by dual clip.
    pub n_clipped_dual: usize,
    /// Tokens whose log ratio (GSPO: whose sequence's) lay outside the numerical clamp.
    pub n_log_ratio_clamped: usize,
    /// Trained tokens that came with `ref_logprobs`.
    pub n_ref_tokens: usize,
    /// Sum of `exp(-x) + x - 1`, `x = logprobs - ref_logprobs` held to 20 either way: k3 for
    /// KL(current || reference), whatever estimate the loss uses.
    pub ref_kl_sum: f64,
    /// Tokens whose KL penalty was clamped.
    pub n_kl_clamped: usize,
    /// Trained tokens that came with `rollout_logprobs`.
    pub n_rollout_tokens: usize,
    /// Sum of `exp(x) - 1 - x`, `x = old_logprobs - rollout_logprobs` held to 20 either way: k3 for
    /// KL(sampler || trainer).
    pub rollout_kl_sum: f64,
    /// Sum of the importance weights, after the cap; 1 each without importance sampling.
    pub importance_sum: f64,
    /// Tokens whose importance weight was cut by the cap.
    pub n_importance_capped: usize,
}

impl Metrics {
    /// Adds what another micro-batch reported.
    pub fn merge(&mut self, other: &Metrics) {
        // Destructured, so that a new field cannot be forgotten here.
        let Metrics {
            n_tokens,
            policy_loss,
            kl_loss,
            entropy_loss,
            log_ratio_penalty,
            n_selected,
            n_entropy_tokens,
            entropy_sum,
            abs_log_ratio_sum,
            approx_kl_sum,
            ratio_sum,
            ratio_max_deviation,
            n_clipped_low,
            n_clipped_high,
            n_clipped_dual,
            n_log_ratio_clamped,
            n_ref_tokens,
            ref_kl_sum,
            n_kl_clamped,
            n_rollout_tokens,
            rollout_kl_sum,
            importance_sum,
            n_importance_capped,
        } = *other;
        self.n_tokens += n_tokens;
        self.policy_loss += policy_loss;
        self.kl_loss += kl_loss;
        self.entropy_loss += entropy_loss;
        self.log_ratio_penalty += log_ratio_penalty;
        self.n_selected += n_selected;
        self.n_entropy_tokens += n_entropy_tokens;
        self.entropy_sum += entropy_sum;
        self.abs_log_ratio_sum += abs_log_ratio_sum;
        self.approx_kl_sum += approx_kl_sum;
        self.ratio_sum += ratio_sum;
        self.ratio_max_deviation = self.ratio_max_deviation.max(ratio_max_deviation);
        self.n_clipped_low += n_clipped_low;
        self.n_clipped_high += n_clipped_high;
        self.n_clipped_dual += n_clipped_dual;
        self.n_log_ratio_clamped += n_log_ratio_clamped;
        self.n_ref_tokens += n_ref_tokens;
        self.ref_kl_sum += ref_kl_sum;
        self.n_kl_clamped += n_kl_clamped;
        self.n_rollout_tokens += n_rollout_tokens;
        self.rollout_kl_sum += rollout_kl_sum;
        self.importance_sum += importance_sum;
        self.n_importance_capped += n_importance_capped;
    }

    /// Mean k3 for KL(old || current), in nats per token.
    pub fn approx_kl(&self) -> f64 {
        self.per_token(self.approx_kl_sum)
    }

    /// Mean `|ln r|`, in nats per token: KL-Cov's own measure of how far the policy moved.
    pub fn abs_log_ratio_mean(&self) -> f64 {
        self.per_token(self.abs_log_ratio_sum)
    }

    /// Share of tokens that entropy control weighed, dropped or penalised.
    pub fn selected_fraction(&self) -> f64 {
        self.per_token(self.n_selected as f64)
    }

    /// Mean entropy, in nats per token; `None` where no token came with one.
    pub fn entropy(&self) -> Option<f64> {
        (self.n_entropy_tokens > 0).then(|| self.entropy_sum / self.n_entropy_tokens as f64)
    }

    /// Mean ratio; 1 on the first update of a batch.
    pub fn ratio_mean(&self) -> f64 {
        self.per_token(self.ratio_sum)
    }

    /// Share of tokens that the lower bound acted on.
    pub fn clip_low_fraction(&self) -> f64 {
        self.per_token(self.n_clipped_low as f64)
    }

    /// Share of tokens that the upper bound acted on.
    pub fn clip_high_fraction(&self) -> f64 {
        self.per_token(self.n_clipped_high as f64)
    }

    /// Share of tokens that dual clip stopped.
    pub fn clip_dual_fraction(&self) -> f64 {
        self.per_token(self.n_clipped_dual as f64)
    }

    /// Share of tokens whose log ratio was numerically clamped.
    pub fn log_ratio_clamp_fraction(&self) -> f64 {
        self.per_token(self.n_log_ratio_clamped as f64)
    }

    /// Mean importance weight.
    pub fn importance_mean(&self) -> f64 {
        self.per_token(self.importance_sum)
    }

    /// Share of tokens whose importance weight was capped.
    pub fn importance_capped_fraction(&self) -> f64 {
        self.per_token(self.n_importance_capped as f64)
    }

    /// Mean k3 for KL(current || reference), in nats per token; `None` without a reference.
    pub fn ref_kl(&self) -> Option<f64> {
        (self.n_ref_tokens > 0).then(|| self.ref_kl_sum / self.n_ref_tokens as f64)
    }

    /// Mean k3 for KL(sampler || trainer), in nats per token; `None` without the sampler's record.
    pub fn rollout_kl(&self) -> Option<f64> {
        (self.n_rollout_tokens > 0).then(|| self.rollout_kl_sum / self.n_rollout_tokens as f64)
    }

    fn per_token(&self, sum: f64) -> f64 {
        if self.n_tokens == 0 {
            return 0.0;
        }
        sum / self.n_tokens as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn nothing_is_zero_or_absent_and_not_nan() {
        let nothing = Metrics::default();
        assert_eq!(nothing.approx_kl(), 0.0);
        assert_eq!(nothing.ratio_mean(), 0.0);
        assert_eq!(nothing.clip_high_fraction(), 0.0);
        assert_eq!(
            (nothing.abs_log_ratio_mean(), nothing.selected_fraction()),
            (0.0, 0.0)
        );
        assert_eq!((nothing.ref_kl(), nothing.entropy()), (None, None));
        assert_eq!(nothing.rollout_kl(), None);
    }

    #[test]
    fn the_largest_deviation_of_a_merge_is_the_larger_one() {
        let small = Metrics {
            ratio_max_deviation: 0.1,
            ..Metrics::default()
        };
        let large = Metrics {
            ratio_max_deviation: 0.7,
            ..Metrics::default()
        };
        for (mut left, right) in [(small, large), (large, small)] {
            left.merge(&right);
            assert_eq!(left.ratio_max_deviation, 0.7);
        }
    }
}

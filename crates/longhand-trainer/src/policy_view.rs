//! What the policy says of tokens that it wrote itself: how sure it was of each.

use longhand_policy::Policy;
use longhand_reward_certainty::Alignment;
use longhand_rollout::{Context, Prompts, TurnIdx, contexts};

use crate::{
    credit::ScoredGroup,
    error::TrainError,
    not_finite::{Moment, NotFinite, TokenPlace},
    scoring::score_contexts,
};

/// Sums over the sampled tokens of all turns of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PolicyView {
    /// Sampled tokens.
    pub n_tokens: usize,
    /// Of the entropies of the distributions that they were drawn from, in nats.
    pub entropy_sum: f64,
    /// Of the self-certainties `KL(uniform ‖ p)` of these distributions, in nats.
    pub self_certainty_sum: f64,
}

impl PolicyView {
    /// Mean entropy of a token; none without any.
    pub fn entropy(&self) -> Option<f64> {
        (self.n_tokens != 0).then(|| self.entropy_sum / self.n_tokens as f64)
    }

    /// Mean self-certainty of a token (arXiv:2505.19590); none without any.
    pub fn self_certainty(&self) -> Option<f64> {
        (self.n_tokens != 0).then(|| self.self_certainty_sum / self.n_tokens as f64)
    }

    /// Of all these attempts.
    pub(crate) fn sum<'a>(views: impl Iterator<Item = &'a Self>) -> Self {
        views.fold(Self::default(), |mut sum, view| {
            sum.add(view);
            sum
        })
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.n_tokens += other.n_tokens;
        self.entropy_sum += other.entropy_sum;
        self.self_certainty_sum += other.self_certainty_sum;
    }
}

/// `[group][attempt]` Under the policy as it stands, without a gradient.
///
/// With [`Alignment::Shifted`] self-certainty is that of the predictions one position later: without the
/// first of each turn, and with the one behind its last token.
///
/// # Errors
/// When a context exceeds the token budget, or a number is not finite.
pub(crate) fn policy_views(
    scored: &[ScoredGroup],
    policy: &Policy,
    temperature: f64,
    alignment: Alignment,
    token_budget: usize,
    at: Moment,
) -> Result<Vec<Vec<PolicyView>>, TrainError> {
    let n_attempts = scored.iter().map(|scored| scored.group.trajectories.len());
    let mut views: Vec<Vec<PolicyView>> = n_attempts
        .map(|n_attempts| vec![PolicyView::default(); n_attempts])
        .collect();
    let groups = scored.iter().map(|scored| &scored.group);
    let (places, turns): (Vec<TurnIdx>, Vec<Context<'_>>) = contexts(groups, Prompts::Student)
        .into_iter()
        .filter(|(_, context)| !context.completion.is_empty())
        .unzip();
    // What a turn would go on with is never looked at: any token gives the prediction before it.
    let n_more = usize::from(alignment == Alignment::Shifted);
    let longer: Vec<Vec<u32>> = turns
        .iter()
        .map(|turn| [turn.completion, &turn.completion[..n_more]].concat())
        .collect();
    let turns: Vec<Context<'_>> = turns
        .iter()
        .zip(&longer)
        .map(|(turn, completion)| Context {
            completion,
            ..*turn
        })
        .collect();
    let scores = score_contexts(policy, &turns, temperature, token_budget)?;
    for (place, scores) in places.into_iter().zip(scores) {
        let n_tokens = scores.entropies.len() - n_more;
        let entropies = &scores.entropies[..n_tokens];
        let certainties = &scores.self_certainties[n_more..];
        for (what, values) in [
            ("the entropy", entropies),
            ("the self-certainty", certainties),
        ] {
            if let Some(token) = values.iter().position(|value| !value.is_finite()) {
                let of = &scored[place.group];
                let at_token = TokenPlace::of(of, place.trajectory, place.turn, Some(token));
                let found = NotFinite::of_token(what, f64::from(values[token]), at_token, at);
                return Err(TrainError::NotFinite(Box::new(found)));
            }
        }
        let sum = |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>();
        views[place.group][place.trajectory].add(&PolicyView {
            n_tokens,
            entropy_sum: sum(entropies),
            self_certainty_sum: sum(certainties),
        });
    }
    Ok(views)
}

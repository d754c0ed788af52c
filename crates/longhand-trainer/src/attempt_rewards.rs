//! Rewards of attempts besides their outcomes: votes among them, and what the policy says of itself.

use longhand_config::{AttemptReward, RewardsCredit, Vote};
use longhand_policy::Policy;
use longhand_reward_certainty::{
    Alignment, Clusters, cluster_vote, majority_label, majority_reward, majority_vote,
};
use longhand_reward_outcome::{AnswerRelation, Equivalence};
use longhand_rollout::Trajectory;

use crate::{
    credit::ScoredGroup,
    error::TrainError,
    not_finite::Moment,
    policy_view::{PolicyView, policy_views},
};

/// Fills in the columns of every group, `[attempt][column]`, in the order of the credit's list.
///
/// Certainties at the temperature that tokens are sampled with are there already.
///
/// # Errors
/// As [`policy_views`].
pub(crate) fn reward_attempts(
    scored: &mut [ScoredGroup],
    credit: &RewardsCredit,
    policy: &Policy,
    sampling_temperature: f64,
    token_budget: usize,
    at: Moment,
) -> Result<(), TrainError> {
    for group in scored.iter_mut() {
        group.columns = vec![Vec::new(); group.outcomes.len()];
    }
    for reward in &credit.rewards {
        let columns: Vec<Vec<Option<f64>>> = match *reward {
            AttemptReward::SelfCertainty {
                alignment,
                temperature,
            } => {
                let of =
                    |views: &[PolicyView]| views.iter().map(PolicyView::self_certainty).collect();
                if alignment == Alignment::Aligned && temperature == sampling_temperature {
                    scored.iter().map(|scored| of(&scored.views)).collect()
                } else {
                    let views =
                        policy_views(scored, policy, temperature, alignment, token_budget, at)?;
                    views.iter().map(|views| of(views)).collect()
                }
            }
            AttemptReward::NegativeEntropy {
                temperature,
                without_answer,
            } => {
                let views = if temperature == sampling_temperature {
                    scored.iter().map(|scored| scored.views.clone()).collect()
                } else {
                    let aligned = Alignment::Aligned;
                    policy_views(scored, policy, temperature, aligned, token_budget, at)?
                };
                let of_attempt = |(view, answer): (&PolicyView, &Option<String>)| match answer {
                    None if without_answer.is_some() => without_answer,
                    _ => view.entropy().map(|entropy| -entropy),
                };
                let groups = scored.iter().zip(&views);
                groups
                    .map(|(scored, views)| {
                        views.iter().zip(&scored.answers).map(of_attempt).collect()
                    })
                    .collect()
            }
            AttemptReward::Length { at_most } => scored
                .iter()
                .map(|scored| {
                    let attempts = scored.group.trajectories.iter();
                    let is_short = |attempt: &Trajectory| attempt.n_sampled() <= at_most;
                    attempts
                        .map(|attempt| Some(f64::from(is_short(attempt))))
                        .collect()
                })
                .collect(),
            AttemptReward::Outcome
            | AttemptReward::Format
            | AttemptReward::Integer
            | AttemptReward::ClusterVote { .. }
            | AttemptReward::MajorityVote { .. } => scored
                .iter()
                .map(|scored| of_answers(reward, &scored.rewards, &scored.answers))
                .collect(),
        };
        for (scored, column) in scored.iter_mut().zip(columns) {
            for (row, value) in scored.columns.iter_mut().zip(column) {
                row.push(value);
            }
        }
    }
    Ok(())
}

/// `[attempt]` Rewards of one group that need no policy.
fn of_answers(
    reward: &AttemptReward,
    outcomes: &[f64],
    answers: &[Option<String>],
) -> Vec<Option<f64>> {
    match *reward {
        AttemptReward::ClusterVote { relation, unread } => {
            cluster_vote(&clusters(answers, relation), unread)
        }
        AttemptReward::MajorityVote {
            relation,
            unread,
            vote: Vote::Clusters,
        } => majority_vote(&clusters(answers, relation), unread),
        AttemptReward::MajorityVote {
            relation,
            unread,
            vote: Vote::Strings,
        } => {
            let clusters = clusters(answers, AnswerRelation::String);
            let label = majority_label(&clusters).and_then(|idx| answers[idx].as_deref());
            let equivalence = Equivalence::default();
            let same = |left: &str, right: &str| relation.holds(left, right, &equivalence);
            // Without a label there is no answer either, so that only `unread` is asked.
            majority_reward(answers, label.unwrap_or_default(), unread, same)
        }
        AttemptReward::Format => {
            let is_found = |answer: &Option<String>| Some(f64::from(answer.is_some()));
            answers.iter().map(is_found).collect()
        }
        AttemptReward::Integer => {
            let is_integer = |answer: &Option<String>| {
                let digits = answer
                    .as_deref()
                    .map(|text| text.strip_prefix('-').unwrap_or(text));
                let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                Some(f64::from(
                    digits.is_some_and(|text| !text.is_empty() && is_digits(text)),
                ))
            };
            answers.iter().map(is_integer).collect()
        }
        _ => outcomes.iter().map(|outcome| Some(*outcome)).collect(),
    }
}

/// The answers of a group, sorted.
pub(crate) fn clusters(answers: &[Option<String>], relation: AnswerRelation) -> Clusters {
    let equivalence = Equivalence::default();
    Clusters::new(answers, |left, right| {
        relation.holds(left, right, &equivalence)
    })
}

#[cfg(test)]
mod tests {
    use longhand_reward_certainty::Unread;

    use super::*;

    fn answers(texts: &[&str]) -> Vec<Option<String>> {
        let text = |text: &&str| (!text.is_empty()).then(|| text.to_string());
        texts.iter().map(text).collect()
    }

    #[track_caller]
    fn check(reward: AttemptReward, texts: &[&str], expected: &[Option<f64>]) {
        let outcomes = vec![0.25; texts.len()];
        assert_eq!(of_answers(&reward, &outcomes, &answers(texts)), expected);
    }

    #[test]
    fn votes_are_taken_by_the_relation() {
        let (relation, unread) = (AnswerRelation::Numeric, Unread::Zero);
        let texts = ["5", "5.0", "7", ""];
        let (two, one) = (Some(2.0 / 3.0), Some(1.0 / 3.0));
        let reward = AttemptReward::ClusterVote { relation, unread };
        check(reward, &texts, &[two, two, one, Some(0.0)]);
        let unread = Unread::Missing;
        let reward = AttemptReward::MajorityVote {
            relation,
            unread,
            vote: Vote::Clusters,
        };
        check(reward, &texts, &[Some(1.0), Some(1.0), Some(0.0), None]);
        check(AttemptReward::Outcome, &texts, &[Some(0.25); 4]);
    }

    #[test]
    fn form_and_kind_of_an_answer_are_rewarded_apart() {
        let texts = ["5", "-12", "5.0", "-", "five", ""];
        let of = |values: [f64; 6]| values.map(Some);
        check(
            AttemptReward::Format,
            &texts,
            &of([1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
        );
        check(
            AttemptReward::Integer,
            &texts,
            &of([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
        );
    }

    #[test]
    fn strings_are_counted_and_rewarded_by_the_relation() {
        // "7" wins by strings, though 5 in its spellings is more frequent.
        let texts = ["5", "7", "5.0", "7", "5.00"];
        let reward = |vote| AttemptReward::MajorityVote {
            relation: AnswerRelation::Numeric,
            unread: Unread::Zero,
            vote,
        };
        let sevens = [0.0, 1.0, 0.0, 1.0, 0.0].map(Some);
        check(reward(Vote::Strings), &texts, &sevens);
        let fives = [1.0, 0.0, 1.0, 0.0, 1.0].map(Some);
        check(reward(Vote::Clusters), &texts, &fives);
        check(reward(Vote::Strings), &["", ""], &[Some(0.0); 2]);
    }
}

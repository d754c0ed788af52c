//! Rewards of attempts besides their outcomes: votes among them, and what the policy says of itself.

use std::borrow::Cow;

use longhand_config::{AttemptReward, Credit, RewardsCredit, Vote};
use longhand_reward_certainty::{
    Alignment, Clusters, VoteDiagnosis, cluster_vote, majority_label, majority_reward,
    majority_vote,
};
use longhand_reward_outcome::{AnswerRelation, Equivalence};
use longhand_rollout::Trajectory;

use crate::{credit::ScoredGroup, policy_view::PolicyView};

/// What the policy said of every attempt, under one temperature and alignment.
pub(crate) struct OwnView {
    pub(crate) temperature: f64,
    pub(crate) alignment: Alignment,
    /// `[group][attempt]`
    pub(crate) views: Vec<Vec<PolicyView>>,
}

/// The answers of every group, sorted by one relation.
pub(crate) struct Votes {
    relation: AnswerRelation,
    /// `[group]`
    clusters: Vec<Clusters>,
}

impl Votes {
    /// By the relation of the credit's votes, or by strings where nobody votes; every group is told how its
    /// vote looks, an answer being right where its outcome is at least a half.
    pub(crate) fn count(scored: &mut [ScoredGroup], credit: &Credit) -> Self {
        let relation = vote_relation(credit);
        let of_group = |scored: &mut ScoredGroup| {
            let clusters = clusters(&scored.answers, relation);
            let outcomes = scored.outcomes.iter();
            let is_right: Vec<bool> = outcomes.map(|outcome| 0.5 <= *outcome).collect();
            scored.vote = Some(VoteDiagnosis::new(&clusters, Some(&is_right)));
            clusters
        };
        Self {
            relation,
            clusters: scored.iter_mut().map(of_group).collect(),
        }
    }

    /// Of one group, by this relation.
    fn of(
        &self,
        group: usize,
        answers: &[Option<String>],
        relation: AnswerRelation,
    ) -> Cow<'_, Clusters> {
        if relation == self.relation {
            Cow::Borrowed(&self.clusters[group])
        } else {
            Cow::Owned(clusters(answers, relation))
        }
    }
}

/// Which answers votes are counted by: as the credit says, or by their strings.
fn vote_relation(credit: &Credit) -> AnswerRelation {
    let of_reward = |reward: &AttemptReward| match reward {
        AttemptReward::ClusterVote { relation, .. }
        | AttemptReward::MajorityVote { relation, .. } => Some(*relation),
        _ => None,
    };
    match credit {
        Credit::Rewards(credit) => credit.rewards.iter().find_map(of_reward),
        Credit::Outcome(_) | Credit::Tamtrl(_) => None,
    }
    .unwrap_or(AnswerRelation::String)
}

/// Fills in the columns of every group, `[attempt][column]`, in the order of the credit's list. `views` are
/// those that the stage asks for.
pub(crate) fn reward_attempts(
    scored: &mut [ScoredGroup],
    credit: &RewardsCredit,
    views: &[OwnView],
    votes: &Votes,
) {
    for (group_idx, scored) in scored.iter_mut().enumerate() {
        let columns = credit
            .rewards
            .iter()
            .map(|reward| column(reward, scored, group_idx, views, votes))
            .collect::<Vec<_>>();
        let row = |attempt: usize| columns.iter().map(|column| column[attempt]).collect();
        scored.columns = (0..scored.outcomes.len()).map(row).collect();
    }
}

/// `[attempt]` One reward of one group.
fn column(
    reward: &AttemptReward,
    scored: &ScoredGroup,
    group_idx: usize,
    views: &[OwnView],
    votes: &Votes,
) -> Vec<Option<f64>> {
    let answers = &scored.answers;
    let view = |is_asked: &dyn Fn(&OwnView) -> bool| {
        let found = views.iter().find(|view| is_asked(view));
        &found
            .expect("the stage asks for what its rewards need")
            .views[group_idx]
    };
    let of_answers = |reward: &dyn Fn(Option<&str>) -> bool| {
        let rewards = answers.iter().map(|answer| reward(answer.as_deref()));
        rewards
            .map(|is_rewarded| Some(f64::from(is_rewarded)))
            .collect()
    };
    match *reward {
        AttemptReward::Outcome => scored.rewards.iter().map(|reward| Some(*reward)).collect(),
        AttemptReward::ClusterVote { relation, unread } => {
            cluster_vote(&votes.of(group_idx, answers, relation), unread)
        }
        AttemptReward::MajorityVote {
            relation,
            unread,
            vote: Vote::Clusters,
        } => majority_vote(&votes.of(group_idx, answers, relation), unread),
        AttemptReward::MajorityVote {
            relation,
            unread,
            vote: Vote::Strings,
        } => {
            let clusters = votes.of(group_idx, answers, AnswerRelation::String);
            let label = majority_label(&clusters).and_then(|idx| answers[idx].as_deref());
            let equivalence = Equivalence::default();
            let same = |left: &str, right: &str| relation.holds(left, right, &equivalence);
            // Without a label there is no answer either, so that only `unread` is asked.
            majority_reward(answers, label.unwrap_or_default(), unread, same)
        }
        AttemptReward::SelfCertainty {
            alignment,
            temperature,
        } => {
            let is_asked =
                |view: &OwnView| view.temperature == temperature && view.alignment == alignment;
            view(&is_asked)
                .iter()
                .map(PolicyView::self_certainty)
                .collect()
        }
        AttemptReward::NegativeEntropy {
            temperature,
            without_answer,
        } => {
            let attempts = view(&|view| view.temperature == temperature)
                .iter()
                .zip(answers);
            attempts
                .map(|(view, answer)| match answer {
                    None if without_answer.is_some() => without_answer,
                    _ => view.entropy().map(|entropy| -entropy),
                })
                .collect()
        }
        AttemptReward::Format => of_answers(&|answer| answer.is_some()),
        AttemptReward::Integer => of_answers(&|answer| answer.is_some_and(is_integer)),
        AttemptReward::Length { at_most } => {
            let lengths = scored.group.trajectories.iter().map(Trajectory::n_sampled);
            lengths.map(|n| Some(f64::from(n <= at_most))).collect()
        }
    }
}

/// Whether a text is digits and nothing else, but for a sign.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The answers of a group, sorted.
fn clusters(answers: &[Option<String>], relation: AnswerRelation) -> Clusters {
    let equivalence = Equivalence::default();
    Clusters::new(answers, |left, right| {
        relation.holds(left, right, &equivalence)
    })
}

#[cfg(test)]
mod tests {
    use longhand_advantage::{Gdpo, OutcomeEstimator};
    use longhand_config::Combination;
    use longhand_reward_certainty::Unread;

    use super::*;
    use crate::scripted::scored_group;

    fn answers(texts: &[&str]) -> Vec<Option<String>> {
        let text = |text: &&str| (!text.is_empty()).then(|| text.to_string());
        texts.iter().map(text).collect()
    }

    #[track_caller]
    fn check(reward: AttemptReward, texts: &[&str], expected: &[Option<f64>]) {
        let turns: Vec<&[usize]> = vec![&[1]; texts.len()];
        let outcomes = vec![0.25; texts.len()];
        let mut scored = [scored_group(&turns, &outcomes, &[])];
        scored[0].answers = answers(texts);
        // Counted by this reward's relation, and by another.
        let of_reward = Credit::Rewards(Box::new(RewardsCredit {
            rewards: vec![reward],
            teacher: None,
            combination: Combination::Gdpo(Gdpo::default()),
        }));
        for credit in [of_reward, Credit::Outcome(OutcomeEstimator::DrGrpo)] {
            let votes = Votes::count(&mut scored, &credit);
            assert_eq!(column(&reward, &scored[0], 0, &[], &votes), expected);
        }
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

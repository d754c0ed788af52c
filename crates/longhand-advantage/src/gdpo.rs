//! GDPO: every reward standardised by itself within its group, then weighed and added up
//! (arXiv:2601.05242).
//!
//! ```text
//! z_k(i) = (R_k(i) - mean of the group's R_k) / (std of the group's R_k + eps)
//! S(i)   = sum over k of weight_k * z_k(i)
//! A(i)   = S(i)                                    batch step `none`
//!        = S(i) / (std of the batch's S + eps)     batch step `samples`
//!        = (S(i) - mean) / sqrt(var + 1e-8)        batch step `tokens`, see [`BatchStep::Tokens`]
//! ```
//!
//! Weights act after normalisation: on raw rewards, the one with the larger spread would decide
//! alone. Standard deviations have `n - 1`. A conditioned reward counts only where another holds:
//! `R_k` where `R_l >= t`, otherwise 0.
//!
//! Assumptions: a missing reward stays missing. The attempt takes no part in that column's mean and
//! standard deviation and gets nothing from the column; an attempt without any reward takes no part
//! in the batch step and gets 0. The paper states no `eps` in the first step; its TRL code adds 1e-4
//! to both standard deviations, its verl code 1e-6, whitens over tokens and ignores the weights.
//!
//! Differs from the paper: the batch step over samples leaves out the mean of `S`, which is zero by
//! construction (each column sums to zero within each group), so that a group that says nothing
//! stays at exactly zero. Differs from its TRL code, which reads a missing reward as 0, and from its
//! verl code in a group of one, which has nothing to be compared with and gets 0.

use crate::AdvantageError;
use crate::deviations::{deviations, sample_std, standardised};
use crate::live::is_live;
use crate::whiten::whiten_counted;

/// Settings of GDPO: what each reward is called, weighs and depends on, and how the sum is scaled.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Gdpo {
    /// The rewards, in the order in which they stand in the input.
    pub columns: Vec<RewardColumn>,
    /// Added to each standard deviation.
    pub eps: f64,
    /// What the weighted sums are divided by.
    pub batch_step: BatchStep,
}

/// One kind of reward.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct RewardColumn {
    /// What it is called in settings and metrics.
    pub name: String,
    /// Its weight after normalisation.
    #[cfg_attr(feature = "serde", serde(default = "one"))]
    pub weight: f64,
    /// Where it counts; everywhere without one.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub only_where: Option<Condition>,
}

/// Holds for the attempts whose reward `column`, as given, is `at_least` something.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Condition {
    /// The name of another column.
    pub column: String,
    /// The least value with which the condition holds.
    pub at_least: f64,
}

/// What the weighted sums are divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum BatchStep {
    /// Nothing: weights keep their size (CIRCA, arXiv:2605.22620).
    None,
    /// Their standard deviation over the attempts of the batch (the paper and its TRL code). A batch
    /// of silent groups with one live one enlarges the latter.
    #[default]
    Samples,
    /// Whitened over the trained tokens of the batch, each carrying the sum of its attempt (the
    /// paper's verl code). This shifts: in a batch whose other groups are live, a group of equal
    /// rewards gets the batch's shift and not zero.
    Tokens,
}

/// What GDPO makes of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct GdpoAdvantages {
    /// `[group][attempt]`.
    pub advantages: Vec<Vec<f64>>,
    /// `[group][attempt][column]`: the standardised rewards before their weights; `None` where the
    /// reward is missing.
    pub columns: Vec<Vec<Vec<Option<f64>>>>,
}

#[cfg(feature = "serde")]
fn one() -> f64 {
    1.0
}

impl RewardColumn {
    /// A reward that counts everywhere.
    pub fn new(name: impl Into<String>, weight: f64) -> Self {
        RewardColumn {
            name: name.into(),
            weight,
            only_where: None,
        }
    }
}

impl Default for Gdpo {
    /// No column yet; `eps` 1e-4, scaled over the samples of the batch.
    fn default() -> Self {
        Gdpo {
            columns: Vec::new(),
            eps: Self::DEFAULT_EPS,
            batch_step: BatchStep::default(),
        }
    }
}

impl Gdpo {
    /// The `eps` of the paper's TRL code.
    pub const DEFAULT_EPS: f64 = 1e-4;

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Without a column, for a name that is empty or comes twice, for a weight that is not finite, for
    /// a condition on a column that does not exist or on the column itself, and for an `eps` that is
    /// negative or not finite.
    pub fn check(&self) -> Result<(), AdvantageError> {
        if !(self.eps.is_finite() && 0.0 <= self.eps) {
            return Err(AdvantageError::Eps { eps: self.eps });
        }
        if self.columns.is_empty() {
            return Err(AdvantageError::NoColumn);
        }
        for (idx, column) in self.columns.iter().enumerate() {
            let name = &column.name;
            let is_twice = self.columns[..idx].iter().any(|other| other.name == *name);
            if name.is_empty() || is_twice {
                return Err(AdvantageError::ColumnName { name: name.clone() });
            }
            if !column.weight.is_finite() {
                return Err(AdvantageError::Weight {
                    column: name.clone(),
                    weight: column.weight,
                });
            }
            if let Some(condition) = &column.only_where {
                let mut others = self.columns.iter().map(|other| &other.name);
                let exists = others.any(|other| *other == condition.column);
                if !exists || condition.column == *name || condition.at_least.is_nan() {
                    return Err(AdvantageError::Condition {
                        column: name.clone(),
                        on: condition.column.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether [`advantages`](Self::advantages) looks at `lengths`.
    pub fn needs_lengths(&self) -> bool {
        self.batch_step == BatchStep::Tokens
    }

    /// Advantages of a batch. `rewards` is `[group][attempt][column]`, `None` where a reward is
    /// missing; `lengths` is `[group][attempt]` in trained tokens of the whole attempt, and may be
    /// empty where [`needs_lengths`](Self::needs_lengths) is false.
    ///
    /// A column in which a group has one reward or equal rewards adds exactly zero to it.
    ///
    /// # Panics
    /// If an attempt does not have one entry per column, if a condition names no column, or if the
    /// batch step is over tokens and the shape of `lengths` differs from that of `rewards`.
    pub fn advantages(
        &self,
        rewards: &[Vec<Vec<Option<f64>>>],
        lengths: &[Vec<usize>],
    ) -> GdpoAdvantages {
        let columns: Vec<Vec<Vec<Option<f64>>>> = rewards
            .iter()
            .map(|group| self.standardised_columns(group))
            .collect();
        let sum = |row: &Vec<Option<f64>>| {
            let weighted = row.iter().zip(&self.columns);
            let present = weighted.filter_map(|(z, column)| z.map(|z| column.weight * z));
            present.sum::<f64>()
        };
        let sums: Vec<Vec<f64>> = columns
            .iter()
            .map(|group| group.iter().map(sum).collect())
            .collect();
        let has_reward = |row: &Vec<Option<f64>>| row.iter().any(Option::is_some);
        let flat = match self.batch_step {
            BatchStep::None => sums.concat(),
            BatchStep::Samples => {
                let rewarded = columns.iter().flatten().zip(sums.iter().flatten());
                let rewarded: Vec<f64> = rewarded
                    .filter(|(row, _)| has_reward(row))
                    .map(|(_, &sum)| sum)
                    .collect();
                let std = sample_std(&rewarded);
                let scaled = |&sum: &f64| standardised(sum, std, self.eps);
                sums.iter().flatten().map(scaled).collect()
            }
            BatchStep::Tokens => {
                assert_eq!(
                    rewards.len(),
                    lengths.len(),
                    "one list of lengths per group"
                );
                for (group, lengths) in rewards.iter().zip(lengths) {
                    assert_eq!(group.len(), lengths.len(), "one length per attempt");
                }
                let counts = columns.iter().flatten().zip(lengths.iter().flatten());
                let counts: Vec<usize> = counts
                    .map(|(row, &length)| if has_reward(row) { length } else { 0 })
                    .collect();
                whiten_counted(&sums.concat(), &counts)
            }
        };
        let mut flat = flat.into_iter();
        GdpoAdvantages {
            advantages: rewards
                .iter()
                .map(|group| flat.by_ref().take(group.len()).collect())
                .collect(),
            columns,
        }
    }

    /// Whether a group carries a signal: some column, conditions applied, in which two rewards
    /// differ. `group` is `[attempt][column]`.
    ///
    /// # Panics
    /// As [`advantages`](Self::advantages).
    pub fn is_live(&self, group: &[Vec<Option<f64>>]) -> bool {
        let of_column = |column_idx| self.conditioned(group, column_idx);
        (0..self.columns.len()).any(|column_idx| {
            let present: Vec<f64> = of_column(column_idx).into_iter().flatten().collect();
            is_live(&present)
        })
    }

    /// `[attempt][column]` of one group.
    fn standardised_columns(&self, group: &[Vec<Option<f64>>]) -> Vec<Vec<Option<f64>>> {
        let mut rows = vec![Vec::with_capacity(self.columns.len()); group.len()];
        for column_idx in 0..self.columns.len() {
            let rewards = self.conditioned(group, column_idx);
            let present: Vec<f64> = rewards.iter().copied().flatten().collect();
            let centred = deviations(&present);
            let std = sample_std(&centred);
            let mut centred = centred.into_iter();
            for (row, reward) in rows.iter_mut().zip(rewards) {
                row.push(reward.map(|_| {
                    let deviation = centred.next().expect("one deviation per reward");
                    standardised(deviation, std, self.eps)
                }));
            }
        }
        rows
    }

    /// The rewards of one column, `[attempt]`, 0 where its condition does not hold. A reward whose
    /// condition looks at a missing one is missing too.
    fn conditioned(&self, group: &[Vec<Option<f64>>], column_idx: usize) -> Vec<Option<f64>> {
        let condition = self.columns[column_idx].only_where.as_ref();
        let condition = condition.map(|condition| {
            let mut names = self.columns.iter().map(|column| &column.name);
            let on = names.position(|name| *name == condition.column);
            let on = on.expect("a condition names one of the columns");
            (on, condition.at_least)
        });
        let of_attempt = |row: &Vec<Option<f64>>| {
            assert_eq!(row.len(), self.columns.len(), "one entry per column");
            let reward = row[column_idx]?;
            let Some((on, at_least)) = condition else {
                return Some(reward);
            };
            Some(if at_least <= row[on]? { reward } else { 0.0 })
        };
        group.iter().map(of_attempt).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{BatchStep, Condition, Gdpo, RewardColumn};
    use crate::AdvantageError;

    fn gdpo(weights: &[f64], eps: f64, batch_step: BatchStep) -> Gdpo {
        let columns = weights.iter().zip(["first", "second", "third"]);
        Gdpo {
            columns: columns
                .map(|(&weight, name)| RewardColumn::new(name, weight))
                .collect(),
            eps,
            batch_step,
        }
    }

    /// `[group][attempt][column]` from `[column][group][attempt]`.
    fn rows<const N: usize>(columns: [&[&[f64]]; N]) -> Vec<Vec<Vec<Option<f64>>>> {
        let n_attempts = |group: usize| columns[0][group].len();
        let row = |group: usize, attempt: usize| {
            columns.iter().map(|c| Some(c[group][attempt])).collect()
        };
        (0..columns[0].len())
            .map(|group| (0..n_attempts(group)).map(|i| row(group, i)).collect())
            .collect()
    }

    /// A = [1,0,0,1], B = [1,1,1,0]; the second reward [.9,.2,.4,.5 | .3,.3,.3,.3].
    fn worked() -> Vec<Vec<Vec<Option<f64>>>> {
        rows([
            &[&[1.0, 0.0, 0.0, 1.0], &[1.0, 1.0, 1.0, 0.0]],
            &[&[0.9, 0.2, 0.4, 0.5], &[0.3; 4]],
        ])
    }

    #[track_caller]
    fn check(found: &[Vec<f64>], expected: &[&[f64]]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(*expected) {
                assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
            }
        }
    }

    #[test]
    fn the_worked_groups_before_the_batch_step() {
        // numpy: z = (R - R.mean()) / (R.std(ddof=1) + 1e-4); .5 * z_1 + .5 * z_2
        let found = gdpo(&[0.5, 0.5], 1e-4, BatchStep::None).advantages(&worked(), &[]);
        let a = [1.112073, -0.942289, -0.602722, 0.432938];
        check(
            &found.advantages,
            &[&a, &[0.24995, 0.24995, 0.24995, -0.74985]],
        );
        let second = |group: usize| -> Vec<f64> {
            let rows = found.columns[group].iter();
            rows.map(|row| row[1].expect("nothing is missing"))
                .collect()
        };
        check(&[second(0)], &[&[1.358271, -1.018703, -0.339568, 0.0]]);
        assert_eq!(second(1), [0.0; 4]);
    }

    #[test]
    fn the_worked_groups_over_samples_and_over_tokens() {
        // numpy: S / (S.std(ddof=1) + 1e-4), std .699492
        let found = gdpo(&[0.5, 0.5], 1e-4, BatchStep::Samples).advantages(&worked(), &[]);
        let a = [1.589602, -1.346912, -0.861533, 0.618843];
        check(
            &found.advantages,
            &[&a, &[0.35728, 0.35728, 0.35728, -1.071839]],
        );
        // numpy, unit weights: x = np.repeat(S, L); mean -.464403, var 1.631127;
        // (x - mean) / np.sqrt(var + 1e-8)
        let lengths = [vec![1, 2, 3, 2], vec![1, 1, 2, 4]];
        let found = gdpo(&[1.0, 1.0], 1e-6, BatchStep::Tokens).advantages(&worked(), &lengths);
        let a = [2.105581, -1.112367, -0.580432, 1.041711];
        check(
            &found.advantages,
            &[&a, &[0.755117, 0.755117, 0.755117, -0.810859]],
        );
    }

    #[test]
    fn two_rewards_that_differ_say_twice_as_much_as_one() {
        // The paper's example: sums (0, 1) and (0, 2) look alike to GRPO and not to GDPO.
        let found = gdpo(&[1.0, 1.0], 0.0, BatchStep::None).advantages(
            &rows([&[&[0.0, 1.0], &[0.0, 1.0]], &[&[0.5, 0.5], &[0.0, 1.0]]]),
            &[],
        );
        let (half, whole) = (0.5_f64.sqrt(), 2.0_f64.sqrt());
        check(&found.advantages, &[&[-half, half], &[-whole, whole]]);
    }

    #[test]
    fn circa_is_half_a_vote_and_half_a_certainty_without_a_batch_step() {
        // Answers 5, 5, 7, none; self-certainty 18.2, 17.5, 19.1, 16 (arXiv:2605.22620).
        let votes: &[&[f64]] = &[&[2.0 / 3.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]];
        let found = gdpo(&[0.5, 0.5], 1e-4, BatchStep::None)
            .advantages(&rows([votes, &[&[18.2, 17.5, 19.1, 16.0]]]), &[]);
        check(
            &found.advantages,
            &[&[0.582531, 0.315160, 0.404224, -1.301916]],
        );
    }

    #[test]
    fn degenerate_groups_get_exactly_zero_beside_live_ones() {
        let live = vec![vec![Some(1.0), Some(0.2)], vec![Some(0.0), Some(0.7)]];
        let batch = vec![
            vec![],
            vec![vec![Some(1.0), Some(3.0)]],
            vec![vec![Some(0.1), Some(0.7)]; 3],
            vec![vec![None, None]; 2],
            live,
        ];
        for batch_step in [BatchStep::None, BatchStep::Samples] {
            for eps in [0.0, 1e-4] {
                let gdpo = gdpo(&[0.5, 0.3], eps, batch_step);
                let found = gdpo.advantages(&batch, &[]).advantages;
                let zeros = [vec![], vec![0.0], vec![0.0; 3], vec![0.0; 2]];
                assert_eq!(found[..4], zeros);
                assert!(found[4][0] > 0.0 && found[4][1] < 0.0);
                let live: Vec<bool> = batch.iter().map(|group| gdpo.is_live(group)).collect();
                assert_eq!(live, [false, false, false, false, true]);
            }
        }
        let silent = gdpo(&[1.0, 1.0], 0.0, BatchStep::Tokens);
        let lengths = [vec![], vec![3], vec![1, 2, 3], vec![4, 4]];
        let found = silent.advantages(&batch[..4], &lengths).advantages;
        assert_eq!(found.concat(), [0.0; 6]);
    }

    #[test]
    fn a_missing_reward_is_in_no_mean_and_adds_nothing() {
        // The second column of the first group is that of [1, 3]: +-1 / sqrt(2), nothing for the
        // attempt between them; as a zero it would be the lowest of three.
        let group = vec![
            vec![Some(0.0), Some(1.0)],
            vec![Some(1.0), None],
            vec![Some(0.5), Some(3.0)],
        ];
        let found = gdpo(&[1.0, 1.0], 0.0, BatchStep::None).advantages(&[group], &[]);
        let half = 0.5_f64.sqrt();
        check(&found.advantages, &[&[-1.0 - half, 1.0, half]]);
        assert_eq!(found.columns[0][1][1], None);
    }

    #[test]
    fn an_attempt_without_any_reward_is_in_no_statistic() {
        let one = |reward| vec![reward];
        let all = vec![one(Some(1.0)), one(Some(0.0)), one(None)];
        let rest = all[..2].to_vec();
        for (batch_step, lengths) in [
            (BatchStep::Samples, [1, 1, 1]),
            (BatchStep::Tokens, [2, 3, 9]),
        ] {
            let gdpo = gdpo(&[2.0], 1e-4, batch_step);
            let with = gdpo.advantages(std::slice::from_ref(&all), &[lengths.to_vec()]);
            let without = gdpo.advantages(std::slice::from_ref(&rest), &[lengths[..2].to_vec()]);
            assert_eq!(with.advantages[0][..2], without.advantages[0]);
            assert_eq!(with.advantages[0][2], 0.0);
        }
    }

    #[test]
    fn a_conditioned_reward_is_zero_where_its_condition_does_not_hold() {
        let mut gdpo = gdpo(&[0.0, 1.0], 0.0, BatchStep::None);
        gdpo.columns[1].only_where = Some(Condition {
            column: "first".to_owned(),
            at_least: 1.0,
        });
        assert_eq!(gdpo.check(), Ok(()));
        // The second column becomes [1, 0, 0, missing]: it holds, it fails, it is 0 anyway, and what
        // it depends on is missing.
        let group = vec![
            vec![Some(1.0), Some(1.0)],
            vec![Some(0.5), Some(1.0)],
            vec![Some(2.0), Some(0.0)],
            vec![None, Some(1.0)],
        ];
        let found = gdpo.advantages(std::slice::from_ref(&group), &[]);
        // numpy: R = [1, 0, 0]; (R - R.mean()) / R.std(ddof=1)
        check(&found.advantages, &[&[1.154701, -0.577350, -0.577350, 0.0]]);
        assert_eq!(found.columns[0][3], [None, None]);
        // Where the condition holds nowhere, the column is silent.
        let failed = [vec![Some(0.0), Some(1.0)], vec![Some(0.0), Some(0.0)]];
        assert!(gdpo.is_live(&group) && !gdpo.is_live(&failed));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        let two = || gdpo(&[1.0, 1.0], 1e-4, BatchStep::Samples);
        assert_eq!(two().check(), Ok(()));
        assert_eq!(Gdpo::default().check(), Err(AdvantageError::NoColumn));
        let refused = |change: fn(&mut Gdpo)| {
            let mut gdpo = two();
            change(&mut gdpo);
            gdpo.check().expect_err("must be refused").to_string()
        };
        let on = |column: &str| {
            Some(Condition {
                column: column.to_owned(),
                at_least: 1.0,
            })
        };
        assert!(refused(|g| g.eps = -1.0).contains("`eps` is -1"));
        assert!(refused(|g| g.columns[1].name = "first".to_owned()).contains("`first`"));
        assert!(refused(|g| g.columns[1].weight = f64::NAN).contains("`second` is NaN"));
        let mut unknown = two();
        unknown.columns[0].only_where = on("thrid");
        assert!(
            unknown
                .check()
                .expect_err("no such column")
                .to_string()
                .contains("`thrid`")
        );
        unknown.columns[0].only_where = on("first");
        assert!(matches!(
            unknown.check(),
            Err(AdvantageError::Condition { .. })
        ));
    }
}

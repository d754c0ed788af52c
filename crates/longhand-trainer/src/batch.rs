//! Rows of a mini-batch: every trained turn with its advantage and the weight of its tokens.

use longhand_config::{ObjectiveSettings, Unit};
use longhand_objective::{Denominators, unit_weight};
use longhand_rollout::{Context, PrefixTree, Prompts, TurnIdx, contexts};

use crate::credit::{Credited, ScoredGroup};

/// One turn to train on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) at: TurnIdx,
    pub(crate) advantage: f64,
    /// Weight of each of its tokens in the loss.
    pub(crate) weight: f64,
}

/// A mini-batch as a prefix tree with its rows.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) tree: PrefixTree,
    /// In the order of the tree's contexts.
    pub(crate) rows: Vec<Row>,
    /// Trained tokens of the mini-batch, those of advantage zero included.
    pub(crate) n_trained: usize,
}

/// Packs whole groups. Weights come from the counts of the whole mini-batch, before anything is cut
/// or left out. Rows whose gradient is zero by construction are left out when `skip_zero` is set.
pub(crate) fn pack(
    scored: &[ScoredGroup],
    credited: &Credited,
    settings: &ObjectiveSettings,
    skip_zero: bool,
) -> Batch {
    let groups: Vec<_> = scored.iter().map(|scored| scored.group.clone()).collect();
    let trained: Vec<(TurnIdx, Context<'_>, f64)> = contexts(&groups, Prompts::Student)
        .into_iter()
        .filter_map(|(at, context)| {
            let advantage = credited.turns[at.group][at.trajectory][at.turn].advantage?;
            Some((at, context, advantage))
        })
        .collect();

    // A unit is a turn, or a whole trajectory so that cutting it into more turns changes no weight.
    let unit_of = |at: &TurnIdx| match settings.unit {
        Unit::Context => (at.group, at.trajectory, at.turn),
        Unit::Trajectory => (at.group, at.trajectory, 0),
    };
    let mut unit_tokens = std::collections::BTreeMap::new();
    for (at, context, _) in &trained {
        *unit_tokens.entry(unit_of(at)).or_insert(0) += context.completion.len();
    }
    let lengths: Vec<usize> = unit_tokens.values().copied().collect();
    let denominators = Denominators::of(&lengths, settings.norm_length.unwrap_or(1.0));

    let n_trained = lengths.iter().sum();
    let kept: Vec<_> = trained
        .into_iter()
        .filter(|(_, _, advantage)| !skip_zero || *advantage != 0.0)
        .collect();
    let rows = kept
        .iter()
        .map(|(at, _, advantage)| Row {
            at: *at,
            advantage: *advantage,
            weight: unit_weight(
                settings.aggregation,
                unit_tokens[&unit_of(at)],
                &denominators,
            ),
        })
        .collect();
    let kept: Vec<Context<'_>> = kept.into_iter().map(|(_, context, _)| context).collect();
    Batch {
        tree: PrefixTree::new(&kept),
        rows,
        n_trained,
    }
}

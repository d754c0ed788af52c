//! The rewards without labels on the wire.

use longhand_reward_certainty::{
    Alignment, Clusters, Unread, VoteDiagnosis, cluster_vote, majority_label, majority_reward,
    majority_vote, negative_entropy, self_certainty, token_certainty, token_entropy,
};
use longhand_reward_outcome::{AnswerRelation, Equivalence, Percent};
use serde_json::Value;

use crate::error::LineError;
use crate::inputs::Inputs;
use crate::method::{Accepts, Field, Method, OptionEntry, Preset, optional, required};
use crate::outputs::Outputs;

pub(crate) const CLUSTER_VOTE: Method = Method {
    name: "cluster-vote",
    about: "CIRCA's vote: members of one's cluster of answers over answers read",
    fields: &[GROUP],
    options: &[VOTE_OPTIONS, PERCENT_OPTION],
    gives: &[
        REWARD,
        required(
            "clusters",
            "[attempt] indices, null where no answer was read",
        ),
        required("sizes", "[cluster] counts of attempts"),
    ],
    evaluate: cluster_vote_of,
};

pub(crate) const MAJORITY_VOTE: Method = Method {
    name: "majority-vote",
    about: "TTRL's vote: 1 for the majority's answer, of equally frequent ones the first",
    fields: &[
        GROUP,
        optional("truth", "a string, for the accuracies only"),
    ],
    options: &[
        VOTE_OPTIONS,
        PERCENT_OPTION,
        &[OptionEntry {
            name: "vote",
            about: "what is counted: clusters of the relation, or equal strings as in the paper's code",
            accepts: Accepts::Names(&["clusters", "strings"]),
            preset: Preset::Name("clusters"),
        }],
    ],
    gives: &[
        REWARD,
        required("label", "string or null: the majority's answer"),
        required("distinct", "number of different answers"),
        required("largest_share", "number from 0 to 1"),
        required("label_is_right", "boolean, null without a truth or a label"),
        required("reward_accuracy", "number, null without a truth or a label"),
    ],
    evaluate: majority_vote_of,
};

pub(crate) const SELF_CERTAINTY: Method = Method {
    name: "self-certainty",
    about: "Intuitor's reward: the mean distance of the predictions from uniform",
    fields: &[LOGITS, LOSS_MASK],
    options: &[
        LOGIT_OPTIONS,
        &[
            OptionEntry {
                name: "alignment",
                about: "the rows that predicted the tokens, or those at the tokens as in the official code on TRL",
                accepts: Accepts::Names(&["aligned", "shifted"]),
                preset: Preset::Name("aligned"),
            },
            OptionEntry {
                name: "form",
                about: "logsumexp - mean as in the official code, or less the vocabulary's logarithm as in the formula",
                accepts: Accepts::Names(&["code", "kl"]),
                preset: Preset::Name("code"),
            },
        ],
    ],
    gives: &[
        required("reward", "[sequence] numbers or null"),
        required("per_row", "[sequence][row] numbers"),
    ],
    evaluate: self_certainty_of,
};

pub(crate) const ENTROPY: Method = Method {
    name: "entropy",
    about: "RENT's reward: minus the mean entropy of the predictions",
    fields: &[
        LOGITS,
        LOSS_MASK,
        optional("has_answer", "[sequence] true, false, 1 or 0"),
    ],
    options: &[
        LOGIT_OPTIONS,
        &[OptionEntry {
            name: "without_answer",
            about: "the reward of a sequence that `has_answer` says has none; null: its entropy",
            accepts: Accepts::Between(-1e6, 0.0),
            preset: Preset::NumberOrNull(longhand_reward_certainty::WITHOUT_ANSWER),
        }],
    ],
    gives: &[
        required("reward", "[sequence] numbers or null"),
        required("per_row", "[sequence][row] numbers"),
    ],
    evaluate: entropy_of,
};

const GROUP: Field = required(
    "answers",
    "[attempt] strings, null where no answer was read",
);
const REWARD: Field = required("reward", "[attempt] numbers or null");
const LOGITS: Field = required("logits", "[sequence][row][vocabulary] numbers");
const LOSS_MASK: Field = optional("loss_mask", "[sequence][token] true, false, 1 or 0");

const VOTE_OPTIONS: &[OptionEntry] = &[
    OptionEntry {
        name: "relation",
        about: "which answers are the same: by the equivalence of answers, as numbers, or as strings",
        accepts: Accepts::Names(&["equivalence", "numeric", "string"]),
        preset: Preset::Name("equivalence"),
    },
    OptionEntry {
        name: "unread",
        about: "what an attempt without an answer gets: 0, or null",
        accepts: Accepts::Names(&["zero", "missing"]),
        preset: Preset::Name("zero"),
    },
];

/// How percent signs are read, and when a comparison ends.
pub(crate) const PERCENT_OPTION: &[OptionEntry] = &[
    OptionEntry {
        name: "percent",
        about: "50% is a half and not 50, or it is 50 with a sign and not a half",
        accepts: Accepts::Names(&["hundredth", "sign"]),
        preset: Preset::Name("hundredth"),
    },
    OptionEntry {
        name: "steps",
        about: "operations that one comparison may take",
        accepts: Accepts::Count,
        preset: Preset::Count(50_000),
    },
];

const LOGIT_OPTIONS: &[OptionEntry] = &[
    OptionEntry {
        name: "temperature",
        about: "logits are divided by it first",
        accepts: Accepts::Above(0.0),
        preset: Preset::Number(1.0),
    },
    OptionEntry {
        name: "vocabulary",
        about: "only so many columns count, the others are padding; null: all",
        accepts: Accepts::Count,
        preset: Preset::Null,
    },
    OptionEntry {
        name: "empty",
        about: "what a sequence without tokens gets: 0 as in the official code, or null",
        accepts: Accepts::Names(&["zero", "missing"]),
        preset: Preset::Name("zero"),
    },
];

/// The equivalence that the options describe.
pub(crate) fn equivalence(inputs: &Inputs) -> Result<Equivalence, LineError> {
    let mut equivalence = Equivalence {
        percent: match inputs.name_option("percent")? {
            "sign" => Percent::Sign,
            _ => Percent::Hundredth,
        },
        ..Equivalence::default()
    };
    equivalence.budget.n_steps = inputs.count_option("steps")? as u64;
    Ok(equivalence)
}

/// The relation that the options describe.
fn relation(inputs: &Inputs) -> Result<impl Fn(&str, &str) -> bool, LineError> {
    let equivalence = equivalence(inputs)?;
    let relation = match inputs.name_option("relation")? {
        "string" => AnswerRelation::String,
        "numeric" => AnswerRelation::Numeric,
        _ => AnswerRelation::Equivalence,
    };
    Ok(move |left: &str, right: &str| relation.holds(left, right, &equivalence))
}

fn unread(inputs: &Inputs) -> Result<Unread, LineError> {
    Ok(match inputs.name_option("unread")? {
        "missing" => Unread::Missing,
        _ => Unread::Zero,
    })
}

fn cluster_vote_of(inputs: &Inputs) -> Result<Outputs, LineError> {
    let answers = inputs.texts_or_null("answers")?;
    let clusters = Clusters::new(&answers, relation(inputs)?);
    let rewards = cluster_vote(&clusters, unread(inputs)?);
    Ok(Outputs::default()
        .list_or_null("reward", &rewards)?
        .value("clusters", clusters.cluster_idx)
        .value("sizes", clusters.sizes))
}

fn majority_vote_of(inputs: &Inputs) -> Result<Outputs, LineError> {
    let answers = inputs.texts_or_null("answers")?;
    let truth = inputs.if_given("truth", |inputs, name| inputs.text(name).map(str::to_owned))?;
    let same = relation(inputs)?;
    let unread = unread(inputs)?;
    let is_by_strings = inputs.name_option("vote")? == "strings";
    let clusters = match is_by_strings {
        true => Clusters::new(&answers, |left, right| left == right),
        false => Clusters::new(&answers, &same),
    };
    let label = majority_label(&clusters).and_then(|idx| answers[idx].clone());
    let rewards = match (&label, is_by_strings) {
        (Some(label), true) => majority_reward(&answers, label, unread, &same),
        _ => majority_vote(&clusters, unread),
    };
    let is_right = truth.map(|truth| {
        let is_right = |answer: &Option<String>| answer.as_ref().is_some_and(|a| same(&truth, a));
        answers.iter().map(is_right).collect::<Vec<bool>>()
    });
    let diagnosis = VoteDiagnosis::new(&clusters, is_right.as_deref());
    // By the rewards that are given, which in the paper's form are not those of the clusters.
    let accuracy = is_right.filter(|_| label.is_some()).map(|is_right| {
        let agrees =
            |(reward, is_right): (&Option<f64>, &bool)| (*reward == Some(1.0)) == *is_right;
        let n_agree = rewards
            .iter()
            .zip(&is_right)
            .filter(|pair| agrees(*pair))
            .count();
        n_agree as f64 / answers.len() as f64
    });
    Ok(Outputs::default()
        .list_or_null("reward", &rewards)?
        .value("label", label)
        .value("distinct", diagnosis.n_distinct)
        .number("largest_share", diagnosis.largest_share)?
        .value("label_is_right", diagnosis.label_is_right)
        .value("reward_accuracy", accuracy))
}

/// Rows of logits, cut and cooled as the options say, each turned into a number: `[sequence][row]`.
fn per_row(inputs: &Inputs, of_row: impl Fn(&[f64]) -> f64) -> Result<Vec<Vec<f64>>, LineError> {
    let temperature = inputs.number_option("temperature")?;
    let n_columns = inputs.count_or_null_option("vocabulary")?;
    let mut sequences = inputs.problems("logits")?;
    for (sequence_idx, rows) in sequences.iter_mut().enumerate() {
        for (row_idx, row) in rows.iter_mut().enumerate() {
            let n_columns = n_columns.unwrap_or(row.len());
            if n_columns == 0 || row.len() < n_columns {
                return Err(LineError::Wrong {
                    place: format!("`logits[{sequence_idx}][{row_idx}]`"),
                    found: format!("a list of {}", row.len()),
                    expected: format!("a list of at least {}", n_columns.max(1)),
                });
            }
            row.truncate(n_columns);
            row.iter_mut().for_each(|logit| *logit /= temperature);
        }
    }
    let numbers = |rows: &Vec<Vec<f64>>| rows.iter().map(|row| of_row(row)).collect();
    Ok(sequences.iter().map(numbers).collect())
}

/// The masks of all sequences, `None` where they are not given; `n_more` rows may come after the tokens.
fn masks(
    inputs: &Inputs,
    rows: &[Vec<f64>],
    n_more: std::ops::RangeInclusive<usize>,
) -> Result<Option<Vec<Vec<bool>>>, LineError> {
    let Some(masks) = inputs.if_given("loss_mask", Inputs::mask_rows)? else {
        return Ok(None);
    };
    if masks.len() != rows.len() {
        return Err(LineError::Shape {
            place: "loss_mask".to_owned(),
            found: masks.len(),
            other_place: "logits".to_owned(),
            other: rows.len(),
        });
    }
    for (idx, (mask, rows)) in masks.iter().zip(rows).enumerate() {
        let n_after = rows.len().checked_sub(mask.len());
        if !n_after.is_some_and(|n_after| n_more.contains(&n_after)) {
            return Err(LineError::Shape {
                place: format!("loss_mask[{idx}]"),
                found: mask.len(),
                other_place: format!("logits[{idx}]"),
                other: rows.len(),
            });
        }
    }
    Ok(Some(masks))
}

/// What a sequence without tokens gets.
fn without_tokens(inputs: &Inputs) -> Result<Option<f64>, LineError> {
    Ok(match inputs.name_option("empty")? {
        "missing" => None,
        _ => Some(0.0),
    })
}

fn self_certainty_of(inputs: &Inputs) -> Result<Outputs, LineError> {
    let is_kl = inputs.name_option("form")? == "kl";
    let rows = per_row(inputs, |row| match is_kl {
        true => token_certainty(row) - (row.len() as f64).ln(),
        false => token_certainty(row),
    })?;
    let (alignment, n_more) = match inputs.name_option("alignment")? {
        "shifted" => (Alignment::Shifted, 1..=1),
        _ => (Alignment::Aligned, 0..=1),
    };
    let masks = masks(inputs, &rows, n_more)?;
    let without_tokens = without_tokens(inputs)?;
    let mut rewards = Vec::new();
    for (idx, certainties) in rows.iter().enumerate() {
        let mask = masks.as_ref().map(|masks| masks[idx].as_slice());
        let n_tokens = match (mask, alignment) {
            (Some(mask), _) => mask.len(),
            (None, Alignment::Aligned) => certainties.len(),
            (None, Alignment::Shifted) => certainties.len().saturating_sub(1),
        };
        let reward = match certainties.is_empty() {
            true => None,
            false => self_certainty(certainties, n_tokens, mask, alignment),
        };
        rewards.push(reward.or(without_tokens));
    }
    Outputs::default()
        .list_or_null("reward", &rewards)?
        .rows("per_row", &rows)
}

fn entropy_of(inputs: &Inputs) -> Result<Outputs, LineError> {
    let rows = per_row(inputs, token_entropy)?;
    let masks = masks(inputs, &rows, 0..=1)?;
    let has_answer = inputs.if_given("has_answer", Inputs::flags)?;
    let without_tokens = without_tokens(inputs)?;
    let without_answer = inputs.number_or_null_option("without_answer")?;
    if let Some(has_answer) = &has_answer
        && has_answer.len() != rows.len()
    {
        return Err(LineError::Shape {
            place: "has_answer".to_owned(),
            found: has_answer.len(),
            other_place: "logits".to_owned(),
            other: rows.len(),
        });
    }
    let mut rewards = Vec::new();
    for (idx, entropies) in rows.iter().enumerate() {
        let mask = masks.as_ref().map(|masks| masks[idx].as_slice());
        let n_tokens = mask.map_or(entropies.len(), <[bool]>::len);
        let has_answer = has_answer.as_ref().is_none_or(|has_answer| has_answer[idx]);
        let reward = match without_answer.filter(|_| !has_answer) {
            Some(reward) => Some(reward),
            None => negative_entropy(&entropies[..n_tokens], mask).or(without_tokens),
        };
        rewards.push(reward);
    }
    Outputs::default()
        .list_or_null("reward", &rewards)?
        .rows("per_row", &rows)
}

/// What a verdict is called on the wire.
pub(crate) fn verdict_name(verdict: longhand_reward_outcome::Verdict) -> Value {
    use longhand_reward_outcome::Verdict;
    Value::from(match verdict {
        Verdict::Equal => "equal",
        Verdict::Different => "different",
        Verdict::Unknown => "unknown",
    })
}

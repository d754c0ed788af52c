//! The rewards on the wire.

use longhand_reward_outcome::{
    BoxedOptions, Checker, Verdict, boxed_with, extract_boxed, overlong_penalty, overlong_slope,
};
use longhand_reward_teacher::turn_score;
use serde_json::Value;

use crate::certainty::{self, PERCENT_OPTION, verdict_name};
use crate::error::LineError;
use crate::inputs::Inputs;
use crate::method::{Accepts, Field, Method, OptionEntry, Preset, required};
use crate::outputs::Outputs;

pub(crate) static METHODS: &[Method] = &[
    Method {
        name: "exact-match",
        about: "equal after SQuAD's normalisation",
        fields: PREDICTION,
        options: &[],
        gives: ONE_REWARD,
        evaluate: |inputs| check(inputs, Checker::ExactMatch),
    },
    Method {
        name: "token-f1",
        about: "word overlap after SQuAD's normalisation",
        fields: PREDICTION,
        options: &[],
        gives: ONE_REWARD,
        evaluate: |inputs| check(inputs, Checker::TokenF1),
    },
    Method {
        name: "contains",
        about: "an answer occurs in the prediction, after SQuAD's normalisation",
        fields: PREDICTION,
        options: &[],
        gives: ONE_REWARD,
        evaluate: |inputs| check(inputs, Checker::Contains),
    },
    Method {
        name: "boxed",
        about: "the content of the last \\boxed{} (or \\fbox{}), cleaned as mathematics",
        fields: PREDICTION,
        options: &[&[
            OptionEntry {
                name: "last_chars",
                about: "only the last so many characters are searched; null: all; MemAgent: 300",
                accepts: Accepts::Count,
                preset: Preset::Null,
            },
            OptionEntry {
                name: "lowercase",
                about: "whether case is ignored",
                accepts: Accepts::Flag,
                preset: Preset::Flag(true),
            },
        ]],
        gives: &[
            required("reward", "number"),
            required("extracted", "string or null: what was in the box"),
        ],
        evaluate: boxed,
    },
    Method {
        name: "numeric",
        about: "equal as exact numbers: integers, decimals, fractions, percentages, thousands separators, scientific notation",
        fields: PREDICTION,
        options: &[],
        gives: ONE_REWARD,
        evaluate: |inputs| check(inputs, Checker::Numeric),
    },
    Method {
        name: "answer-equivalence",
        about: "proved to be the same answer, written differently: numbers, units, LaTeX, sets, intervals, algebra",
        fields: PREDICTION,
        options: &[PERCENT_OPTION],
        gives: &[
            required("reward", "number"),
            required("verdict", "equal, different or unknown: the best one"),
        ],
        evaluate: answer_equivalence,
    },
    Method {
        name: "teacher-aligned",
        about: "TAMTRL's raw score: the mean probability of the memory's tokens",
        fields: &[required("token_probs", "[turn][token] numbers from 0 to 1")],
        options: &[&[OptionEntry {
            name: "length_norm",
            about: "whether the sum is divided by the number of tokens",
            accepts: Accepts::Flag,
            preset: Preset::Flag(true),
        }]],
        gives: &[required("reward", "[turn] numbers")],
        evaluate: |inputs| {
            let length_norm = inputs.flag_option("length_norm")?;
            let turns = inputs.probability_rows("token_probs")?;
            let scores: Vec<f64> = turns
                .iter()
                .map(|token_probs| turn_score(token_probs, length_norm))
                .collect();
            Outputs::default().list("reward", &scores)
        },
    },
    Method {
        name: "overlong",
        about: "DAPO's soft overlong punishment",
        fields: &[required("lengths", "[attempt] counts of tokens")],
        options: &[&[
            OptionEntry {
                name: "max",
                about: "the length from which on the penalty is full",
                accepts: Accepts::Count,
                preset: Preset::Count(20480),
            },
            OptionEntry {
                name: "buffer",
                about: "over how many tokens before that it grows; at most `max`",
                accepts: Accepts::Count,
                preset: Preset::Count(4096),
            },
            OptionEntry {
                name: "form",
                about: "the paper's, at least -1 everywhere, or a slope that goes on below -1",
                accepts: Accepts::Names(&["floor", "slope"]),
                preset: Preset::Name("floor"),
            },
        ]],
        gives: &[required("reward", "[attempt] numbers from -1 to 0")],
        evaluate: overlong,
    },
    certainty::CLUSTER_VOTE,
    certainty::MAJORITY_VOTE,
    certainty::SELF_CERTAINTY,
    certainty::ENTROPY,
];

const PREDICTION: &[Field] = &[
    required("prediction", "a string"),
    required("answers", "[accepted answer] strings, at least one"),
];
const ONE_REWARD: &[Field] = &[required("reward", "number")];

fn answers(inputs: &Inputs) -> Result<Vec<String>, LineError> {
    let answers = inputs.texts("answers")?;
    if answers.is_empty() {
        return Err(LineError::Wrong {
            place: "`answers`".to_owned(),
            found: "empty".to_owned(),
            expected: "a list of at least one string".to_owned(),
        });
    }
    Ok(answers)
}

fn check(inputs: &Inputs, checker: Checker) -> Result<Outputs, LineError> {
    let prediction = inputs.text("prediction")?;
    Outputs::default().number("reward", checker.score(prediction, &answers(inputs)?))
}

fn boxed(inputs: &Inputs) -> Result<Outputs, LineError> {
    let prediction = inputs.text("prediction")?;
    let options = BoxedOptions {
        last_chars: inputs.count_or_null_option("last_chars")?,
        lowercase: inputs.flag_option("lowercase")?,
    };
    let reward = boxed_with(&options, prediction, &answers(inputs)?);
    let extracted = extract_boxed(options.searched(prediction));
    Ok(Outputs::default()
        .number("reward", reward)?
        .value("extracted", extracted.map_or(Value::Null, Value::from)))
}

fn answer_equivalence(inputs: &Inputs) -> Result<Outputs, LineError> {
    let prediction = inputs.text("prediction")?;
    let equivalence = certainty::equivalence(inputs)?;
    let answers = answers(inputs)?;
    let verdicts: Vec<Verdict> = answers
        .iter()
        .map(|answer| equivalence.compare(prediction, answer))
        .collect();
    let best = [Verdict::Equal, Verdict::Different]
        .into_iter()
        .find(|verdict| verdicts.contains(verdict))
        .unwrap_or(Verdict::Unknown);
    Ok(Outputs::default()
        .number("reward", f64::from(best == Verdict::Equal))?
        .value("verdict", verdict_name(best)))
}

fn overlong(inputs: &Inputs) -> Result<Outputs, LineError> {
    let lengths = inputs.counts("lengths")?;
    let max = inputs.count_option("max")?;
    let buffer = inputs.count_option("buffer")?;
    if max < buffer {
        return Err(LineError::Combination {
            options: "`max` and `buffer`",
            reason: "the buffer is a part of the maximum, so it must not be larger",
        });
    }
    let has_floor = inputs.name_option("form")? == "floor";
    if !has_floor && buffer == 0 {
        return Err(LineError::Combination {
            options: "`form` = `slope` and `buffer` = 0",
            reason: "a slope needs a buffer of at least 1",
        });
    }
    let penalties: Vec<f64> = lengths
        .iter()
        .map(|&length| match has_floor {
            true => overlong_penalty(length, max, buffer),
            false => overlong_slope(length, max, buffer, 1.0),
        })
        .collect();
    Outputs::default().list("reward", &penalties)
}

//! Whole experiments: what is accepted, and what each complaint says and points at.

mod chat;
mod checkpoint;
mod compute;
mod derived;
mod direct;
mod gpu;
mod judge;
mod loading;
mod lora;
mod papers;
mod plan;
mod rewards;
mod sense;
mod shape;
mod sizes;

use std::path::Path;

use longhand_config::{ConfigError, Experiment, Rl, Stage};

/// A small experiment that makes sense; lines are counted below, so edit with care.
const BASE: &str = r#"name = "small"
[policy.from_scratch]
hidden_size = 64
intermediate_size = 160
n_layers = 3
n_heads = 2
max_positions = 128
[task]
kind = "class-notes"
[data]
train_tokens = 192
[reader]
template = "marks"
chunk_size = 48
max_question_tokens = 8
max_memory_tokens = 12
max_answer_tokens = 4
[[stage]]
kind = "warm-start"
steps = 300
examples_per_step = { read = 48, answer = 12 }
optimizer = { lr = 4e-3 }
[[stage]]
kind = "rl"
steps = 80
problems_per_step = 12
group_size = 8
[stage.credit]
kind = "tamtrl"
[stage.optimizer]
lr = 5e-4
"#;

fn load(text: &str, overrides: &[&str]) -> Result<Experiment, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    Experiment::parse(text, Path::new("a.toml"), &overrides)
}

/// [`BASE`] with `old` replaced by `new`; loads, or fails with exactly this message.
#[track_caller]
fn check(old: &str, new: &str, expected: Result<(), &str>) {
    assert_eq!(
        BASE.matches(old).count(),
        1,
        "{old:?} does not stand in the base once"
    );
    compare(load(&BASE.replace(old, new), &[]), expected);
}

/// [`BASE`] under overrides.
#[track_caller]
fn check_set(overrides: &[&str], expected: Result<(), &str>) {
    compare(load(BASE, overrides), expected);
}

#[track_caller]
fn compare(found: Result<Experiment, ConfigError>, expected: Result<(), &str>) {
    let found = found.map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(found.as_ref().map_err(String::as_str).copied(), expected);
}

fn rl(experiment: &Experiment) -> &Rl {
    match &experiment.stages[1] {
        Stage::Rl(rl) => rl,
        other => panic!("{other:?}"),
    }
}

//! What is fuzzed: one function for each parser of what others have written.
//!
//! A function takes any bytes and panics where a parser breaks a promise: it panics itself, it takes what
//! it cannot print and read again, or its score is outside the range it names. `cargo xtask fuzz` looks for
//! such bytes; `tests/fuzz_corpora.rs` hands every file of `corpora/NAME` to the function of that name.

mod answers;
mod configs;
mod data;
mod models;
mod runs;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All of them, by the names of their fuzz targets and of the folders in `corpora`.
pub const TARGETS: &[(&str, Target)] = &[
    ("experiment", configs::experiment),
    ("model_config", configs::model_config),
    ("safetensors", models::safetensors),
    ("adapter_config", models::adapter_config),
    ("templates", configs::templates),
    ("document", data::document),
    ("jsonl_records", data::jsonl_records),
    ("hotpotqa_records", data::hotpotqa_records),
    ("boxed_answer", answers::boxed_answer),
    ("number", answers::number),
    ("equivalence", answers::equivalence),
    ("math_cleaning", answers::math_cleaning),
    ("checkers", answers::checkers),
    ("judge_reply", answers::judge_reply),
    ("compute_lines", answers::compute_lines),
    ("metric_lines", runs::metric_lines),
    ("transcripts", runs::transcripts),
    ("checkpoint_state", runs::checkpoint_state),
    ("checkpoint_sums", runs::checkpoint_sums),
    ("run_folder", runs::run_folder),
];

/// Runs the function of this name.
///
/// # Panics
///
/// There is none, or it found a broken promise.
pub fn run(name: &str, bytes: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.expect("a target of the table");
    target(bytes);
}

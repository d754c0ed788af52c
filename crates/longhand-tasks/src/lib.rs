//! Generated long-context tasks with ground truth, and readers for real data sets.
//!
//! A [`TaskSpec`] says which task; [`TaskSpec::open`] turns it into a [`Source`], which gives the
//! same [`Problem`] for the same (split, seed, index, target length), whatever was asked before.
//! Every paragraph knows whether the answer depends on it and what an expert would note on reading
//! it; needed paragraphs stand at random places, drawn anew for every problem.
//!
//! | task | vocabulary | held out for testing |
//! |---|---|---|
//! | [`ClassNotes`], [`Lookup`] | closed, one token a word | fresh facts over known words |
//! | [`Needle`], [`MultiNeedle`], [`VariableTracking`], [`MultiHop`], [`Counting`] | large, names of several tokens | names never seen (an option) |
//! | [`Arithmetic`], [`Algebra`], [`CodeTrace`] | closed or plain text; no document | one question in five |
//! | [`HotpotQa`], [`Jsonl`] | a file's own | a share of the file, or a second file |
//!
//! Problems without a document come with a written-out solution, and [`Reasoning`] solves and checks
//! them from their text alone.
//!
//! Files are JSON, one record a line or one list, in the formats that [`FileFormat`] names; with the
//! cargo feature `parquet` also Parquet.
//!
//! Knows nothing of tokens but a counting function, and nothing of models, prompts or rewards.

mod problem;
mod source;
mod spec;
mod vocabulary;

mod class_notes;
mod counting;
mod lookup;
mod multi_hop;
mod multi_needle;
mod needle;
mod variable_tracking;

mod algebra;
mod arithmetic;
mod code_trace;
mod reasoning;

mod expression;
mod lexer;
mod program;
mod verify;

mod hotpotqa;
mod hotpotqa_record;
mod jsonl;
mod jsonl_record;
mod jsonl_writer;

mod gsm8k_record;
mod longbench_record;
mod verl_record;

mod data_file;
mod error;
mod fields;
mod filler;
mod generator;
mod names;
#[cfg(feature = "parquet")]
mod parquet_rows;
#[cfg(not(feature = "parquet"))]
#[path = "no_parquet_rows.rs"]
mod parquet_rows;
mod plain_words;
mod records;
mod stream;

pub use algebra::Algebra;
pub use arithmetic::Arithmetic;
pub use class_notes::ClassNotes;
pub use code_trace::CodeTrace;
pub use counting::Counting;
pub use data_file::{
    DEFAULT_MAX_LINE_BYTES, DEFAULT_TEST_FRACTION, FileFormat, FileReport, LengthBin, check_file,
    check_file_counting,
};
pub use error::{BadRecord, RecordPlace, TaskError};
pub use generator::FactOrder;
pub use hotpotqa::{HotpotQa, PoolUse};
pub use jsonl::{Jsonl, RecordFormat};
pub use jsonl_writer::write_jsonl;
pub use lookup::{Lookup, NoteForm};
pub use multi_hop::{MultiHop, TierWeights};
pub use multi_needle::MultiNeedle;
pub use names::NameSplit;
pub use needle::{Needle, NeedleValue};
pub use problem::{Paragraph, Problem, Split};
pub use program::{Run, run_program};
pub use reasoning::{NumberRange, Operators, Spelling};
pub use source::Source;
pub use spec::TaskSpec;
pub use variable_tracking::{VariableQuestion, VariableTracking};
pub use verify::{Reasoning, SolveError, Verdict};
pub use vocabulary::vocabulary_sample;

//! What a run leaves on disk: configuration, metrics, transcripts, checkpoints, plots.
//!
//! A run owns one folder, never shares it and never overwrites another's:
//!
//! ```text
//! RUN/
//!   lock                                held by the process that writes the run; its number as text
//!   config.toml                         the resolved experiment file
//!   data.sha256                         digests of the data files that problems are read from
//!   metrics.jsonl                       what was computed, one JSON object per line
//!   timings.jsonl                       what the clock and the machine said, likewise
//!   transcripts/STAGE-000012.jsonl.zst  every attempt of one step
//!   checkpoints/NAME/                   one folder per checkpoint, complete or absent
//!   checkpoints/NAME/state.json         where the run was, and where its lines ended
//!   checkpoints/NAME/SHA256SUMS         digests of all the other files; `sha256sum -c` checks them
//!   checkpoints/latest                  the name of the newest one
//!   checkpoints/best                    the name of the best one, where the run looks for it
//!   checkpoints/order                   all names, oldest first
//!   checkpoints/damaged-NAME/           a damaged one, moved aside when it was made again
//!   checkpoints/replaced-NAME/          another one of the same name, likewise
//!   superseded/metrics-3.jsonl          lines that a resume, the third with any, went back behind
//!   superseded/timings-3.jsonl
//!   failures/STAGE-000012.json          what a step was that stopped the run
//!   plots/NAME.svg, plots/NAME.png
//! ```
//!
//! 1. [`RunDir`] makes, opens, locks and names such folders.
//! 2. [`Lines`] appends lines that hold finite numbers only, and goes back to a checkpoint's.
//! 3. [`Transcript`] is the record of one attempt.
//! 4. [`RunDir::save_checkpoint`] makes what a caller writes appear at once or not at all;
//!    [`RunDir::newest_whole_checkpoint`] finds the one to go on from, and [`verify_checkpoint`]
//!    compares one with its digests.
//! 5. [`RunDir::plot_learning_curve`] and [`RunDir::plot_by_length`] draw what was measured, the
//!    latter with the bounds of [`wilson_interval`].
//! 6. [`write_file_atomic`] is what all of them write with.
//!
//! Knows nothing of models, tokenizers, tasks or training: whoever runs them brings values and text.

mod atomic_file;
mod checkpoints;
mod data_digests;
mod digests;
mod error;
mod failures;
mod figure;
mod finite;
mod interval;
mod json_lines;
mod lines;
mod lock;
mod plots;
mod restore;
mod run_dir;
mod ticks;
mod transcripts;

pub use crate::atomic_file::write_file_atomic;
pub use crate::checkpoints::CheckpointState;
pub use crate::digests::{Damage, DamageKind, verify_checkpoint};
pub use crate::error::{CheckpointError, RunError};
pub use crate::interval::wilson_interval;
pub use crate::lines::Lines;
pub use crate::plots::{Labels, LengthPoint, LengthSeries, PlotFiles, Series, plot_by_length};
pub use crate::restore::Restored;
pub use crate::run_dir::RunDir;
pub use crate::transcripts::{
    Transcript, TranscriptDropped, TranscriptFile, TranscriptKind, TranscriptStop, TranscriptTurn,
};

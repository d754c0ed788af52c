//! What a run leaves on disk: configuration, metrics, transcripts, checkpoints, plots.
//!
//! A run owns one folder, never shares it and never overwrites another's:
//!
//! ```text
//! RUN/
//!   config.toml                         the resolved experiment file
//!   metrics.jsonl                       one JSON object per line
//!   transcripts/STAGE-000012.jsonl.zst  every attempt of one step
//!   checkpoints/NAME/                   one folder per checkpoint, complete or absent
//!   checkpoints/latest                  the name of the newest one
//!   checkpoints/order                   all names, oldest first
//!   plots/NAME.svg, plots/NAME.png
//! ```
//!
//! 1. [`RunDir`] makes, opens and names such folders.
//! 2. [`MetricsWriter`] appends lines that hold finite numbers only.
//! 3. [`Transcript`] is the record of one attempt.
//! 4. [`RunDir::save_checkpoint`] makes what a caller writes appear at once or not at all.
//! 5. [`RunDir::plot_learning_curve`] and [`RunDir::plot_by_length`] draw what was measured, the
//!    latter with the bounds of [`wilson_interval`].
//! 6. [`write_file_atomic`] is what all of them write with.
//!
//! Knows nothing of models, tokenizers, tasks or training: whoever runs them brings values and text.

mod atomic_file;
mod checkpoints;
mod error;
mod figure;
mod finite;
mod interval;
mod metrics;
mod plots;
mod run_dir;
mod ticks;
mod transcripts;

pub use crate::atomic_file::write_file_atomic;
pub use crate::error::{CheckpointError, RunError};
pub use crate::interval::wilson_interval;
pub use crate::metrics::MetricsWriter;
pub use crate::plots::{Labels, LengthPoint, LengthSeries, PlotFiles, Series, plot_by_length};
pub use crate::run_dir::RunDir;
pub use crate::transcripts::{
    Transcript, TranscriptFile, TranscriptKind, TranscriptStop, TranscriptTurn,
};

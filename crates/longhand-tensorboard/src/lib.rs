//! Writes event files that TensorBoard reads.
//!
//! An event file is a view of what a run has stored, not a record of its own: every line of
//! `metrics.jsonl` and `timings.jsonl` becomes one event, so a file can be written anew at any time.
//!
//! Knows nothing of runs, folders or clocks: lines and times go in, bytes go into the file that is named.

mod writer;

mod scalars;

mod event;

mod framing;

pub use scalars::scalars_of;
pub use writer::{EventWriter, event_file_name};

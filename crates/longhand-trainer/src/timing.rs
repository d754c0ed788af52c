//! What the clock and the machine say of a step: one line of `timings.jsonl`, every number defined here.
//!
//! Apart from the metrics, which say what was computed and come out the same whenever they are computed
//! again.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::memory_use::{peak_resident_bytes, resident_bytes};

/// Seconds of a step by phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Phases {
    /// Generation.
    pub seconds_generate: f64,
    /// Scoring: outcomes and teacher.
    pub seconds_score: f64,
    /// Gradients and updates.
    pub seconds_train: f64,
}

/// One line of `timings.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// That of the line in the metrics.
    pub stage: &'static str,
    /// For measurements, that of the line in the metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// That of the line in the metrics.
    pub step: usize,
    /// When it was done, in seconds since 1970.
    pub unix_seconds: f64,
    /// Seconds of the whole step or measurement.
    pub seconds: f64,
    /// For RL steps, where they went.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub phases: Option<Phases>,
    /// Resident memory afterwards, where the system tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// The most resident memory so far, where the system tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_resident_bytes: Option<u64>,
}

impl Timing {
    /// A line about something that ends now.
    pub(crate) fn now(stage: &'static str, step: usize, seconds: f64) -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            stage,
            label: None,
            step,
            unix_seconds: since_1970.unwrap_or(Duration::ZERO).as_secs_f64(),
            seconds,
            phases: None,
            resident_bytes: resident_bytes(),
            peak_resident_bytes: peak_resident_bytes(),
        }
    }
}

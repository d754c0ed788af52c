//! A reading as one JSON document that is written while it is read.
//!
//! Each turn is written when it is done and then forgotten; the document is closed however the reading
//! ends.

use std::io::{self, Write};

use longhand_memory::{StopReason, TurnKind};
use serde_json::{Map, Value, json};

use crate::notes::Place;
use crate::reading::{Ended, Turn};

/// Writes the document.
#[derive(Debug)]
pub struct JsonReport<W> {
    out: W,
    n_turns: usize,
}

impl<W: Write> JsonReport<W> {
    /// Begins the document with these values, which are known before anything is read.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(mut out: W, values: &Map<String, Value>) -> io::Result<Self> {
        write!(out, "{{")?;
        for (name, value) in values {
            write!(out, "\n  {}: {value},", Value::from(name.as_str()))?;
        }
        write!(out, "\n  \"turns\": [")?;
        out.flush()?;
        Ok(Self { out, n_turns: 0 })
    }

    /// Adds a turn: `kind` (`read`, with `chunk_idx`, or `answer`), `n_prompt`, `text`, `ids`,
    /// `stop_reason`, `is_cut` (whether it went in circles).
    ///
    /// # Errors
    /// Those of the writer.
    pub fn turn(&mut self, turn: &Turn) -> io::Result<()> {
        let mut value = match turn.kind {
            TurnKind::Read { chunk_idx } => json!({"kind": "read", "chunk_idx": chunk_idx}),
            TurnKind::Answer => json!({"kind": "answer"}),
        };
        value["n_prompt"] = turn.n_prompt.into();
        value["text"] = turn.text.as_str().into();
        value["ids"] = turn.ids.as_slice().into();
        value["stop_reason"] = stop_name(turn.stop_reason).into();
        value["is_cut"] = turn.is_cut.into();
        let comma = if self.n_turns == 0 { "" } else { "," };
        write!(self.out, "{comma}\n    {value}")?;
        self.n_turns += 1;
        self.out.flush()
    }

    /// Ends the document: `notes` (the memory's text), `answer` (null unless it is given), `interrupted`
    /// (true unless the reading came to its end), and `error` if it broke down.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn end(mut self, place: &Place, ended: Result<Ended, &str>) -> io::Result<()> {
        let answer = place.answer.as_ref().map(|answer| answer.text.as_str());
        let mut values = json!({
            "notes": place.text,
            "answer": answer,
            "interrupted": ended != Ok(Ended::Answered),
        });
        if let Err(error) = ended {
            values["error"] = error.into();
        }
        write!(self.out, "\n  ]")?;
        for (name, value) in values.as_object().into_iter().flatten() {
            write!(self.out, ",\n  {}: {value}", Value::from(name.as_str()))?;
        }
        writeln!(self.out, "\n}}")?;
        self.out.flush()
    }
}

/// A stop reason as transcripts spell it.
fn stop_name(stop: StopReason) -> &'static str {
    match stop {
        StopReason::EndToken => "end-token",
        StopReason::MaxTokens => "max-tokens",
        StopReason::WindowFull => "window-full",
    }
}

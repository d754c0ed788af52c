//! What one rendering may use.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Bounds of one rendering; a template that needs more ends in [`crate::ChatError::Exhausted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Instructions of the template engine.
    pub n_instructions: u64,
    /// Bytes of all strings and lists that the template makes, dead ones included, beside eight times the
    /// bytes of the messages.
    pub n_bytes: usize,
    /// Time. Only a template that does little else than copy and compare long strings reaches it before
    /// the other two.
    pub time: Duration,
}

impl Default for Limits {
    /// Two million instructions, 32 MiB, 800 ms.
    fn default() -> Self {
        Self {
            n_instructions: 2_000_000,
            n_bytes: 32 << 20,
            time: Duration::from_millis(800),
        }
    }
}

/// What is left to one rendering.
pub(crate) struct Budget {
    n_bytes_left: AtomicUsize,
    deadline: Option<Instant>,
}

/// Marks errors of a used-up budget.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Exhausted(pub(crate) &'static str);

fn exhausted(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what).with_source(Exhausted(what))
}

/// What an item of a list is charged, in bytes.
const ITEM_BYTES: usize = 32;
/// Nested deeper than the parser of JSON allows.
const MAX_DEPTH: usize = 200;

impl Budget {
    pub(crate) fn new(limits: &Limits, n_input_bytes: usize) -> Self {
        Self {
            n_bytes_left: AtomicUsize::new(limits.n_bytes.saturating_add(8 * n_input_bytes)),
            deadline: Instant::now().checked_add(limits.time),
        }
    }

    /// Looks at the clock.
    pub(crate) fn tick(&self) -> Result<(), Error> {
        match self.deadline {
            Some(deadline) if deadline <= Instant::now() => {
                Err(exhausted("the template takes too long"))
            }
            _ => Ok(()),
        }
    }

    /// Takes bytes from the budget, before they are allocated where that is possible.
    pub(crate) fn charge(&self, n_bytes: usize) -> Result<(), Error> {
        self.tick()?;
        let left = self.n_bytes_left.load(Ordering::Relaxed);
        let left = left
            .checked_sub(n_bytes)
            .ok_or_else(|| exhausted("the template makes too much text"))?;
        self.n_bytes_left.store(left, Ordering::Relaxed);
        Ok(())
    }

    /// Takes what a new value holds, everything inside it included: lists that share their items are
    /// small in memory and without bound once they are written out.
    pub(crate) fn charge_value(&self, value: &Value) -> Result<(), Error> {
        self.charge_nested(value, 0)
    }

    fn charge_nested(&self, value: &Value, depth: usize) -> Result<(), Error> {
        if MAX_DEPTH < depth {
            return Err(exhausted("the template nests values too deeply"));
        }
        match value.kind() {
            ValueKind::String => self.charge(value.as_str().map_or(0, str::len)),
            ValueKind::Seq | ValueKind::Iterable => {
                for item in value.try_iter()? {
                    self.charge(ITEM_BYTES)?;
                    self.charge_nested(&item, depth + 1)?;
                }
                Ok(())
            }
            ValueKind::Map => {
                for key in value.try_iter()? {
                    self.charge(2 * ITEM_BYTES)?;
                    self.charge_nested(&value.get_item(&key)?, depth + 1)?;
                    self.charge_nested(&key, depth + 1)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A string that takes its bytes from a budget.
pub(crate) struct Bounded<'b> {
    budget: &'b Budget,
    pub(crate) text: String,
}

impl<'b> Bounded<'b> {
    pub(crate) fn new(budget: &'b Budget) -> Self {
        Self {
            budget,
            text: String::new(),
        }
    }

    pub(crate) fn push(&mut self, text: &str) -> Result<(), Error> {
        self.budget.charge(text.len())?;
        self.text.push_str(text);
        Ok(())
    }
}

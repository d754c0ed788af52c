//! What every step needs besides the policy: problems, reader, checker and tokenizer of one run.

use std::{cell::RefCell, sync::Arc};

use longhand_config::{Experiment, ReaderSettings};
use longhand_memory::ReaderLimits;
use longhand_policy::{Policy, TextTokenizer, TokenizerError};
use longhand_reward_outcome::Checker;
use longhand_rollout::{DocumentFormat, EncodedProblem, ReaderSetup};
use longhand_tasks::{Source, Split};

use crate::error::TrainError;

/// Problems, reader, checker and tokenizer of one run.
pub struct Workbench {
    /// Where problems come from.
    pub source: Box<dyn Source + Send + Sync>,
    /// How documents are read in training.
    pub setup: ReaderSetup,
    /// How answers are scored.
    pub checker: Checker,
    format: DocumentFormat,
    tokenizer: TextTokenizer,
    /// Tokens that the paragraph format adds to what a source counts.
    format_tokens: usize,
}

impl Workbench {
    /// Opens the experiment's task and compiles its reader for a policy's tokenizer.
    ///
    /// # Errors
    /// As [`Workbench::from_parts`].
    pub fn new(experiment: &Experiment, policy: &Policy) -> Result<Self, TrainError> {
        let Experiment {
            task,
            data,
            reader,
            checker,
            ..
        } = experiment;
        Self::from_parts(task.open()?, &data.paragraph, reader, *checker, policy)
    }

    /// A workbench over any source; `paragraph` is the format of paragraphs in a document.
    ///
    /// # Errors
    /// When the paragraph format is wrong, the policy has no end token, a text has no encoding, or the
    /// longest turn does not fit the model's window.
    pub fn from_parts(
        source: Box<dyn Source + Send + Sync>,
        paragraph: &str,
        reader: &ReaderSettings,
        checker: Checker,
        policy: &Policy,
    ) -> Result<Self, TrainError> {
        let format = DocumentFormat::parse(paragraph, " ")?;
        let end_ids = policy.config().end_ids.clone();
        if end_ids.is_empty() {
            return Err(TrainError::NoEndToken("config.json".into()));
        }
        let window = policy.config().max_positions;
        let needed = reader.longest_turn(reader.chunks.chunk_size);
        if window < needed {
            return Err(TrainError::Window { needed, window });
        }
        let tokenizer = policy.tokenizer().clone();
        let templates = policy_encode(&tokenizer, |encode| reader.templates.compile(encode))?;
        // The model's window holds whatever the reader's settings say: a turn that could exceed it is
        // refused before anything is sampled.
        let limits = ReaderLimits {
            window: Some(reader.limits.window.map_or(window, |most| most.min(window))),
            ..reader.limits
        };
        let empty = longhand_tasks::Paragraph::default();
        let format_tokens = policy_encode(&tokenizer, |encode| {
            encode(&format.render(100, &empty))
                .len()
                .saturating_sub(encode(&empty.rendered()).len())
        })?;
        Ok(Self {
            source,
            setup: ReaderSetup {
                chunks: reader.chunks,
                templates: Arc::new(templates),
                limits,
                end_ids,
            },
            checker,
            format,
            tokenizer,
            format_tokens,
        })
    }

    /// The policy's tokenizer.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// The problem number `idx` of a split, its document close to `target_tokens`.
    ///
    /// # Errors
    /// When the source has no such problem, or its text has no encoding.
    pub fn problem(
        &self,
        split: Split,
        seed: u64,
        idx: u64,
        target_tokens: usize,
    ) -> Result<Arc<EncodedProblem>, TrainError> {
        let problem = policy_encode(&self.tokenizer, |encode| {
            let count = |text: &str| encode(text).len() + self.format_tokens;
            self.source.problem(split, seed, idx, target_tokens, &count)
        })??;
        self.encode(&problem)
    }

    /// Tokens of the longest turn that reads or answers: prompt and reply, for a question and a memory
    /// that fill their budgets.
    pub fn longest_turn(&self) -> usize {
        let ReaderSetup {
            chunks,
            templates,
            limits,
            ..
        } = &self.setup;
        let memory = limits.max_memory_tokens.max(templates.empty_memory.len());
        let question = limits.max_question_tokens;
        let read = templates
            .read
            .filled_length(question, chunks.chunk_size, memory);
        let answer = templates.answer.filled_length(question, 0, memory);
        (read + limits.max_memory_tokens).max(answer + limits.max_answer_tokens)
    }

    /// Whether a split has so many problems.
    ///
    /// # Errors
    /// [`TrainError::TooFewProblems`].
    pub fn check_available(&self, split: Split, needed: usize) -> Result<(), TrainError> {
        match self.source.n_problems(split) {
            Some(available) if available < needed => Err(TrainError::TooFewProblems {
                split: split.to_string(),
                available,
                needed,
            }),
            _ => Ok(()),
        }
    }

    /// A problem from elsewhere, in this run's paragraph format.
    ///
    /// # Errors
    /// When its text has no encoding.
    pub fn encode(
        &self,
        problem: &longhand_tasks::Problem,
    ) -> Result<Arc<EncodedProblem>, TrainError> {
        let encoded = policy_encode(&self.tokenizer, |encode| {
            EncodedProblem::new(problem, &self.format, encode)
        })?;
        Ok(Arc::new(encoded))
    }

    /// The text of an answer.
    ///
    /// # Errors
    /// When the ids have no text.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TrainError> {
        Ok(self.tokenizer.decode(ids)?.trim().to_string())
    }

    /// The outcome of an answer: 1 right, 0 wrong, or a share in between for soft checkers.
    ///
    /// # Errors
    /// When the ids have no text.
    pub fn outcome(&self, problem: &EncodedProblem, answer: &[u32]) -> Result<f64, TrainError> {
        Ok(self.checker.score(&self.decode(answer)?, &problem.answers))
    }
}

/// Lends a tokenizer to code that cannot fail; the first text without an encoding becomes the error.
///
/// # Errors
/// When a text has no encoding.
pub fn policy_encode<R>(
    tokenizer: &TextTokenizer,
    use_it: impl FnOnce(&dyn Fn(&str) -> Vec<u32>) -> R,
) -> Result<R, TokenizerError> {
    let failure = RefCell::new(None);
    let result = use_it(&|text| {
        tokenizer.encode(text).unwrap_or_else(|error| {
            failure.borrow_mut().get_or_insert(error);
            Vec::new()
        })
    });
    match failure.into_inner() {
        None => Ok(result),
        Some(error) => Err(error),
    }
}

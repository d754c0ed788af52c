//! What every step needs besides the policy: problems, reader, checker and tokenizer of one run.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use longhand_config::{ChatMode, ChatSettings, Experiment, JudgeSettings, ReaderSettings};
use longhand_memory::ReaderLimits;
use longhand_policy::{Policy, TextTokenizer, TokenizerError};
use longhand_reading::{ChatChoice, ChatOptions, Prompting};
use longhand_reward_judge::{Judge, Question};
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
    /// How answers are scored, where no judge does it.
    pub checker: Checker,
    judge: Option<Mutex<Judge>>,
    max_failed_share: f64,
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
        let bench = Self::from_parts(task.open()?, &data.paragraph, reader, *checker, policy)?
            .with_chat(&experiment.chat, reader, policy)?;
        match &experiment.judge {
            Some(settings) => bench.with_judge(settings),
            None => Ok(bench),
        }
    }

    /// The same workbench, its prompts in the form that the policy's folder asks for: its chat template,
    /// or its start token.
    ///
    /// # Errors
    /// When the folder's files cannot be used, or the template cannot carry the prompts.
    pub fn with_chat(
        mut self,
        settings: &ChatSettings,
        reader: &ReaderSettings,
        policy: &Policy,
    ) -> Result<Self, TrainError> {
        let Some(folder) = policy.folder() else {
            return Ok(self);
        };
        let (choice, options) = chat_options(settings);
        let prompting = Prompting::of_folder(folder, &reader.templates, choice, &options)?;
        let tokenizer = &self.tokenizer;
        let templates = policy_encode(tokenizer, |encode| {
            prompting.compile(encode, |token| tokenizer.id(token))
        })?;
        self.setup.templates = Arc::new(templates);
        Ok(self)
    }

    /// The same workbench, with a program that scores the answers.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn with_judge(self, settings: &JudgeSettings) -> Result<Self, TrainError> {
        let judge = Judge::start(longhand_reward_judge::JudgeSettings {
            command: settings.command.clone(),
            timeout: Duration::from_secs_f64(settings.timeout_seconds),
            processes: settings.processes,
            retries: settings.retries,
        })?;
        Ok(Self {
            judge: Some(Mutex::new(judge)),
            max_failed_share: settings.max_failed_share,
            ..self
        })
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
        let format_tokens = policy_encode_plain(&tokenizer, |encode| {
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
            judge: None,
            max_failed_share: 0.0,
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
        let problem = policy_encode_plain(&self.tokenizer, |encode| {
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
        let encoded = policy_encode_plain(&self.tokenizer, |encode| {
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

    /// Numbers the judge's next requests after the step of RL that is due. Transcripts keep what the judge
    /// said with the request's number, so that a run which was resumed has to count as one that was not.
    pub(crate) fn count_requests_of_step(&self, step: usize) {
        /// More than a step has attempts; numbers stay exact as floating-point numbers.
        const REQUESTS_PER_STEP: u64 = 1_000_000;
        if let Some(judge) = &self.judge {
            let mut judge = judge.lock().unwrap_or_else(PoisonError::into_inner);
            // Those below are for measurements before the first step.
            judge.count_from((step as u64 + 1).saturating_mul(REQUESTS_PER_STEP));
        }
    }

    /// What the checker or the judge says of each answer, in order.
    ///
    /// # Errors
    /// When ids have no text.
    pub fn verdicts(
        &self,
        answers: &[(&EncodedProblem, &[u32])],
    ) -> Result<Vec<Verdict>, TrainError> {
        let texts = answers
            .iter()
            .map(|(_, ids)| self.decode(ids))
            .collect::<Result<Vec<String>, TrainError>>()?;
        let Some(judge) = &self.judge else {
            let check = |((problem, _), text): (&(&EncodedProblem, &[u32]), &String)| Verdict {
                reward: Ok(self.checker.score(text, &problem.answers)),
                is_parsed: self.checker.is_parsed(text),
                answer: self.checker.answer_in(text),
            };
            return Ok(answers.iter().zip(&texts).map(check).collect());
        };
        let questions: Vec<Question<'_>> = answers
            .iter()
            .zip(&texts)
            .map(|((problem, _), text)| Question {
                problem_id: &problem.id,
                question: &problem.question_text,
                expected: &problem.answers,
                answer: text,
            })
            .collect();
        // A judge that another thread left in the middle of a question starts its programs afresh.
        let mut judge = judge.lock().unwrap_or_else(PoisonError::into_inner);
        type Judged = Result<f64, longhand_reward_judge::JudgeError>;
        let verdict = |(reward, text): (Judged, &String)| Verdict {
            reward: reward.map_err(|error| RewardFailure {
                reason: error.reason(),
                record: error.record(),
                message: error.to_string(),
            }),
            is_parsed: true,
            // A judge has no form; answers are the same where their words are.
            answer: Checker::ExactMatch.answer_in(text),
        };
        let rewards = judge.rewards(&questions).into_iter();
        Ok(rewards.zip(&texts).map(verdict).collect())
    }

    /// Refuses a batch in which more rewards failed than the experiment lets pass.
    ///
    /// # Errors
    /// [`TrainError::RewardsFailed`].
    pub fn check_failures<'a>(
        &self,
        n_attempts: usize,
        failures: impl Iterator<Item = &'a RewardFailure>,
    ) -> Result<(), TrainError> {
        let mut by_reason: BTreeMap<&str, usize> = BTreeMap::new();
        let mut last = None;
        for failure in failures {
            *by_reason.entry(failure.reason).or_default() += 1;
            last = Some(failure);
        }
        let n_failed: usize = by_reason.values().sum();
        match last {
            Some(last)
                if n_failed == n_attempts
                    || self.max_failed_share * (n_attempts as f64) < n_failed as f64 =>
            {
                let reasons = by_reason.iter().map(|(reason, n)| format!("{reason}: {n}"));
                Err(TrainError::RewardsFailed {
                    n_failed,
                    n_attempts,
                    reasons: reasons.collect::<Vec<_>>().join(", "),
                    max_failed_share: self.max_failed_share,
                    last: last.message.clone(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// What an experiment says of the model's chat template.
pub fn chat_options(settings: &ChatSettings) -> (ChatChoice, ChatOptions) {
    let ChatSettings {
        mode,
        variables,
        system,
    } = settings;
    let mut options = ChatOptions::default();
    options.system.clone_from(system);
    options.variables.extend(variables.clone());
    let choice = match mode {
        ChatMode::Auto => ChatChoice::Auto,
        ChatMode::Always => ChatChoice::Always,
        ChatMode::Never => ChatChoice::Never,
    };
    (choice, options)
}

/// What is said of one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// 1 right, 0 wrong, or a share in between; or why there is no reward. A failure is never a 0.
    pub reward: Result<f64, RewardFailure>,
    /// Whether the checker found anything of its form in the answer.
    pub is_parsed: bool,
    /// What was found, for comparison with other answers.
    pub answer: Option<String>,
}

/// Why an answer has no reward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardFailure {
    /// `judge-timeout`, `judge-bad-reply` or `judge-failure`.
    pub reason: &'static str,
    /// The reason and what was seen, the same whenever the run is repeated.
    pub record: String,
    /// The whole story.
    pub message: String,
}

/// Lends a tokenizer to code that cannot fail; the first text without an encoding becomes the error.
///
/// # Errors
/// When a text has no encoding.
pub fn policy_encode<R>(
    tokenizer: &TextTokenizer,
    use_it: impl FnOnce(&dyn Fn(&str) -> Vec<u32>) -> R,
) -> Result<R, TokenizerError> {
    lend(|text| tokenizer.encode(text), use_it)
}

/// The same for text that nobody here wrote: special tokens in it are text like any other.
///
/// # Errors
/// When a text has no encoding.
pub fn policy_encode_plain<R>(
    tokenizer: &TextTokenizer,
    use_it: impl FnOnce(&dyn Fn(&str) -> Vec<u32>) -> R,
) -> Result<R, TokenizerError> {
    lend(|text| tokenizer.encode_plain(text), use_it)
}

fn lend<R>(
    encode: impl Fn(&str) -> Result<Vec<u32>, TokenizerError>,
    use_it: impl FnOnce(&dyn Fn(&str) -> Vec<u32>) -> R,
) -> Result<R, TokenizerError> {
    let failure = RefCell::new(None);
    let result = use_it(&|text| {
        encode(text).unwrap_or_else(|error| {
            failure.borrow_mut().get_or_insert(error);
            Vec::new()
        })
    });
    match failure.into_inner() {
        None => Ok(result),
        Some(error) => Err(error),
    }
}

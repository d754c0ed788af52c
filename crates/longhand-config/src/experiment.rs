//! A whole experiment: loaded, overridden, checked, and written out in full.

use std::path::Path;

use longhand_reward_outcome::Checker;
use longhand_tasks::TaskSpec;

use crate::chat::ChatSettings;
use crate::checkpoint::Checkpoint;
use crate::checks::Checks;
use crate::compute::Compute;
use crate::data::Data;
use crate::error::{ConfigError, Problems};
use crate::eval::Eval;
use crate::file::{EXPERIMENT, ExperimentFile, Paper, StageFile};
use crate::lora::Lora;
use crate::node::Node;
use crate::overrides;
use crate::place::{Place, Problem};
use crate::policy::PolicySource;
use crate::reader::ReaderSettings;
use crate::reward::JudgeSettings;
use crate::rl::Rl;
use crate::schema::Kind;
use crate::shape::{conform, expand_shorthands};
use crate::task;
use crate::warm_start::WarmStart;

/// One experiment, validated: nothing in it is filled in later.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Its name, fit for a folder.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The paper whose settings it carries.
    pub paper: Option<Paper>,
    /// Seed of every random stream of training.
    pub seed: u64,
    /// The model to start from.
    pub policy: PolicySource,
    /// The adapters that are trained in its place; `None` where all weights are trained.
    pub lora: Option<Lora>,
    /// The task. Its files are opened when training starts.
    pub task: TaskSpec,
    /// How problems become documents.
    pub data: Data,
    /// Templates, chunks and token budgets.
    pub reader: ReaderSettings,
    /// Whether and how prompts are wrapped as the model's chat.
    pub chat: ChatSettings,
    /// The rule that scores the final answer, where no judge does.
    pub checker: Checker,
    /// A program that scores the final answer of training attempts.
    pub judge: Option<JudgeSettings>,
    /// Stages of training, in order; at least one.
    pub stages: Vec<Stage>,
    /// What is measured.
    pub eval: Eval,
    /// What is kept.
    pub checkpoint: Checkpoint,
    /// Which machinery does the arithmetic.
    pub compute: Compute,
    /// The complete file, for [`Experiment::resolved_toml`].
    file: ExperimentFile,
}

/// One stage of training.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// Supervised imitation of a scripted expert's notes.
    WarmStart(WarmStart),
    /// Reinforcement learning.
    Rl(Box<Rl>),
}

impl Experiment {
    /// Reads an experiment file, applies overrides (`a.b=c`, in order), checks everything.
    ///
    /// Paths inside the file are relative to the working directory; whether they exist is for
    /// training to find out.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; of an experiment that can be read but does not hold together, every
    /// problem is reported at once.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let bytes = std::fs::read(path).map_err(|source| ConfigError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        let text = String::from_utf8(bytes).map_err(|error| not_utf8(path, &error))?;
        Self::parse(&text, path, overrides)
    }

    /// As [`Experiment::load`], from text; `path` only names it in messages.
    ///
    /// # Errors
    ///
    /// As for [`Experiment::load`].
    pub fn parse(text: &str, path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let tree = overridden(text, path, overrides)?;
        Self::from_tree(tree).map_err(|mut list| {
            list.sort_by_key(|problem| match problem.place {
                Place::File { line, column } => (line, column),
                Place::Override(_) | Place::Default => (usize::MAX, 0),
            });
            ConfigError::Invalid(Problems {
                file: path.display().to_string(),
                list,
            })
        })
    }

    /// The file with overrides written in and nothing else: no defaults, and no comments.
    ///
    /// # Errors
    ///
    /// When the text is not TOML or an override cannot be applied. Whether the result makes sense is for
    /// [`Experiment::parse`] to say.
    pub fn overridden_toml(
        text: &str,
        path: &Path,
        overrides: &[String],
    ) -> Result<String, ConfigError> {
        let mut tree = overridden(text, path, overrides)?;
        let mut conformed = tree.clone();
        // What is wrong with it is for `parse` to say; what it reads as text is written as text.
        let _ = conform(&mut conformed, EXPERIMENT);
        overrides::take_texts(&mut tree, &conformed);
        Ok(toml::to_string(&tree.to_toml()).unwrap_or_else(|error| {
            unreachable!("a tree that was read as TOML can be written as TOML: {error}")
        }))
    }

    fn from_tree(mut tree: Node) -> Result<Self, Vec<Problem>> {
        let problems = conform(&mut tree, EXPERIMENT);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut file: ExperimentFile =
            serde_path_to_error::deserialize(tree.to_toml()).map_err(|error| {
                // The key tables have passed the file, so only a value they do not know to be
                // wrong can end here: an option of a task, or a table that disagrees with serde.
                let key = error.path().to_string().replace('[', ".").replace(']', "");
                let place = tree.place_of(&key);
                let message = error.into_inner().message().to_string();
                vec![Problem {
                    place,
                    key,
                    message,
                }]
            })?;
        file.resolve();
        let mut checks = Checks::new(&tree);
        let experiment = file.build(&mut checks);
        let problems = checks.into_problems();
        match experiment {
            Some(experiment) if problems.is_empty() => Ok(experiment),
            _ => Err(problems),
        }
    }

    /// The complete experiment file with every default written out; it loads back to the same
    /// experiment.
    pub fn resolved_toml(&self) -> String {
        toml::to_string(&self.file).unwrap_or_else(|error| {
            // Strings, numbers and tables are all there is, and TOML holds each of them.
            unreachable!("an experiment that was read as TOML can be written as TOML: {error}")
        })
    }
}

impl ExperimentFile {
    /// Writes in the values that follow from others.
    fn resolve(&mut self) {
        let train_tokens = self.data.train_tokens;
        self.policy.resolve();
        task::resolve(&mut self.task);
        for stage in &mut self.stage {
            match stage {
                StageFile::WarmStart(stage) => stage.resolve(train_tokens, self.reader.chunk_size),
                StageFile::Rl(stage) => stage.resolve(),
            }
        }
        self.eval.resolve(train_tokens);
    }

    /// The experiment; `None` only where a complaint says why.
    fn build(self, checks: &mut Checks<'_>) -> Option<Experiment> {
        check_name(&self.name, checks);
        task::check(&self.task, checks);
        self.reward.check(checks);
        let policy = self.policy.build(checks);
        let data = self.data.build(checks);
        let reader = self.reader.build(checks);
        if let Some(reader) = &reader {
            task::check_templates(&self.task, reader.templates.is_direct(), checks);
        }
        let chat = self.reader.chat();
        chat.check(policy.as_ref(), checks);
        let compute = self.compute.build();
        let mut stages = Vec::new();
        for (idx, stage) in self.stage.iter().enumerate() {
            let path = format!("stage.{idx}");
            let stage = match stage {
                StageFile::WarmStart(file) => {
                    let stage = file.build(&path, data.as_ref(), reader.as_ref(), checks);
                    stage.map(Stage::WarmStart)
                }
                StageFile::Rl(file) => {
                    let stage = file.build(&path, checks);
                    compute.check_stage(&stage.objective, &path, checks);
                    Some(Stage::Rl(Box::new(stage)))
                }
            };
            if let Some(Stage::WarmStart(stage)) = &stage {
                task::check_lengths(&self.task, &stage.tokens, &format!("{path}.tokens"), checks);
            }
            stages.extend(stage);
        }
        self.checkpoint.check(&stages, checks);
        let eval = self.eval.build();
        task::check_lengths(&self.task, &eval.lengths, "eval.lengths", checks);
        let (policy, data, reader) = (policy?, data?, reader?);
        if let PolicySource::FromScratch(scratch) = &policy {
            let longest = reader.longest_turn(reader.chunks.chunk_size);
            let key = "policy.from_scratch.max_positions";
            checks.require(longest <= scratch.max_positions, key, || {
                format!(
                    "{} is below the {longest} tokens of a longest turn (question, chunk, memory and \
                     reply, the template not counted); raise it or lower the reader's budgets",
                    scratch.max_positions
                )
            });
        }
        Some(Experiment {
            name: self.name.clone(),
            description: self.description.clone(),
            paper: self.paper,
            seed: self.seed,
            policy,
            lora: self.policy.lora(),
            task: self.task.clone(),
            data,
            reader,
            chat,
            checker: self.reward.checker,
            judge: self.reward.judge.clone(),
            stages,
            eval,
            checkpoint: self.checkpoint.clone(),
            compute,
            file: self,
        })
    }
}

/// The tree of a file under overrides.
fn overridden(text: &str, path: &Path, overrides: &[String]) -> Result<Node, ConfigError> {
    let mut tree = Node::of_file(text, path)?;
    let top = Kind::Table(EXPERIMENT);
    expand_shorthands(&mut tree, &top);
    for text in overrides {
        overrides::apply(&mut tree, text).map_err(|message| ConfigError::Override {
            text: text.clone(),
            message,
        })?;
        expand_shorthands(&mut tree, &top);
    }
    Ok(tree)
}

/// A run folder is named after the experiment.
fn check_name(name: &str, checks: &mut Checks<'_>) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    checks.require(starts_well && name.chars().all(is_plain), "name", || {
        format!("{name:?} cannot name a folder; use letters, digits, `-`, `_` and `.`, a letter or digit first")
    });
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> ConfigError {
    let offset = error.utf8_error().valid_up_to();
    let bytes = error.as_bytes();
    let before = String::from_utf8_lossy(&bytes[..offset]);
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().unwrap_or("").chars().count();
    ConfigError::NotUtf8 {
        path: path.to_path_buf(),
        line,
        column,
        byte: bytes[offset],
        offset,
    }
}

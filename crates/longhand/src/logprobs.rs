//! `longhand logprobs`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use longhand_chat::{ChatError, ChatTemplate, Message, RenderOptions};
use longhand_policy::{Compute, Policy, Precision};
use longhand_rollout::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{bad_usage, count, load::load_with};

/// Arguments of `longhand logprobs`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Folder of a run, of a checkpoint or of a model
    model: PathBuf,
    /// JSON lines to score [default: standard input]
    #[arg(value_name = "FILE.jsonl")]
    file: Option<PathBuf>,
    /// Logits are divided by this before the softmax
    #[arg(long, default_value_t = 1.0, value_name = "NUMBER")]
    temperature: f64,
    /// Most tokens that are run in one pass; what lines begin with in common is run once
    #[arg(long, default_value_t = 16_384, value_name = "TOKENS", value_parser = count())]
    batch_tokens: usize,
    /// Numbers of products
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArg,
}

const HELP: &str = "\
A line has `prompt` (text), `prompt_ids` or `messages` (a conversation for the model's chat template), and
`completion` (text) or `completion_ids`; whatever else it has, such as an `id`, comes back. Prompt and
completion are cut into tokens apart from each other, and nothing is put around them.

Each line gives one line, in the same order, with `completion_ids`, and per token `logprobs`, `entropies`
and `self_certainties` (all in nats, over the tokenizer's ids), and `n_prompt_tokens`.

Example:
  echo '{\"prompt\": \"The capital of France is\", \"completion\": \" Paris.\"}' | longhand logprobs MODEL

A line that cannot be used gives {\"error\": \"...\"}, the others go on, and the exit code is 1.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PrecisionArg {
    Auto,
    F32,
    Bf16,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !(args.temperature.is_finite() && 0.0 < args.temperature) {
        return Err(bad_usage(format!(
            "--temperature is {}, it must be above 0",
            args.temperature
        )));
    }
    let compute = Compute {
        precision: match args.precision {
            PrecisionArg::Auto => Precision::Auto,
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::Bf16 => Precision::Bf16,
        },
        ..Compute::default()
    };
    // Opened first: a model takes longer than a misspelt name deserves.
    let input: Box<dyn BufRead> = match &args.file {
        Some(path) => {
            let file =
                File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            Box::new(BufReader::new(file))
        }
        None => Box::new(io::stdin().lock()),
    };
    let policy = load_with(&args.model, &compute)?.policy;
    let chat = match policy.folder().map(ChatTemplate::load) {
        None | Some(Err(ChatError::NoTemplate { .. })) => None,
        Some(chat) => Some(chat?),
    };
    let mut scorer = Scorer {
        policy: &policy,
        chat,
        temperature: args.temperature,
        batch_tokens: args.batch_tokens,
        waiting: Vec::new(),
        n_tokens: 0,
        n_failed: 0,
        out: BufWriter::new(io::stdout().lock()),
    };
    for line in input.split(b'\n') {
        let line = line.context("cannot read the lines to score")?;
        if !line.trim_ascii().is_empty() {
            scorer.take(&line)?;
        }
    }
    scorer.flush()?;
    Ok(if scorer.n_failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A line that is to be scored; what is in neither form is handed back.
#[derive(Deserialize)]
struct Line {
    prompt: Option<String>,
    prompt_ids: Option<Vec<u32>>,
    messages: Option<Vec<Message>>,
    completion: Option<String>,
    completion_ids: Option<Vec<u32>>,
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

struct Ready {
    prompt: Vec<u32>,
    completion: Vec<u32>,
    others: serde_json::Map<String, Value>,
}

struct Scorer<'a, W: Write> {
    policy: &'a Policy,
    chat: Option<ChatTemplate>,
    temperature: f64,
    batch_tokens: usize,
    /// In the order of their lines; what cannot be scored has its answer already.
    waiting: Vec<Result<Ready, Value>>,
    n_tokens: usize,
    n_failed: usize,
    out: W,
}

impl<W: Write> Scorer<'_, W> {
    fn take(&mut self, line: &[u8]) -> Result<()> {
        let ready = self.ready(line);
        let n_tokens = match &ready {
            Ok(ready) => ready.prompt.len() + ready.completion.len(),
            Err(_) => 0,
        };
        if self.batch_tokens < self.n_tokens + n_tokens {
            self.flush()?;
        }
        self.n_tokens += n_tokens;
        self.waiting.push(ready.map_err(|error| {
            self.n_failed += 1;
            json!({"error": format!("{error:#}")})
        }));
        Ok(())
    }

    fn ready(&self, line: &[u8]) -> Result<Ready> {
        let Line {
            prompt,
            prompt_ids,
            messages,
            completion,
            completion_ids,
            others,
        } = serde_json::from_slice(line).context("not a line to score")?;
        let tokenizer = self.policy.tokenizer();
        let prompt = match (prompt, prompt_ids, messages) {
            (Some(text), None, None) => tokenizer.encode(&text)?,
            (None, Some(ids), None) => ids,
            (None, None, Some(messages)) => {
                let chat = self.chat.as_ref().context(
                    "the model has no chat template: give `prompt` instead of `messages`",
                )?;
                let options = RenderOptions {
                    add_generation_prompt: true,
                    ..RenderOptions::default()
                };
                tokenizer.encode(&chat.render(&messages, &options)?)?
            }
            _ => anyhow::bail!("it must have one of `prompt`, `prompt_ids` and `messages`"),
        };
        let completion = match (completion, completion_ids) {
            (Some(text), None) => tokenizer.encode(&text)?,
            (None, Some(ids)) => ids,
            _ => anyhow::bail!("it must have one of `completion` and `completion_ids`"),
        };
        anyhow::ensure!(
            !prompt.is_empty(),
            "the prompt has no token: what comes first has no probability; begin with the start token"
        );
        let n_ids = tokenizer.n_ids();
        let mut ids = prompt.iter().chain(&completion);
        if let Some(id) = ids.find(|id| n_ids <= **id as usize) {
            anyhow::bail!("the tokenizer has no id {id}: its ids are below {n_ids}");
        }
        let (length, window) = (
            prompt.len() + completion.len(),
            self.policy.config().max_positions,
        );
        anyhow::ensure!(
            length <= window,
            "prompt and completion have {length} tokens, the model's window is {window}"
        );
        Ok(Ready {
            prompt,
            completion,
            others,
        })
    }

    /// Scores what waits and writes it out.
    fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.n_tokens = 0;
        let contexts: Vec<Context<'_>> = waiting
            .iter()
            .flatten()
            .filter(|ready| !ready.completion.is_empty())
            .map(
                |Ready {
                     prompt, completion, ..
                 }| Context {
                    group: 0,
                    prompt,
                    completion,
                },
            )
            .collect();
        let scores = if contexts.is_empty() {
            None
        } else {
            Some(self.policy.score(&contexts, self.temperature))
        };
        let mut start = 0;
        for line in &waiting {
            let value = match line {
                Ok(ready) => {
                    let end = start + ready.completion.len();
                    let of_line = |values: fn(&longhand_policy::Scores) -> &Vec<f32>| {
                        scores
                            .as_ref()
                            .map_or(&[][..], |scores| &values(scores)[start..end])
                    };
                    let mut value = Value::Object(ready.others.clone());
                    value["n_prompt_tokens"] = json!(ready.prompt.len());
                    value["completion_ids"] = json!(ready.completion);
                    value["logprobs"] = json!(of_line(|scores| &scores.logprobs));
                    value["entropies"] = json!(of_line(|scores| &scores.entropies));
                    value["self_certainties"] = json!(of_line(|scores| &scores.self_certainties));
                    start = end;
                    value
                }
                Err(error) => error.clone(),
            };
            serde_json::to_writer(&mut self.out, &value)?;
            writeln!(self.out)?;
        }
        Ok(self.out.flush()?)
    }
}

//! `longhand bench`: how fast a model is sampled from, scored and trained, in whole group steps.
//!
//! Every completion runs to its cap, so the work is fixed: `--group` attempts at one prompt of `--prompt`
//! made-up tokens, `--completion` tokens each. A step is what a policy-gradient step without a reference
//! does: generate, then train on what was generated; `--reference` adds a scoring pass between the two.

use std::{io::Write as _, num::NonZero, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result};
use longhand_kernels::{Block, Cpu, Isa, Operand, Packed, Store, matmul};
use longhand_policy::{
    AdamW, AdamWSettings, BACKEND, Compute, Keep, ModelConfig, Policy, Precision, RolloutWeights,
    TokenGradient,
};
use longhand_rollout::{
    Completion, Context, Generate as _, Purpose, Request, Sampling, StreamBase,
};
use longhand_trainer::{peak_resident_bytes, resident_bytes};
use serde_json::json;

use crate::{bad_usage, count, load::model_folder};

/// Arguments of `longhand bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a model in Hugging Face layout, or hf:owner/name[@rev]
    model: PathBuf,
    /// Attempts at the prompt
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = count())]
    group: usize,
    /// Tokens of a prompt
    #[arg(long, default_value_t = 512, value_name = "TOKENS", value_parser = count())]
    prompt: usize,
    /// Tokens of each completion
    #[arg(long, default_value_t = 64, value_name = "TOKENS")]
    completion: usize,
    /// Counted steps; one more goes first and is not counted
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = count())]
    steps: usize,
    /// What to time, separated by commas: step, prefill, score, decode, train, read
    #[arg(
        long,
        default_value = "step",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    phases: Vec<Phase>,
    /// Sequences side by side in the single phases, each with a prompt of its own
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = count())]
    batch: usize,
    /// Lengths of the documents that `--phases read` reads by chunks of `--prompt` tokens, keeping
    /// `--completion` tokens of notes
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "10000,100000,1000000",
        value_name = "TOKENS"
    )]
    documents: Vec<usize>,
    /// Score the completions once more in each step, as a reference policy would
    #[arg(long)]
    reference: bool,
    /// Numbers of products: auto, f32, bf16
    #[arg(long, default_value = "auto", value_name = "NAME")]
    precision: Numbers,
    /// Weights to sample with: same, int8
    #[arg(long, default_value = "same", value_name = "NAME")]
    rollout_weights: Sampler,
    /// The most instructions to use: portable, avx2, avx512, avx512-bf16, amx [default: what is there]
    #[arg(long, value_name = "NAME")]
    instructions: Option<String>,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Keep only the residual stream of each layer for the way back
    #[arg(long)]
    activation_checkpointing: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Phase {
    Step,
    Prefill,
    Score,
    Decode,
    Train,
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Numbers {
    Auto,
    F32,
    Bf16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sampler {
    Same,
    Int8,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let compute = compute(args)?;
    let policy = Policy::load(&model_folder(&args.model)?, &compute)?.with_end_ids(Vec::new());
    let window = policy.config().max_positions;
    let longest = args.prompt + args.completion;
    if window < longest {
        return Err(bad_usage(format!(
            "--prompt {} and --completion {} need {longest} tokens, the model's window holds {window}",
            args.prompt, args.completion
        )));
    }
    let mut bench = Bench {
        args,
        n_parameters: policy.config().n_parameters(),
        policy,
        optimizer: AdamW::new(AdamWSettings {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }),
    };
    let mut found = Findings::default();
    for phase in &args.phases {
        tracing::info!("{phase:?}");
        match phase {
            Phase::Step => bench.steps(&mut found)?,
            Phase::Prefill => found.prefill = Some(bench.prefill()?),
            Phase::Score => found.score = Some(bench.score()),
            Phase::Decode => found.decode = Some(bench.decode()?),
            Phase::Train => found.train = Some(bench.train()),
            Phase::Read => found.read = bench.read()?,
        }
    }
    bench.print(&found)?;
    Ok(ExitCode::SUCCESS)
}

fn compute(args: &Args) -> Result<Compute> {
    let isa = match &args.instructions {
        Some(name) => name.parse::<Isa>().map_err(|e| bad_usage(e.to_string()))?,
        None => Isa::detect(),
    };
    let threads = match args.threads {
        Some(threads) => threads,
        None => std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
    };
    Ok(Compute {
        cpu: Cpu::new(isa, threads).map_err(|e| bad_usage(e.to_string()))?,
        precision: match args.precision {
            Numbers::Auto => Precision::Auto,
            Numbers::F32 => Precision::F32,
            Numbers::Bf16 => Precision::Bf16,
        },
        rollout_weights: match args.rollout_weights {
            Sampler::Same => RolloutWeights::Same,
            Sampler::Int8 => RolloutWeights::Int8,
        },
        keep: if args.activation_checkpointing {
            Keep::Checkpoints
        } else {
            Keep::Activations
        },
        ..Compute::default()
    })
}

/// Seconds of one step.
#[derive(Clone, Copy, Debug, Default)]
struct Seconds {
    generate: f64,
    score: f64,
    train: f64,
}

impl Seconds {
    fn step(self) -> f64 {
        self.generate + self.score + self.train
    }
}

/// Tokens per second of the single phases, and the steps.
#[derive(Debug, Default)]
struct Findings {
    steps: Vec<Seconds>,
    prefill: Option<f64>,
    score: Option<f64>,
    decode: Option<f64>,
    train: Option<f64>,
    read: Vec<Reading>,
}

/// One document, read from its beginning to its end.
#[derive(Debug)]
struct Reading {
    n_tokens: usize,
    seconds: f64,
    resident_bytes: Option<u64>,
}

struct Bench<'a> {
    args: &'a Args,
    n_parameters: usize,
    policy: Policy,
    optimizer: AdamW,
}

impl Bench<'_> {
    /// Made-up ids, different for each `salt`.
    fn ids(&self, n: usize, salt: usize) -> Vec<u32> {
        let n_ids = self.policy.tokenizer().n_ids() as u64;
        let mut state = salt as u64 + 1;
        let mut next = || {
            // A linear congruence is random enough for tokens that nobody reads.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % n_ids) as u32
        };
        (0..n).map(|_| next()).collect()
    }

    fn request(
        &self,
        prompt: Vec<u32>,
        max_tokens: usize,
        group: usize,
        attempt: usize,
    ) -> Request {
        let streams = StreamBase {
            seed: 1,
            purpose: Purpose::ROLLOUT,
            step: 0,
        };
        Request {
            prompt,
            max_tokens,
            group,
            key: streams.key(group as u64, attempt as u32, 0),
        }
    }

    fn generate(&self, requests: &[Request]) -> Result<(Vec<Completion>, f64)> {
        let start = Instant::now();
        let mut generator = self.policy.generator();
        let completions = generator
            .generate(requests, &Sampling::at(1.0))
            .context("the model cannot be sampled from")?;
        Ok((completions, start.elapsed().as_secs_f64()))
    }

    fn steps(&mut self, found: &mut Findings) -> Result<()> {
        let args = self.args;
        if args.completion == 0 {
            return Err(bad_usage("a step needs --completion of at least 1"));
        }
        for step in 0..=args.steps {
            let prompt = self.ids(args.prompt, step);
            let requests: Vec<Request> = (0..args.group)
                .map(|attempt| self.request(prompt.clone(), args.completion, step, attempt))
                .collect();
            let (completions, generate) = self.generate(&requests)?;
            let contexts: Vec<Context<'_>> = completions
                .iter()
                .map(|completion| Context {
                    group: 0,
                    prompt: &prompt,
                    completion: &completion.ids,
                })
                .collect();
            let start = Instant::now();
            if args.reference {
                std::hint::black_box(self.policy.score(&contexts, 1.0));
            }
            let score = start.elapsed().as_secs_f64();
            // Half of the attempts are better than the others: what a group's advantages look like.
            let n_tokens = (args.group * args.completion) as f64;
            let grad: Vec<f64> = (0..args.group)
                .flat_map(|attempt| {
                    let advantage = if attempt % 2 == 0 { 1.0 } else { -1.0 };
                    std::iter::repeat_n(-advantage / n_tokens, args.completion)
                })
                .collect();
            let train = self.update(&contexts, &grad);
            if step != 0 {
                found.steps.push(Seconds {
                    generate,
                    score,
                    train,
                });
            }
        }
        Ok(())
    }

    /// Seconds of one pass there and back and one update.
    fn update(&mut self, contexts: &[Context<'_>], grad: &[f64]) -> f64 {
        let start = Instant::now();
        let buffers = self.optimizer.take_buffers();
        let pass = self.policy.forward(contexts, 1.0, buffers, 0);
        let grad = TokenGradient::of_logprobs(grad);
        self.optimizer.accumulate(&self.policy, pass, grad);
        self.optimizer.update(&mut self.policy, 1e-6, 1.0);
        start.elapsed().as_secs_f64()
    }

    /// Tokens per second until the first token of every sequence.
    fn prefill(&self) -> Result<f64> {
        let n_tokens = (self.args.batch * self.args.prompt) as f64;
        self.median_rate(n_tokens, || Ok(self.generate(&self.alone(1))?.1))
    }

    /// Tokens per second after the first of every sequence.
    fn decode(&self) -> Result<f64> {
        let Args {
            batch, completion, ..
        } = *self.args;
        if completion < 2 {
            return Err(bad_usage("decoding needs --completion of at least 2"));
        }
        let n_tokens = (batch * (completion - 1)) as f64;
        self.median_rate(n_tokens, || {
            let (_, first) = self.generate(&self.alone(1))?;
            let (_, all) = self.generate(&self.alone(completion))?;
            Ok(all - first)
        })
    }

    /// One request for each sequence of the batch.
    fn alone(&self, max_tokens: usize) -> Vec<Request> {
        (0..self.args.batch)
            .map(|i| self.request(self.ids(self.args.prompt, i), max_tokens, i, 0))
            .collect()
    }

    fn score(&self) -> f64 {
        let owned = self.given();
        let contexts = whole(&owned);
        let n_tokens = (self.args.batch * self.args.prompt) as f64;
        let seconds = (0..=self.args.steps).map(|_| {
            let start = Instant::now();
            std::hint::black_box(self.policy.score(&contexts, 1.0));
            start.elapsed().as_secs_f64()
        });
        n_tokens / median(seconds.skip(1).collect())
    }

    fn train(&mut self) -> f64 {
        let owned = self.given();
        let contexts = whole(&owned);
        let n_sampled: usize = contexts
            .iter()
            .map(|context| context.completion.len())
            .sum();
        let grad = vec![-1.0 / n_sampled as f64; n_sampled];
        let n_tokens = (self.args.batch * self.args.prompt) as f64;
        let seconds: Vec<f64> = (0..=self.args.steps)
            .map(|_| self.update(&contexts, &grad))
            .collect();
        n_tokens / median(seconds[1..].to_vec())
    }

    /// Reads documents of made-up tokens chunk by chunk, the notes of one turn being part of the next
    /// prompt.
    fn read(&self) -> Result<Vec<Reading>> {
        let Args {
            prompt: chunk_size,
            completion: n_notes,
            ..
        } = *self.args;
        let window = self.policy.config().max_positions;
        if n_notes == 0 || window < chunk_size + 2 * n_notes {
            return Err(bad_usage(format!(
                "a turn of --prompt {chunk_size} tokens with --completion {n_notes} tokens of notes before \
                 and after it does not fit the window of {window}, or has no notes"
            )));
        }
        let mut generator = self.policy.generator();
        let mut readings = Vec::new();
        for &n_tokens in &self.args.documents {
            let document = self.ids(n_tokens, n_tokens);
            let start = Instant::now();
            let mut notes = Vec::new();
            for (turn, chunk) in document.chunks(chunk_size).enumerate() {
                let prompt = [chunk, &notes].concat();
                let request = self.request(prompt, n_notes, 0, turn);
                let completions = generator
                    .generate(&[request], &Sampling::GREEDY)
                    .context("the model cannot be sampled from")?;
                notes = completions.into_iter().next().map_or(notes, |c| c.ids);
            }
            readings.push(Reading {
                n_tokens,
                seconds: start.elapsed().as_secs_f64(),
                resident_bytes: resident_bytes(),
            });
        }
        Ok(readings)
    }

    /// Sequences of prompt length, of which every token but the first is predicted.
    fn given(&self) -> Vec<Vec<u32>> {
        (0..self.args.batch)
            .map(|i| self.ids(self.args.prompt + 1, i))
            .collect()
    }

    fn median_rate(&self, n_tokens: f64, mut seconds: impl FnMut() -> Result<f64>) -> Result<f64> {
        seconds()?;
        let all = (0..self.args.steps)
            .map(|_| seconds())
            .collect::<Result<Vec<f64>>>()?;
        Ok(n_tokens / median(all))
    }

    fn print(&self, found: &Findings) -> Result<()> {
        let args = self.args;
        let of = |part: fn(Seconds) -> f64| median(found.steps.iter().map(|s| part(*s)).collect());
        let step_s = (!found.steps.is_empty()).then(|| of(Seconds::step));
        let n_sampled = (args.group * args.completion) as f64;
        let n_run = args.prompt as f64 + args.group as f64 * (args.completion as f64 - 1.0);
        let peak = self.peak_flops();
        // Work that is asked for, prefixes counted once: forwards while sampling, and there and back.
        let mfu = step_s.zip(peak).map(|(seconds, peak)| {
            let flops = flops_per_token(self.policy.config(), args.prompt + args.completion);
            let passes = if args.reference { 5.0 } else { 4.0 };
            passes * n_run * flops / seconds / peak
        });
        let steps: Vec<_> = found
            .steps
            .iter()
            .map(|s| {
                json!({
                    "generate_s": s.generate, "score_s": s.score, "train_s": s.train,
                    "step_s": s.step(),
                })
            })
            .collect();
        let step_rate = |seconds: f64, n: f64| (!found.steps.is_empty()).then(|| n / seconds);
        let report = json!({
            "model": args.model.display().to_string(),
            "backend": if BACKEND == "flex" { "cpu" } else { BACKEND },
            "computes_on": self.policy.computes_on(),
            "isa": self.policy.compute().cpu.isa().name(),
            "precision": self.policy.precision(),
            "rollout_weights": format!("{:?}", args.rollout_weights).to_lowercase(),
            "threads": self.policy.compute().cpu.n_threads(),
            "n_parameters": self.n_parameters,
            "group": args.group, "prompt": args.prompt, "completion": args.completion,
            "batch": args.batch,
            "steps": steps,
            "step_s": step_s,
            "prefill_tokens_per_s": found.prefill,
            "decode_tokens_per_s":
                found.decode.or(step_rate(of(|s| s.generate), n_sampled)),
            "score_tokens_per_s": found.score,
            "train_tokens_per_s": found.train.or(step_rate(of(|s| s.train), n_run)),
            "read": found.read.iter().map(|reading| json!({
                "tokens": reading.n_tokens,
                "seconds": reading.seconds,
                "tokens_per_s": reading.n_tokens as f64 / reading.seconds,
                "rss_bytes": reading.resident_bytes,
            })).collect::<Vec<_>>(),
            "mfu": mfu,
            "peak_flops_measured": peak,
            "peak_rss_bytes": peak_resident_bytes(),
        });
        let mut out = std::io::stdout().lock();
        if args.json {
            writeln!(out, "{report}")?;
        } else {
            writeln!(out, "{report:#}")?;
        }
        Ok(())
    }

    /// What the engine's products reach at best on this machine, in FLOP/s; none on other backends.
    fn peak_flops(&self) -> Option<f64> {
        const SIDE: usize = 1024;
        let cpu = &self.policy.compute().cpu;
        let format = self.policy.format()?;
        let values = vec![0.5_f32; SIDE * SIDE];
        let block = Block {
            values: &values,
            stride: SIDE,
            k0: 0,
            n0: 0,
            k: SIDE,
            n: SIDE,
            transposed: false,
        };
        let right = Packed::new(cpu, format, SIDE, SIDE, &[block]);
        let mut left = Operand::new();
        left.fill_rows(cpu, right.operand_format(cpu), &values, SIDE, SIDE, SIDE);
        let mut out = vec![0.0; SIDE * SIDE];
        let seconds = (0..6).map(|_| {
            let start = Instant::now();
            matmul(cpu, &left, &right, &mut out, SIDE, Store::Set);
            start.elapsed().as_secs_f64()
        });
        let best = seconds.fold(f64::INFINITY, f64::min);
        Some(2.0 * (SIDE as f64).powi(3) / best)
    }
}

/// All of a sequence as one context that predicts from its first token on.
fn whole(owned: &[Vec<u32>]) -> Vec<Context<'_>> {
    owned
        .iter()
        .enumerate()
        .map(|(group, ids)| {
            let (prompt, completion) = ids.split_at(1);
            Context {
                group,
                prompt,
                completion,
            }
        })
        .collect()
}

/// FLOPs to run one token forwards: two for each weight of a product, and attention over half of the
/// positions.
fn flops_per_token(config: &ModelConfig, n_positions: usize) -> f64 {
    let ModelConfig {
        hidden_size,
        intermediate_size,
        n_layers,
        n_heads,
        n_kv_heads,
        head_dim,
        vocab_size,
        ..
    } = *config;
    let of_layer =
        hidden_size * head_dim * 2 * (n_heads + n_kv_heads) + 3 * hidden_size * intermediate_size;
    let attention = 2 * n_heads * head_dim * n_positions;
    2.0 * (n_layers * of_layer + hidden_size * vocab_size) as f64 + (n_layers * attention) as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => f64::NAN,
        _ if n.is_multiple_of(2) => (values[n / 2 - 1] + values[n / 2]) / 2.0,
        _ => values[n / 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }
}

//! What a run costs on the CPU engine: multiply-adds by phase, memory, and time on a machine of known speed.
//!
//! Estimates, made before anything is opened. Replies fill a given share of their budgets; every group and
//! every turn is trained; the templates' own text is counted by its words, and batches that dynamic sampling
//! asks for again are not counted. What a group's attempts begin with in common is counted once, as it is run once.
//!
//! ```text
//! products(token)  = layers * (hidden * (q + 2 kv) + q * hidden + 3 * hidden * inner)
//! attention(token) = layers * 2 * q * positions      half a turn in a prompt, a turn in a reply
//! head(token)      = hidden * vocabulary             of tokens that are predicted
//!
//! generation = products + attention of prompts and replies, head of replies
//! scoring    = the same of the teacher's prompts and memories, of a reference's and of an anchor's replies
//! training   = 3 times products and attention (once more with activation checkpointing), 4 times the head:
//!              there, and back to inputs and weights; logits are computed again rather than kept
//! ```
//!
//! With adapters each token also takes `rank (in + out)` for every matrix that has one, and nothing goes back to
//! the weights themselves: products twice, attention and adapters 3 times, the head 3 times.

use longhand_memory::{ChunkOptions, TeacherScope};

use crate::compute::{Compute, RolloutWeights};
use crate::experiment::{Experiment, Stage};
use crate::lora::Lora;
use crate::model_shape::ModelShape;
use crate::plan_memory::Memory;
use crate::rl::Rl;
use crate::shipped::rounded;
use crate::turns::Turns;
use crate::warm_start::WarmStart;

/// What a plan takes for granted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumed {
    /// Bytes of a number in products: 2 where they are computed in bf16, else 4.
    pub product_bytes: usize,
    /// Share of their budgets that memories and answers fill, and of a chunk that is relevant to a teacher;
    /// 1 gives an upper bound.
    pub reply_share: f64,
}

/// What a run costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Parameters of the policy, adapters not counted.
    pub n_parameters: f64,
    /// Those that are trained: all, or the adapters' own.
    pub n_trained: f64,
    /// Bytes at the largest moment, by what they are for.
    pub memory: Memory,
    /// One step of each stage, in order.
    pub stages: Vec<StagePlan>,
    /// All measurements of the run together.
    pub measurements: Work,
}

/// What one step of a stage costs.
#[derive(Clone, Debug, PartialEq)]
pub struct StagePlan {
    /// `rl` or `warm-start`.
    pub kind: &'static str,
    /// Steps of the stage, at most.
    pub n_steps: usize,
    /// One step.
    pub work: Work,
}

/// Multiply-adds and bytes moved.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Multiply-adds of prompts that are read to be continued: many rows at once.
    pub prefill: f64,
    /// Multiply-adds of sampling: a row for each open sequence.
    pub decode: f64,
    /// Bytes of weights that sampling reads: all of them for every token of a sequence.
    pub decode_bytes: f64,
    /// Multiply-adds of scoring given tokens.
    pub scoring: f64,
    /// Multiply-adds of gradients.
    pub training: f64,
    /// Bytes that gradients and updates move.
    pub training_bytes: f64,
}

/// How fast a machine is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speeds {
    /// Multiply-adds a second in products of many rows of the model's width.
    pub many_rows: f64,
    /// Multiply-adds a second in products of as many rows as sequences are sampled side by side.
    pub few_rows: f64,
    /// Bytes a second of numbers that are read, computed with and written.
    pub bytes: f64,
}

/// Seconds by phase.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seconds {
    /// Sampling.
    pub generation: f64,
    /// Scoring.
    pub scoring: f64,
    /// Gradients and updates.
    pub training: f64,
}

/// What a pass takes beside its products, as a multiple of them: norms, rotations, softmax, waiting for the
/// slower thread.
const BESIDE_PRODUCTS: f64 = 1.4;

/// Bytes that an update moves for each parameter: AdamW reads four lists and writes three, the gradient is
/// cleared before and its norm taken, and what was packed is packed again.
const BYTES_OF_UPDATE: f64 = 28.0 + 4.0 + 4.0 + 8.0;

/// Bytes that the gradient of one micro-batch moves for each trained parameter: added to what is there.
const BYTES_OF_GRADIENT: f64 = 8.0;

/// Bytes that its way back moves for each parameter, trained or not: the weights turned round.
const BYTES_OF_WAY_BACK: f64 = 6.0;

impl Work {
    /// All multiply-adds.
    pub fn multiply_adds(&self) -> f64 {
        self.prefill + self.decode + self.scoring + self.training
    }

    /// Seconds on a machine of these speeds.
    pub fn seconds(&self, speeds: &Speeds) -> Seconds {
        let sampling = (self.decode / speeds.few_rows).max(self.decode_bytes / speeds.bytes);
        let of_rows = |multiply_adds: f64| multiply_adds / speeds.many_rows * BESIDE_PRODUCTS;
        Seconds {
            generation: of_rows(self.prefill) + sampling * BESIDE_PRODUCTS,
            scoring: of_rows(self.scoring),
            training: of_rows(self.training) + self.training_bytes / speeds.bytes,
        }
    }

    pub(crate) fn times(self, n: f64) -> Self {
        let Self {
            prefill,
            decode,
            decode_bytes,
            scoring,
            training,
            training_bytes,
        } = self;
        Self {
            prefill: n * prefill,
            decode: n * decode,
            decode_bytes: n * decode_bytes,
            scoring: n * scoring,
            training: n * training,
            training_bytes: n * training_bytes,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            prefill: self.prefill + other.prefill,
            decode: self.decode + other.decode,
            decode_bytes: self.decode_bytes + other.decode_bytes,
            scoring: self.scoring + other.scoring,
            training: self.training + other.training,
            training_bytes: self.training_bytes + other.training_bytes,
        }
    }
}

impl Seconds {
    /// All phases.
    pub fn total(&self) -> f64 {
        self.generation + self.scoring + self.training
    }
}

impl Plan {
    /// Multiply-adds and bytes of the whole run, warm starts taking all their steps.
    pub fn work(&self) -> Work {
        let of_stage = |stage: &StagePlan| stage.work.times(stage.n_steps as f64);
        let stages = self.stages.iter().map(of_stage);
        stages.fold(self.measurements, Work::plus)
    }
}

impl Plan {
    /// Names and values of everything but time, which depends on the machine.
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows = self.work_rows();
        for (name, bytes) in self.memory.parts() {
            if bytes != 0.0 {
                rows.push((format!("memory, {name}"), mebibytes(bytes)));
            }
        }
        rows.push(("memory, together".into(), mebibytes(self.memory.total())));
        rows
    }

    /// The same without memory: parameters and multiply-adds, which are the same on a GPU.
    pub fn work_rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![("parameters".to_string(), rounded(self.n_parameters))];
        if self.n_trained != self.n_parameters {
            rows.push(("parameters of the adapters".into(), rounded(self.n_trained)));
        }
        for (idx, stage) in self.stages.iter().enumerate() {
            let Work {
                prefill,
                decode,
                scoring,
                training,
                ..
            } = stage.work;
            let phases = match stage.kind {
                "rl" => vec![
                    ("generation", prefill + decode),
                    ("scoring", scoring),
                    ("training", training),
                ],
                _ => vec![("training", training)],
            };
            for (phase, multiply_adds) in phases {
                let name = format!(
                    "stage.{idx} ({}): multiply-adds of a step, {phase}",
                    stage.kind
                );
                rows.push((name, rounded(multiply_adds)));
            }
        }
        rows.push((
            "multiply-adds of the run".into(),
            rounded(self.work().multiply_adds()),
        ));
        rows
    }
}

/// Bytes in MiB, or in GiB where they are many.
pub(crate) fn mebibytes(bytes: f64) -> String {
    let mebi = bytes / 1_048_576.0;
    if mebi < 10_240.0 {
        format!("{mebi:.0} MiB")
    } else {
        format!("{:.1} GiB", mebi / 1024.0)
    }
}

impl Experiment {
    /// The most sequences that are sampled side by side in an RL stage, or in measurements where there is
    /// none.
    pub fn most_open(&self) -> usize {
        let of_stage = self.stages.iter().filter_map(|stage| match stage {
            Stage::WarmStart(_) => None,
            Stage::Rl(rl) => {
                let rollouts = rl.problems_per_step.saturating_mul(rl.group_size);
                Some(rollouts.min(rl.generation_batch))
            }
        });
        let measured = self.eval.n_documents.min(self.eval.batch);
        of_stage.max().unwrap_or(measured)
    }

    /// What the run costs with a model of these sizes.
    pub fn plan(&self, model: &ModelShape, assumed: &Assumed) -> Plan {
        let costs = Costs {
            model,
            lora: self.lora.as_ref(),
            compute: &self.compute,
            assumed,
        };
        let train = self.planned_turns(
            self.data.train_tokens,
            &self.reader.chunks,
            assumed.reply_share,
        );
        let stages = self.stages.iter().map(|stage| match stage {
            Stage::WarmStart(stage) => StagePlan {
                kind: "warm-start",
                n_steps: stage.steps,
                work: costs.warm_start(stage, self),
            },
            Stage::Rl(stage) => StagePlan {
                kind: "rl",
                n_steps: stage.steps,
                work: costs.rl(stage, &train),
            },
        });
        Plan {
            n_parameters: model.n_parameters() as f64,
            n_trained: self.n_trained(model),
            memory: self.memory(model, assumed),
            stages: stages.collect(),
            measurements: self.measured(&costs),
        }
    }

    /// Parameters that are trained: all, or the adapters' own.
    pub(crate) fn n_trained(&self, model: &ModelShape) -> f64 {
        match &self.lora {
            Some(lora) => lora.n_parameters(model),
            None => model.n_parameters() as f64,
        }
    }

    /// Before and after the RL stages at every length, and now and then between at the first.
    fn measured(&self, costs: &Costs<'_>) -> Work {
        let n_documents = self.eval.n_documents as f64;
        let at = |n_tokens: usize| {
            let chunks = self.reader.evaluation_chunks();
            let turns = self.planned_turns(n_tokens, &chunks, costs.assumed.reply_share);
            costs.read(&turns, n_documents, 1.0, self.eval.batch)
        };
        let (mut whole, mut first) = (Work::default(), Work::default());
        for (idx, length) in self.eval.lengths.iter().enumerate() {
            let work = at(*length);
            whole = whole.plus(work);
            if idx == 0 {
                first = work;
            }
        }
        if self.eval.sampled_temperature.is_some() {
            whole = whole.plus(first);
        }
        let between = self
            .stages
            .iter()
            .map(|stage| match (stage, self.eval.every) {
                (Stage::Rl(rl), Some(every)) => (rl.steps - 1) / every,
                _ => 0,
            });
        let between: usize = between.sum();
        whole.times(2.0).plus(first.times(between as f64))
    }
}

/// Counts work for one model.
struct Costs<'a> {
    model: &'a ModelShape,
    lora: Option<&'a Lora>,
    compute: &'a Compute,
    assumed: &'a Assumed,
}

impl Costs<'_> {
    /// Multiply-adds of one token in all layers, this many positions behind it.
    fn token(&self, n_positions: f64) -> f64 {
        self.token_without_adapters(n_positions) + self.adapters()
    }

    /// The same of a reference, whose adapters are off.
    fn token_without_adapters(&self, n_positions: f64) -> f64 {
        self.products() + self.attention(n_positions)
    }

    /// Multiply-adds of one token in the products of all layers.
    fn products(&self) -> f64 {
        self.model.n_layers as f64 * self.model.layer_matrices()
    }

    /// In their attention.
    fn attention(&self, n_positions: f64) -> f64 {
        self.model.n_layers as f64 * 2.0 * self.model.q() * n_positions
    }

    /// In their adapters, of which there are as many numbers.
    fn adapters(&self) -> f64 {
        self.lora.map_or(0.0, |lora| lora.n_parameters(self.model))
    }

    /// Reads documents: `n_groups` of them, each `group_size` times.
    fn read(&self, turns: &Turns, n_groups: f64, group_size: f64, most_open: usize) -> Work {
        let n_attempts = n_groups * group_size;
        let length = turns.mean_turn();
        let prompts = n_groups * turns.shared() as f64 + n_attempts * turns.own() as f64;
        let sampled = n_attempts * turns.sampled() as f64;
        let n_open = n_attempts.min(most_open as f64);
        let weights = self.products() + self.model.head();
        let bytes = weights * self.sampler_bytes() + 4.0 * self.adapters();
        Work {
            prefill: prompts * self.token(length / 2.0),
            decode: sampled * (self.token(length) + self.model.head()),
            decode_bytes: sampled / n_open * bytes,
            ..Work::default()
        }
    }

    /// Bytes of a weight that sampling reads.
    fn sampler_bytes(&self) -> f64 {
        match self.compute.rollout_weights {
            RolloutWeights::Same => self.assumed.product_bytes as f64,
            RolloutWeights::Int8 => 1.0,
        }
    }

    /// Multiply-adds of a gradient.
    fn gradient(&self, n_run: f64, n_predicted: f64, length: f64) -> f64 {
        let again = if self.compute.activation_checkpointing {
            1.0
        } else {
            0.0
        };
        // Weights that are not trained need no way back of their own.
        let to_weights = if self.lora.is_some() { 0.0 } else { 1.0 };
        let of_token = (2.0 + to_weights + again) * self.products()
            + (3.0 + again) * (self.attention(length / 2.0) + self.adapters());
        n_run * of_token + (3.0 + to_weights) * n_predicted * self.model.head()
    }

    /// Bytes of gradients and updates.
    fn update_bytes(&self, n_run: f64, n_updates: f64, micro_batch_tokens: usize) -> f64 {
        let n_passes = (n_run / n_updates / micro_batch_tokens as f64).ceil() * n_updates;
        let n_parameters = self.model.n_parameters() as f64;
        let n_trained = match self.lora {
            Some(_) => self.adapters(),
            None => n_parameters,
        };
        let of_trained = n_passes * BYTES_OF_GRADIENT + n_updates * BYTES_OF_UPDATE;
        n_passes * BYTES_OF_WAY_BACK * n_parameters + of_trained * n_trained
    }

    fn rl(&self, rl: &Rl, turns: &Turns) -> Work {
        let n_groups = rl.problems_per_step as f64;
        let n_attempts = n_groups * rl.group_size as f64;
        let (n_run, n_sampled) = rl.trained_rows(turns);
        let length = turns.mean_turn();
        let head = n_sampled * self.model.head();
        let mut scoring = 0.0;
        if rl.needs_reference() {
            scoring += n_run * self.token_without_adapters(length / 2.0) + head;
        }
        // What the policy says of replies that rounded weights have sampled.
        if self.compute.rollout_weights != RolloutWeights::Same {
            scoring += n_run * self.token(length / 2.0) + head;
        }
        scoring += rl.scoring_passes() * (n_run * self.token(length / 2.0) + head);
        if let Some(teacher) = rl.credit.teacher() {
            let chunks = turns.chunks as f64;
            let relevant = self.assumed.reply_share
                * match teacher {
                    TeacherScope::Chunk => turns.chunk_tokens as f64,
                    TeacherScope::Document => chunks * turns.chunk_tokens as f64,
                };
            // The first turn has no memory yet, so a group shares all of its prompt.
            let (first, further) = (relevant / chunks, relevant - relevant / chunks);
            let (shared, own) = if turns.is_chunk_shared {
                (first + further, 0.0)
            } else {
                (first, further)
            };
            let [before, behind] = turns.text.read.map(|n| n as f64);
            let memory = turns.memory as f64;
            let of_group = chunks * (turns.question as f64 + before) + behind + shared;
            let of_attempt = (chunks - 1.0) * (memory + behind) + own;
            let n_scored = n_attempts * chunks * memory;
            let n_run = n_groups * of_group + n_attempts * (of_attempt - chunks) + n_scored;
            scoring += n_run * self.token(length / 2.0) + n_scored * self.model.head();
        }
        let rollouts = self.read(turns, n_groups, rl.group_size as f64, rl.generation_batch);
        Work {
            scoring,
            training: self.gradient(n_run, n_sampled, length),
            training_bytes: self.update_bytes(n_run, rl.mini_batches as f64, rl.micro_batch_tokens),
            ..rollouts
        }
    }

    fn warm_start(&self, stage: &WarmStart, experiment: &Experiment) -> Work {
        let mean_chunk = stage.chunk_sizes.iter().sum::<usize>() / stage.chunk_sizes.len();
        let (n_run, n_predicted) =
            stage.trained_rows(experiment, mean_chunk, self.assumed.reply_share);
        let examples = stage.examples_per_step;
        let length = n_run / (examples.read + examples.answer) as f64;
        Work {
            training: self.gradient(n_run, n_predicted, length),
            training_bytes: self.update_bytes(n_run, 1.0, stage.micro_batch_tokens),
            ..Work::default()
        }
    }
}

impl Rl {
    /// Tokens of a step that are run for the gradient, and those that are predicted. The last token of a
    /// reply is predicted and never run.
    pub(crate) fn trained_rows(&self, turns: &Turns) -> (f64, f64) {
        let n_groups = self.problems_per_step as f64;
        let n_attempts = n_groups * self.group_size as f64;
        let sampled = n_attempts * turns.sampled() as f64;
        let n_turns = n_attempts * turns.turns() as f64;
        let prompts = n_groups * turns.shared() as f64 + n_attempts * turns.own() as f64;
        (prompts + sampled - n_turns, sampled)
    }
}

impl WarmStart {
    /// As [`Rl::trained_rows`] with chunks of this size: examples share nothing.
    pub(crate) fn trained_rows(
        &self,
        experiment: &Experiment,
        chunk: usize,
        reply_share: f64,
    ) -> (f64, f64) {
        let chunks = ChunkOptions {
            chunk_size: chunk.max(1 + experiment.reader.chunks.overlap),
            ..experiment.reader.chunks
        };
        let turns = experiment.planned_turns(chunk, &chunks, reply_share);
        let examples = self.examples_per_step;
        let (read, answer) = (examples.read as f64, examples.answer as f64);
        let (memory, reply) = (turns.memory as f64, turns.answer as f64);
        let before = turns.question as f64 + memory;
        let text = |around: [u128; 2]| (around[0] + around[1]) as f64;
        let of_read = before + text(turns.text.read) + chunk as f64 + memory - 1.0;
        let of_answer = before + text(turns.text.answer) + reply - 1.0;
        let n_run = read * of_read + answer * of_answer;
        (n_run, read * memory + answer * reply)
    }
}

//! What a run holds in the memory of one GPU, where burn runs the model.
//!
//! Computed from what the code of the burn backend does, not measured. Of each tensor of the gradient graph
//! it is counted whether its operation keeps it for the way back; numbers are f32, and `half` stands for what
//! bf16 products round (`compute.precision = "bf16"`; "auto" is f32 on a GPU).
//!
//! ```text
//! held always       weights 4 bytes a parameter, moments 8 a trained one, a reference 4; adapters 4
//! gradient          4 a trained parameter: the one gathered, where an update has several micro-batches, and
//!                   that of the micro-batch, which grows while its graph goes away: the larger of the two counts
//! graph(row)        a layer keeps x, x / rms, and the normed row of both norms; rotated q, k, v; what was attended to;
//!                   gate before and after the sigmoid, its product, up, and the gated row:
//!                   (6 hidden + 2 q + 2 kv + 5 inner) * 4; query norms (2 q + 2 kv) * 4 more
//!           half    the inputs of the seven products in 2 bytes, for each product its own, instead of normed rows,
//!                   what was attended to and the gated row; and all rounded matrices
//!       adapters    no x / rms, and of inputs only those of matrices with an adapter; x A; with dropout, of every
//!                   adapter its mask and what that leaves instead of the input
//! scores            layers * heads * 3 numbers for each pair of a row and a position that it may see, hidden ones
//!                   included: shifted scores, their exponentials and the weights
//! head              a copy without the rows that no token has, two gradients of it (none with adapters), blocks of
//!                   logits of 16 MiB
//! way back          the gradients of one layer's tensors
//! sampling          rounded matrices, a copy of the head; keys and values of all that is open; one layer of prompts
//! update            four temporaries of the largest matrix; new weights take the place of their gradients
//! ```
//!
//! Rows, groups and lengths are rounded up to 2^n or 1.5 * 2^n, as the backend does on GPUs. Activation
//! checkpointing is the CPU engine's and changes nothing here. Beside all this stand half a GiB for the driver's
//! context and kernels and a tenth for what the allocator holds back: both are assumptions.

use crate::experiment::{Experiment, Stage};
use crate::lora::Lora;
use crate::model_shape::ModelShape;
use crate::plan::{Assumed, mebibytes};
use crate::policy::Family;
use crate::rl::Rl;
use crate::turns::Turns;
use crate::warm_start::WarmStart;

/// Bytes on the GPU, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GpuMemory {
    /// Always: the policy's weights in f32, adapters included.
    pub weights: f64,
    /// Always: the optimiser's two moments.
    pub moments: f64,
    /// Always: the frozen copy of the weights; 0 without one.
    pub reference: f64,
    /// Training: what earlier micro-batches of the update have gathered; 0 where there is only one.
    pub gathered: f64,
    /// Training: the gradient of a micro-batch.
    pub gradient: f64,
    /// Training: matrices rounded to bf16, which the graph keeps; 0 in f32.
    pub rounded: f64,
    /// Training: what the graph of the largest micro-batch keeps, attention's scores apart.
    pub activations: f64,
    /// Training: its attention's scores.
    pub scores: f64,
    /// Training: the head and its logits.
    pub head: f64,
    /// Training: what the way back needs beside.
    pub way_back: f64,
    /// Sampling: rounded matrices and the head's copy.
    pub sampler: f64,
    /// Sampling: keys and values of open sequences.
    pub keys: f64,
    /// Sampling: one layer of the prompts that are run at once, and logits.
    pub prompts: f64,
    /// Update: temporaries.
    pub update: f64,
}

/// Numbers that each pair of row and position keeps in a head: shifted scores, exponentials, weights.
const KEPT_OF_PAIR: f64 = 3.0;
/// Logits that exist at a time.
const LOGITS_AT_A_TIME: f64 = (4 << 20) as f64;
/// Tensors of the size of a block of logits, and of the sampled rows' logits.
const LOGIT_TENSORS: f64 = 4.0;
/// Gradients of the head at once, where it is trained: one that is added to another.
const HEAD_GRADIENTS: f64 = 2.0;
/// Temporaries of an update.
const UPDATE_TENSORS: f64 = 4.0;
/// The driver's context and compiled kernels.
const CONTEXT: f64 = (512 << 20) as f64;
/// Sizes in gigabytes that plans are held against: a consumer's card, an A100 or H100, an H200.
const GPU_SIZES: [f64; 3] = [24.0, 80.0, 141.0];
/// Share that the allocator holds beside what is used.
const HELD_BACK: f64 = 0.1;

impl GpuMemory {
    /// While rollouts are sampled.
    pub fn sampling(&self) -> f64 {
        self.always() + self.sampler + self.keys + self.prompts
    }

    /// In the training pass, at its fullest.
    pub fn training(&self) -> f64 {
        let graph = self.rounded + self.activations + self.scores + self.head + self.way_back;
        self.always() + self.gathered + graph.max(self.gradient)
    }

    /// While the weights are updated.
    pub fn updating(&self) -> f64 {
        self.always() + self.gradient + self.update
    }

    /// The largest moment, with the driver's context and what the allocator holds back.
    pub fn total(&self) -> f64 {
        let largest = self.sampling().max(self.training()).max(self.updating());
        CONTEXT + (1.0 + HELD_BACK) * largest
    }

    /// Whether it is less than a GPU of this size has, in gigabytes (10^9 bytes) as it is sold.
    pub fn fits(&self, gigabytes: f64) -> bool {
        self.total() <= gigabytes * 1e9
    }

    /// Names and values of every part, of the three moments, of the whole, and of what it fits.
    pub fn rows(&self) -> Vec<(String, String)> {
        let Self {
            weights,
            moments,
            reference,
            gathered,
            gradient,
            rounded,
            activations,
            scores,
            head,
            way_back,
            sampler,
            keys,
            prompts,
            update,
        } = *self;
        let parts = [
            ("weights", weights),
            ("moments", moments),
            ("reference", reference),
            ("gradient, gathered", gathered),
            ("gradient of a micro-batch", gradient),
            ("rounded weights of the graph", rounded),
            ("activations of the largest micro-batch", activations),
            ("attention scores of the largest micro-batch", scores),
            ("head and logits", head),
            ("way back", way_back),
            ("rounded weights and head of sampling", sampler),
            ("keys and values", keys),
            ("prompts and logits of sampling", prompts),
            ("temporaries of an update", update),
        ];
        let moments = [
            ("while sampling", self.sampling()),
            ("in the training pass", self.training()),
            ("in the update", self.updating()),
            (
                "largest moment, driver and allocator included",
                self.total(),
            ),
        ];
        let sizes = GPU_SIZES.into_iter().filter(|size| self.fits(*size));
        let fitting: Vec<String> = sizes.map(|size| format!("{size} GB")).collect();
        let fitting = match fitting.is_empty() {
            true => "none of these".into(),
            false => fitting.join(", "),
        };
        let all = GPU_SIZES.map(|size| size.to_string()).join(", ");
        let mut rows: Vec<(String, String)> = parts
            .into_iter()
            .chain(moments)
            .map(|(name, bytes)| (format!("GPU memory, {name}"), mebibytes(bytes)))
            .collect();
        rows.push((format!("fits a GPU of {all} GB"), fitting));
        rows
    }

    fn always(&self) -> f64 {
        self.weights + self.moments + self.reference
    }
}

/// Prefix groups side by side, padded: each a prefix and as many suffixes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grid {
    groups: f64,
    prefix: f64,
    suffixes: f64,
    suffix: f64,
}

impl Grid {
    /// A grid of at least one group; a group of one has its prefix in its suffix.
    fn padded(groups: f64, prefix: f64, suffixes: f64, suffix: f64) -> Self {
        let (prefix, suffix) = if suffixes == 1.0 {
            (0.0, prefix + suffix)
        } else {
            (prefix, suffix)
        };
        Self {
            groups: bucket(groups),
            prefix: length(prefix),
            suffixes: bucket(suffixes),
            suffix: length(suffix),
        }
    }

    /// As many groups of `n_suffixes` as a micro-batch may hold, or a part of one.
    fn within(budget: f64, most_groups: f64, prefix: f64, n_suffixes: f64, suffix: f64) -> Self {
        let whole = prefix + n_suffixes * suffix;
        if whole <= budget {
            let groups = (budget / whole).floor().min(most_groups);
            return Self::padded(groups.max(1.0), prefix, n_suffixes, suffix);
        }
        let suffixes = ((budget - prefix) / suffix).floor();
        Self::padded(1.0, prefix, suffixes.clamp(1.0, n_suffixes), suffix)
    }

    fn rows(&self) -> f64 {
        self.groups * (self.prefix + self.suffixes * self.suffix)
    }

    /// Pairs of a row and a position: a square for each prefix, and a rectangle for each suffix.
    fn pairs(&self) -> f64 {
        let of_prefix = self.prefix * self.prefix;
        let of_suffix = self.suffix * (self.prefix + self.suffix);
        self.groups * (of_prefix + self.suffixes * of_suffix)
    }
}

/// The least of 2^n and 1.5 * 2^n that holds a count.
fn bucket(n: f64) -> f64 {
    let power = n.max(1.0).log2().ceil().exp2();
    let between = 0.75 * power;
    if n <= between && 2.0 < power {
        between
    } else {
        power
    }
}

/// The same of tokens side by side, of which fewer than 16 are told apart from none and one only.
fn length(n: f64) -> f64 {
    if n <= 1.0 { n } else { bucket(n.max(16.0)) }
}

impl Experiment {
    /// What the run holds on one GPU with a model of these sizes. Nothing is opened and nothing measured.
    pub fn gpu_memory(&self, model: &ModelShape, assumed: &Assumed) -> GpuMemory {
        let n_parameters = model.n_parameters() as f64;
        let n_trained = self.n_trained(model);
        let adapters = match &self.lora {
            Some(lora) => lora.n_parameters(model),
            None => 0.0,
        };
        let is_half = assumed.product_bytes == 2;
        let n_layers = model.n_layers as f64;
        let rounded = if is_half {
            2.0 * n_layers * model.layer_matrices()
        } else {
            0.0
        };
        let head = 4.0 * model.head();
        let mut memory = GpuMemory {
            weights: 4.0 * (n_parameters + adapters),
            moments: 8.0 * n_trained,
            reference: match self.has_reference_copy() {
                true => 4.0 * n_parameters,
                false => 0.0,
            },
            gradient: 4.0 * n_trained,
            rounded,
            sampler: rounded + head,
            update: UPDATE_TENSORS * 4.0 * self.largest_trained(model),
            ..GpuMemory::default()
        };
        let gradients = match self.lora {
            Some(_) => 0.0,
            None => HEAD_GRADIENTS,
        };
        memory.head = (1.0 + gradients) * head + LOGIT_TENSORS * 4.0 * LOGITS_AT_A_TIME;
        let train = self.planned_turns(
            self.data.train_tokens,
            &self.reader.chunks,
            assumed.reply_share,
        );
        for stage in &self.stages {
            let (grid, has_several) = match stage {
                Stage::Rl(rl) => (
                    self.largest_grid(model, rl, &train),
                    rl.has_several_micro_batches(&train),
                ),
                Stage::WarmStart(stage) => self.warm_start_grid(stage, assumed.reply_share),
            };
            if has_several {
                memory.gathered = memory.gradient;
            }
            let activations = grid.rows() * self.kept_by_graph(model, is_half);
            let scores = KEPT_OF_PAIR * 4.0 * n_layers * model.n_heads as f64 * grid.pairs();
            if memory.activations + memory.scores < activations + scores {
                memory.activations = activations;
                memory.scores = scores;
            }
        }
        memory.way_back = (memory.activations + memory.scores) / n_layers;
        let most = |a: (f64, f64), b: (f64, f64)| if a.0 + a.1 < b.0 + b.1 { b } else { a };
        (memory.keys, memory.prompts) = self
            .sampled_grids(&train, assumed.reply_share)
            .into_iter()
            .map(|(grid, n_open)| sampling(model, &grid, n_open))
            .fold((0.0, 0.0), most);
        memory
    }

    /// Numbers of the largest list that is trained.
    fn largest_trained(&self, model: &ModelShape) -> f64 {
        let of_lists = |lora: &Lora| {
            let widths = lora
                .target_modules
                .iter()
                .flat_map(|name| model.matrix(name));
            widths.fold(0.0, f64::max) * lora.rank as f64
        };
        let (hidden, inner) = (model.hidden_size as f64, model.intermediate_size as f64);
        match &self.lora {
            Some(lora) => of_lists(lora),
            None => model.head().max(hidden * inner).max(hidden * model.q()),
        }
    }

    /// The grid of a micro-batch of the turns that cost most: those that read a chunk, or the answer's.
    fn largest_grid(&self, model: &ModelShape, rl: &Rl, turns: &Turns) -> Grid {
        let budget = rl.micro_batch_tokens as f64;
        let problems = (rl.problems_per_step / rl.mini_batches) as f64;
        let chunk = self.reader.chunks.chunk_size.min(self.data.train_tokens) as f64;
        let [read, answer] = turns_of(turns, chunk).map(|turn| {
            let most = problems
                * match turn.is_answer {
                    true => 1.0,
                    false => turns.chunks as f64,
                };
            let own = turn.own + turn.sampled - 1.0;
            Grid::within(budget, most, turn.shared, rl.group_size as f64, own)
        });
        let cost = |grid: &Grid| {
            let of_rows = grid.rows() * self.kept_by_graph(model, false);
            let of_pairs = KEPT_OF_PAIR * 4.0 * (model.n_layers * model.n_heads) as f64;
            of_rows + of_pairs * grid.pairs()
        };
        if cost(&read) < cost(&answer) {
            answer
        } else {
            read
        }
    }

    /// The grid of a micro-batch of a warm start's examples with the longest chunks, which share nothing and have
    /// their mean length, and whether an update has several.
    fn warm_start_grid(&self, stage: &WarmStart, reply_share: f64) -> (Grid, bool) {
        let largest = stage.chunk_sizes.iter().max().copied().unwrap_or(1);
        let (n_run, _) = stage.trained_rows(self, largest, reply_share);
        let examples = stage.examples_per_step;
        let n_examples = (examples.read + examples.answer) as f64;
        let budget = stage.micro_batch_tokens as f64;
        let mean = n_run / n_examples;
        let grid = Grid::within(budget, n_examples, 0.0, 1.0, mean);
        (grid, budget < n_run)
    }

    /// Bytes that the graph keeps of a row, scores apart.
    fn kept_by_graph(&self, model: &ModelShape, is_half: bool) -> f64 {
        let (hidden, inner) = (model.hidden_size as f64, model.intermediate_size as f64);
        let (q, kv) = (model.q(), model.kv());
        let has_norms = model.family == Family::Qwen3;
        let normed = if has_norms { q + kv } else { 0.0 };
        let of_layer = match &self.lora {
            // What products in bf16 keep of their inputs is rounded, one copy a product.
            None if is_half => {
                4.0 * (4.0 * hidden + model.qkv() + 2.0 * normed + 4.0 * inner)
                    + 2.0 * (5.0 * hidden + q + inner)
            }
            None => 4.0 * (6.0 * hidden + model.qkv() + q + 2.0 * normed + 5.0 * inner),
            Some(lora) => {
                let kept = 2.0 * hidden + model.qkv() + normed + 4.0 * inner;
                4.0 * kept + adapters_keep(lora, model, is_half)
            }
        };
        // What the last layer leaves, cosines and sines of queries and keys, once.
        model.n_layers as f64 * of_layer + 4.0 * (hidden + 2.0 * (q + kv))
    }

    /// Sequences that are sampled side by side, by what asks for them.
    fn sampled_grids(&self, train: &Turns, reply_share: f64) -> Vec<(Grid, f64)> {
        let mut grids = Vec::new();
        let mut push = |turns: &Turns, chunk: f64, n_groups: f64, group_size: f64, most: f64| {
            let n_open = (n_groups * group_size).min(most);
            let groups = (n_open / group_size).ceil();
            for turn in turns_of(turns, chunk) {
                let own = turn.own + turn.sampled;
                // Sampling runs a prefix by itself even where nobody shares it.
                let grid = Grid {
                    groups: bucket(groups),
                    prefix: length(turn.shared),
                    suffixes: bucket(group_size),
                    suffix: length(own),
                };
                grids.push((grid, n_open));
            }
        };
        let chunk = |n_tokens: usize| self.reader.chunks.chunk_size.min(n_tokens) as f64;
        for stage in &self.stages {
            if let Stage::Rl(rl) = stage {
                let (n_groups, group_size) = (rl.problems_per_step as f64, rl.group_size as f64);
                let most = rl.generation_batch as f64;
                push(
                    train,
                    chunk(self.data.train_tokens),
                    n_groups,
                    group_size,
                    most,
                );
            }
        }
        for n_tokens in &self.eval.lengths {
            let chunks = self.reader.evaluation_chunks();
            let turns = self.planned_turns(*n_tokens, &chunks, reply_share);
            let (n_groups, most) = (self.eval.n_documents as f64, self.eval.batch as f64);
            push(&turns, chunk(*n_tokens), n_groups, 1.0, most);
        }
        grids
    }
}

/// Bytes that the graph keeps of a row for a layer's adapters: their inputs and what A makes of them.
fn adapters_keep(lora: &Lora, model: &ModelShape, is_half: bool) -> f64 {
    let of_product = if is_half { 2.0 } else { 4.0 };
    let widths = lora.target_modules.iter().map(|name| model.matrix(name)[0]);
    let all: f64 = widths.sum();
    let inputs = if 0.0 < lora.dropout {
        // Each adapter has a mask in f32 and what that leaves.
        (4.0 + of_product) * all
    } else if is_half {
        // Each product rounds its input for itself.
        of_product * all
    } else {
        // Products of the same input share it.
        let shared = [
            ["q_proj", "k_proj", "v_proj"].as_slice(),
            &["o_proj"],
            &["gate_proj", "up_proj"],
            &["down_proj"],
        ];
        let targets = shared
            .into_iter()
            .filter_map(|of_one| of_one.iter().find(|target| lora.has(target)));
        let widths = targets.map(|target| model.matrix(target)[0]);
        of_product * widths.sum::<f64>()
    };
    inputs + of_product * lora.ranks() as f64
}

/// A turn's tokens: what a group shares of its prompt, what an attempt has for itself, and what is sampled.
struct Turn {
    shared: f64,
    own: f64,
    sampled: f64,
    is_answer: bool,
}

/// A turn that reads a chunk of this size, with a full memory before it, and the answer's.
fn turns_of(turns: &Turns, chunk: f64) -> [Turn; 2] {
    let text = |around: [u128; 2]| around.map(|n| n as f64);
    let ([read, behind], [answer, behind_answer]) =
        (text(turns.text.read), text(turns.text.answer));
    let (question, memory) = (turns.question as f64, turns.memory as f64);
    let (shared_chunk, own_chunk) = match turns.is_chunk_shared {
        true => (chunk, 0.0),
        false => (0.0, chunk),
    };
    [
        Turn {
            shared: question + read + shared_chunk,
            own: memory + behind + own_chunk,
            sampled: memory,
            is_answer: false,
        },
        Turn {
            shared: question + answer,
            own: memory + behind_answer,
            sampled: turns.answer as f64,
            is_answer: true,
        },
    ]
}

/// Keys and values of a grid, and what one layer takes while its prompts are run, with the logits of a step.
fn sampling(model: &ModelShape, grid: &Grid, n_open: f64) -> (f64, f64) {
    let keys = grid.rows() * model.kv_bytes();
    let (hidden, inner) = (model.hidden_size as f64, model.intermediate_size as f64);
    let of_row = 4.0 * (2.0 * hidden + (2.0 * model.qkv()).max(3.0 * inner));
    let prefixes = Grid {
        suffixes: 0.0,
        ..*grid
    };
    let of =
        |rows: f64, pairs: f64| rows * of_row + KEPT_OF_PAIR * 4.0 * model.n_heads as f64 * pairs;
    // First all prefixes are run, then what stands behind them; what is sampled counts as given here.
    let of_prefixes = of(prefixes.rows(), prefixes.pairs());
    let of_suffixes = of(
        grid.rows() - prefixes.rows(),
        grid.pairs() - prefixes.pairs(),
    );
    let logits = LOGIT_TENSORS * 4.0 * n_open * model.vocab_size as f64;
    (keys, of_prefixes.max(of_suffixes).max(logits))
}

impl Rl {
    /// Whether an update has more tokens than a micro-batch.
    fn has_several_micro_batches(&self, turns: &Turns) -> bool {
        let (n_run, _) = self.trained_rows(turns);
        (self.micro_batch_tokens as f64) < n_run / self.mini_batches as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up_as_the_backend_does() {
        let check = |n: f64, count: f64, tokens: f64| {
            assert_eq!((bucket(n), length(n)), (count, tokens), "{n}");
        };
        check(1.0, 1.0, 1.0);
        check(2.0, 2.0, 16.0);
        check(3.0, 3.0, 16.0);
        check(5.0, 6.0, 16.0);
        check(16.0, 16.0, 16.0);
        check(17.0, 24.0, 24.0);
        check(25.0, 32.0, 32.0);
        check(700.0, 768.0, 768.0);
        check(769.0, 1024.0, 1024.0);
        assert_eq!(length(0.0), 0.0);
    }

    #[test]
    fn a_micro_batch_holds_whole_groups_or_a_part_of_one() {
        let grid = |groups, prefix, suffixes, suffix| Grid {
            groups,
            prefix,
            suffixes,
            suffix,
        };
        // A group has 100 + 4 * 30 tokens.
        let within = |budget, most| Grid::within(budget, most, 100.0, 4.0, 30.0);
        assert_eq!(within(700.0, 9.0), grid(3.0, 128.0, 4.0, 32.0));
        assert_eq!(within(700.0, 2.0), grid(2.0, 128.0, 4.0, 32.0));
        assert_eq!(within(219.0, 9.0), grid(1.0, 128.0, 3.0, 32.0));
        // One alone is no group: its 130 tokens stand together.
        assert_eq!(within(140.0, 9.0), grid(1.0, 0.0, 1.0, 192.0));
        let three = grid(3.0, 128.0, 4.0, 32.0);
        assert_eq!(three.rows(), 3.0 * 256.0);
        assert_eq!(three.pairs(), 3.0 * (128.0 * 128.0 + 4.0 * 32.0 * 160.0));
    }
}

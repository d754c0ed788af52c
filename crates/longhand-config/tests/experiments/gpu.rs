//! Memory of one GPU, against sums done by hand.

use longhand_config::{Assumed, GpuMemory};
use proptest::prelude::*;

use crate::plan::{AT_MOST, HEAD, MATRICES, shape};
use crate::{BASE, load};

fn memory(overrides: &[&str], assumed: &Assumed) -> GpuMemory {
    let experiment = load(BASE, overrides).unwrap_or_else(|error| panic!("{error}"));
    experiment.gpu_memory(&shape(&experiment), assumed)
}

const HALF: Assumed = Assumed {
    product_bytes: 2,
    ..AT_MOST
};
const N: f64 = 666_240.0;

// A turn that reads has 8 + 3 + 48 tokens for all, and runs 12 + 1 of the notes before and 11 of the notes it writes;
// 48 such turns fit: 64 tokens and eight times 24, padded.
const ROWS: f64 = 48.0 * (64.0 + 8.0 * 24.0);
const PAIRS: f64 = 48.0 * (64.0 * 64.0 + 8.0 * 24.0 * (64.0 + 24.0));
// Embedding, cosines and sines of 64 queries and 64 keys.
const ONCE: f64 = 4.0 * (64.0 + 2.0 * 128.0);

#[test]
fn what_is_held_is_the_sum_done_by_hand() {
    let found = memory(&[], &AT_MOST);
    let layer = 4.0 * (6.0 * 64.0 + 192.0 + 64.0 + 2.0 * 128.0 + 5.0 * 160.0);
    let activations = ROWS * (3.0 * layer + ONCE);
    // Three layers of two heads keep three numbers.
    let scores = 3.0 * 2.0 * 3.0 * 4.0 * PAIRS;
    let expected = GpuMemory {
        weights: 4.0 * N,
        moments: 8.0 * N,
        reference: 0.0,
        gathered: 0.0,
        gradient: 4.0 * N,
        rounded: 0.0,
        activations,
        scores,
        head: 3.0 * 4.0 * HEAD + 4.0 * 4.0 * 4_194_304.0,
        way_back: (activations + scores) / 3.0,
        sampler: 4.0 * HEAD,
        // 64 measured documents: 59 tokens for all, 25 each; of them the prefixes' layer is the largest.
        keys: 64.0 * (64.0 + 32.0) * 3.0 * 2.0 * 64.0 * 4.0,
        prompts: 4096.0 * 4.0 * (2.0 * 64.0 + 3.0 * 160.0) + 2.0 * 3.0 * 4.0 * 64.0 * 4096.0,
        update: 4.0 * 4.0 * HEAD,
    };
    assert_eq!(found, expected);
    let always = 12.0 * N;
    let graph = activations + scores + expected.head + expected.way_back;
    assert_eq!(found.training(), always + graph);
    assert_eq!(
        found.sampling(),
        always + expected.sampler + expected.keys + expected.prompts
    );
    assert_eq!(found.updating(), always + 4.0 * N + expected.update);
    assert_eq!(found.total(), 536_870_912.0 + 1.1 * found.training());
}

#[test]
fn what_is_asked_for_beside_is_counted() {
    let base = memory(&[], &AT_MOST);
    assert_eq!(
        memory(&["stage.1.objective.kl.estimator=k3"], &AT_MOST).reference,
        4.0 * N
    );
    // Activation checkpointing is the other engine's.
    assert_eq!(
        memory(&["compute.activation_checkpointing=true"], &AT_MOST),
        base
    );
    let cut = memory(&["stage.1.micro_batch_tokens=4000"], &AT_MOST);
    assert_eq!(cut.gathered, 4.0 * N);
    assert!(cut.activations < base.activations);

    let half = memory(&[], &HALF);
    let layer =
        4.0 * (4.0 * 64.0 + 192.0 + 2.0 * 128.0 + 4.0 * 160.0) + 2.0 * (5.0 * 64.0 + 64.0 + 160.0);
    assert_eq!(half.activations, ROWS * (3.0 * layer + ONCE));
    assert_eq!((half.scores, half.head), (base.scores, base.head));
    let rounded = 2.0 * 3.0 * MATRICES;
    assert_eq!(
        (half.rounded, half.sampler),
        (rounded, rounded + 4.0 * HEAD)
    );
}

#[test]
fn adapters_leave_out_what_only_weights_need() {
    let adapters = 3.0 * 4.0 * (4.0 * 128.0 + 3.0 * 224.0);
    let kl = "stage.1.objective.kl.estimator=k3";
    let of =
        |overrides: &[&str]| memory(&[&["policy.lora.rank=4", kl], overrides].concat(), &AT_MOST);
    let found = of(&[]);
    assert_eq!(
        (found.weights, found.reference),
        (4.0 * (N + adapters), 0.0)
    );
    assert_eq!(
        (found.moments, found.gradient),
        (8.0 * adapters, 4.0 * adapters)
    );
    assert_eq!(found.update, 4.0 * 4.0 * 4.0 * 160.0);
    let kept = 2.0 * 64.0 + 192.0 + 128.0 + 4.0 * 160.0;
    let row = |of_layer: f64| ROWS * (3.0 * 4.0 * of_layer + ONCE);
    assert_eq!(found.activations, row(kept + (3.0 * 64.0 + 160.0) + 28.0));
    let two = of(&["policy.lora.target_modules=[\"q_proj\", \"v_proj\"]"]);
    assert_eq!(two.activations, row(kept + 64.0 + 8.0));
    let dropout = ["policy.lora.dropout=0.1"];
    let all = 6.0 * 64.0 + 160.0;
    assert_eq!(of(&dropout).activations, row(kept + 2.0 * all + 28.0));
    // The head is not trained.
    assert_eq!(found.head, 4.0 * HEAD + 4.0 * 4.0 * 4_194_304.0);
    // Products in bf16 keep their inputs in two bytes, masks stay.
    let half = |overrides: &[&str]| memory(&[&["policy.lora.rank=4"], overrides].concat(), &HALF);
    let row = |bytes: f64| ROWS * (3.0 * bytes + ONCE);
    assert_eq!(half(&[]).activations, row(4.0 * kept + 2.0 * (all + 28.0)));
    assert_eq!(
        half(&dropout).activations,
        row(4.0 * kept + 6.0 * all + 2.0 * 28.0)
    );
}

#[test]
fn rows_name_the_moments_and_what_they_fit() {
    let rows = memory(&[], &AT_MOST).rows();
    let value = |name: &str| {
        let row = rows.iter().find(|(found, _)| found == name);
        row.unwrap_or_else(|| panic!("no {name} in {rows:#?}"))
            .1
            .as_str()
    };
    assert_eq!(value("GPU memory, weights"), "3 MiB");
    assert_eq!(value("GPU memory, reference"), "0 MiB");
    assert_eq!(
        value("fits a GPU of 24, 80, 141 GB"),
        "24 GB, 80 GB, 141 GB"
    );
    let large = GpuMemory {
        weights: 60e9,
        ..GpuMemory::default()
    };
    assert_eq!(
        [24.0, 80.0, 141.0].map(|size| large.fits(size)),
        [false, true, true]
    );
    let none = GpuMemory {
        weights: 200e9,
        ..GpuMemory::default()
    };
    assert_eq!(none.rows().last().unwrap().1, "none of these");
}

#[test]
fn the_largest_numbers_of_all_keys_stay_finite() {
    let keys = [
        "data.train_tokens",
        "reader.max_memory_tokens",
        "eval.n_documents",
        "eval.batch",
        "stage.1.problems_per_step",
        "stage.1.group_size",
        "stage.1.generation_batch",
        "stage.1.micro_batch_tokens",
        "policy.from_scratch.max_positions",
        "policy.from_scratch.hidden_size",
        "policy.from_scratch.n_layers",
        "policy.lora.rank",
    ];
    let billion = |key: &str| format!("{key}=1000000000");
    let mut overrides = keys.map(billion).to_vec();
    overrides.push("reader.max_memory_tokens=100000000".into());
    let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
    let total = memory(&overrides, &AT_MOST).total();
    assert!(total.is_finite() && 0.0 < total, "{total}");
}

proptest! {
    #[test]
    fn larger_micro_batches_never_keep_less(small in 100..20_000_usize, more in 0..20_000_usize) {
        let of = |n: usize| {
            let set = format!("stage.1.micro_batch_tokens={n}");
            let found = memory(&[&set, "stage.0.micro_batch_tokens=100"], &AT_MOST);
            found.activations + found.scores
        };
        prop_assert!(of(small) <= of(small + more));
    }
}

//! Estimates of work and memory, against sums done by hand.

use longhand_config::{
    Assumed, Experiment, ModelShape, Plan, PolicySource, Speeds, StagePlan, Work,
};
use proptest::prelude::*;

use crate::{BASE, load};

pub(crate) const AT_MOST: Assumed = Assumed {
    product_bytes: 4,
    reply_share: 1.0,
};

pub(crate) fn shape(experiment: &Experiment) -> ModelShape {
    match &experiment.policy {
        PolicySource::FromScratch(scratch) => scratch.shape(),
        PolicySource::Folder(_) => panic!("the base is made from scratch"),
    }
}

pub(crate) fn plan(overrides: &[&str], assumed: &Assumed) -> Plan {
    let experiment = load(BASE, overrides).unwrap_or_else(|error| panic!("{error}"));
    experiment.plan(&shape(&experiment), assumed)
}

#[track_caller]
pub(crate) fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 1e-9 * expected.abs(),
        "{found}, not {expected}"
    );
}

// Of a layer: 64 * 192 of queries, keys and values, 64 * 64 of the output, 3 * 64 * 160 of the feed-forward.
pub(crate) const MATRICES: f64 = 47_104.0;
pub(crate) const HEAD: f64 = 64.0 * 4096.0;

/// One token in three layers, with attention of width 64 over this many positions.
pub(crate) fn token(n_positions: f64) -> f64 {
    3.0 * (MATRICES + 2.0 * 64.0 * n_positions)
}

// Five turns. A group shares 232 tokens of questions and chunks, three marks before each of four memories, one
// behind the first, which is empty, and two before the answer's. An attempt has 48 tokens of memories and four
// marks behind them, and samples 52. That is 70.2 a turn.
pub(crate) const PROMPTS: f64 = 12.0 * 247.0 + 96.0 * 52.0;
pub(crate) const SAMPLED: f64 = 96.0 * 52.0;
pub(crate) const HALF: f64 = 35.1;

#[test]
fn the_work_of_a_step_is_the_sum_done_by_hand() {
    let plan = plan(&[], &AT_MOST);
    assert_eq!(plan.n_parameters, 666_240.0);
    let StagePlan {
        kind,
        n_steps,
        work,
    } = plan.stages[1];
    assert_eq!((kind, n_steps), ("rl", 80));
    close(work.prefill, PROMPTS * token(HALF));
    close(work.decode, SAMPLED * (token(2.0 * HALF) + HEAD));
    // 52 tokens an attempt, all attempts side by side.
    close(work.decode_bytes, 52.0 * 4.0 * (3.0 * MATRICES + HEAD));
    // The teacher's four turns: 4 * 8 + 192 tokens and 13 marks a group, 3 * 13 an attempt; of 48 tokens of
    // memories the last of each is never run.
    let scored = 96.0 * 48.0;
    let n_run = 12.0 * 237.0 + 96.0 * (39.0 - 4.0) + scored;
    close(work.scoring, n_run * token(HALF) + scored * HEAD);
    let n_run = PROMPTS + SAMPLED - 480.0;
    close(
        work.training,
        3.0 * n_run * token(HALF) + 4.0 * SAMPLED * HEAD,
    );
    close(work.training_bytes, 666_240.0 * (14.0 + 44.0));

    let StagePlan { kind, work, .. } = plan.stages[0];
    assert_eq!(kind, "warm-start");
    // 48 examples of 8 + 12 + 48 + 12 tokens and four marks, 12 of 8 + 12 + 4 and three, the last never run.
    let n_run = 48.0 * 83.0 + 12.0 * 26.0;
    let predicted = 48.0 * 12.0 + 12.0 * 4.0;
    close(
        work.training,
        3.0 * n_run * token(n_run / 60.0 / 2.0) + 4.0 * predicted * HEAD,
    );
    assert_eq!((work.prefill, work.decode, work.scoring), (0.0, 0.0, 0.0));
}

#[test]
fn what_is_asked_for_beside_is_counted() {
    let rl = |overrides: &[&str]| plan(overrides, &AT_MOST).stages[1].work;
    let base = rl(&[]);
    let n_run = PROMPTS + SAMPLED - 480.0;
    let pass = n_run * token(HALF) + SAMPLED * HEAD;
    close(
        rl(&["stage.1.objective.kl.estimator=k3"]).scoring,
        base.scoring + pass,
    );
    let int8 = rl(&[
        "compute.rollout_weights=int8",
        "stage.1.objective.importance=token",
    ]);
    close(int8.scoring, base.scoring + pass);
    close(int8.decode_bytes, base.decode_bytes / 4.0);
    assert_eq!(rl(&["stage.1.credit=outcome"]).scoring, 0.0);
    let again = rl(&["compute.activation_checkpointing=true"]);
    close(again.training, base.training + n_run * token(HALF));
    // Two updates; one, of 12468 rows in four passes.
    let two = rl(&["stage.1.mini_batches=2"]);
    close(two.training_bytes, 2.0 * base.training_bytes);
    let cut = rl(&["stage.1.micro_batch_tokens=4000"]);
    close(cut.training_bytes, 666_240.0 * (4.0 * 14.0 + 44.0));
    // 48 side by side need twice as many turns of the loop.
    let half = rl(&["stage.1.generation_batch=48"]);
    close(half.decode_bytes, 2.0 * base.decode_bytes);
}

#[test]
fn a_chunk_behind_the_memory_is_shared_by_nobody_but_the_first() {
    let template = "reader.template={ read = \"{question} {memory} {chunk}\", answer = \"{question} {memory}\" }";
    let work = plan(&[template], &AT_MOST).stages[1].work;
    // Shared: five questions and the first chunk. Own: four memories and three chunks.
    let prompts = 12.0 * 88.0 + 96.0 * 192.0;
    close(work.prefill, prompts * token(33.2));
    // The teacher's, too: a quarter of the chunks is the first.
    let scored = 96.0 * 48.0;
    let n_run = 12.0 * (32.0 + 48.0) + 96.0 * (36.0 + 144.0 - 4.0) + scored;
    close(work.scoring, n_run * token(33.2) + scored * HEAD);
    let derived = load(BASE, &[template]).unwrap().derived();
    let shared = (
        "stage.1 (rl): prompt tokens per step, at most".to_string(),
        "26880 (19488 with shared prefixes)".to_string(),
    );
    assert!(derived.contains(&shared), "{derived:#?}");
}

#[test]
fn the_templates_text_is_counted_by_its_words() {
    let template = "reader.template={ read = \"one two three {question}{chunk}{memory} four\", \
                    answer = \"{question} five {memory}\" }";
    let prompts = |tokenizer: &str| {
        let tokenizer = format!("policy.from_scratch.tokenizer={tokenizer}");
        plan(&[template, &tokenizer], &AT_MOST).stages[1]
            .work
            .prefill
    };
    let expected = |shared: f64, own: f64| {
        let (shared, own) = (232.0 + shared, 48.0 + own);
        let length = (shared + own + 52.0) / 5.0;
        (12.0 * shared + 96.0 * own) * token(length / 2.0)
    };
    // Three words before each memory, one behind; one before the answer's.
    close(prompts("word"), expected(4.0 * 3.0 + 1.0 + 1.0, 3.0));
    // 1.3 tokens a word, rounded up: four, two and two.
    close(prompts("bpe"), expected(4.0 * 4.0 + 2.0 + 2.0, 3.0 * 2.0));
}

#[test]
fn memory_is_the_sum_done_by_hand() {
    let memory = plan(&[], &AT_MOST).memory;
    let n = 666_240.0;
    assert_eq!(
        (memory.weights, memory.gradient, memory.moments),
        (4.0 * n, 4.0 * n, 8.0 * n)
    );
    let packed = |bytes: f64| bytes * (3.0 * MATRICES + HEAD) + 4.0 * HEAD;
    assert_eq!(memory.packed, packed(4.0));
    assert_eq!((memory.reference, memory.sampler), (0.0, 0.0));
    // Residual streams, queries, keys and values twice, two heads, gate and up; what was attended to.
    let layer = 4.0 * (128.0 + 2.0 * 192.0 + 2.0 + 320.0) + 4.0 * 64.0;
    let n_rows = PROMPTS + SAMPLED - 480.0;
    let kv = 3.0 * 2.0 * 64.0 * 4.0;
    assert_eq!(memory.activations, n_rows * (256.0 + 3.0 * layer + kv));
    let parts: f64 = memory.parts().iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(memory.total(), parts);

    let bf16 = Assumed {
        product_bytes: 2,
        ..AT_MOST
    };
    assert_eq!(plan(&[], &bf16).memory.packed, packed(2.0));
    let frozen = plan(&["stage.1.objective.kl.estimator=k1"], &AT_MOST).memory;
    assert_eq!(frozen.reference, 4.0 * n + packed(4.0));
    let int8 = plan(
        &[
            "compute.rollout_weights=int8",
            "stage.1.objective.importance=token",
        ],
        &AT_MOST,
    );
    assert_eq!(int8.memory.sampler, packed(1.0));
    let kept = plan(&["compute.activation_checkpointing=true"], &AT_MOST).memory;
    assert_eq!(
        kept.activations,
        n_rows * (256.0 + 3.0 * 256.0 + 2.0 * layer + kv)
    );
    let cut = [
        "stage.1.micro_batch_tokens=4000",
        "stage.0.chunk_sizes=[12, 48]",
    ];
    let cut = plan(&cut, &AT_MOST).memory;
    // The warm start's examples are the largest micro-batch then, those with the longest chunks.
    assert_eq!(cut.activations, 4296.0 * (256.0 + 3.0 * layer + kv));
}

#[test]
fn measurements_are_before_after_and_between() {
    let measured = |overrides: &[&str]| plan(overrides, &AT_MOST).measurements.prefill;
    let once = |n_tokens: f64, n_chunks: f64| {
        // One attempt a document: questions, chunks and memories.
        let turns = n_chunks + 1.0;
        let marks = n_chunks * 4.0 + 3.0;
        let prompts = turns * 8.0 + n_tokens + n_chunks * 12.0 + marks;
        let length = (prompts + n_chunks * 12.0 + 4.0) / turns;
        400.0 * prompts * token(length / 2.0)
    };
    let (first, second) = (once(192.0, 4.0), once(768.0, 16.0));
    close(measured(&[]), 2.0 * first);
    close(
        measured(&["eval.lengths=[192, 768]"]),
        2.0 * (first + second),
    );
    close(measured(&["eval.sampled_temperature=1"]), 4.0 * first);
    // 80 steps: after 20, 40 and 60; after 80 it is the measurement at the end.
    close(measured(&["eval.every=20"]), 5.0 * first);
}

#[test]
fn seconds_are_work_over_speed() {
    let speeds = Speeds {
        many_rows: 100.0,
        few_rows: 10.0,
        bytes: 1000.0,
    };
    let work = Work {
        prefill: 200.0,
        decode: 30.0,
        decode_bytes: 1000.0,
        scoring: 300.0,
        training: 500.0,
        training_bytes: 2000.0,
    };
    let seconds = work.seconds(&speeds);
    // A share of 0.4 beside the products; sampling waits for arithmetic, which takes longer than memory here.
    close(seconds.generation, (2.0 + 3.0) * 1.4);
    close(seconds.scoring, 3.0 * 1.4);
    close(seconds.training, 5.0 * 1.4 + 2.0);
    let slow_memory = Speeds {
        bytes: 100.0,
        ..speeds
    };
    close(work.seconds(&slow_memory).generation, (2.0 + 10.0) * 1.4);
    close(work.multiply_adds(), 1030.0);
}

#[test]
fn the_run_is_its_steps_and_measurements() {
    let plan = plan(&[], &AT_MOST);
    let [warm_start, rl] = [0, 1].map(|idx: usize| plan.stages[idx].work.multiply_adds());
    let expected = 300.0 * warm_start + 80.0 * rl + plan.measurements.multiply_adds();
    close(plan.work().multiply_adds(), expected);
    let rows = plan.rows();
    let names: Vec<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "parameters",
        "stage.0 (warm-start): multiply-adds of a step, training",
        "stage.1 (rl): multiply-adds of a step, generation",
        "memory, activations of the largest micro-batch",
        "memory, together",
    ] {
        assert!(names.contains(&name), "no {name} in {names:#?}");
    }
    // What a run does not have is not listed.
    assert!(!names.contains(&"memory, reference"), "{names:#?}");
    assert_eq!(rows[0].1, "666 k");
}

#[test]
fn the_largest_numbers_of_all_keys_stay_finite() {
    let billion = "1000000000";
    let keys = [
        "data.train_tokens",
        "eval.n_documents",
        "stage.1.problems_per_step",
        "stage.1.group_size",
        "stage.1.steps",
        "stage.0.examples_per_step.read",
        "policy.from_scratch.hidden_size",
        "policy.from_scratch.intermediate_size",
        "policy.from_scratch.n_layers",
        "policy.from_scratch.tokenizer.vocab_size",
    ];
    let overrides = keys.map(|key| format!("{key}={billion}"));
    let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
    let plan = plan(&overrides, &AT_MOST);
    assert!(plan.work().multiply_adds().is_finite());
    assert!(plan.memory.total().is_finite());
}

proptest! {
    #[test]
    fn longer_replies_and_more_attempts_never_cost_less(
        short in 0.0..=1.0_f64,
        long in 0.0..=1.0_f64,
        group_size in 2..40_usize,
    ) {
        let (short, long) = (short.min(long), short.max(long));
        let of = |group_size: usize, reply_share: f64| {
            let size = format!("stage.1.group_size={group_size}");
            plan(&[&size], &Assumed { reply_share, ..AT_MOST })
        };
        let base = of(group_size, short);
        for more in [of(group_size, long), of(group_size + 1, short)] {
            prop_assert!(base.work().multiply_adds() <= more.work().multiply_adds());
            prop_assert!(base.memory.total() <= more.memory.total());
        }
    }
}

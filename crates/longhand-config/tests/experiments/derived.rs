//! Numbers that follow from an experiment.

use crate::{BASE, load};

#[test]
fn derived_numbers_of_the_base() {
    let experiment = load(
        BASE,
        &[
            "stage.1.mini_batches=4",
            "stage.1.objective.kl.estimator=k3",
            "eval.lengths=[192, 3072]",
        ],
    );
    let derived = experiment.unwrap().derived();
    let check = |name: &str, expected: &str| {
        let found = derived.iter().find(|(found, _)| found == name);
        assert_eq!(
            found.map(|(_, value)| value.as_str()),
            Some(expected),
            "{name} in {derived:#?}"
        );
    };
    // 3 layers of 47,296 (4 * 64 * 64 + 2 * 32 + 3 * 64 * 160 + 2 * 64), 64, two tables of 4096 * 64.
    check("parameters, at most", "666240 with 4096 tokens");
    check("chunks per training document", "4");
    check("turns per rollout", "5");
    check("tokens of the longest turn, at most", "80 and the template");
    check("stage.0 (warm-start): rows per step", "60");
    check("stage.0 (warm-start): optimiser steps, at most", "300");
    check("stage.1 (rl): rollouts per step", "96");
    check("stage.1 (rl): rows per step", "480");
    check("stage.1 (rl): problems per update", "3");
    check("stage.1 (rl): optimiser steps", "320");
    // 96 attempts of 4 memories of 12 and an answer of 4.
    check("stage.1 (rl): sampled tokens per step, at most", "4992");
    // Question and chunks 5 * 8 + 192 = 232, memories 4 * 12 = 48: 96 * 280, or 12 * 232 + 96 * 48.
    check(
        "stage.1 (rl): prompt tokens per step, at most",
        "26880 (7392 with shared prefixes)",
    );
    check("stage.1 (rl): teacher prompts per step", "384");
    check(
        "stage.1 (rl): reference model",
        "a frozen copy of the policy at the stage's start",
    );
    // 300 updates of the warm start and 80 steps of four.
    check("optimiser steps of the run, at most", "620");
    check("sampled tokens of the run, at most", "399360");
    check(
        "prompt tokens of the run, at most",
        "2150400 (591360 with shared prefixes)",
    );
    check("eval at 192 tokens", "2000 turns over 400 documents");
    check("eval at 3072 tokens", "26000 turns over 400 documents");
}

#[test]
fn derived_numbers_with_overlap_and_a_limit() {
    // Chunks of 48 that repeat 16: 192 tokens need 1 + ceil(144 / 32) = 6; three hold 112 tokens.
    let chunks = |overrides: &[&str]| {
        let derived = load(BASE, overrides).unwrap().derived();
        derived
            .into_iter()
            .find(|(name, _)| name == "chunks per training document")
            .unwrap()
            .1
    };
    assert_eq!(chunks(&["reader.overlap=16"]), "6");
    assert_eq!(chunks(&["reader.overlap=16", "reader.max_chunks=3"]), "3");
    assert_eq!(chunks(&["data.train_tokens=48"]), "1");
    assert_eq!(chunks(&["data.train_tokens=49"]), "2");
    // Closed form against the spans themselves.
    for (chunk_size, overlap) in [(1, 0), (5, 0), (5, 2), (5, 4), (8, 7)] {
        for n_tokens in 1..40 {
            let size = format!("reader.chunk_size={chunk_size}");
            let overlap_set = format!("reader.overlap={overlap}");
            let tokens = format!("data.train_tokens={n_tokens}");
            let options = longhand_memory::ChunkOptions::new(chunk_size, overlap, None).unwrap();
            let spans = longhand_memory::chunk_spans(n_tokens, &options);
            assert_eq!(
                chunks(&[&size, &overlap_set, &tokens]),
                spans.len().to_string()
            );
        }
    }
    // The largest numbers that the keys accept overflow nothing.
    let huge = [
        "data.train_tokens=1000000000",
        "reader.chunk_size=2",
        "reader.overlap=1",
        "eval.n_documents=1000000000",
        "stage.1.problems_per_step=1000000000",
        "stage.1.group_size=1000000000",
        "stage.1.steps=1000000000",
    ];
    assert!(!load(BASE, &huge).unwrap().derived().is_empty());
}

#[test]
fn the_chunk_limit_is_for_training() {
    let experiment = load(BASE, &["reader.max_chunks=2", "eval.lengths=[192]"]).unwrap();
    assert_eq!(experiment.reader.chunks.max_chunks, Some(2));
    assert_eq!(experiment.reader.evaluation_chunks().max_chunks, None);
    let derived = experiment.derived();
    assert!(
        derived.contains(&("turns per rollout".into(), "3".into())),
        "{derived:?}"
    );
    assert!(
        derived.contains(&(
            "eval at 192 tokens".into(),
            "2000 turns over 400 documents".into()
        )),
        "{derived:?}"
    );
}

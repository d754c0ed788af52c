//! The `[policy.lora]` table: what it becomes, the complaint of each key, and what it changes in plans.

use longhand_config::{Assumed, LORA_TARGETS, Lora};

use crate::plan::{AT_MOST, HALF, HEAD, MATRICES, PROMPTS, SAMPLED, close, plan, token};
use crate::{BASE, check, check_set, load};

/// What `lines` under a `[policy.lora]` header become.
#[track_caller]
fn lora(lines: &str) -> Lora {
    let text = BASE.replace("[task]", &format!("[policy.lora]\n{lines}\n[task]"));
    let experiment = load(&text, &[]).unwrap_or_else(|error| panic!("{error}"));
    experiment.lora.unwrap()
}

#[test]
fn keys_that_are_left_out_have_their_defaults() {
    assert_eq!(load(BASE, &[]).unwrap().lora, None);
    let all = || LORA_TARGETS.map(str::to_string).to_vec();
    let of_rank = Lora {
        rank: 8,
        alpha: 8.0,
        dropout: 0.0,
        target_modules: all(),
    };
    assert_eq!(lora("rank = 8"), of_rank);
    let said = "rank = 8\nalpha = 8\ndropout = 0\ntarget_modules = \"all-linear\"";
    assert_eq!(lora(said), of_rank);
    // Targets have one order, however they are written.
    let some =
        lora("rank = 8\nalpha = 4.5\ndropout = 0.1\ntarget_modules = [\"v_proj\", \"q_proj\"]");
    let expected = Lora {
        rank: 8,
        alpha: 4.5,
        dropout: 0.1,
        target_modules: vec!["q_proj".into(), "v_proj".into()],
    };
    assert_eq!(some, expected);
}

#[test]
fn a_resolved_file_says_what_was_left_out() {
    let resolved = load(BASE, &["policy.lora.rank=8"]).unwrap().resolved_toml();
    for line in [
        "rank = 8\n",
        "alpha = 8.0\n",
        "dropout = 0.0\n",
        "target_modules = \"all-linear\"\n",
    ] {
        assert!(resolved.contains(line), "no {line:?} in {resolved}");
    }
    let again = load(&resolved, &[]).unwrap();
    assert_eq!(again.resolved_toml(), resolved);
}

#[test]
fn each_bad_value_is_named_placed_and_mended() {
    // The header takes line 8 of the base, so the key stands in line 9 or 10.
    let refuse = |lines: &str, complaint: &str| {
        check(
            "[task]",
            &format!("[policy.lora]\n{lines}\n[task]"),
            Err(&format!("a.toml:{complaint}")),
        );
    };
    let known =
        "\"q_proj\", \"k_proj\", \"v_proj\", \"o_proj\", \"gate_proj\", \"up_proj\", \"down_proj\"";
    refuse(
        "alpha = 8",
        "8:9: `policy.lora.rank`: missing key: columns of A and rows of B; more can hold more and costs more (a \
         whole number from 1 to 1000000000)",
    );
    refuse(
        "rank = 0",
        "9:8: `policy.lora.rank`: expected a whole number from 1 to 1000000000, found 0",
    );
    refuse(
        "rank = 4\nalpha = 0",
        "10:9: `policy.lora.alpha`: expected a number above 0, found 0",
    );
    refuse(
        "rank = 4\ndropout = 1",
        "10:11: `policy.lora.dropout`: expected a number from 0, below 1, found 1",
    );
    refuse(
        "rank = 4\nbias = \"none\"",
        "10:1: `policy.lora.bias`: unknown key; the keys here are `rank`, `alpha`, `dropout`, `target_modules`",
    );
    refuse(
        "rank = 4\ntarget_modules = [\"q_proj\", \"qkv_proj\"]",
        &format!(
            "10:29: `policy.lora.target_modules.1`: unknown name \"qkv_proj\", did you mean \"q_proj\"? expected one \
             of {known}"
        ),
    );
    refuse(
        "rank = 4\ntarget_modules = [\"lm_head\"]",
        &format!(
            "10:19: `policy.lora.target_modules.0`: unknown name \"lm_head\"; expected one of {known}"
        ),
    );
    refuse(
        "rank = 4\ntarget_modules = [\"q_proj\", 3]",
        &format!("10:29: `policy.lora.target_modules.1`: expected one of {known}, found 3"),
    );
    refuse(
        "rank = 4\ntarget_modules = [\"q_proj\", \"q_proj\"]",
        "10:29: `policy.lora.target_modules.1`: \"q_proj\" stands here twice",
    );
    refuse(
        "rank = 4\ntarget_modules = []",
        &format!(
            "10:18: `policy.lora.target_modules`: the list is empty; expected \"all-linear\" or some of {known}"
        ),
    );
    refuse(
        "rank = 4\ntarget_modules = \"q_proj\"",
        &format!(
            "10:18: `policy.lora.target_modules`: expected \"all-linear\" or a list of {known}, found the text \
             \"q_proj\""
        ),
    );
    check_set(
        &[
            "policy.lora.rank=4",
            "policy.lora.target_modules=[\"o_proj\"]",
        ],
        Ok(()),
    );
}

#[test]
fn adapters_differ_from_a_paper_that_trains_all_weights() {
    let found = load(BASE, &["paper=tamtrl", "policy.lora.rank=4"])
        .unwrap()
        .paper_differences();
    let keys: Vec<&str> = found
        .iter()
        .map(|difference| difference.key.as_str())
        .collect();
    for key in ["policy.lora.rank", "policy.lora.target_modules"] {
        assert!(keys.contains(&key), "{keys:?}");
    }
}

const LORA: &str = "policy.lora.rank=4";
// Four numbers for each of 64 + 64 of q, k, v and o, and of 64 + 160 of the feed-forward's three, in three layers.
const ADAPTERS: f64 = 3.0 * 4.0 * (4.0 * 128.0 + 3.0 * 224.0);

#[test]
fn the_work_of_a_step_is_the_sum_done_by_hand() {
    let plan_of = |overrides: &[&str]| plan(overrides, &AT_MOST);
    let plan = plan_of(&[LORA]);
    assert_eq!((plan.n_parameters, plan.n_trained), (666_240.0, ADAPTERS));
    let work = plan.stages[1].work;
    close(work.prefill, PROMPTS * (token(HALF) + ADAPTERS));
    close(work.decode, SAMPLED * (token(2.0 * HALF) + ADAPTERS + HEAD));
    close(
        work.decode_bytes,
        52.0 * 4.0 * (3.0 * MATRICES + HEAD + ADAPTERS),
    );
    // There and back to the inputs; attention and adapters have three products each, the head no gradient.
    let n_run = PROMPTS + SAMPLED - 480.0;
    let attention = 3.0 * 2.0 * 64.0 * HALF;
    let of_token = 2.0 * 3.0 * MATRICES + 3.0 * (attention + ADAPTERS);
    close(work.training, n_run * of_token + 3.0 * SAMPLED * HEAD);
    close(
        work.training_bytes,
        666_240.0 * 6.0 + ADAPTERS * (8.0 + 44.0),
    );
    let again = plan_of(&[LORA, "compute.activation_checkpointing=true"]);
    close(
        again.stages[1].work.training,
        work.training + n_run * (token(HALF) + ADAPTERS),
    );
    // The reference is run with its adapters off.
    let with_reference = plan_of(&[LORA, "stage.1.objective.kl.estimator=k3"]);
    close(
        with_reference.stages[1].work.scoring,
        work.scoring + n_run * token(HALF) + SAMPLED * HEAD,
    );
    let rows = plan.rows();
    assert_eq!(
        rows[1],
        ("parameters of the adapters".to_string(), "14 k".to_string())
    );
}

#[test]
fn memory_is_the_sum_done_by_hand() {
    let (n, kl) = (666_240.0, "stage.1.objective.kl.estimator=k3");
    let all = plan(&[kl], &AT_MOST).memory;
    let memory = plan(&[kl, LORA], &AT_MOST).memory;
    assert_eq!((memory.weights, memory.packed), (4.0 * n, all.packed));
    assert_eq!(
        (memory.gradient, memory.moments),
        (4.0 * ADAPTERS, 8.0 * ADAPTERS)
    );
    assert_eq!(memory.adapters, 8.0 * ADAPTERS);
    assert_eq!((memory.reference, all.adapters), (0.0, 0.0));
    assert!(0.0 < all.reference);
    // Seven adapters of rank 4 in each of three layers.
    let n_rows = PROMPTS + SAMPLED - 480.0;
    assert_eq!(
        memory.activations,
        all.activations + n_rows * 3.0 * 4.0 * 28.0
    );
    let bf16 = Assumed {
        product_bytes: 2,
        ..AT_MOST
    };
    assert_eq!(plan(&[LORA], &bf16).memory.adapters, 6.0 * ADAPTERS);
    let two = plan(
        &[
            LORA,
            "policy.lora.target_modules=[\"q_proj\", \"down_proj\"]",
        ],
        &AT_MOST,
    );
    assert_eq!(two.n_trained, 3.0 * 4.0 * (128.0 + 224.0));
}

#[test]
fn the_reference_of_adapters_is_no_copy() {
    let derived = load(BASE, &[LORA, "stage.1.objective.kl.estimator=k3"])
        .unwrap()
        .derived();
    let expected = (
        "stage.1 (rl): reference model".to_string(),
        "the policy with its adapter off, no copy".to_string(),
    );
    assert!(derived.contains(&expected), "{derived:#?}");
}

//! The `[compute]` table: its defaults, its values, and the complaint of each key.

use std::num::NonZero;

use longhand_config::{Compute, Engine, Instructions, Precision, RolloutWeights};

use crate::{BASE, check, check_set, load};

/// What `lines` under a `[compute]` header become.
#[track_caller]
fn compute(lines: &str) -> Compute {
    let text = BASE.replace("[task]", &format!("[compute]\n{lines}\n[task]"));
    let experiment = load(&text, &["stage.1.objective.importance=token"]);
    experiment.unwrap_or_else(|error| panic!("{error}")).compute
}

const DEFAULT: Compute = Compute {
    threads: None,
    instructions: Instructions::Auto,
    precision: Precision::Auto,
    rollout_weights: RolloutWeights::Same,
    activation_checkpointing: false,
    engine: Engine::Auto,
};

#[test]
fn the_table_and_each_of_its_keys_may_be_left_out() {
    assert_eq!(load(BASE, &[]).unwrap().compute, DEFAULT);
    assert_eq!(compute(""), DEFAULT);
    let defaults = "threads = \"all\"\ninstructions = \"auto\"\nprecision = \"auto\"\n\
                    rollout_weights = \"same\"\nactivation_checkpointing = false\nengine = \"auto\"";
    assert_eq!(compute(defaults), DEFAULT);
}

#[test]
fn every_value_is_taken_as_written() {
    let threads = |n| Compute {
        threads: NonZero::new(n),
        ..DEFAULT
    };
    assert_eq!(compute("threads = 1"), threads(1));
    assert_eq!(compute("threads = 4096"), threads(4096));
    for (name, instructions) in [
        ("portable", Instructions::Portable),
        ("avx2", Instructions::Avx2),
        ("avx512", Instructions::Avx512),
        ("avx512-bf16", Instructions::Avx512Bf16),
        ("amx", Instructions::Amx),
    ] {
        let expected = Compute {
            instructions,
            ..DEFAULT
        };
        assert_eq!(compute(&format!("instructions = \"{name}\"")), expected);
    }
    for (name, precision) in [("f32", Precision::F32), ("bf16", Precision::Bf16)] {
        let expected = Compute {
            precision,
            ..DEFAULT
        };
        assert_eq!(compute(&format!("precision = \"{name}\"")), expected);
    }
    let expected = Compute {
        rollout_weights: RolloutWeights::Int8,
        activation_checkpointing: true,
        engine: Engine::Burn,
        ..DEFAULT
    };
    let lines = "rollout_weights = \"int8\"\nactivation_checkpointing = true\nengine = \"burn\"";
    assert_eq!(compute(lines), expected);
}

#[test]
fn each_bad_value_is_named_placed_and_mended() {
    // The header takes line 8 of the base, so the key stands in line 9.
    let refuse = |line: &str, column: usize, message: &str| {
        check(
            "[task]",
            &format!("[compute]\n{line}\n[task]"),
            Err(&format!("a.toml:9:{column}: `compute.{message}")),
        );
    };
    for (value, found) in [
        ("0", "0"),
        ("-2", "-2"),
        ("4097", "4097"),
        ("2.0", "2.0"),
        ("\"al\"", "the text \"al\""),
        ("true", "true"),
    ] {
        refuse(
            &format!("threads = {value}"),
            11,
            &format!("threads`: expected a whole number from 1 to 4096 or \"all\", found {found}"),
        );
    }
    refuse(
        "instructions = \"avx-512\"",
        16,
        "instructions`: unknown name \"avx-512\", did you mean \"avx512\"? expected one of \"auto\", \"portable\", \
         \"avx2\", \"avx512\", \"avx512-bf16\", \"amx\"",
    );
    refuse(
        "precision = \"fp16\"",
        13,
        "precision`: unknown name \"fp16\"; expected one of \"auto\", \"f32\", \"bf16\"",
    );
    refuse(
        "precision = 16",
        13,
        "precision`: expected one of \"auto\", \"f32\", \"bf16\", found 16",
    );
    refuse(
        "rollout_weights = \"fp8\"",
        19,
        "rollout_weights`: unknown name \"fp8\"; expected one of \"same\", \"int8\"",
    );
    refuse(
        "activation_checkpointing = \"yes\"",
        28,
        "activation_checkpointing`: expected true or false, found the text \"yes\"",
    );
    refuse(
        "engine = \"cpu\"",
        10,
        "engine`: unknown name \"cpu\"; expected one of \"auto\", \"burn\"",
    );
    refuse(
        "thread = 2",
        1,
        "thread`: unknown key, did you mean `threads`? the keys here are `threads`, `instructions`, `precision`, \
         `rollout_weights`, `activation_checkpointing`, `engine`",
    );
}

#[test]
fn rounded_rollout_weights_need_their_correction() {
    let int8 = "compute.rollout_weights=int8";
    let message = "\"none\" takes rollouts for the policy's own, but compute.rollout_weights = \"int8\" samples them \
                   from rounded weights; use \"token\" or \"sequence\", or rollout_weights = \"same\"";
    // Where nobody wrote the key, the complaint points at the stage.
    check_set(
        &[int8],
        Err(&format!(
            "a.toml:23:1: `stage.1.objective.importance`: {message}"
        )),
    );
    let none = "stage.1.objective.importance=none";
    check_set(
        &[int8, none],
        Err(&format!(
            "--set {none}: `stage.1.objective.importance`: {message}"
        )),
    );
    check_set(&["compute.rollout_weights=same", none], Ok(()));
    for importance in ["token", "sequence"] {
        let corrected = format!("stage.1.objective.importance={importance}");
        check_set(&[int8, &corrected], Ok(()));
    }
    // One stage's correction does not stand in for another's.
    let (_, last) = BASE.split_once("optimizer = { lr = 4e-3 }\n").unwrap();
    let two = format!("{BASE}{last}");
    let found = load(&two, &[int8, "stage.1.objective.importance=token"]);
    assert_eq!(
        found.unwrap_err().to_string(),
        format!("a.toml:32:1: `stage.2.objective.importance`: {message}")
    );
    // A run without RL samples nothing to train on.
    let (warm_start, _) = BASE.split_once("[[stage]]\nkind = \"rl\"").unwrap();
    assert!(load(warm_start, &[int8]).is_ok());
}

//! Complaints about keys that do not go together.

use crate::{BASE, check, check_set, load};

#[test]
fn policies_that_cannot_be_built() {
    check(
        "n_heads = 2",
        "n_heads = 2\nn_kv_heads = 3",
        Err(
            "a.toml:7:14: `policy.from_scratch.n_kv_heads`: 3 does not divide n_heads = 2; allowed are 1, 2",
        ),
    );
    check(
        "n_heads = 2",
        "n_heads = 3",
        Err(
            "a.toml:2:9: `policy.from_scratch.head_dim`: missing, and hidden_size = 64 is not divisible by n_heads = 3; \
             give head_dim, an even number",
        ),
    );
    check("n_heads = 2", "n_heads = 3\nhead_dim = 20", Ok(()));
    check(
        "n_heads = 2",
        "n_heads = 2\nhead_dim = 31",
        Err(
            "a.toml:7:12: `policy.from_scratch.head_dim`: 31 is odd; the rotary embedding turns pairs, so it must be even",
        ),
    );
    check(
        "n_heads = 2",
        "n_heads = 2\nfamily = \"llama\"\nq_norm_init = 2",
        Err(
            "a.toml:8:15: `policy.from_scratch.q_norm_init`: only family \"qwen3\" has a query norm; remove the key",
        ),
    );
    // 8 of the question, 48 of the chunk, 12 of the memory and 12 of the next memory are 80.
    check("max_positions = 128", "max_positions = 80", Ok(()));
    check(
        "max_positions = 128",
        "max_positions = 79",
        Err(
            "a.toml:7:17: `policy.from_scratch.max_positions`: 79 is below the 80 tokens of a longest turn (question, \
             chunk, memory and reply, the template not counted); raise it or lower the reader's budgets",
        ),
    );
    check_set(
        &["policy.from_scratch.tokenizer={ kind = \"bpe\", vocab_size = 256 }"],
        Err(
            "--set policy.from_scratch.tokenizer={ kind = \"bpe\", vocab_size = 256 }: \
             `policy.from_scratch.tokenizer.vocab_size`: 256 cannot hold 256 bytes and the special tokens; use 272 or more",
        ),
    );
    check_set(
        &["policy.path=folder"],
        Err(
            "a.toml:2:2: `policy`: both `path` and `from_scratch` are given; keep one (on the command line, --set \
             'policy={ path = \"...\" }' replaces the whole table)",
        ),
    );
    check_set(&["policy={ path = \"folder\" }"], Ok(()));
    check_set(
        &["policy={}"],
        Err("--set policy={}: `policy`: no policy; give either `path` or `[policy.from_scratch]`"),
    );
    check_set(
        &["policy={ path = \"\" }"],
        Err(
            "--set policy={ path = \"\" }: `policy.path`: the path is empty; name a folder that holds config.json",
        ),
    );
}

#[test]
fn readers_that_cannot_read() {
    check(
        "chunk_size = 48",
        "chunk_size = 48\noverlap = 48",
        Err(
            "a.toml:15:11: `reader.overlap`: 48 is not below chunk_size = 48; a chunk would hold nothing new",
        ),
    );
    check("chunk_size = 48", "chunk_size = 48\nwindow = 80", Ok(()));
    check(
        "chunk_size = 48",
        "chunk_size = 48\nwindow = 79",
        Err(
            "a.toml:15:10: `reader.window`: 79 is below the 80 tokens of a longest turn (question, chunk, memory and \
             reply, the template not counted); use a larger window or smaller budgets",
        ),
    );
    check(
        "template = \"marks\"",
        "template = { preset = \"marks\", read = \"x\" }",
        Err(
            "a.toml:13:1: `reader.template`: `preset` stands alone; remove it to write `read` and `answer` yourself",
        ),
    );
    check(
        "template = \"marks\"",
        "template = { read = \"{question}{chunk}{memory}\" }",
        Err(
            "a.toml:13:1: `reader.template`: `answer` is needed, and `read` beside all others (or a preset's name alone)",
        ),
    );
    let error = load(
        &BASE.replace(
            "\"marks\"",
            "{ read = \"{question}{memory}\", answer = \"\" }",
        ),
        &[],
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with(
            "a.toml:13:1: `reader.template`: the read template lacks the placeholder {chunk}"
        ),
        "{error}"
    );
    check(
        "train_tokens = 192",
        "train_tokens = 192\nparagraph = \"{body}\"",
        Err(
            "a.toml:12:13: `data.paragraph`: the paragraph format `{body}` names the unknown placeholder {body}; it may \
             name {n}, {title} and {text}, and a plain brace is written {{ or }}",
        ),
    );
}

#[test]
fn stages_that_cannot_run() {
    let stage = "a.toml:28:";
    let with = |new: &str| format!("group_size = 8\n{new}");
    let refuse = |new: &str, column: usize, message: &str| {
        check(
            "group_size = 8",
            &with(new),
            Err(&format!("{stage}{column}: `stage.1.{message}")),
        );
    };
    check("group_size = 8", &with("mini_batches = 4"), Ok(()));
    refuse(
        "mini_batches = 13",
        16,
        "mini_batches`: 13 is above problems_per_step = 12; mini-batches are made of whole \
                                     problems, so at most 12",
    );
    refuse(
        "mini_batches = 5",
        16,
        "mini_batches`: 5 does not divide problems_per_step = 12; allowed are 1, 2, 3, 4, 6, 12",
    );
    refuse(
        "sampling.top_p = 0.9",
        18,
        "sampling.top_p`: 0.9 cuts the distribution, but RL trains on log-probabilities of \
                                        all of it; use 1",
    );
    refuse(
        "sampling.top_k = 50",
        18,
        "sampling.top_k`: 50 cuts the distribution, but RL trains on log-probabilities of \
                                       all of it; use 0",
    );
    refuse(
        "sampling.temperature = 0",
        24,
        "sampling.temperature`: expected a number above 0, found 0",
    );
    refuse(
        "overlong = { max = 8, buffer = 9 }",
        32,
        "overlong.buffer`: 9 is above overlong.max = 8; use at most 8",
    );
    refuse(
        "objective.kl.coef = 0.1",
        21,
        "objective.kl.coef`: 0.1 has no effect with kl.estimator = \"none\"; choose \"k3\" \
                                           (or \"k1\", \"k2\"), or 0",
    );
    refuse(
        "objective.norm_length = 8",
        25,
        "objective.norm_length`: only aggregation \"seq-mean-token-sum-norm\" uses it; \
                                             remove it or choose that aggregation",
    );
    refuse(
        "objective.policy_loss.dual_clip = 1",
        35,
        "objective.policy_loss.dual_clip`: expected a number above 1 or \
                                                       \"none\", found 1",
    );
    refuse(
        "objective.policy_loss = { kind = \"gspo\", dual_clip = 3 }",
        42,
        "objective.policy_loss.dual_clip`: unknown key; \
            `dual_clip` belongs to `stage.N<rl>.objective.policy_loss<ppo-clip>.dual_clip`; the keys here of kind \"gspo\" \
            are `kind`, `clip_low`, `clip_high`",
    );
    check_set(
        &["stage.1.objective.aggregation=seq-mean-token-sum-norm"],
        Err(
            "--set stage.1.objective.aggregation=seq-mean-token-sum-norm: `stage.1.objective.norm_length`: missing: aggregation \"seq-mean-token-sum-norm\" divides by it; \
             give the longest trajectory in tokens",
        ),
    );
    check_set(
        &["stage.1.optimizer.warmup_steps=80"],
        Err(
            "--set stage.1.optimizer.warmup_steps=80: `stage.1.optimizer.warmup_steps`: 80 leaves nothing of the stage's 80 \
             updates; use fewer",
        ),
    );
    check_set(
        &[
            "stage.1.optimizer.warmup_steps=80",
            "stage.1.mini_batches=2",
        ],
        Ok(()),
    );
}

#[test]
fn groups_of_one_have_nothing_to_compare() {
    // TAMTRL compares the turns of an attempt, so a group of one still teaches.
    check("group_size = 8", "group_size = 1", Ok(()));
    check(
        "group_size = 8",
        "group_size = 1\nskip_equal_outcomes = true",
        Err(
            "a.toml:27:14: `stage.1.group_size`: 1 makes every group one of equal outcomes, which dynamic_sampling and \
             skip_equal_outcomes leave out; use 2 or more",
        ),
    );
    for estimator in [
        "grpo",
        "dr-grpo",
        "memagent",
        "rloo",
        "reinforce-plus-plus-baseline",
        "opo",
    ] {
        let credit =
            format!("stage.1.credit={{ kind = \"outcome\", estimator = \"{estimator}\" }}");
        check_set(
            &["stage.1.group_size=1", &credit],
            Err(&format!(
                "--set stage.1.group_size=1: `stage.1.group_size`: 1 leaves nothing to compare: estimator \"{estimator}\" \
                 gives a group of one no advantage; use 2 or more"
            )),
        );
    }
}

#[test]
fn warm_starts_that_cannot_run() {
    let with = |new: &str| format!("answer = 12 }}\n{new}");
    check(
        "answer = 12 }",
        &with("chunk_sizes = [12, 48]\ntokens = [48, 192]"),
        Ok(()),
    );
    check(
        "answer = 12 }",
        &with("chunk_sizes = [12, 49]"),
        Err(
            "a.toml:22:20: `stage.0.chunk_sizes.1`: 49 is above reader.chunk_size = 48, the longest chunk prompts have room for",
        ),
    );
    check_set(
        &["reader.overlap=12", "stage.0.chunk_sizes=[12]"],
        Err(
            "--set stage.0.chunk_sizes=[12]: `stage.0.chunk_sizes.0`: 12 is not above reader.overlap = 12",
        ),
    );
    check(
        "answer = 12 }",
        &with("stop_at = 0.6"),
        Err("a.toml:22:11: `stage.0.stop_at`: needs `check_every`, the updates between two checks"),
    );
    check(
        "answer = 12 }",
        &with("check_every = 5"),
        Err("a.toml:22:15: `stage.0.check_every`: needs `stop_at`, the exact match to stop at"),
    );
    check(
        "answer = 12 }",
        &with("stop_at = 0.6\ncheck_every = 301"),
        Err(
            "a.toml:23:15: `stage.0.check_every`: 301 is beyond the 300 steps, so nothing would be checked",
        ),
    );
    check(
        "answer = 12 }",
        &with("forget = 1"),
        Err("a.toml:22:10: `stage.0.forget`: expected a number from 0, below 1, found 1"),
    );
}

#[test]
fn tasks_whose_options_do_not_go_together() {
    check(
        "kind = \"class-notes\"",
        "kind = \"class-notes\"\nn_classes = 99",
        Err("a.toml:10:13: `task.n_classes`: expected a whole number from 3 to 10, found 99"),
    );
    let error = load(BASE, &["task={ kind = \"counting\", min_count = 7 }"])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(
            "--set task={ kind = \"counting\", min_count = 7 }: `task.min_count`: 7: "
        ),
        "{error}"
    );
    let error = load(
        BASE,
        &["task={ kind = \"jsonl\", path = \"a\", test_path = \"b\", test_fraction = 0.1 }"],
    );
    let error = error.unwrap_err().to_string();
    assert!(error.ends_with("`task.test_fraction`: with `test_path` nothing is held out of `path`; remove one of the two"), "{error}");
    check_set(
        &["task=jsonl"],
        Err(
            "--set task=jsonl: `task.path`: missing key: the data, one problem per line; relative to the working directory \
             (text in quotes)",
        ),
    );
}

#[test]
fn documents_of_one_length_are_measured_at_one_length() {
    let hotpotqa = "task={ kind = \"hotpotqa\", path = \"a\", num_docs = 20 }";
    let growing = "task={ kind = \"hotpotqa\", path = \"a\" }";
    let lengths = "eval.lengths=[192, 384]";
    check_set(&[growing, lengths], Ok(()));
    check_set(&[hotpotqa], Ok(()));
    check_set(
        &[hotpotqa, lengths],
        Err(
            "--set eval.lengths=[192, 384]: `eval.lengths`: 2 lengths, but with `task.num_docs` documents have the same \
             length whatever is asked for; give one length",
        ),
    );
    check_set(
        &[
            "task={ kind = \"jsonl\", path = \"a\" }",
            "stage.0.tokens=[192, 384]",
        ],
        Err(
            "--set stage.0.tokens=[192, 384]: `stage.0.tokens`: 2 lengths, but documents of a file of one's own are \
             taken as they are; give one length",
        ),
    );
}

#[test]
fn a_name_must_fit_a_folder() {
    for name in ["a", "TAMTRL-0.6b_v2"] {
        check_set(&[&format!("name={name}")], Ok(()));
    }
    for name in ["../up", "a b", "", ".hidden", "a/b", "-x"] {
        check_set(
            &[&format!("name={name}")],
            Err(&format!(
                "--set name={name}: `name`: {name:?} cannot name a folder; use letters, digits, `-`, `_` and `.`, a letter or \
                 digit first"
            )),
        );
    }
}

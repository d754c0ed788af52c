//! Loading whole experiments: what is accepted, and what each complaint says and points at.

use std::path::Path;

use longhand_advantage::{OutcomeEstimator, Scale};
use longhand_config::{
    ConfigError, Credit, Experiment, Place, PolicySource, Rl, Stage, Unit, keys, keys_markdown,
};
use longhand_objective::{Aggregation, Kl, PolicyLoss};

/// A small experiment that makes sense; lines are counted below, so edit with care.
const BASE: &str = r#"name = "small"
[policy.from_scratch]
hidden_size = 64
intermediate_size = 160
n_layers = 3
n_heads = 2
max_positions = 128
[task]
kind = "class-notes"
[data]
train_tokens = 192
[reader]
template = "marks"
chunk_size = 48
max_question_tokens = 8
max_memory_tokens = 12
max_answer_tokens = 4
[[stage]]
kind = "warm-start"
steps = 300
examples_per_step = { read = 48, answer = 12 }
optimizer = { lr = 4e-3 }
[[stage]]
kind = "rl"
steps = 80
problems_per_step = 12
group_size = 8
[stage.credit]
kind = "tamtrl"
[stage.optimizer]
lr = 5e-4
"#;

fn load(text: &str, overrides: &[&str]) -> Result<Experiment, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    Experiment::parse(text, Path::new("a.toml"), &overrides)
}

/// [`BASE`] with `old` replaced by `new`; loads, or fails with exactly this message.
#[track_caller]
fn check(old: &str, new: &str, expected: Result<(), &str>) {
    assert_eq!(
        BASE.matches(old).count(),
        1,
        "{old:?} does not stand in the base once"
    );
    compare(load(&BASE.replace(old, new), &[]), expected);
}

/// [`BASE`] under overrides.
#[track_caller]
fn check_set(overrides: &[&str], expected: Result<(), &str>) {
    compare(load(BASE, overrides), expected);
}

#[track_caller]
fn compare(found: Result<Experiment, ConfigError>, expected: Result<(), &str>) {
    let found = found.map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(found.as_ref().map_err(String::as_str).copied(), expected);
}

fn rl(experiment: &Experiment) -> &Rl {
    match &experiment.stages[1] {
        Stage::Rl(rl) => rl,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_base_has_the_documented_defaults() {
    let experiment = load(BASE, &[]).unwrap();
    let PolicySource::FromScratch(policy) = &experiment.policy else {
        panic!()
    };
    assert_eq!((policy.n_kv_heads, policy.head_dim), (2, 32));
    assert_eq!((policy.embedding_std, policy.q_norm_init), (1.0, Some(1.5)));
    assert_eq!(experiment.data.paragraph, "{text} ");
    assert_eq!(experiment.checker.name(), "exact-match");
    assert_eq!(experiment.eval.lengths, [192]);
    let Stage::WarmStart(warm_start) = &experiment.stages[0] else {
        panic!()
    };
    assert_eq!(
        (&warm_start.tokens[..], &warm_start.chunk_sizes[..]),
        (&[192][..], &[48][..])
    );
    assert_eq!(warm_start.optimizer.beta2, 0.95);
    let rl = rl(&experiment);
    assert_eq!((rl.mini_batches, rl.sampling.temperature), (1, 1.0));
    assert_eq!(rl.objective.unit, Unit::Trajectory);
    assert_eq!(rl.objective.aggregation, Aggregation::TokenMean);
    assert_eq!(rl.objective.objective.kl.coef, 0.0);
    assert_eq!(rl.objective.objective.log_ratio_clamp, Some(20.0));
    let Credit::Tamtrl(credit) = rl.credit else {
        panic!()
    };
    assert!(credit.rewards.length_norm);
}

#[test]
fn the_resolved_file_loads_back_to_the_same_experiment() {
    let tweaks: &[&[&str]] = &[
        &[],
        &[
            "policy={ path = \"a \\\"folder\\\"\" }",
            "paper=tamtrl",
            "description=ä\u{7f}b",
        ],
        &[
            "stage.1.credit={ kind = \"outcome\", estimator = { kind = \"grpo\", scale = \"batch\" } }",
        ],
        &[
            "stage.1.credit=outcome",
            "stage.1.objective.policy_loss=gspo",
            "stage.1.objective.log_ratio_clamp=none",
        ],
        &[
            "stage.1.objective.policy_loss.dual_clip=none",
            "stage.1.objective.kl.estimator=k3",
        ],
        &[
            "stage.1.dynamic_sampling.max_generation_batches=3",
            "stage.1.overlong={ max = 52, buffer = 8 }",
        ],
        &[
            "reader.template={ read = \"{question}{chunk}{memory}\\n\", answer = \"{question}{memory}\" }",
        ],
        &[
            "task={ kind = \"jsonl\", path = \"a.jsonl\" }",
            "seed=9223372036854775807",
        ],
        &[
            "task={ kind = \"multi-hop\", tiers = { unrelated = 0 } }",
            "policy.from_scratch.tokenizer=bpe",
        ],
        &[
            "policy.from_scratch.tie_embeddings=true",
            "stage.0.stop_at=0.6",
            "stage.0.check_every=50",
        ],
    ];
    for overrides in tweaks {
        let experiment = load(BASE, overrides).unwrap_or_else(|error| panic!("{error}"));
        let resolved = experiment.resolved_toml();
        let again = load(&resolved, &[]).unwrap_or_else(|error| panic!("{error}\n{resolved}"));
        assert_eq!(again, experiment, "{resolved}");
        assert_eq!(again.resolved_toml(), resolved);
    }
}

#[test]
fn the_resolved_file_writes_defaults_out() {
    let resolved = load(BASE, &[]).unwrap().resolved_toml();
    let lines = [
        "seed = 0",
        "n_kv_heads = 2",
        "head_dim = 32",
        "embedding_std = 1.0",
        "two_fact_share = 0.5",
        "paragraph = \"{text} \"",
        "lengths = [192]",
        "aggregation = \"token-mean\"",
        "dual_clip = 3.0",
        "keep_last = 2",
    ];
    for line in lines {
        assert!(
            resolved.lines().any(|found| found == line),
            "{line} in\n{resolved}"
        );
    }
}

#[test]
fn shorthands_stand_for_tables() {
    let text = BASE.replace("[stage.credit]\nkind = \"tamtrl\"", "credit = \"outcome\"");
    assert_eq!(
        rl(&load(&text, &[]).unwrap()).credit,
        Credit::Outcome(OutcomeEstimator::Memagent)
    );
    let experiment = load(
        &text,
        &[
            "stage.1.credit.estimator=grpo",
            "stage.1.credit.estimator.scale=none",
        ],
    );
    let grpo = OutcomeEstimator::Grpo {
        scale: Scale::None,
        eps: 1e-6,
    };
    assert_eq!(rl(&experiment.unwrap()).credit, Credit::Outcome(grpo));
    // The kind of a table that has a default one may be left out.
    let experiment = load(&text, &["stage.1.objective.policy_loss.clip_high=0.28"]).unwrap();
    let expected = PolicyLoss::PpoClip {
        clip_low: 0.2,
        clip_high: 0.28,
        dual_clip: Some(3.0),
    };
    assert_eq!(rl(&experiment).objective.objective.policy_loss, expected);
}

#[test]
fn settings_that_follow_from_others() {
    let experiment = load(
        BASE,
        &[
            "stage.1.objective.policy_loss=gspo",
            "stage.1.objective.kl.estimator=k3",
            "policy.from_scratch.tie_embeddings=true",
        ],
    );
    let experiment = experiment.unwrap();
    let objective = &rl(&experiment).objective;
    assert_eq!(objective.aggregation, Aggregation::SeqMeanTokenMean);
    assert_eq!(
        (
            objective.objective.kl.estimator,
            objective.objective.kl.coef
        ),
        (Kl::K3, 1e-3)
    );
    assert_eq!(
        objective.objective.policy_loss,
        PolicyLoss::Gspo {
            clip_low: 3e-4,
            clip_high: 4e-4
        }
    );
    let PolicySource::FromScratch(policy) = &experiment.policy else {
        panic!()
    };
    assert_eq!(policy.embedding_std, 0.125);
}

#[test]
fn unknown_keys_are_named_placed_and_mended() {
    let rl_keys = "`kind`, `steps`, `problems_per_step`, `group_size`, `mini_batches`, `sampling`, `credit`, \
                   `objective`, `dynamic_sampling`, `overlong`, `skip_equal_outcomes`, `optimizer`, \
                   `micro_batch_tokens`, `generation_batch`";
    let expected = format!(
        "a.toml:27:1: `stage.1.group_sise`: unknown key, did you mean `group_size`? the keys here of kind \"rl\" \
         are {rl_keys}\na.toml:23:1: `stage.1.group_size`: missing key"
    );
    let found = load(&BASE.replace("group_size", "group_sise"), &[])
        .unwrap_err()
        .to_string();
    // Complaints stand in the order of the file.
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 2, "{found}");
    assert!(expected.starts_with(lines[1]), "{found}");
    assert_eq!(
        lines[0],
        "a.toml:23:1: `stage.1.group_size`: missing key: attempts at each problem (a whole number from 1 to 1000000000)"
    );
    check(
        "chunk_size = 48",
        "chunk_size = 48\ngroup_size = 3",
        Err(
            "a.toml:15:1: `reader.group_size`: unknown key; `group_size` belongs to `stage.N<rl>.group_size`; the keys \
             here are `template`, `chunk_size`, `overlap`, `max_chunks`, `max_question_tokens`, `max_memory_tokens`, \
             `max_answer_tokens`, `window`",
        ),
    );
    check(
        "train_tokens = 192",
        "train_tokens = 192\nxyz = 1",
        Err("a.toml:12:1: `data.xyz`: unknown key; the keys here are `train_tokens`, `paragraph`"),
    );
    check(
        "kind = \"class-notes\"",
        "kind = \"class-notes\"\nn_clases = 3",
        Err(
            "a.toml:10:1: `task.n_clases`: unknown key, did you mean `n_classes`? the keys here of kind \"class-notes\" \
             are `kind`, `n_classes`, `items_per_class`, `n_subjects`, `n_verbs`, `two_fact_share`",
        ),
    );
    check_set(
        &["data.train_token=9"],
        Err(
            "--set data.train_token=9: `data.train_token`: unknown key, did you mean `train_tokens`? the keys here \
             are `train_tokens`, `paragraph`",
        ),
    );
}

#[test]
fn unknown_names_are_mended() {
    check(
        "kind = \"tamtrl\"",
        "kind = \"tamrtl\"",
        Err(
            "a.toml:29:8: `stage.1.credit.kind`: unknown name \"tamrtl\", did you mean \"tamtrl\"? expected one of \
             \"outcome\", \"tamtrl\"",
        ),
    );
    check(
        "kind = \"class-notes\"",
        "kind = \"hotpot\"",
        Err(
            "a.toml:9:8: `task.kind`: unknown name \"hotpot\", did you mean \"hotpotqa\"? expected one of \
             \"class-notes\", \"lookup\", \"needle\", \"multi-needle\", \"variable-tracking\", \"multi-hop\", \
             \"counting\", \"hotpotqa\", \"jsonl\"",
        ),
    );
    check_set(
        &["reward.checker=zzz"],
        Err(
            "--set reward.checker=zzz: `reward.checker`: unknown name \"zzz\"; expected one of \"exact-match\", \
             \"token-f1\", \"contains\", \"sub-em\", \"boxed\", \"memagent-box\", \"numeric\"",
        ),
    );
    check(
        "kind = \"warm-start\"",
        "",
        Err("a.toml:18:1: `stage.0`: missing key `kind`, one of \"warm-start\", \"rl\""),
    );
    check(
        "kind = \"warm-start\"",
        "kind = 3",
        Err("a.toml:19:8: `stage.0.kind`: expected one of \"warm-start\", \"rl\", found 3"),
    );
}

#[test]
fn wrong_types_say_what_was_expected() {
    let count = "a whole number from 1 to 1000000000";
    for (new, found) in [
        ("\"80\"", "the text \"80\""),
        ("80.0", "80.0"),
        ("true", "true"),
        ("[80]", "a list"),
        ("{ n = 80 }", "a table"),
        ("2026-11-01", "the date 2026-11-01"),
        ("0", "0"),
        ("-1", "-1"),
        (
            "99999999999999999999",
            "the number 99999999999999999999, which exceeds 64 bits",
        ),
    ] {
        let expected = format!("a.toml:25:9: `stage.1.steps`: expected {count}, found {found}");
        check("steps = 80", &format!("steps = {new}"), Err(&expected));
    }
    let above_zero = "a.toml:31:6: `stage.1.optimizer.lr`: expected a number above 0, found";
    for (new, found) in [
        ("0", "0"),
        ("-0.1", "-0.1"),
        ("nan", "NaN"),
        ("inf", "inf"),
        ("\"1e-3\"", "the text \"1e-3\""),
    ] {
        check(
            "lr = 5e-4",
            &format!("lr = {new}"),
            Err(&format!("{above_zero} {found}")),
        );
    }
    check("lr = 5e-4", "lr = 1", Ok(()));
    check(
        "optimizer = { lr = 4e-3 }",
        "optimizer = 4e-3",
        Err("a.toml:22:13: `stage.0.optimizer`: expected a table, found 0.004"),
    );
    check(
        "optimizer = { lr = 4e-3 }",
        "optimizer = { lr = 4e-3 }\ntokens = []",
        Err(
            "a.toml:23:10: `stage.0.tokens`: the list is empty; expected at least one entry, a whole number from 1 to \
             1000000000",
        ),
    );
    check(
        "optimizer = { lr = 4e-3 }",
        "optimizer = { lr = 4e-3 }\ntokens = [48, \"x\"]",
        Err(
            "a.toml:23:15: `stage.0.tokens.1`: expected a whole number from 1 to 1000000000, found the text \"x\"",
        ),
    );
    check(
        "name = \"small\"",
        "name = 3",
        Err("a.toml:1:8: `name`: expected text in quotes, found 3"),
    );
    check(
        "template = \"marks\"",
        "template = 3",
        Err("a.toml:13:12: `reader.template`: expected a preset name or a table, found 3"),
    );
}

#[test]
fn several_problems_are_reported_together_in_order() {
    let text = BASE
        .replace("steps = 80", "steps = 0")
        .replace("n_heads = 2", "n_head = 2");
    let error = load(&text, &["seed=-1"]).unwrap_err();
    let ConfigError::Invalid(problems) = &error else {
        panic!("{error}")
    };
    let found: Vec<(&str, &Place)> = problems
        .list
        .iter()
        .map(|problem| (problem.key.as_str(), &problem.place))
        .collect();
    let file = |line, column| Place::File { line, column };
    let expected = [
        ("policy.from_scratch.n_heads", &file(2, 9)),
        ("policy.from_scratch.n_head", &file(6, 1)),
        ("stage.1.steps", &file(25, 9)),
        ("seed", &Place::Override("seed=-1".into())),
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_empty_file_lacks_what_has_no_default() {
    let error = load("", &[]).unwrap_err().to_string();
    let keys: Vec<&str> = error
        .lines()
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    let expected = [
        "name",
        "task",
        "data.train_tokens",
        "reader.chunk_size",
        "reader.max_question_tokens",
        "reader.max_memory_tokens",
        "reader.max_answer_tokens",
        "stage",
    ];
    assert_eq!(keys, expected, "{error}");
}

#[test]
fn overrides_reach_everywhere_and_the_last_one_wins() {
    let experiment = load(
        BASE,
        &[
            "name=2026",
            "seed=1",
            "seed=2",
            "stage.1.optimizer.lr=1e-3",
            "eval.lengths=[192, 384]",
            "description=true",
        ],
    );
    let experiment = experiment.unwrap();
    assert_eq!(
        (experiment.name.as_str(), experiment.description.as_str()),
        ("2026", "true")
    );
    assert_eq!((experiment.seed, rl(&experiment).optimizer.lr), (2, 1e-3));
    assert_eq!(experiment.eval.lengths, [192, 384]);
    check_set(
        &["stage.2.steps=1"],
        Err("--set stage.2.steps=1: `stage` is a list without entry `2`; its indices are 0 to 1"),
    );
    check_set(
        &["steps"],
        Err("--set steps: expected key.path=value, found no `=`"),
    );
    check_set(
        &["nowhere=1"],
        Err(
            "--set nowhere=1: `nowhere`: unknown key; the keys here are `name`, `description`, \
                                   `paper`, `seed`, `policy`, `task`, `data`, `reader`, `reward`, `stage`, `eval`, \
                                   `checkpoint`",
        ),
    );
    check_set(
        &["stage.1.steps=8O"],
        Err(
            "--set stage.1.steps=8O: `stage.1.steps`: expected a whole number from 1 to \
                                          1000000000, found the text \"8O\"",
        ),
    );
    // A new kind does not take the keys of the old one along.
    let with_options = BASE.replace("kind = \"tamtrl\"", "kind = \"tamtrl\"\nminmax = \"turn\"");
    let error = load(&with_options, &["stage.1.credit.kind=outcome"])
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("a.toml:30:1: `stage.1.credit.minmax`: unknown key; `minmax` belongs to `stage.N<rl>.credit<tamtrl>.minmax`"), "{error}");
    assert!(load(&with_options, &["stage.1.credit=outcome"]).is_ok());
}

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
            "a.toml:13:1: `reader.template`: both `read` and `answer` are needed (or a preset's name alone)",
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

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let load = || Experiment::load(&path, &[]);
    let shown = path.display();

    let error = load().unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot read {shown}: ")),
        "{error}"
    );

    std::fs::write(&path, b"name = \"\xc3\xa9\xff\"\n").unwrap();
    let error = load().unwrap_err().to_string();
    // Eight characters and one `é` of two bytes stand before the bad byte.
    assert_eq!(
        error,
        format!("{shown}:1:10: byte 0xff is not UTF-8 (offset 10); save the file as UTF-8")
    );

    std::fs::write(&path, "name = \"a\"\nseed = = 3\n").unwrap();
    let error = load().unwrap_err();
    assert!(
        matches!(
            error,
            ConfigError::Syntax {
                line: 2,
                column: 8,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with(&format!("{shown}:2:8: not valid TOML: ")),
        "{error}"
    );

    std::fs::write(&path, "name = \"a\"\nname = \"b\"\n").unwrap();
    let error = load().unwrap_err();
    assert!(
        matches!(error, ConfigError::Syntax { line: 2, .. }),
        "{error:?}"
    );

    std::fs::write(&path, "name = ").unwrap();
    assert!(matches!(
        load().unwrap_err(),
        ConfigError::Syntax { line: 1, .. }
    ));

    // Deep nesting is an error of the parser, not an overflow of the stack.
    std::fs::write(&path, format!("name = {}", "[".repeat(100_000))).unwrap();
    assert!(matches!(load().unwrap_err(), ConfigError::Syntax { .. }));

    std::fs::write(&path, BASE).unwrap();
    assert_eq!(load().unwrap().name, "small");
}

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
    // The largest numbers that the keys accept overflow nothing.
    let huge = [
        "stage.1.problems_per_step=1000000000",
        "stage.1.group_size=1000000000",
        "stage.1.steps=1000000000",
    ];
    assert!(!load(BASE, &huge).unwrap().derived().is_empty());
}

#[test]
fn every_key_is_documented() {
    let keys = keys();
    for key in &keys {
        assert!(
            !key.meaning.is_empty() && !key.meaning.ends_with('.'),
            "{key:?}"
        );
        assert!(!key.default.is_empty(), "{key:?}");
    }
    let lr = keys
        .iter()
        .find(|key| key.path == "stage.N<rl>.optimizer.lr")
        .unwrap();
    assert_eq!(
        (lr.accepts.as_str(), lr.default.as_str()),
        ("a number above 0", "required")
    );
    assert_eq!(keys_markdown().lines().count(), keys.len() + 2);
}

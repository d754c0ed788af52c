//! `longhand train`.

use std::fs;

use crate::fixture::{Place, smoke};

#[test]
fn a_dry_run_shows_everything_and_makes_nothing() {
    let place = Place::new();
    let out = place
        .longhand(&format!(
            "train {} --dry-run --set seed=11",
            smoke("tamtrl")
        ))
        .succeeds();
    for text in [
        "name = \"smoke-tamtrl\"",
        "seed = 11",
        "derived number",
        "rollouts per step",
        "16",
    ] {
        assert!(out.contains(text), "no {text} in {out}");
    }
    assert_eq!(fs::read_dir(place.path(".")).unwrap().count(), 0);
    // What is shown is an experiment file: it says the same again.
    let (resolved, _) = out.split_once("  derived number").unwrap();
    let again = place.write("again.toml", resolved);
    let repeated = place
        .longhand(&format!("train {again} --dry-run"))
        .succeeds();
    // But for what the machine's speed, measured each time, makes of it.
    let timeless = |out: &str| {
        out.split_once("  time on this machine")
            .unwrap()
            .0
            .to_owned()
    };
    assert_eq!(timeless(&repeated), timeless(&out));
}

#[test]
fn a_dry_run_says_where_it_differs_from_its_paper() {
    let place = Place::new();
    let paper = place.longhand("config copy paper-tamtrl .").succeeds();
    assert!(paper.contains("paper-tamtrl written to"), "{paper}");
    let out = place
        .longhand("train paper-tamtrl.toml --dry-run --set stage.0.group_size=4")
        .succeeds();
    let (_, differences) = out
        .split_once("Differences from the paper's settings")
        .unwrap();
    assert!(differences.contains("stage.0.group_size"), "{differences}");
}

#[test]
fn every_smoke_run_trains_and_says_what_came_of_it() {
    for name in ["tamtrl", "memagent", "objectives"] {
        let place = Place::new();
        let call = place.longhand(&format!("train {} --out run", smoke(name)));
        for text in [
            "warm-start 40/40: read loss",
            "reward ",
            "live ",
            "kl ",
            "entropy ",
            "grad ",
            "tokens/s",
        ] {
            assert!(
                call.err.contains(text),
                "{name}: no {text:?} in {}",
                call.err
            );
        }
        let out = call.succeeds();
        for text in [
            "One attempt of the last step",
            "notes after chunk 1:",
            "answer:",
            "expected:",
            "Held-out accuracy by document length",
            "before RL",
            "Run folder: run",
            "Final policy: run/checkpoints/final",
        ] {
            assert!(out.contains(text), "{name}: no {text:?} in {out}");
        }
        let files = [
            "config.toml",
            "metrics.jsonl",
            "transcripts/rl-000000.jsonl.zst",
            "plots/learning-curve.png",
            "plots/learning-curve.svg",
            "plots/accuracy-by-length.svg",
            "checkpoints/final/config.json",
            "checkpoints/final/model.safetensors",
            "checkpoints/final/tokenizer.json",
        ];
        for file in files {
            assert!(place.path("run").join(file).is_file(), "{name}: no {file}");
        }
    }
}

#[test]
fn runs_get_folders_of_their_own() {
    let place = Place::new();
    let arguments = format!(
        "train {} --quiet --set stage.0.steps=20 --set stage.1.steps=1 --set eval.n_documents=1 --set eval.every=9",
        smoke("tamtrl")
    );
    for folder in ["runs/smoke-tamtrl-001", "runs/smoke-tamtrl-002"] {
        let call = place.longhand(&arguments);
        assert_eq!(call.err, "", "--quiet");
        assert!(call.succeeds().contains(&format!("Run folder: {folder}")));
        assert!(place.path(folder).join("checkpoints/final").is_dir());
    }
}

#[test]
fn a_wrong_experiment_file_is_bad_usage_and_the_place_is_named() {
    let place = Place::new();
    let good = fs::read_to_string(smoke("tamtrl")).unwrap();
    let check = |from: &str, to: &str, texts: &[&str]| {
        assert!(good.contains(from), "{from}");
        let path = place.write("wrong.toml", good.replacen(from, to, 1));
        let call = place.longhand(&format!("train {path} --out run"));
        call.fails(2, texts);
        assert!(call.err.contains("wrong.toml:"), "{}", call.err);
        assert!(!place.path("run").exists());
    };
    check(
        "seed = 7",
        "sede = 7",
        &["unknown key", "did you mean `seed`?"],
    );
    check(
        "group_size",
        "groupsize",
        &["unknown key", "did you mean `group_size`?"],
    );
    check(
        "seed = 7",
        "seed = \"seven\"",
        &["expected a whole number", "\"seven\""],
    );
    check("lr = 1e-2", "lr = [1]", &["stage.0.optimizer.lr"]);
    check(
        "kind = \"class-notes\"",
        "kind = \"class-nots\"",
        &["did you mean \"class-notes\"?"],
    );
    check("n_classes = 3", "n_classes = 2", &["n_classes"]);
    check(
        "n_classes = 3",
        "n_clases = 3",
        &["did you mean `n_classes`?"],
    );
    check(
        "max_positions = 96",
        "max_positions = 20",
        &["max_positions", "20"],
    );
    check("mini_batches = 2", "mini_batches = 3", &["does not divide"]);
    check("kind = \"rl\"", "kind = \"rk\"", &["unknown name \"rk\""]);
    check("steps = 40", "", &["missing key", "steps"]);
    check("[eval]", "[eval", &["not valid TOML"]);
    check(
        "lengths = [36, 144]",
        "lengths = [36, 0]",
        &["eval.lengths.1"],
    );
    check(
        "lengths = [36, 144]",
        "lengths = []",
        &["the list is empty"],
    );
    check(
        "group_size = 4",
        "group_size = 100000000000",
        &["group_size"],
    );
}

#[test]
fn a_file_that_cannot_be_read_as_text_is_bad_usage() {
    let place = Place::new();
    place
        .longhand("train nowhere.toml")
        .fails(2, &["cannot read nowhere.toml"]);
    place.longhand("train .").fails(2, &["cannot read ."]);
    let mut bytes = fs::read(smoke("tamtrl")).unwrap();
    bytes.extend(b"\n# caf\xe9\n");
    let path = place.write("latin.toml", bytes);
    place.longhand(&format!("train {path}")).fails(
        2,
        &[
            "latin.toml:",
            "byte 0xe9 is not UTF-8",
            "save the file as UTF-8",
        ],
    );
    place.write("empty.toml", "");
    place
        .longhand("train empty.toml")
        .fails(2, &["missing key"]);
}

#[test]
fn a_wrong_override_is_bad_usage() {
    let place = Place::new();
    let check = |text: &str, texts: &[&str]| {
        let config = smoke("tamtrl");
        place
            .call(&["train", &config, "--set", text], "")
            .fails(2, &[&["--set"], texts].concat());
    };
    check("sed=3", &["`sed`: unknown key", "did you mean `seed`?"]);
    check("stage.1.objective.kl.coeff=3", &["did you mean `coef`?"]);
    check("seed", &["expected key.path=value"]);
    check("seed=-1", &["seed"]);
    check("stage.7.steps=1", &["its indices are 0 to 1"]);
    check("seed.x=1", &["so it has no key `x`"]);
    check("task={ kind = \"neddle\" }", &["did you mean \"needle\"?"]);
    check("stage.1.group_size=1.5", &["group_size"]);
    // What does not fit together is told where it can be mended.
    let config = smoke("tamtrl");
    place
        .call(&["train", &config, "--set", "reader.chunk_size=2000"], "")
        .fails(
            2,
            &[
                "tamtrl.toml:",
                "`policy.from_scratch.max_positions`: 96 is below the 2016 tokens",
            ],
        );
}

#[test]
fn an_output_folder_that_cannot_be_used_is_refused() {
    let place = Place::new();
    place.write("file", "kept");
    fs::create_dir(place.path("full")).unwrap();
    place.write("full/something", "kept");
    let config = smoke("tamtrl");
    let check = |out: &str, texts: &[&str]| {
        let call = place.longhand(&format!("train {config} --quiet --out {out}"));
        call.fails(1, &[&["choose another --out"], texts].concat());
    };
    check("full", &["full is not empty", "never overwrites"]);
    check("file", &["file is a file"]);
    check("file/below", &["file is a file"]);
    if cfg!(target_os = "linux") {
        // Nobody may make a folder there, not even the superuser.
        check("/proc/longhand", &["cannot make the folder /proc/longhand"]);
    }
    assert_eq!(fs::read_to_string(place.path("file")).unwrap(), "kept");
    assert_eq!(fs::read_dir(place.path("full")).unwrap().count(), 1);
}

#[test]
fn what_cannot_work_is_refused_before_the_folder_is_made() {
    let place = Place::new();
    let config = smoke("tamtrl");
    let check = |set: &[&str], code: i32, texts: &[&str]| {
        let mut arguments = vec!["train", &config, "--out", "run"];
        arguments.extend(set.iter().flat_map(|set| ["--set", *set]));
        place.call(&arguments, "").fails(code, texts);
        assert!(!place.path("run").exists(), "{set:?}");
    };
    check(
        &["reader.max_question_tokens=2"],
        1,
        &["the question has", "over max_question_tokens = 2"],
    );
    check(
        &["policy.from_scratch.max_positions=34"],
        1,
        &["over the window of 34"],
    );
    check(
        &["policy={ path = \"nowhere\" }"],
        1,
        &["no policy at nowhere"],
    );
    let one_length = "eval.lengths=[36]";
    check(
        &[
            "task={ kind = \"jsonl\", path = \"gone.jsonl\" }",
            one_length,
        ],
        1,
        &["cannot read gone.jsonl"],
    );
    place.write(
        "broken.jsonl",
        "{\"id\": \"a\", \"answer\": \"x\", \"document\": \"d\"}\n",
    );
    check(
        &[
            "task={ kind = \"jsonl\", path = \"broken.jsonl\" }",
            one_length,
        ],
        1,
        &["broken.jsonl, line 1: field `question` is missing"],
    );
}

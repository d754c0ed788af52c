//! `longhand eval`.

use std::fs;

use crate::fixture::Place;

#[test]
fn a_run_is_measured_on_its_own_task_and_lengths() {
    let place = Place::with_run();
    let out = place.longhand("eval run").succeeds();
    assert!(
        out.contains("tokens  chunks  documents  accuracy %")
            && out.contains("Plot: run/plots/eval-class-notes.svg"),
        "{out}"
    );
    for end in ["svg", "png"] {
        assert!(
            place
                .path(&format!("run/plots/eval-class-notes.{end}"))
                .is_file()
        );
    }
    let report = place
        .longhand("eval run --lengths 36,180 --documents 10 --json")
        .json();
    assert_eq!(
        (&report["task"]["kind"], &report["checker"]),
        (&"class-notes".into(), &"token-f1".into())
    );
    let scores = report["lengths"].as_array().unwrap();
    assert_eq!(scores.len(), 2);
    for (score, chunks) in scores.iter().zip([2.0, 10.0]) {
        let number = |key: &str| score[key].as_f64().unwrap();
        assert_eq!(
            (number("n_documents"), number("mean_chunks")),
            (10.0, chunks)
        );
        assert!(
            0.0 <= number("low")
                && number("low") <= number("accuracy")
                && number("accuracy") <= number("high")
        );
    }
    let again = place
        .longhand("eval run --lengths 36,180 --documents 10 --json --batch 3")
        .json();
    assert_eq!(again["lengths"], report["lengths"], "a measurement repeats");
}

#[test]
fn another_task_a_sampled_measurement_and_a_plot_elsewhere() {
    let place = Place::with_run();
    let out = place
        .longhand("eval run --task needle --task-option value=words --lengths 60 --documents 3 --temperature 0.7 --checker contains --plot here --question-size 40 --chunk-size 20")
        .succeeds();
    assert!(out.contains("Plot: here.svg"), "{out}");
    assert!(place.path("here.png").is_file());
}

#[test]
fn documents_are_read_whole_unless_chunks_are_counted() {
    let place = Place::with_run();
    let chunks = |more: &str| {
        let report = place
            .longhand(&format!(
                "eval run --lengths 180 --documents 1 --json{more}"
            ))
            .json();
        report["lengths"][0]["mean_chunks"].as_f64().unwrap()
    };
    assert_eq!(chunks(""), 10.0);
    assert_eq!(chunks(" --max-chunks 3"), 3.0);
    assert_eq!(chunks(" --chunk-size 9"), 20.0);
}

#[test]
fn a_model_alone_needs_a_task_and_lengths() {
    let place = Place::with_run();
    let model = "run/checkpoints/final";
    place
        .longhand(&format!("eval {model}"))
        .fails(2, &["a model alone has no task", "--task KIND"]);
    place
        .longhand(&format!("eval {model} --task needle"))
        .fails(2, &["--lengths TOKENS,..."]);
    let report = place
        .longhand(&format!(
            "eval {model} --task needle --lengths 300 --documents 2 --template marks --json"
        ))
        .json();
    assert_eq!(
        (&report["plot"], &report["checker"]),
        (&serde_json::Value::Null, &"sub-em".into())
    );
    assert!(
        1.0 < report["lengths"][0]["mean_chunks"].as_f64().unwrap(),
        "chunks are made to fit the window"
    );
}

#[test]
fn wrong_arguments_are_bad_usage() {
    let place = Place::with_run();
    let check = |arguments: &str, texts: &[&str]| {
        place
            .longhand(&format!("eval run {arguments}"))
            .fails(2, texts)
    };
    check("--lengths 0", &["--lengths", "0 is not in 1.."]);
    check("--lengths 36,x", &["--lengths", "'x'"]);
    check("--lengths -5", &["-5"]);
    check("--lengths 20000000000", &["--lengths"]);
    check("--documents 0", &["--documents"]);
    check("--batch 0", &["--batch"]);
    check(
        "--temperature -1",
        &["--temperature -1: it must be at least 0"],
    );
    check("--temperature nan", &["--temperature NaN"]);
    check("--checker f1", &["unknown checker `f1`", "token-f1"]);
    check(
        "--template odd",
        &["--template: unknown template preset `odd`", "memagent"],
    );
    check("--task nedle", &["unknown task `nedle`", "needle"]);
    check(
        "--task needle --task-option values=3",
        &["unknown field `values`", "`value`"],
    );
    check("--task needle --task-option value=3", &["--task needle"]);
    check(
        "--task needle --task-option value",
        &["write it as KEY=VALUE"],
    );
    check(
        "--task needle --task-option distractor_share=7",
        &["`distractor_share` is 7", "0 to 1"],
    );
    check(
        "--task hotpotqa",
        &["missing field `path`", "--task-option KEY=VALUE"],
    );
    check("--task-option value=3", &["--task <KIND>"]);
    check("--chunk-size 0", &["--chunk-size"]);
    check("--memory-size 0", &["--memory-size"]);
    check(
        "--chunk-size 500",
        &["a turn may take", "window holds 96", "lower chunk_size"],
    );
    place.longhand("eval nowhere").fails(
        2,
        &["nowhere is neither a run (config.toml) nor a model (config.json, or adapter_config.json)"],
    );
}

#[test]
fn what_cannot_be_measured_fails_with_its_reason() {
    let place = Place::with_run();
    let check = |arguments: &str, texts: &[&str]| {
        place
            .longhand(&format!("eval run {arguments}"))
            .fails(1, texts)
    };
    check(
        "--task needle --lengths 5",
        &[
            "needs",
            "more than the 5 asked for",
            "ask for longer documents",
        ],
    );
    check(
        "--task needle --lengths 60 --documents 2 --question-size 2",
        &["over max_question_tokens = 2"],
    );
    check(
        "--task jsonl --task-option path=gone.jsonl --lengths 36",
        &["cannot read gone.jsonl: "],
    );
    let record = "{\"id\":\"a\",\"question\":\"q\",\"answer\":\"x\",\"document\":\"d\"}\n";
    place.write("one.jsonl", record);
    let whole = "--task jsonl --task-option path=one.jsonl --task-option test_fraction=1.0";
    check(
        &format!("{whole} --documents 5"),
        &["the test split has 1 problems, 5 are asked for"],
    );
    place.write(
        "two.jsonl",
        format!(
            "{record}{}",
            record.replace("\"x\"", "7").replace("\"a\"", "\"b\"")
        ),
    );
    check(
        "--task jsonl --task-option path=two.jsonl",
        &["two.jsonl, line 2: field `answer`"],
    );
    place.write(
        "latin.jsonl",
        b"{\"id\":\"a\",\"question\":\"caf\xe9\",\"answer\":\"x\",\"document\":\"d\"}\n",
    );
    check(
        "--task jsonl --task-option path=latin.jsonl",
        &["latin.jsonl, line 1", "UTF-8"],
    );
    let long = format!(
        "{{\"id\":\"a\",\"question\":\"q\",\"answer\":\"x\",\"document\":\"{}\"}}\n",
        "word ".repeat(2_100_000)
    );
    place.write("long.jsonl", format!("{record}{long}"));
    check(
        "--task jsonl --task-option path=long.jsonl",
        &["long.jsonl, line 2", "max_line_bytes", "10500"],
    );
}

#[test]
fn what_was_measured_is_printed_even_where_no_plot_can_be_written() {
    let place = Place::with_run();
    place.write("file", "");
    let call = place.longhand("eval run --documents 2 --plot file/below");
    call.fails(1, &["cannot write file/below.svg"]);
    assert!(
        call.out.contains("accuracy %") && !call.out.contains("Plot:"),
        "{}",
        call.out
    );
    let call = place.longhand("eval run --documents 2 --plot file/below --json");
    call.fails(1, &["cannot write file/below.svg"]);
    let report: serde_json::Value = serde_json::from_str(&call.out).unwrap();
    assert_eq!(report["plot"], serde_json::Value::Null);
}

#[test]
fn a_run_that_ended_before_its_first_checkpoint_says_so() {
    let place = Place::with_run();
    fs::create_dir(place.path("young")).unwrap();
    fs::copy(
        place.path("run/config.toml"),
        place.path("young/config.toml"),
    )
    .unwrap();
    place
        .longhand("eval young")
        .fails(1, &["young has no checkpoint yet"]);
}

#[test]
fn real_documents_are_composed_and_read() {
    // Records in HotpotQA's form; `xtask` and people have the real file.
    let place = Place::with_run();
    let record = |idx: usize| {
        let paragraph = |n: usize| {
            format!("[\"Title {idx} {n}\", [\"Sentence one of {idx} {n}. \", \"Sentence two.\"]]")
        };
        let context: Vec<String> = (0..10).map(paragraph).collect();
        format!(
            "{{\"_id\":\"r{idx}\",\"question\":\"What is {idx}?\",\"answer\":\"yes\",\"supporting_facts\":[[\"Title {idx} 1\",0],[\"Title {idx} 4\",1]],\"context\":[{}]}}",
            context.join(",")
        )
    };
    let records: Vec<String> = (0..12).map(record).collect();
    place.write("hotpot.jsonl", records.join("\n"));
    let arguments = "eval run --task hotpotqa --task-option path=hotpot.jsonl --task-option test_fraction=1.0 --lengths 100,4000 --documents 3 --json";
    let report = place.longhand(arguments).json();
    let tokens = report["lengths"][1]["mean_tokens"].as_f64().unwrap();
    // Titles are counted, and this run's paragraphs are written without them.
    assert!((2500.0..=4000.0).contains(&tokens), "{report}");
    assert_eq!(report["lengths"][1]["by_facts"][0]["n_facts"], 2);
}

//! `longhand data`.

use std::fs;

use crate::fixture::{Place, smoke};

const GENERATED: [&str; 7] = [
    "class-notes",
    "lookup",
    "needle",
    "multi-needle",
    "variable-tracking",
    "multi-hop",
    "counting",
];

#[test]
fn problems_of_every_generated_task_are_made_and_pass_their_check() {
    let place = Place::new();
    for task in GENERATED {
        let make = |more: &str| {
            let out = place.longhand(&format!(
                "data make --task {task} --n 5 --tokens 400 --out made.jsonl{more}"
            ));
            assert_eq!(out.succeeds(), "5 problems written to made.jsonl\n");
            fs::read(place.path("made.jsonl")).unwrap()
        };
        let first = make("");
        assert_eq!(first, make(""), "{task}: the same problems again");
        assert_ne!(first, make(" --seed 1"), "{task}");
        assert_ne!(first, make(" --test"), "{task}");
        let out = place.longhand("data check made.jsonl").succeeds();
        assert!(
            out.starts_with("5 problems, ") && out.ends_with("0 records cannot be used\n"),
            "{task}: {out}"
        );
    }
}

#[test]
fn made_problems_can_be_trained_on() {
    let place = Place::new();
    let smoke = smoke("tamtrl");
    place
        .longhand("data make --task class-notes --task-option n_classes=3 --n 40 --tokens 36 --out made.jsonl")
        .succeeds();
    let arguments = [
        "train",
        &smoke,
        "--quiet",
        "--out",
        "run",
        "--set",
        "task={ kind = \"jsonl\", path = \"made.jsonl\", test_fraction = 0.3 }",
        "--set",
        "policy.from_scratch.tokenizer.vocab_size=512",
        "--set",
        "eval.lengths=[36]",
        "--set",
        "eval.n_documents=4",
        "--set",
        "stage.0.steps=20",
    ];
    place.call(&arguments, "").succeeds();
    place.longhand("eval run --json").json();
}

#[test]
fn every_broken_record_is_listed_with_its_line_and_field() {
    let place = Place::new();
    let mut bytes = Vec::new();
    let good = br#"{"id":"a","question":"q","answers":["x","y"],"paragraphs":[{"title":"t","text":"one","relevant":true},{"text":"two"}],"source":"s"}"#;
    let long = format!(
        r#"{{"id":"l","question":"q","answer":"x","document":"{}"}}"#,
        "word ".repeat(2_100_000)
    );
    let lines: [&[u8]; 9] = [
        good,
        br#"{"id":"b","answer":"x","document":"d"}"#,
        b"not json",
        b"{\"id\":\"c\",\"question\":\"caf\xe9\",\"answer\":\"x\",\"document\":\"d\"}",
        br#"{"id":"d","question":"q","answer":3,"document":"d"}"#,
        b"",
        br#"{"id":"e","question":"q","answer":"x","paragraphs":[{"title":"t"}]}"#,
        long.as_bytes(),
        br#"{"id":"f","question":"q","answer":"x","document":"d"}"#,
    ];
    for line in lines {
        bytes.extend(line);
        bytes.push(b'\n');
    }
    place.write("mixed.jsonl", bytes);
    let call = place.longhand("data check mixed.jsonl --format jsonl");
    assert_eq!(call.code, 1, "{call:?}");
    for text in [
        "2 problems, 3 paragraphs (1 relevant)",
        "field `source` is not used (1 record)",
        "mixed.jsonl, line 2: field `question` is missing",
        "mixed.jsonl, line 3: this is not JSON",
        "mixed.jsonl, line 4: byte ",
        "mixed.jsonl, line 5: field `answer`",
        "mixed.jsonl, line 7: field `paragraphs[0].text` is missing",
        "mixed.jsonl, line 8: this line has 10500",
        "6 records cannot be used",
    ] {
        assert!(call.out.contains(text), "no {text:?} in {}", call.out);
    }
    let call = place.longhand("data check mixed.jsonl --json");
    assert_eq!(call.code, 1);
    let report: serde_json::Value = serde_json::from_str(&call.out).unwrap();
    assert_eq!(
        (&report["n_problems"], &report["n_blank_lines"]),
        (&2.into(), &1.into())
    );
    assert_eq!(report["bad_records"].as_array().unwrap().len(), 6);

    let call = place.longhand("data check mixed.jsonl --max-line-bytes 20000000");
    assert!(
        call.out.contains("3 problems") && call.out.contains("5 records cannot be used"),
        "{}",
        call.out
    );
}

#[test]
fn hotpotqa_is_recognised_by_its_fields() {
    let place = Place::new();
    let good = r#"{"_id":"a","question":"q","answer":"x","supporting_facts":[["T",0]],"context":[["T",["s."]],["U",["v."]]]}"#;
    place.write(
        "hotpot.jsonl",
        format!("{good}\n{}\n", good.replace("\"answer\":\"x\",", "")),
    );
    let call = place.longhand("data check hotpot.jsonl");
    assert_eq!(call.code, 1);
    assert!(
        call.out.contains("1 problem, 2 paragraphs (1 relevant)"),
        "{}",
        call.out
    );
    assert!(
        call.out
            .contains("hotpot.jsonl, line 2: field `answer` is missing"),
        "{}",
        call.out
    );
    place.write("hotpot.json", format!("[{good}]"));
    place.longhand("data check hotpot.json").succeeds();
}

#[test]
fn a_tokenizer_is_trained_and_counts_tokens() {
    let place = Place::new();
    let config = smoke("tamtrl");
    let out = place
        .longhand(&format!("data tokenizer {config} --out tokenizer.json"))
        .succeeds();
    assert!(out.contains(" ids written to tokenizer.json"), "{out}");
    let first = fs::read(place.path("tokenizer.json")).unwrap();
    place
        .longhand(&format!("data tokenizer {config} --out again.json"))
        .succeeds();
    assert_eq!(first, fs::read(place.path("again.json")).unwrap());
    place
        .longhand("data make --task needle --n 2 --tokenizer tokenizer.json --out made.jsonl")
        .succeeds();
}

#[test]
fn wrong_arguments_are_bad_usage() {
    let place = Place::new();
    place.write("data.jsonl", "{}");
    let check = |arguments: &str, texts: &[&str]| {
        place.longhand(&format!("data {arguments}")).fails(2, texts)
    };
    check(
        "make --task nedle --out a",
        &["--task: unknown task `nedle`", "needle"],
    );
    check(
        "make --task needle --task-option x=1 --out a",
        &["unknown field `x`"],
    );
    check(
        "make --task needle --task-option distractor_share=2 --out a",
        &["distractor_share"],
    );
    check("make --task needle --n 0 --out a", &["--n"]);
    check("make --task needle --tokens 0 --out a", &["--tokens"]);
    check(
        "check data.jsonl --format csv",
        &["unknown format `csv`", "hotpotqa, jsonl"],
    );
    check("tokenizer nowhere.toml", &["cannot read nowhere.toml"]);
    let config = smoke("tamtrl");
    let other = fs::read_to_string(&config).unwrap();
    let start = other.find("[policy.from_scratch]").unwrap();
    let end = other.find("[task]").unwrap();
    let folder = format!(
        "{}[policy]\npath = \"there\"\n\n{}",
        &other[..start],
        &other[end..]
    );
    place.write("folder.toml", folder);
    check("tokenizer folder.toml", &["the policy comes from a folder"]);
}

#[test]
fn files_that_cannot_be_used_fail_with_their_reason() {
    let place = Place::new();
    place.write("empty.jsonl", "");
    place.write("text", "once upon a time");
    let check = |arguments: &str, texts: &[&str]| {
        place.longhand(&format!("data {arguments}")).fails(1, texts)
    };
    check("check gone.jsonl", &["cannot read gone.jsonl: "]);
    check("check .", &["is a folder, not a file"]);
    check("check empty.jsonl", &["empty.jsonl holds no records"]);
    check(
        "make --task needle --n 1 --tokens 3 --out a",
        &["ask for longer documents"],
    );
    check(
        "make --task needle --n 1 --out text/below",
        &["cannot write text/below"],
    );
    check(
        "make --task needle --n 1 --out gone/below",
        &["cannot write gone/below"],
    );
    check(
        "make --task needle --n 1 --tokenizer text --out a",
        &["cannot read text as a tokenizer"],
    );
    check(
        &format!("tokenizer {} --out text/below", smoke("tamtrl")),
        &["cannot write the tokenizer to text/below"],
    );
    check(
        "make --task jsonl --task-option path=gone.jsonl --n 1 --out a",
        &["cannot read gone.jsonl"],
    );
    assert!(!place.path("a").exists());
}

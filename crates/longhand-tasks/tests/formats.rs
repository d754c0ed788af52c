//! Data sets of others: LongBench, GSM8K, and what verl and MemAgent train on.

use std::{fs, path::PathBuf};

use longhand_tasks::{
    DEFAULT_MAX_LINE_BYTES, FileFormat, Jsonl, LengthBin, Problem, RecordFormat, RecordPlace,
    Source, Split, TaskError, TaskSpec, check_file, check_file_counting,
};
use serde_json::{Value, json};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn written(folder: &TempDir, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, contents).expect("a temporary file");
    path
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

fn open(path: PathBuf, format: RecordFormat) -> Result<Box<dyn Source + Send + Sync>, TaskError> {
    TaskSpec::Jsonl(Jsonl {
        path,
        format,
        test_path: None,
        test_fraction: Some(0.0),
        max_line_bytes: DEFAULT_MAX_LINE_BYTES,
    })
    .open()
}

fn problems(path: PathBuf, format: RecordFormat) -> Vec<Problem> {
    let source = open(path, format).expect("a sound file");
    let n_problems = source.n_problems(Split::Train).expect("files end") as u64;
    (0..n_problems)
        .map(|idx| source.problem(Split::Train, 0, idx, 1, &|_| 1).unwrap())
        .collect()
}

fn texts(problem: &Problem) -> Vec<&str> {
    problem.paragraphs.iter().map(|p| p.text.as_str()).collect()
}

fn faults(records: &[Value], format: FileFormat) -> Vec<String> {
    let folder = folder();
    let path = written(&folder, "data", lines(records));
    let report = check_file(&path, format, DEFAULT_MAX_LINE_BYTES).expect("readable");
    let name = format!("{}, ", path.display());
    let bad = report.bad_records.iter();
    bad.map(|bad| bad.to_string().replace(&name, "")).collect()
}

fn longbench() -> Value {
    json!({
        "_id": "a1", "input": "Which?", "context": "One.\n\nTwo.", "answers": ["x", "y"],
        "all_classes": ["x", "y", "z"], "length": 2, "dataset": "trec", "language": "en",
    })
}

fn verl() -> Value {
    json!({
        "data_source": "hotpotqa", "context": "One.\n\nTwo.", "ability": "memory",
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}],
        "reward_model": {"style": "rule", "ground_truth": ["Ann", 7]},
        "extra_info": {"index": 3, "split": "train"},
    })
}

#[test]
fn records_of_longbench_keep_answers_and_classes() {
    let folder = folder();
    let mut bare = longbench();
    bare["all_classes"] = Value::Null;
    bare.as_object_mut().expect("an object").remove("_id");
    let path = written(&folder, "a.jsonl", lines(&[longbench(), bare]));
    for format in [RecordFormat::Auto, RecordFormat::Longbench] {
        let problems = problems(path.clone(), format);
        assert_eq!(
            (problems[0].id.as_str(), problems[0].question.as_str()),
            ("a1", "Which?")
        );
        assert_eq!(texts(&problems[0]), ["One.", "Two."]);
        assert_eq!(problems[0].answers, ["x", "y"]);
        assert_eq!(problems[0].classes, ["x", "y", "z"]);
        assert_eq!((problems[1].id.len(), problems[1].classes.len()), (16, 0));
    }
}

#[test]
fn records_of_gsm8k_are_questions_without_a_document() {
    let folder = folder();
    let record = json!({"question": "How many?", "answer": "It is 2*600.\n#### 1,200"});
    let problems = problems(
        written(&folder, "a.jsonl", lines(&[record])),
        RecordFormat::Auto,
    );
    assert_eq!(problems[0].question, "How many?");
    assert_eq!(problems[0].answers, ["1200"]);
    assert_eq!(problems[0].document(), "");
}

#[test]
fn rows_of_verl_ask_what_the_user_asks() {
    let folder = folder();
    let mut plain = verl();
    plain["prompt"] = "When?".into();
    plain["context"] = Value::Null;
    plain["reward_model"]["ground_truth"] = "1999".into();
    plain["extra_info"] = Value::Null;
    let path = written(&folder, "a.jsonl", lines(&[verl(), plain]));
    let problems = problems(path, RecordFormat::Auto);
    assert_eq!(
        (problems[0].id.as_str(), problems[0].question.as_str()),
        ("hotpotqa:train:3", "Who?")
    );
    assert_eq!(texts(&problems[0]), ["One.", "Two."]);
    assert_eq!(problems[0].answers, ["Ann", "7"]);
    assert_eq!(
        (
            problems[1].question.as_str(),
            problems[1].document().as_str()
        ),
        ("When?", "")
    );
    assert_eq!(problems[1].answers, ["1999"]);
}

#[test]
fn each_broken_record_is_named_with_line_field_and_mend() {
    let with = |record: Value, pointer: &str, value: Value| {
        let mut record = record;
        *record.pointer_mut(pointer).expect("the field is there") = value;
        record
    };
    let gsm8k = |answer: &str| json!({"question": "q", "answer": answer});
    let (user, assistant) = (
        json!({"role": "user", "content": "q"}),
        json!({"role": "assistant", "content": "a"}),
    );
    for (record, format, expected) in [
        (
            with(longbench(), "/input", "".into()),
            FileFormat::Longbench,
            "field `input` is empty, so nothing is asked",
        ),
        (
            with(longbench(), "/context", Value::Null),
            FileFormat::Longbench,
            "field `context` is null; give a value",
        ),
        (
            with(longbench(), "/answers", json!([])),
            FileFormat::Longbench,
            "field `answers` is an empty list",
        ),
        (
            with(longbench(), "/answers/1", json!(3)),
            FileFormat::Longbench,
            "field `answers[1]` is a number, not a text",
        ),
        (
            with(longbench(), "/all_classes", "x".into()),
            FileFormat::Longbench,
            "field `all_classes` is a text, not a list",
        ),
        (
            gsm8k("12"),
            FileFormat::Gsm8k,
            "field `answer` has no `####`",
        ),
        (
            gsm8k("#### x"),
            FileFormat::Gsm8k,
            "field `answer` has no number after `####`",
        ),
        (
            json!({"answer": "#### 1"}),
            FileFormat::Gsm8k,
            "field `question` is missing",
        ),
        (
            with(verl(), "/prompt", json!([])),
            FileFormat::Verl,
            "field `prompt` is an empty list",
        ),
        (
            with(verl(), "/prompt", json!([user, assistant])),
            FileFormat::Verl,
            "field `prompt[1]` is a second turn",
        ),
        (
            with(verl(), "/prompt/1", Value::Null),
            FileFormat::Verl,
            "field `prompt[1]` is null; give {role, content}",
        ),
        (
            with(verl(), "/prompt/1/role", "tool".into()),
            FileFormat::Verl,
            "field `prompt[1].role` is \"tool\"; roles are",
        ),
        (
            with(verl(), "/prompt/1/role", "system".into()),
            FileFormat::Verl,
            "field `prompt` has no message of the user",
        ),
        (
            with(verl(), "/context", json!(1)),
            FileFormat::Verl,
            "field `context` is a number, not a text",
        ),
        (
            with(verl(), "/reward_model", json!([])),
            FileFormat::Verl,
            "field `reward_model` is a list",
        ),
        (
            with(verl(), "/reward_model/ground_truth", Value::Null),
            FileFormat::Verl,
            "field `reward_model.ground_truth` is missing",
        ),
        (
            with(verl(), "/reward_model/ground_truth/1", "".into()),
            FileFormat::Verl,
            "field `reward_model.ground_truth[1]` is empty",
        ),
    ] {
        let found = faults(std::slice::from_ref(&record), format);
        assert_eq!(found.len(), 1, "{record}: {found:?}");
        assert!(
            found[0].starts_with(&format!("line 1: {expected}")),
            "{found:?}"
        );
    }
}

#[test]
fn records_without_an_id_may_not_come_twice() {
    let gsm8k = json!({"question": "q", "answer": "#### 1"});
    assert_eq!(
        faults(&[gsm8k.clone(), gsm8k], FileFormat::Gsm8k),
        ["line 2: this asks what line 1 asks of the same document; remove one"]
    );
    assert_eq!(
        faults(&[verl(), verl()], FileFormat::Verl),
        [
            "line 2: field `extra_info` is \"hotpotqa:train:3\", which line 1 has too; give each record its own"
        ]
    );
}

#[test]
fn the_format_is_told_or_refused_with_what_was_found() {
    let folder = folder();
    for (record, expected) in [
        (longbench(), Some(FileFormat::Longbench)),
        (verl(), Some(FileFormat::Verl)),
        (
            json!({"question": "q", "answer": "#### 1"}),
            Some(FileFormat::Gsm8k),
        ),
        (json!({"id": 1, "question": "q"}), Some(FileFormat::Jsonl)),
        (
            json!({"context": [], "question": "q"}),
            Some(FileFormat::Hotpotqa),
        ),
        (json!({"question": "q", "answer": "1"}), None),
        (json!({}), None),
    ] {
        let path = written(&folder, "data", format!("not json\n{record}\n"));
        assert_eq!(FileFormat::of(&path).ok(), expected, "{record}");
    }
    let path = written(&folder, "data", "{\"q\": 1, \"a\": 2}\n");
    let error = open(path, RecordFormat::Auto)
        .err()
        .map(|error| error.to_string());
    let error = error.unwrap_or_default();
    assert!(
        error.contains("data, line 1: no format has the fields `q`, `a`; there are our own ("),
        "{error}"
    );
    let hotpotqa = json!({"_id": "a", "question": "q", "answer": "a", "supporting_facts": [["T", 0]], "context": [["T", ["s."]]]});
    let path = written(&folder, "data", lines(&[hotpotqa]));
    let error = open(path, RecordFormat::Auto)
        .err()
        .map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("use `kind = \"hotpotqa\"`")));
}

#[test]
fn a_report_has_lengths_and_duplicates() {
    let folder = folder();
    let record = |id: &str, n_words: usize| json!({"id": id, "question": "q", "answer": "a", "document": "w ".repeat(n_words)});
    let records = [
        record("a", 1),
        record("b", 9),
        record("c", 8),
        record("d", 9),
        json!({"id": "e"}),
    ];
    let path = written(&folder, "a.jsonl", lines(&records));
    let report = check_file(&path, FileFormat::Jsonl, DEFAULT_MAX_LINE_BYTES).expect("readable");
    assert_eq!(report.lengths, [1, 8, 9, 9]);
    assert_eq!(
        report.duplicates,
        [(RecordPlace::Line(4), RecordPlace::Line(2))]
    );
    assert_eq!((report.n_bad_records, report.bad_records.len()), (1, 3));
    let bin = |at_least, below, n_documents| LengthBin {
        at_least,
        below,
        n_documents,
    };
    assert_eq!(
        report.histogram(),
        [bin(1, 2, 1), bin(2, 4, 0), bin(4, 8, 0), bin(8, 16, 3)]
    );

    let bytes = check_file_counting(&path, FileFormat::Jsonl, DEFAULT_MAX_LINE_BYTES, &str::len);
    assert_eq!(bytes.expect("readable").lengths, [3, 17, 19, 19]);
    let gsm8k = written(
        &folder,
        "b.jsonl",
        lines(&[json!({"question": "q", "answer": "#### 1"})]),
    );
    let report = check_file(&gsm8k, FileFormat::Gsm8k, DEFAULT_MAX_LINE_BYTES).expect("readable");
    assert_eq!(report.histogram(), [bin(0, 1, 1)]);
}

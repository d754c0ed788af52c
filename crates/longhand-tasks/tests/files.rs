//! Readers of data files: what they read, and what they say about files they cannot read.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
};

use longhand_tasks::{
    DEFAULT_MAX_LINE_BYTES, FileFormat, HotpotQa, Jsonl, Paragraph, PoolUse, Problem, RecordFormat,
    Source, Split, TaskError, TaskSpec, check_file, vocabulary_sample, write_jsonl,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn written(folder: &TempDir, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, contents).expect("a temporary file");
    path
}

/// A question with ten paragraphs, of which the first and the second are gold.
fn hotpot_record(question_idx: usize) -> Value {
    let context: Vec<Value> = (0..10)
        .map(|idx| {
            let title = format!("Title {question_idx}.{idx}");
            json!([
                title,
                [
                    "One sentence of it.",
                    " Another one.",
                    "No space before this."
                ]
            ])
        })
        .collect();
    json!({
        "_id": format!("question-{question_idx}"),
        "question": format!("What is {question_idx}?"),
        "answer": format!("answer {question_idx}"),
        "type": "bridge",
        "supporting_facts": [
            [format!("Title {question_idx}.0"), 1],
            [format!("Title {question_idx}.1"), 0],
            [format!("Title {question_idx}.1"), 9],
        ],
        "context": context,
    })
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

fn hotpot_file(folder: &TempDir, n_questions: usize) -> PathBuf {
    let records: Vec<Value> = (0..n_questions).map(hotpot_record).collect();
    written(folder, "hotpot.jsonl", lines(&records))
}

fn hotpot(path: &Path) -> HotpotQa {
    let json = json!({"path": path, "test_fraction": 0.25});
    serde_json::from_value(json).expect("all other options have defaults")
}

fn open(options: HotpotQa) -> Box<dyn Source + Send + Sync> {
    TaskSpec::Hotpotqa(options).open().expect("a sound file")
}

fn open_jsonl(path: &Path) -> Result<Box<dyn Source + Send + Sync>, TaskError> {
    TaskSpec::Jsonl(Jsonl {
        path: path.to_owned(),
        format: RecordFormat::Auto,
        test_path: None,
        test_fraction: Some(0.0),
        max_line_bytes: DEFAULT_MAX_LINE_BYTES,
    })
    .open()
}

fn titles(problem: &Problem) -> Vec<&str> {
    problem
        .paragraphs
        .iter()
        .map(|paragraph| paragraph.title.as_str())
        .collect()
}

// ---- HotpotQA ----

#[test]
fn a_document_has_the_own_paragraphs_and_strangers_up_to_num_docs() {
    let folder = folder();
    let source = open(HotpotQa {
        num_docs: Some(25),
        ..hotpot(&hotpot_file(&folder, 40))
    });
    for idx in 0..20 {
        let problem = source
            .problem(Split::Train, 1, idx, 1, &count_words)
            .unwrap();
        let question_idx = problem
            .id
            .strip_prefix("question-")
            .expect("the id of the file");
        let own = format!("Title {question_idx}.");

        let titles = titles(&problem);
        assert_eq!(titles.len(), 25);
        assert_eq!(
            titles.iter().collect::<HashSet<_>>().len(),
            25,
            "no paragraph comes twice"
        );
        assert_eq!(
            titles
                .iter()
                .filter(|title| title.starts_with(&own))
                .count(),
            10
        );
        let gold: BTreeSet<&str> = problem
            .paragraphs
            .iter()
            .filter(|p| p.relevant)
            .map(|p| p.title.as_str())
            .collect();
        assert_eq!(
            gold,
            BTreeSet::from([&*format!("{own}0"), &*format!("{own}1")])
        );
        assert_eq!(problem.n_facts, 2);
        assert_eq!(problem.answers, [format!("answer {question_idx}")]);
    }
}

#[test]
fn text_and_notes_are_joined_sentences() {
    let folder = folder();
    let source = open(hotpot(&hotpot_file(&folder, 4)));
    let problem = source.sample_problem(0, 0).unwrap();
    assert_eq!(
        problem.paragraphs[0].text,
        "One sentence of it. Another one. No space before this."
    );
    let notes: Vec<Option<&str>> = problem.paragraphs[..3]
        .iter()
        .map(|paragraph| paragraph.note.as_deref())
        .collect();
    let title = |idx: usize| &problem.paragraphs[idx].title;
    // The second supporting fact of the second paragraph names a sentence it does not have.
    let expected = [
        format!("{}: Another one.", title(0)),
        format!("{}: One sentence of it.", title(1)),
    ];
    assert_eq!(
        notes,
        [Some(expected[0].as_str()), Some(expected[1].as_str()), None]
    );
}

/// The trap of a fixed seed: own paragraphs in the same slots of every document.
#[test]
fn own_paragraphs_stand_in_no_fixed_slots() {
    let folder = folder();
    let source = open(HotpotQa {
        num_docs: Some(20),
        ..hotpot(&hotpot_file(&folder, 20))
    });
    let mut in_slot = [0_usize; 20];
    for idx in 0..500 {
        let problem = source
            .problem(Split::Train, 0, idx, 1, &count_words)
            .unwrap();
        for (slot, paragraph) in problem.paragraphs.iter().enumerate() {
            in_slot[slot] += usize::from(paragraph.relevant);
        }
    }
    // 1000 gold paragraphs over 20 slots: 50 each, standard deviation 7.
    assert!(
        in_slot.iter().all(|&count| (20..85).contains(&count)),
        "{in_slot:?}"
    );
}

#[test]
fn without_num_docs_documents_grow_to_the_length_asked_for() {
    let folder = folder();
    let source = open(hotpot(&hotpot_file(&folder, 40)));
    let n_words = |problem: &Problem| count_words(&problem.document());
    // Every paragraph has 12 words with its title; two are gold.
    for (target, n_paragraphs) in [(24, 2), (35, 2), (36, 3), (240, 20), (251, 20)] {
        let problem = source
            .problem(Split::Test, 3, 1, target, &count_words)
            .unwrap();
        assert_eq!(problem.paragraphs.len(), n_paragraphs);
        assert_eq!(n_words(&problem), 12 * n_paragraphs);
        assert_eq!(problem.paragraphs.iter().filter(|p| p.relevant).count(), 2);
    }
    let error = source
        .problem(Split::Test, 3, 1, 23, &count_words)
        .unwrap_err();
    assert!(
        matches!(
            error,
            TaskError::TooShort {
                target_tokens: 23,
                needed_tokens: 24,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_pool_that_is_too_small_is_an_error_and_no_short_document() {
    let folder = folder();
    let path = hotpot_file(&folder, 4);
    let once = |num_docs| HotpotQa {
        pool: PoolUse::Once,
        num_docs,
        ..hotpot(&path)
    };
    let source = open(once(None));
    // 40 paragraphs of 12 words: all of them are one document, one word more is too much.
    let whole = source
        .problem(Split::Train, 0, 0, 480, &count_words)
        .unwrap();
    assert_eq!(whole.paragraphs.len(), 40);
    let error = source
        .problem(Split::Train, 0, 0, 481, &count_words)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(
            "has only 40 paragraphs for one document (480 tokens), too few for 481 tokens"
        ),
        "{error}"
    );
    for (num_docs, message) in [
        (41, "too few for `num_docs` = 41"),
        (9, "has 10 paragraphs of its own, more than `num_docs` = 9"),
    ] {
        let source = open(once(Some(num_docs)));
        let error = source
            .problem(Split::Train, 0, 0, 1, &count_words)
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_pool_may_repeat_but_only_strangers_and_only_when_all_were_told() {
    let folder = folder();
    let path = hotpot_file(&folder, 4);
    let source = open(hotpot(&path));
    // 10 own paragraphs, 30 strangers twice, and 7 of them a third time.
    let problem = source
        .problem(Split::Train, 0, 0, 12 * 77, &count_words)
        .unwrap();
    let question_idx = problem.id.strip_prefix("question-").expect("its id");
    let own = format!("Title {question_idx}.");
    let mut n_times: BTreeMap<&str, usize> = BTreeMap::new();
    for title in titles(&problem) {
        *n_times.entry(title).or_default() += 1;
    }
    assert_eq!(n_times.len(), 40);
    for (title, &n_times) in &n_times {
        let expected = if title.starts_with(&own) {
            1..=1
        } else {
            2..=3
        };
        assert!(expected.contains(&n_times), "{title} comes {n_times} times");
    }

    // Alone in its file, a question has no strangers to repeat.
    let alone = written(&folder, "alone.jsonl", lines(&[hotpot_record(0)]));
    let source = open(HotpotQa {
        test_fraction: Some(0.0),
        ..hotpot(&alone)
    });
    let error = source
        .problem(Split::Train, 0, 0, 121, &count_words)
        .unwrap_err();
    assert!(
        matches!(error, TaskError::PoolExhausted { n_tokens: 120, .. }),
        "{error}"
    );
}

#[test]
fn paragraphs_of_others_with_an_own_title_stay_out() {
    let folder = folder();
    let mut records: Vec<Value> = (0..3).map(hotpot_record).collect();
    // Another question has a paragraph under a gold title of question 0, with another text.
    records[1]["context"][5] = json!(["Title 0.0", ["A different text."]]);
    let path = written(&folder, "hotpot.jsonl", lines(&records));
    let source = open(HotpotQa {
        test_fraction: Some(0.0),
        num_docs: Some(29),
        ..hotpot(&path)
    });
    let problem = source.problem(Split::Train, 0, 0, 1, &count_words).unwrap();
    assert_eq!(problem.id, "question-0");
    assert!(
        problem
            .paragraphs
            .iter()
            .all(|paragraph| paragraph.text != "A different text.")
    );
}

#[test]
fn splits_share_no_question_and_cover_the_file() {
    let folder = folder();
    let path = hotpot_file(&folder, 60);
    let source = open(hotpot(&path));
    let ids = |source: &dyn Source, split| -> BTreeSet<String> {
        let n_problems = source.n_problems(split).expect("a file has an end") as u64;
        (0..n_problems)
            .map(|idx| source.problem(split, 0, idx, 100, &count_words).unwrap().id)
            .collect()
    };
    let (train, test) = (
        ids(source.as_ref(), Split::Train),
        ids(source.as_ref(), Split::Test),
    );
    assert!(train.is_disjoint(&test));
    assert_eq!(train.len() + test.len(), 60);
    assert!(
        (5..30).contains(&test.len()),
        "about a quarter: {}",
        test.len()
    );

    // After the last question the first one comes again, in another document.
    let (first, again) = (0, train.len() as u64);
    let [first, again] = [first, again].map(|idx| {
        source
            .problem(Split::Train, 0, idx, 300, &count_words)
            .unwrap()
    });
    assert_eq!(first.id, again.id);
    assert_ne!(first.paragraphs, again.paragraphs);

    let second = written(
        &folder,
        "test.jsonl",
        lines(&[hotpot_record(100), hotpot_record(101)]),
    );
    let source = open(HotpotQa {
        test_path: Some(second),
        test_fraction: None,
        ..hotpot(&path)
    });
    assert_eq!(source.n_problems(Split::Train), Some(60));
    assert_eq!(
        ids(source.as_ref(), Split::Test),
        BTreeSet::from(["question-100".to_owned(), "question-101".to_owned()])
    );
}

#[test]
fn the_same_key_gives_the_same_document() {
    let folder = folder();
    let path = hotpot_file(&folder, 30);
    let (source, other) = (open(hotpot(&path)), open(hotpot(&path)));
    let ask = |source: &dyn Source, seed, idx| {
        source
            .problem(Split::Train, seed, idx, 300, &count_words)
            .unwrap()
    };
    let first = ask(source.as_ref(), 5, 2);
    let _ = ask(source.as_ref(), 6, 3);
    assert_eq!(ask(source.as_ref(), 5, 2), first);
    assert_eq!(ask(other.as_ref(), 5, 2), first);
    let other_seed = ask(source.as_ref(), 6, 2);
    assert_eq!(other_seed.question, first.question);
    assert_ne!(other_seed.paragraphs, first.paragraphs);
}

#[test]
fn a_json_list_reads_like_one_object_per_line() {
    let folder = folder();
    let records: Vec<Value> = (0..12).map(hotpot_record).collect();
    let by_line = written(&folder, "a.jsonl", lines(&records));
    let pretty = serde_json::to_string_pretty(&records).expect("plain data");
    let as_list = written(&folder, "a.json", pretty);
    let marked = written(&folder, "b.json", format!("\u{feff} {}", json!(records)));
    for path in [&as_list, &marked] {
        let (a, b) = (open(hotpot(&by_line)), open(hotpot(path)));
        for idx in 0..12 {
            let ask = |source: &dyn Source| {
                source
                    .problem(Split::Train, 0, idx, 200, &count_words)
                    .unwrap()
            };
            assert_eq!(ask(a.as_ref()), ask(b.as_ref()));
        }
    }
}

#[test]
fn a_split_without_problems_is_an_error_that_says_how_to_get_some() {
    let folder = folder();
    let path = hotpot_file(&folder, 3);
    for (share, split) in [(0.0, Split::Test), (1.0, Split::Train)] {
        let source = open(HotpotQa {
            test_fraction: Some(share),
            ..hotpot(&path)
        });
        assert_eq!(source.n_problems(split), Some(0));
        let error = source
            .problem(split, 0, 0, 100, &count_words)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("has no {split} problems; set `test_fraction`")),
            "{error}"
        );
    }
}

#[test]
fn a_share_that_makes_no_sense_is_an_error() {
    let folder = folder();
    let path = hotpot_file(&folder, 3);
    for (test_path, share, message) in [
        (None, 1.5, "option `test_fraction` is 1.5, give 0 to 1"),
        (None, f64::NAN, "option `test_fraction` is NaN, give 0 to 1"),
        (
            Some(path.clone()),
            0.2,
            "option `test_fraction` is 0.2, leave it out beside `test_path`",
        ),
    ] {
        let spec = TaskSpec::Hotpotqa(HotpotQa {
            test_path,
            test_fraction: Some(share),
            ..hotpot(&path)
        });
        let error = spec
            .open()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.ends_with(message), "{error}");
    }
}

#[test]
fn a_vocabulary_sample_tells_every_question_of_a_small_file() {
    let folder = folder();
    let source = open(HotpotQa {
        test_fraction: Some(0.0),
        ..hotpot(&hotpot_file(&folder, 2))
    });
    let texts: Vec<String> = vocabulary_sample(source.as_ref(), 0, 2)
        .collect::<Result<_, _>>()
        .expect("no errors");
    for wanted in ["What is 0?", "What is 1?", "answer 0", "answer 1"] {
        assert!(texts.iter().any(|text| text == wanted), "{wanted}");
    }
}

// ---- Our own format ----

#[test]
fn every_form_of_a_plain_record_is_read() {
    let folder = folder();
    let path = written(
        &folder,
        "own.jsonl",
        lines(&[
            json!({"id": "a", "question": "Q?", "answer": "A", "document": "\n one\ntwo\n \n\nthree \n"}),
            json!({"id": 7, "question": "Q?", "answers": ["A", "B"], "paragraphs": ["x", "y", "z"],
                   "relevant": [2, 0], "source": "elsewhere"}),
            json!({"id": "c", "question": "Q?", "answer": "A", "n_facts": 5, "paragraphs": [
                {"title": "T", "text": "x", "relevant": true, "note": "n"},
                {"text": "y", "title": null}, "z"]}),
        ]),
    );
    let source = open_jsonl(&path).expect("a sound file");
    let problems: Vec<Problem> = (0..3)
        .map(|idx| {
            source
                .problem(Split::Train, 0, idx, 1, &count_words)
                .unwrap()
        })
        .collect();

    let texts = |problem: &Problem| -> Vec<String> {
        problem
            .paragraphs
            .iter()
            .map(|paragraph| paragraph.text.clone())
            .collect()
    };
    assert_eq!(texts(&problems[0]), [" one\ntwo", "three "]);
    assert_eq!(
        (problems[0].answers.as_slice(), problems[0].n_facts),
        (&["A".to_owned()][..], 0)
    );

    assert_eq!(problems[1].id, "7");
    assert_eq!(problems[1].answers, ["A", "B"]);
    let relevant: Vec<bool> = problems[1].paragraphs.iter().map(|p| p.relevant).collect();
    assert_eq!(
        (relevant, problems[1].n_facts),
        (vec![true, false, true], 2)
    );

    let first = Paragraph {
        title: "T".to_owned(),
        text: "x".to_owned(),
        relevant: true,
        note: Some("n".to_owned()),
    };
    assert_eq!(problems[2].paragraphs[0], first);
    assert_eq!(problems[2].paragraphs[1].title, "");
    assert_eq!(
        (texts(&problems[2]), problems[2].n_facts),
        (["x", "y", "z"].map(str::to_owned).to_vec(), 5)
    );

    let report =
        check_file(&path, FileFormat::Jsonl, DEFAULT_MAX_LINE_BYTES).expect("a sound file");
    assert_eq!(
        (report.n_problems, report.n_paragraphs, report.n_relevant),
        (3, 8, 3)
    );
    assert_eq!(
        report.ignored_fields.into_iter().collect::<Vec<_>>(),
        [("source".to_owned(), 1)]
    );
}

prop_compose! {
    fn any_paragraph()(title in ".{0,6}", text in r"\PC{0,5}[a-z]\PC{0,5}", relevant in any::<bool>(),
                       note in proptest::option::of(".{0,6}")) -> Paragraph {
        Paragraph { title, text, relevant, note }
    }
}

prop_compose! {
    fn any_problem()(question in r".{0,5}[a-z].{0,5}", n_facts in 0_usize..9,
                     answers in proptest::collection::vec(r".{0,4}[a-z].{0,4}", 1..4),
                     classes in proptest::collection::vec(r".{0,4}[a-z].{0,4}", 0..3),
                     solution in proptest::option::of(r".{0,4}[a-z]\n.{0,4}"),
                     paragraphs in proptest::collection::vec(any_paragraph(), 0..5)) -> Problem {
        Problem { id: String::new(), question, paragraphs, answers, solution, classes, n_facts }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn written_problems_are_read_back(problems in proptest::collection::vec(any_problem(), 1..5)) {
        let folder = folder();
        let path = folder.path().join("made.jsonl");
        let problems: Vec<Problem> = problems
            .into_iter()
            .enumerate()
            .map(|(idx, problem)| Problem { id: format!("p{idx}"), ..problem })
            .collect();
        let n_written = write_jsonl(&path, problems.iter().cloned().map(Ok)).unwrap();
        prop_assert_eq!(n_written, problems.len());
        let source = open_jsonl(&path).unwrap();
        for (idx, problem) in problems.iter().enumerate() {
            let read = source.problem(Split::Train, 0, idx as u64, 1, &count_words).unwrap();
            prop_assert_eq!(&read, problem);
        }
    }

    /// Whatever a file holds, reading it ends with a report or an error.
    #[test]
    fn no_file_makes_a_reader_panic(bytes in proptest::collection::vec(
        prop_oneof![Just(b'['), Just(b']'), Just(b'{'), Just(b'}'), Just(b'"'), Just(b','),
                    Just(b':'), Just(b'\\'), Just(b'\n'), Just(b' '), Just(b'1'), any::<u8>()], 0..60)) {
        let folder = folder();
        let path = written(&folder, "noise", &bytes);
        for (_, format) in FileFormat::ALL {
            if let Ok(report) = check_file(&path, format, 20) {
                prop_assert_eq!(report.n_problems, 0);
                prop_assert!(!report.bad_records.is_empty());
            }
        }
    }
}

#[test]
fn a_failed_write_leaves_neither_the_file_nor_a_part_of_it() {
    let folder = folder();
    let path = folder.path().join("made.jsonl");
    let failing = [Err(TaskError::NoTokens {
        text: String::new(),
    })];
    assert!(write_jsonl(&path, failing).is_err());
    assert_eq!(
        fs::read_dir(folder.path())
            .expect("the folder is there")
            .count(),
        0
    );

    let missing = folder.path().join("missing").join("made.jsonl");
    let error = write_jsonl(&missing, []).unwrap_err();
    assert!(matches!(error, TaskError::Unwritable { .. }), "{error}");
}

// ---- Broken files ----

fn report_lines(path: &Path, format: FileFormat) -> Vec<String> {
    let report = check_file(path, format, 2_000).expect("the file itself can be read");
    let name = format!("{}, ", path.display());
    report
        .bad_records
        .iter()
        .map(|bad| bad.to_string().replace(&name, ""))
        .collect()
}

#[test]
fn each_broken_plain_record_is_named_with_line_field_and_mend() {
    let sound = json!({"id": "a", "question": "Q?", "answer": "A", "paragraphs": ["x", "y"]});
    let with = |changes: Value| {
        let mut record = sound.clone();
        for (name, value) in changes.as_object().expect("changes are an object") {
            record[name] = value.clone();
        }
        record
    };
    let without = |name: &str| {
        let mut record = sound.clone();
        record
            .as_object_mut()
            .expect("a record is an object")
            .remove(name);
        record
    };
    for (record, expected) in [
        (without("id"), "line 1: field `id` is missing; add it"),
        (
            with(json!({"id": null})),
            "line 1: field `id` is null; give a value",
        ),
        (
            with(json!({"id": 1.5})),
            "line 1: field `id` is a number; give a text or a whole number",
        ),
        (
            without("question"),
            "line 1: field `question` is missing; add it",
        ),
        (
            with(json!({"question": 3})),
            "line 1: field `question` is a number, not a text; put it in quotes",
        ),
        (
            with(json!({"question": " "})),
            "line 1: field `question` is empty; give a text",
        ),
        (
            without("answer"),
            "line 1: field `answer` is missing; add it, or a list `answers`",
        ),
        (
            with(json!({"answers": ["B"]})),
            "line 1: field `answers` stands beside `answer`; give only one of the two",
        ),
        (
            with(json!({"answer": null, "answers": []})),
            "line 1: field `answers` is an empty list; give a list of texts",
        ),
        (
            with(json!({"answer": null, "answers": ["B", 1]})),
            "line 1: field `answers[1]` is a number, not a text; put it in quotes",
        ),
        (
            without("paragraphs"),
            "line 1: field `document` is missing; add it, or a list `paragraphs`",
        ),
        (
            with(json!({"document": "x"})),
            "line 1: field `paragraphs` stands beside `document`; give only one of the two",
        ),
        (
            with(json!({"paragraphs": "x"})),
            "line 1: field `paragraphs` is a text, not a list; give a list of paragraphs",
        ),
        (
            with(json!({"paragraphs": ["x", 2]})),
            "line 1: field `paragraphs[1]` is a number; give a text, or an object with `text`",
        ),
        (
            with(json!({"paragraphs": [{"title": "x"}]})),
            "line 1: field `paragraphs[0].text` is missing; add it",
        ),
        (
            with(json!({"paragraphs": [{"text": "x", "relevant": 1}]})),
            "line 1: field `paragraphs[0].relevant` is 1; give true or false",
        ),
        (
            with(json!({"relevant": 1})),
            "line 1: field `relevant` is a number; give a list of paragraph numbers from 0",
        ),
        (
            with(json!({"relevant": [0, 2]})),
            "line 1: field `relevant[1]` is 2, but the last of the 2 paragraphs is number 1",
        ),
        (
            with(json!({"relevant": [-1]})),
            "line 1: field `relevant[0]` is -1; give a whole number from 0",
        ),
        (
            with(json!({"n_facts": "two"})),
            "line 1: field `n_facts` is a text; give a whole number from 0",
        ),
        (
            with(json!({"relevant": [0], "paragraphs": [{"text": "x", "relevant": true}]})),
            "line 1: field `relevant` stands beside flags in `paragraphs`; give only one of the two",
        ),
        (
            json!({"id": "a", "question": "Q?", "answer": "A", "document": "x", "relevant": [0]}),
            "line 1: field `relevant` needs `paragraphs` to point into; give these instead of `document`",
        ),
    ] {
        let folder = folder();
        let path = written(&folder, "own.jsonl", lines(&[record]));
        assert_eq!(report_lines(&path, FileFormat::Jsonl), [expected]);
    }
}

#[test]
fn a_misspelt_part_of_a_paragraph_is_an_error() {
    let folder = folder();
    let record = json!({"id": "a", "question": "Q?", "answer": "A",
                        "paragraphs": [{"text": "x", "relevent": true}]});
    let path = written(&folder, "own.jsonl", lines(&[record]));
    assert_eq!(
        report_lines(&path, FileFormat::Jsonl),
        [
            "line 1: field `paragraphs[0].relevent` is unknown; a paragraph has `title`, `text`, `relevant`, `note`"
        ]
    );
}

#[test]
fn each_broken_hotpotqa_record_is_named_with_line_field_and_mend() {
    for (pointer, value, expected) in [
        (
            "/_id",
            json!(3),
            "line 1: field `_id` is a number, not a text; put it in quotes",
        ),
        (
            "/supporting_facts",
            json!([]),
            "line 1: field `supporting_facts` is an empty list; give a list of [title, sentence number]",
        ),
        (
            "/supporting_facts/0",
            json!(["Title 0.0"]),
            "line 1: field `supporting_facts[0]` has 1 elements; give [title, sentence number]",
        ),
        (
            "/supporting_facts/1/1",
            json!("0"),
            "line 1: field `supporting_facts[1][1]` is a text; give a whole number from 0",
        ),
        (
            "/supporting_facts/1/0",
            json!("Elsewhere"),
            "line 1: field `supporting_facts[1]` names \"Elsewhere\", which `context` lacks; use a file of the distractor setting",
        ),
        (
            "/context",
            json!({"title": [], "sentences": []}),
            "line 1: field `context` is an object, not a list; give a list of [title, [sentences]]",
        ),
        (
            "/context/4",
            json!("Title"),
            "line 1: field `context[4]` is a text; give [title, [sentences]]",
        ),
        (
            "/context/4/1",
            json!("Sentence."),
            "line 1: field `context[4][1]` is a text, not a list; give a list of sentences",
        ),
        (
            "/context/4/1/1",
            json!(null),
            "line 1: field `context[4][1][1]` is null, not a text; put it in quotes",
        ),
    ] {
        let folder = folder();
        let mut record = hotpot_record(0);
        *record
            .pointer_mut(pointer)
            .expect("the record has this place") = value;
        let path = written(&folder, "hotpot.jsonl", lines(&[record]));
        assert_eq!(report_lines(&path, FileFormat::Hotpotqa), [expected]);
    }
}

#[test]
fn all_faults_of_all_records_are_listed_and_opening_names_the_first() {
    let folder = folder();
    let sound = json!({"id": "a", "question": "Q?", "answer": "A", "document": "x"}).to_string();
    let mut bytes = format!("{sound}\n\n{{\"id\": 1}}\n{{\"id\": \n{sound}\n[1]\n").into_bytes();
    bytes.extend(b"{\"id\": \"\xff\"}\n");
    bytes.extend(format!("{{\"id\": \"{}\"}}\n", "x".repeat(3_000)).into_bytes());
    let path = written(&folder, "own.jsonl", bytes);
    assert_eq!(
        report_lines(&path, FileFormat::Jsonl),
        [
            "line 3: field `question` is missing; add it",
            "line 3: field `answer` is missing; add it, or a list `answers`",
            "line 3: field `document` is missing; add it, or a list `paragraphs`",
            "line 4: this is not JSON: EOF while parsing a value at line 1, column 7 of this record; put one whole JSON object on each line",
            "line 5: field `id` is \"a\", which line 1 has too; give each record its own",
            "line 6: this is a list, not a JSON object; put one whole JSON object on each line",
            "line 7: byte 9 of this record is not UTF-8; save the file in UTF-8",
            "line 8: this line has 3010 bytes, more than `max_line_bytes` = 2000; shorten the document or raise `max_line_bytes`",
        ]
    );
    let report = check_file(&path, FileFormat::Jsonl, 2_000).expect("the file can be read");
    assert_eq!((report.n_problems, report.n_blank_lines), (1, 1));

    let spec = TaskSpec::Jsonl(Jsonl {
        path: path.clone(),
        format: RecordFormat::Auto,
        test_path: None,
        test_fraction: None,
        max_line_bytes: 2_000,
    });
    let error = spec
        .open()
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    let expected = format!(
        "{}, line 3: field `question` is missing; add it (and 7 more faults in this file)",
        path.display()
    );
    assert_eq!(error, expected);
}

#[test]
fn a_line_of_ten_megabytes_is_refused_unless_it_is_allowed() {
    let folder = folder();
    let document = "word ".repeat(2 << 20);
    let record = json!({"id": "a", "question": "Q?", "answer": "A", "document": document});
    let path = written(&folder, "own.jsonl", lines(&[record]));
    let report = check_file(&path, FileFormat::Jsonl, DEFAULT_MAX_LINE_BYTES).expect("readable");
    assert!(
        report.bad_records[0]
            .reason
            .contains("more than `max_line_bytes` = 8388608")
    );
    let report = check_file(&path, FileFormat::Jsonl, 16 << 20).expect("readable");
    assert_eq!((report.n_problems, report.bad_records.len()), (1, 0));
}

#[test]
fn files_that_cannot_be_read_at_all_are_errors() {
    let folder = folder();
    for (contents, name) in [
        ("", "empty.jsonl"),
        ("\n  \n", "blank.jsonl"),
        ("[ ]", "list.json"),
    ] {
        let path = written(&folder, name, contents);
        let error = open_jsonl(&path)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            error.ends_with("holds no records; give one JSON object per line"),
            "{error}"
        );
    }
    let error = open_jsonl(folder.path())
        .err()
        .expect("a folder is no file");
    assert!(
        error.to_string().contains("is a folder, not a file"),
        "{error}"
    );
    let error = open_jsonl(&folder.path().join("missing"))
        .err()
        .expect("there is no such file");
    assert!(matches!(error, TaskError::Unreadable { .. }), "{error}");
}

#[test]
fn the_format_of_a_file_is_told_from_its_first_record() {
    let folder = folder();
    let own = json!({"id": "a", "question": "Q?", "answer": "A", "document": "x"});
    for (contents, format) in [
        (lines(&[hotpot_record(0)]), FileFormat::Hotpotqa),
        (json!([hotpot_record(0)]).to_string(), FileFormat::Hotpotqa),
        (lines(&[own]), FileFormat::Jsonl),
        ("noise".to_owned(), FileFormat::Jsonl),
    ] {
        let path = written(&folder, "data", contents);
        assert_eq!(FileFormat::of(&path).expect("readable"), format);
    }
}

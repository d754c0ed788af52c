//! What cannot work is refused before the run's folder is made.

use std::{fs, path::Path};

use longhand_trainer::{TrainError, TrainOptions, train};

use crate::fixture::experiment;

/// The refusal of a run, of which nothing is left.
fn refusal(name: &str, overrides: &[&str]) -> TrainError {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let experiment = experiment(name, overrides);
    let error = train(
        &experiment,
        &TrainOptions {
            out: Some(out.clone()),
            ..TrainOptions::default()
        },
    );
    assert!(!out.exists(), "{overrides:?}");
    error.expect_err("it cannot work")
}

#[test]
fn lengths_that_hold_no_problem() {
    for key in [
        "eval.lengths=[5]",
        "data.train_tokens=5",
        "stage.0.tokens=[36, 5]",
    ] {
        let error = refusal(
            "tamtrl",
            &[
                "task={ kind = \"needle\" }",
                "policy.from_scratch.tokenizer.vocab_size=512",
                key,
            ],
        );
        assert!(matches!(error, TrainError::Task(_)), "{key}: {error}");
        assert!(
            error.to_string().contains("more than the 5 asked for"),
            "{key}: {error}"
        );
    }
}

#[test]
fn questions_over_their_budget() {
    let error = refusal("tamtrl", &["reader.max_question_tokens=2"]);
    assert!(
        error.to_string().contains("over max_question_tokens = 2"),
        "{error}"
    );
}

#[test]
fn turns_that_fit_the_window_only_without_their_template() {
    // 8 + 18 + 4 + 4 tokens and the marks.
    let error = refusal("tamtrl", &["policy.from_scratch.max_positions=34"]);
    assert!(
        error.to_string().contains("over the window of 34"),
        "{error}"
    );
}

#[test]
fn micro_batches_that_may_be_too_small_for_one_turn() {
    // Marks, 8 + 18 + 4 tokens given and 4 sampled, of which the last is not run.
    for stage in ["0", "1"] {
        let key = |tokens: &str| format!("stage.{stage}.micro_batch_tokens={tokens}");
        let error = refusal("tamtrl", &[&key("36")]);
        let TrainError::MicroBatch { needed: 37, .. } = error else {
            panic!("{error}");
        };
        assert!(
            error
                .to_string()
                .contains(&format!("of stage {stage} holds fewer")),
            "{error}"
        );
    }
}

#[test]
fn files_with_too_few_problems() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("few.jsonl");
    let line = |idx| {
        format!(
            r#"{{"id":"p{idx}","question":"which tree","answer":"oak","document":"the farmer saw an oak . "}}"#
        )
    };
    let lines: Vec<String> = (0..6).map(line).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    let task =
        |path: &Path| format!("task={{ kind = \"jsonl\", path = {path:?}, test_fraction = 0.5 }}");
    let error = refusal(
        "tamtrl",
        &[
            &task(&path),
            "eval.n_documents=1",
            "eval.lengths=[36]",
            "stage.1.problems_per_step=6",
            "stage.1.mini_batches=1",
        ],
    );
    assert!(
        matches!(error, TrainError::TooFewProblems { needed: 6, .. }),
        "{error}"
    );
    let error = refusal(
        "tamtrl",
        &[&task(&path), "eval.n_documents=6", "eval.lengths=[36]"],
    );
    assert!(
        matches!(error, TrainError::TooFewProblems { needed: 6, .. }),
        "{error}"
    );
    let error = refusal(
        "tamtrl",
        &[
            &task(&folder.path().join("gone.jsonl")),
            "eval.lengths=[36]",
        ],
    );
    assert!(error.to_string().contains("gone.jsonl"), "{error}");
}

#[test]
fn a_folder_in_use_and_a_file_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "kept").unwrap();
    let experiment = experiment("tamtrl", &[]);
    for out in [folder.path().to_owned(), file.clone(), file.join("below")] {
        let error = train(
            &experiment,
            &TrainOptions {
                out: Some(out.clone()),
                ..TrainOptions::default()
            },
        );
        assert!(matches!(error, Err(TrainError::Run(_))), "{out:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

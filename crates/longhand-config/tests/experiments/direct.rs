//! Experiments without documents: one turn, and no key that makes sense only where something is read.

use longhand_config::{Experiment, Stage};

use super::{BASE, compare, load};

/// [`BASE`] with a task without documents.
fn direct() -> String {
    let mut text = BASE.to_owned();
    for (old, new) in [
        ("kind = \"class-notes\"", "kind = \"arithmetic\""),
        ("template = \"marks\"", "template = \"direct-marks\""),
        ("read = 48, answer = 12", "read = 0, answer = 64"),
        ("kind = \"tamtrl\"", "kind = \"outcome\""),
        ("max_question_tokens = 8", "max_question_tokens = 24"),
        ("max_answer_tokens = 4", "max_answer_tokens = 40"),
        ("chunk_size = 48", "chunk_size = 1"),
        ("max_memory_tokens = 12", "max_memory_tokens = 1"),
    ] {
        assert_eq!(text.matches(old).count(), 1, "{old}");
        text = text.replace(old, new);
    }
    text
}

#[track_caller]
fn check(old: &str, new: &str, expected: Result<(), &str>) {
    let text = direct();
    assert_eq!(text.matches(old).count(), 1, "{old:?} stands there once");
    compare(load(&text.replace(old, new), &[]), expected);
}

fn loaded(overrides: &[&str]) -> Experiment {
    load(&direct(), overrides).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_task_without_documents_is_one_turn() {
    let experiment = loaded(&[]);
    assert!(experiment.reader.templates.is_direct());
    // Question and answer; neither chunk nor memory.
    assert_eq!(experiment.reader.longest_turn(1), 24 + 40);
    let Stage::WarmStart(stage) = &experiment.stages[0] else {
        panic!("a warm start");
    };
    let examples = stage.examples_per_step;
    assert_eq!((examples.read, examples.answer), (0, 64));
    let rows = experiment.derived();
    let chunks = rows
        .iter()
        .find(|row| row.0 == "chunks per training document");
    assert_eq!(chunks.map(|row| &*row.1), Some("0"));
}

#[test]
fn solutions_may_have_slips_and_notes_none() {
    let Stage::WarmStart(stage) = &loaded(&["stage.0.slips=0.1"]).stages[0] else {
        panic!("a warm start");
    };
    assert_eq!(stage.slips, 0.1);
    let error = load(BASE, &["stage.0.slips=0.1"]).unwrap_err().to_string();
    assert!(
        error.contains("`stage.0.slips`") && error.contains("use `forget`"),
        "{error}"
    );
}

#[test]
fn an_answer_template_alone_reads_nothing() {
    let own = "template = { answer = \"{question} =\" }";
    check("template = \"direct-marks\"", own, Ok(()));
    check(
        "template = \"direct-marks\"",
        "template = { answer = \"{question} {memory}\" }",
        Err(
            "a.toml:13:1: `reader.template`: the direct template names the unknown placeholder {memory}; it may name \
             {question}, and a plain brace is written {{ or }}",
        ),
    );
}

#[test]
fn templates_and_tasks_that_do_not_fit_are_refused() {
    check(
        "kind = \"arithmetic\"",
        "kind = \"lookup\"",
        Err(
            "a.toml:13:1: `reader.template`: the prompt shows the question alone, but lookup asks about a document; \
             use a template that reads, such as `longhand` or `marks`",
        ),
    );
    check(
        "read = 0, answer = 64",
        "read = 1, answer = 0",
        Err(
            "a.toml:21:30: `stage.0.examples_per_step.read`: 1 turns that read, but the template reads nothing; use 0\n\
             a.toml:21:42: `stage.0.examples_per_step.answer`: 0 turns, but the answer is the only one; use at least 1",
        ),
    );
    check(
        "kind = \"arithmetic\"",
        "kind = \"jsonl\"\npath = \"a.jsonl\"",
        Ok(()),
    );
    let text = BASE.replace("kind = \"class-notes\"", "kind = \"algebra\"");
    compare(
        load(&text, &[]),
        Err(
            "a.toml:13:1: `reader.template`: the prompts show a document, but algebra has none; use `direct-marks`, `direct`, or `answer` alone",
        ),
    );
    let text = BASE.replace("read = 48, answer = 12", "read = 0, answer = 12");
    compare(
        load(&text, &[]),
        Err(
            "a.toml:21:30: `stage.0.examples_per_step.read`: 0 turns, but notes are learnt from turns that read; use at least 1",
        ),
    );
    let text = direct().replace(
        "[[stage]]\nkind = \"rl\"",
        "[eval]\nlengths = [1, 2]\n[[stage]]\nkind = \"rl\"",
    );
    compare(
        load(&text, &[]),
        Err(
            "a.toml:24:11: `eval.lengths`: 2 lengths, but problems of this task have no document; give one length",
        ),
    );
}

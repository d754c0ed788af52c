//! `longhand read`.

use crate::fixture::{Call, Place};

const QUESTION: &str = "which fruit was noted ?";

fn read(place: &Place, document: &str, question: &str, more: &[&str]) -> Call {
    let arguments = [
        &[
            "read",
            "run",
            "--document",
            document,
            "--question",
            question,
        ],
        more,
    ]
    .concat();
    place.call(&arguments, "")
}

#[test]
fn the_notes_of_every_chunk_are_shown_and_then_the_answer() {
    let place = Place::with_run();
    // Forty tokens: chunks of 18, 18 and 4.
    place.write(
        "text",
        "the baker noted a pear . ".repeat(6) + "the baker noted a",
    );
    let out = read(&place, "text", QUESTION, &[]).succeeds();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[0],
        "40 tokens in 3 chunks, 0 tokens cut from the centre"
    );
    let starts = [
        "notes after chunk 1/3: ",
        "notes after chunk 2/3: ",
        "notes after chunk 3/3: ",
        "answer: ",
    ];
    assert_eq!(lines.len(), 5, "{out}");
    assert!(
        lines[1..]
            .iter()
            .zip(starts)
            .all(|(line, start)| line.starts_with(start.trim_end())),
        "{out}"
    );

    let value = read(&place, "text", QUESTION, &["--json"]).json();
    assert_eq!(
        (&value["n_tokens"], &value["n_chunks"]),
        (&40.into(), &3.into())
    );
    let turns = value["turns"].as_array().unwrap();
    assert_eq!(turns.len(), 4);
    assert_eq!(
        (&turns[2]["kind"], &turns[2]["chunk_idx"]),
        (&"read".into(), &2.into())
    );
    assert_eq!(
        (&turns[3]["kind"], &turns[3]["text"]),
        (&"answer".into(), &value["answer"])
    );
    let stops = ["end-token", "max-tokens"].map(serde_json::Value::from);
    assert!(
        turns
            .iter()
            .all(|turn| stops.contains(&turn["stop_reason"])),
        "{value}"
    );
}

#[test]
fn short_documents_and_boundaries() {
    let place = Place::with_run();
    let chunks = |text: String| {
        place.write("text", text);
        read(&place, "text", QUESTION, &["--json"]).json()["n_chunks"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(
        chunks(String::new()),
        0,
        "an empty document is answered at once"
    );
    assert_eq!(chunks(" \n ".into()), 0);
    assert_eq!(chunks("pear".into()), 1);
    assert_eq!(chunks("pear ".repeat(18)), 1);
    assert_eq!(chunks("pear ".repeat(19)), 2);
    assert_eq!(chunks("pear ".repeat(36)), 2);
    place.write("text", "");
    let out = read(&place, "text", QUESTION, &[]).succeeds();
    assert!(
        out.starts_with("0 tokens in 0 chunks") && out.contains("answer:"),
        "{out}"
    );
}

#[test]
fn a_document_is_read_whole_unless_chunks_are_counted() {
    let place = Place::with_run();
    place.write("text", "pear ".repeat(180));
    let value = read(&place, "text", QUESTION, &["--json"]).json();
    assert_eq!(
        (&value["n_chunks"], &value["dropped_tokens"]),
        (&10.into(), &0.into())
    );
    let value = read(&place, "text", QUESTION, &["--json", "--max-chunks", "4"]).json();
    assert_eq!(
        (&value["n_chunks"], &value["dropped_tokens"]),
        (&4.into(), &108.into())
    );
}

#[test]
fn sampling_repeats_with_its_seed() {
    let place = Place::with_run();
    place.write("text", "the baker noted a pear . ".repeat(20));
    let read = |seed: &str| {
        read(
            &place,
            "text",
            QUESTION,
            &["--temperature", "2", "--seed", seed, "--json"],
        )
        .json()
    };
    assert_eq!(read("1"), read("1"));
    assert_ne!(read("1"), read("2"));
}

#[test]
fn a_model_alone_can_read_too() {
    let place = Place::with_run();
    place.write("text", "pear ".repeat(500));
    let arguments = [
        "read",
        "run/checkpoints/final",
        "--document",
        "text",
        "--question",
        QUESTION,
        "--template",
        "marks",
        "--json",
    ];
    let value = place.call(&arguments, "").json();
    assert!(1 < value["n_chunks"].as_u64().unwrap(), "{value}");
}

#[test]
fn a_question_over_its_budget_is_refused_before_anything_is_sampled() {
    let place = Place::with_run();
    place.write("text", "pear");
    let call = read(&place, "text", &"why ".repeat(20), &[]);
    call.fails(
        2,
        &[
            "the question has 20 tokens",
            "over max_question_tokens = 8",
            "--question-size",
        ],
    );
    assert_eq!(call.out, "");
    let call = read(&place, "text", QUESTION, &["--memory-size", "1000"]);
    call.fails(2, &["over the window of 96", "--memory-size"]);
    assert_eq!(call.out, "");
}

#[test]
fn documents_that_cannot_be_read_are_named() {
    let place = Place::with_run();
    place.write("latin", b"pear\ncaf\xe9\n");
    read(&place, "latin", QUESTION, &[]).fails(1, &["latin is not UTF-8 at byte 8 (line 2)"]);
    read(&place, "gone", QUESTION, &[]).fails(1, &["cannot read the document gone: "]);
    read(&place, "run", QUESTION, &[]).fails(1, &["cannot read the document run: "]);
    read(&place, "latin", QUESTION, &["--temperature", "-1"]).fails(2, &["temperature is -1"]);
}

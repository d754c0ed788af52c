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
    assert_eq!(chunks("pear".into()), 1);
    assert_eq!(chunks("pear ".repeat(18)), 1);
    assert_eq!(chunks("pear ".repeat(19)), 2);
    assert_eq!(chunks("pear ".repeat(36)), 2);
    for nothing in ["", " \n "] {
        place.write("text", nothing);
        read(&place, "text", QUESTION, &[]).fails(1, &["text holds no text"]);
    }
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
    place.write("page.pdf", b"%PDF-1.7\n");
    read(&place, "latin", QUESTION, &[]).fails(1, &["latin: ", "at byte 8"]);
    read(&place, "gone", QUESTION, &[]).fails(1, &["cannot read gone: "]);
    read(&place, "run", QUESTION, &[]).fails(1, &["run is a folder"]);
    read(&place, "page.pdf", QUESTION, &[]).fails(1, &["is a PDF file", "pdftotext"]);
    read(&place, "latin", QUESTION, &["--temperature", "-1"]).fails(2, &["temperature is -1"]);
}

#[test]
fn several_documents_are_read_one_after_another_with_their_titles() {
    let place = Place::with_run();
    place.write("a.txt", "the baker noted a pear .");
    place.write("b.html", "<title>which fruit</title><p>a pear</p>");
    let value = read(
        &place,
        "a.txt",
        QUESTION,
        &["--document", "b.html", "--json"],
    )
    .json();
    let documents = value["documents"].as_array().unwrap();
    let titles: Vec<&str> = documents
        .iter()
        .map(|one| one["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["a", "which fruit"]);
    let n_tokens = |one: &serde_json::Value| one["n_tokens"].as_u64().unwrap();
    assert_eq!(
        documents.iter().map(n_tokens).sum::<u64>(),
        n_tokens(&value)
    );
    // `Document 1:`, the title and six words; `Document 2:`, two words of the title and two of the text.
    assert_eq!(n_tokens(&value), 3 + 6 + 2 + 2 + 2);
}

#[test]
fn a_reading_goes_on_from_its_notes() {
    let place = Place::with_run();
    place.write("text", "pear ".repeat(90));
    let whole = read(&place, "text", QUESTION, &["--json"]).json();
    assert_eq!(whole["interrupted"], false);
    let kept = read(&place, "text", QUESTION, &["--json", "--notes", "notes"]).json();
    assert_eq!(
        (&kept["turns"], &kept["answer"]),
        (&whole["turns"], &whole["answer"])
    );

    // As if it had been interrupted after the third chunk.
    let mut notes: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("notes")).unwrap()).unwrap();
    let ids = whole["turns"][2]["ids"].as_array().unwrap();
    let is_ended = whole["turns"][2]["stop_reason"] == "end-token";
    notes["place"] = serde_json::json!({
        "n_turns": 3,
        "memory": ids[..ids.len() - usize::from(is_ended)],
        "text": whole["turns"][2]["text"],
        "answer": null,
    });
    place.write("notes", notes.to_string());
    let rest = read(&place, "text", QUESTION, &["--json", "--notes", "notes"]).json();
    assert_eq!(rest["n_turns_before"], 3);
    assert_eq!(rest["answer"], whole["answer"]);
    let turns = |value: &serde_json::Value, from: usize| {
        value["turns"].as_array().unwrap()[from..].to_vec()
    };
    assert_eq!(turns(&rest, 0), turns(&whole, 3));

    let again = read(&place, "text", QUESTION, &["--notes", "notes"]).succeeds();
    assert!(again.contains("has the answer already"), "{again}");
    read(&place, "text", "which pear ?", &["--notes", "notes"])
        .fails(1, &["the notes of another reading", "the question"]);
    read(&place, "text", QUESTION, &["--notes", "text"])
        .fails(1, &["text holds no notes of a reading"]);
}

#[test]
fn chat_options_need_a_chat_template() {
    let place = Place::with_run();
    place.write("text", "pear");
    read(&place, "text", QUESTION, &["--chat", "always"]).fails(2, &["has no chat template"]);
    read(&place, "text", QUESTION, &["--chat", "perhaps"]).fails(2, &["auto, always or never"]);
    read(&place, "text", QUESTION, &["--system", "Be brief."]).fails(2, &["no effect"]);
    read(&place, "text", QUESTION, &["--chat-variable", "a"]).fails(2, &["it has no `=`"]);
    read(&place, "text", QUESTION, &["--chat-variable", "a=b"]).fails(2, &["is not JSON"]);
}

#[test]
fn no_window_is_larger_than_the_models() {
    let place = Place::with_run();
    place.write("text", "pear ".repeat(90));
    let whole = read(&place, "text", QUESTION, &["--json"]).json();
    let wide = read(&place, "text", QUESTION, &["--json", "--window", "100000"]).json();
    assert_eq!(wide, whole);
    read(&place, "text", QUESTION, &["--window", "20"]).fails(2, &["over the window of 20"]);
}

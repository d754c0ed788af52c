//! The JSON document.

use std::sync::atomic::AtomicBool;

use longhand_reading::{Ended, Event, JsonReport};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    fixture::{Scripted, Setting, whole},
    turns::settings,
};

/// The document of a reading that is told to stop before its `tokens`-th token.
fn document(setting: &Setting, tokens: Option<usize>, broken: Option<&str>) -> (Value, Ended) {
    let head = json!({"question": "w\"h\u{e9}", "n_tokens": setting.n_tokens});
    let head: Map<String, Value> = serde_json::from_value(head).unwrap();
    let mut bytes = Vec::new();
    let mut report = JsonReport::begin(&mut bytes, &head).unwrap();
    let mut reading = setting.reading();
    let stop = AtomicBool::new(false);
    let mut generator = Scripted::new(&stop, tokens);
    let ended = reading.run(&mut generator, &stop, &mut |event| match event {
        Event::Done { turn, .. } => report.turn(turn),
        _ => Ok(()),
    });
    let ended = ended.unwrap();
    report
        .end(reading.place(), broken.map_or(Ok(ended), Err))
        .unwrap();
    assert!(bytes.ends_with(b"}\n"));
    (serde_json::from_slice(&bytes).unwrap(), ended)
}

#[test]
fn a_reading_is_one_document() {
    let setting = Setting::default();
    let (value, _) = document(&setting, None, None);
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
    assert_eq!(turns[2]["text"], value["notes"]);
    assert_eq!(value["question"], "w\"h\u{e9}");
    assert_eq!(value["interrupted"], false);
    assert_eq!(value.get("error"), None);
    let stops = ["end-token", "max-tokens"].map(Value::from);
    assert!(
        turns
            .iter()
            .all(|turn| stops.contains(&turn["stop_reason"]))
    );
}

#[test]
fn a_reading_that_broke_down_is_one_document_too() {
    let (value, _) = document(&Setting::default(), Some(3), Some("out of \"luck\""));
    assert_eq!(value["error"], "out of \"luck\"");
    assert_eq!(
        (&value["interrupted"], &value["answer"]),
        (&true.into(), &Value::Null)
    );
}

proptest! {
    #[test]
    fn interrupted_anywhere_the_document_is_whole(setting in settings(), tokens in 0_usize..60) {
        let (value, ended) = document(&setting, Some(tokens), None);
        prop_assert_eq!(&value["interrupted"], ended == Ended::Interrupted);
        let expected = whole(&setting).turns;
        let turns = value["turns"].as_array().unwrap();
        for (turn, expected) in turns.iter().zip(&expected) {
            prop_assert_eq!(&turn["ids"], &json!(expected.ids));
            prop_assert_eq!(&turn["text"], &json!(expected.text));
        }
        prop_assert_eq!(value["answer"].is_null(), ended == Ended::Interrupted);
    }
}

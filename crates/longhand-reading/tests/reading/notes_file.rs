//! The notes file: going on from it, and what is wrong with one.

use std::{fs, path::PathBuf};

use longhand_reading::{Ended, NotesFile, ReadError};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    fixture::{Seen, Setting, run, whole},
    turns::settings,
};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notes.json")
    }

    fn notes(&self, setting: &Setting) -> NotesFile {
        NotesFile::new(&self.path(), setting.id())
    }

    /// Reads until before the `tokens`-th token, from the notes so far.
    fn read(
        &self,
        setting: &Setting,
        tokens: Option<usize>,
        seen: &mut Seen,
    ) -> Result<Ended, ReadError> {
        let mut reading = setting.reading();
        reading.keep_notes(self.notes(setting))?;
        run(&mut reading, tokens, seen)
    }

    /// What a file says when it is gone on from, after `change`.
    fn refused(&self, setting: &Setting, change: impl FnOnce(&mut Value)) -> String {
        let before = fs::read(self.path()).unwrap();
        let mut value: Value = serde_json::from_slice(&before).unwrap();
        change(&mut value);
        fs::write(self.path(), value.to_string()).unwrap();
        let error = self.read(setting, None, &mut Seen::default());
        assert_eq!(
            fs::read_to_string(self.path()).unwrap(),
            value.to_string(),
            "what is refused stays as it is"
        );
        fs::write(self.path(), before).unwrap();
        error.expect_err("refused").to_string()
    }
}

#[test]
fn the_file_says_what_was_read_and_where_it_stands() {
    let (place, setting) = (Place::new(), Setting::default());
    let mut seen = Seen::default();
    place.read(&setting, Some(8), &mut seen).unwrap();
    let value: Value = serde_json::from_slice(&fs::read(place.path()).unwrap()).unwrap();
    assert_eq!(value["format"], "longhand-notes");
    assert_eq!(value["version"], 1);
    assert_eq!(value["reading"]["question"], "why");
    assert_eq!(value["reading"]["n_tokens"], 10);
    assert_eq!(value["reading"]["model"], json!({"layers": 7}));
    assert_eq!(value["place"]["n_turns"], seen.turns.len());
    let last = seen.turns.last().unwrap();
    assert_eq!(value["place"]["text"], last.text);
    assert_eq!(value["place"]["answer"], Value::Null);
    let names = fs::read_dir(place.folder.path()).unwrap();
    assert_eq!(names.count(), 1, "nothing unfinished is left");
}

#[test]
fn a_reading_that_was_answered_has_its_answer_in_the_file() {
    let (place, setting) = (Place::new(), Setting::default());
    place.read(&setting, None, &mut Seen::default()).unwrap();
    let mut reading = setting.reading();
    reading.keep_notes(place.notes(&setting)).unwrap();
    let expected = whole(&setting).turns.pop().unwrap().text;
    let answer = reading.place().answer.clone().unwrap();
    assert_eq!(answer.text, expected);
    let mut again = Seen::default();
    assert_eq!(
        run(&mut reading, None, &mut again).unwrap(),
        Ended::Answered
    );
    assert!(again.turns.is_empty());
}

#[test]
fn what_differs_is_named() {
    let (place, setting) = (Place::new(), Setting::default());
    place.read(&setting, Some(8), &mut Seen::default()).unwrap();
    let check = |other: Setting, what: &str| {
        let error = place.read(&other, None, &mut Seen::default());
        let error = error.expect_err(what).to_string();
        assert!(error.contains("the notes of another reading"), "{error}");
        assert!(error.contains(what), "{error}");
    };
    let default = Setting::default;
    check(
        Setting {
            chunk_size: 5,
            ..default()
        },
        "the chunk size (4 in the notes, 5 here) differs",
    );
    check(
        Setting {
            seed: 2,
            answer_size: 4,
            ..default()
        },
        "the answer size (3 in the notes, 4 here), the seed (1 in the notes, 2 here)",
    );
    check(
        Setting {
            question: "who",
            ..default()
        },
        "the question (\"why\" in the notes, \"who\" here)",
    );
    check(
        Setting {
            n_tokens: 11,
            ..default()
        },
        "the tokens of the document (10 in the notes, 11 here)",
    );
    check(
        Setting {
            max_chunks: Some(9),
            ..default()
        },
        "the most chunks (all in the notes, 9 here)",
    );
    check(
        Setting {
            memory_size: 6,
            ..default()
        },
        "the memory size",
    );
    check(
        Setting {
            model: 8,
            ..default()
        },
        "the model's layers (7 in the notes, 8 here)",
    );
    let refused =
        |name: &str| place.refused(&setting, |value| value["reading"][name] = "00".into());
    assert!(refused("document").contains("the document (as long, with another text) differs"));
    assert!(refused("prompts").contains("the prompts (another template"));
    // A smaller window that every turn fits changes nothing.
    let narrow = Setting {
        window: Some(100),
        ..default()
    };
    place.read(&narrow, None, &mut Seen::default()).unwrap();
}

#[test]
fn what_is_no_notes_file_is_refused_and_left_alone() {
    let (place, setting) = (Place::new(), Setting::default());
    place.read(&setting, Some(8), &mut Seen::default()).unwrap();
    let check = |change: &dyn Fn(&mut Value), expected: &str| {
        let error = place.refused(&setting, change);
        assert!(error.contains(expected), "{error}");
    };
    check(
        &|value| *value = json!("a document"),
        "holds no notes of a reading",
    );
    check(
        &|value| value["format"] = "gguf".into(),
        "its format is not",
    );
    check(&|value| value["version"] = 2.into(), "format version 2");
    check(
        &|value| value["place"]["n_turns"] = 9.into(),
        "cannot go on after 9 turns: there are 4",
    );
    check(
        &|value| value["place"]["n_turns"] = 4.into(),
        "gives the answer",
    );
    check(
        &|value| value["place"]["n_turns"] = (-1).into(),
        "invalid value",
    );
    check(
        &|value| value["place"]["memory"] = vec![1; 6].into(),
        "the memory has 6 tokens, over its cap of 5",
    );
    check(
        &|value| value["place"]["text"] = "better".into(),
        "the text of the memory is not that",
    );
    check(
        &|value| value["place"]["memory"] = vec![99].into(),
        "no token 99",
    );
    check(
        &|value| value["place"]["more"] = 1.into(),
        "unknown field `more`",
    );
    check(&|value| value["reading"] = json!({}), "missing field");
}

#[test]
fn a_place_that_cannot_be_written_is_found_before_anything_is_sampled() {
    let setting = Setting::default();
    let place = Place::new();
    let check = |path: PathBuf, expected: &str| {
        let mut reading = setting.reading();
        let error = reading.keep_notes(NotesFile::new(&path, setting.id()));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        place.folder.path().join("no/notes"),
        "cannot write the notes to ",
    );
    check(place.folder.path().to_owned(), "no plain file");
    check(place.folder.path().join(".."), "no plain file");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn going_on_from_the_file_gives_the_turns_of_an_uninterrupted_reading(
        setting in settings(),
        stops in proptest::collection::vec(0_usize..12, 0..8),
    ) {
        let place = Place::new();
        let mut seen = Seen::default();
        for tokens in stops {
            place.read(&setting, Some(tokens), &mut seen).unwrap();
        }
        let ended = place.read(&setting, None, &mut seen).unwrap();
        prop_assert_eq!(ended, Ended::Answered);
        prop_assert_eq!(seen.turns, whole(&setting).turns);
    }

    /// Whatever the file says, the reading goes on from it or says what is wrong.
    #[test]
    fn a_hostile_file_is_an_error(
        cut in 0_usize..2000,
        at in 0_usize..2000,
        n_removed in 0_usize..40,
        inserted in proptest::sample::select(vec![
            "", "[", "[[[[[[[[[[[[[[", "{\"a\":", "1e999", "-1", "18446744073709551616", "null",
            "\"", "\\ud800", "\u{0}", "4294967296", ",", "}", "\u{1f600}", "\"memory\": []",
        ]),
        n_repeats in 1_usize..300,
    ) {
        let (place, setting) = (Place::new(), Setting::default());
        place.read(&setting, Some(8), &mut Seen::default()).unwrap();
        let mut bytes = fs::read(place.path()).unwrap();
        let at = at.min(bytes.len());
        let end = (at + n_removed).min(bytes.len());
        bytes.splice(at..end, inserted.repeat(n_repeats).into_bytes());
        bytes.truncate(cut.max(1));
        fs::write(place.path(), bytes).unwrap();
        if let Err(error) = place.read(&setting, None, &mut Seen::default()) {
            prop_assert!(error.to_string().contains("notes"), "{}", error);
        }
    }
}

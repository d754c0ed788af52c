//! The loop over turns: what is shown, where it stops, what it never exceeds.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use longhand_memory::TurnKind;
use longhand_reading::{Ended, Event, ReadError};
use longhand_rollout::{Completion, Request, Sampling};
use proptest::prelude::*;

use crate::fixture::{END, Scripted, Seen, Setting, run, whole};

#[test]
fn a_document_is_read_chunk_by_chunk_and_answered() {
    let seen = whole(&Setting::default());
    let kinds: Vec<TurnKind> = seen.turns.iter().map(|turn| turn.kind).collect();
    let read = |chunk_idx| TurnKind::Read { chunk_idx };
    assert_eq!(kinds, [read(0), read(1), read(2), TurnKind::Answer]);
    // Three marks, three of the question, four of the chunk, one of the memory.
    assert_eq!(seen.turns[0].n_prompt, 4 + 3 + 4 + 1);
    assert!(
        seen.turns
            .iter()
            .enumerate()
            .all(|(idx, turn)| turn.turn_idx == idx)
    );
}

#[test]
fn an_empty_document_is_answered_at_once() {
    let setting = Setting {
        n_tokens: 0,
        ..Setting::default()
    };
    let seen = whole(&setting);
    assert_eq!(seen.turns.len(), 1);
    assert_eq!(seen.turns[0].kind, TurnKind::Answer);
}

#[test]
fn a_reading_that_is_over_asks_nothing() {
    let mut reading = Setting::default().reading();
    let mut seen = Seen::default();
    run(&mut reading, None, &mut seen).unwrap();
    let mut again = Seen::default();
    assert_eq!(
        run(&mut reading, None, &mut again).unwrap(),
        Ended::Answered
    );
    assert_eq!(again, Seen::default());
    assert_eq!(
        reading.place().answer.as_ref().map(|answer| &answer.text),
        seen.turns.last().map(|turn| &turn.text)
    );
}

#[test]
fn progress_counts_chunks_and_the_time_left_ends_at_zero() {
    let mut progress = Vec::new();
    let stop = AtomicBool::new(false);
    let mut generator = Scripted::new(&stop, None);
    let mut on_event = |event: Event<'_>| {
        if let Event::Done { progress: now, .. } = event {
            progress.push((now.n_chunks_read, now.n_chunks, now.left.is_some()));
        }
        Ok(())
    };
    let mut reading = Setting::default().reading();
    reading.run(&mut generator, &stop, &mut on_event).unwrap();
    assert_eq!(
        progress,
        [(1, 3, true), (2, 3, true), (3, 3, true), (3, 3, true)]
    );
}

#[test]
fn whoever_cannot_show_ends_the_reading_at_once() {
    let stop = AtomicBool::new(false);
    for n_shown in 0..4 {
        let mut left = n_shown;
        let mut on_event = |_: Event<'_>| match left {
            0 => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            _ => {
                left -= 1;
                Ok(())
            }
        };
        let mut generator = Scripted::new(&stop, None);
        let error = Setting::default()
            .reading()
            .run(&mut generator, &stop, &mut on_event)
            .unwrap_err();
        let ReadError::Show(source) = &error else {
            panic!("{error}");
        };
        assert_eq!(source.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[test]
fn a_generator_that_fails_is_named_with_its_turn() {
    let mut n_calls = 0;
    let mut generator = |requests: &[Request], _: &Sampling| {
        n_calls += 1;
        if n_calls == 2 {
            return Err(io::Error::other("the weights are broken"));
        }
        Ok(vec![Completion {
            ids: vec![1; requests[0].max_tokens],
            logprobs: vec![],
            stop_reason: longhand_memory::StopReason::MaxTokens,
        }])
    };
    let mut reading = Setting::default().reading();
    let stop = AtomicBool::new(false);
    let error = reading.run(&mut generator, &stop, &mut |_| Ok(()));
    assert_eq!(
        error.unwrap_err().to_string(),
        "cannot sample turn 1: the weights are broken"
    );
    assert_eq!(reading.place().n_turns, 1);
}

#[test]
fn what_comes_after_an_end_or_over_the_cap_is_neither_kept_nor_shown() {
    let mut replies = [vec![1, END, 1], vec![1; 9], vec![END], vec![2, 1]].into_iter();
    let mut generator = |_: &[Request], _: &Sampling| {
        let ids = replies.next().unwrap();
        Ok::<_, std::convert::Infallible>(vec![Completion {
            logprobs: vec![0.0; ids.len()],
            ids,
            stop_reason: longhand_memory::StopReason::EndToken,
        }])
    };
    let mut seen = Seen::default();
    let stop = AtomicBool::new(false);
    let mut reading = Setting::default().reading();
    reading
        .run(&mut generator, &stop, &mut |event| seen.see(event))
        .unwrap();
    assert_eq!(seen.texts, ["a", "aaaaa", "", "ba"]);
    let texts: Vec<&String> = seen.turns.iter().map(|turn| &turn.text).collect();
    assert_eq!(texts, seen.texts.iter().collect::<Vec<_>>());
}

pub(crate) fn settings() -> impl Strategy<Value = Setting> {
    (
        0_usize..30,
        1_usize..12,
        1_usize..9,
        1_usize..6,
        0_u64..1000,
    )
        .prop_map(
            |(n_tokens, chunk_size, memory_size, answer_size, seed)| Setting {
                n_tokens,
                chunk_size,
                memory_size,
                answer_size,
                seed,
                ..Setting::default()
            },
        )
}

proptest! {
    #[test]
    fn the_pieces_shown_are_the_text_of_the_turn(setting in settings()) {
        let seen = whole(&setting);
        let texts: Vec<String> = seen.turns.iter().map(|turn| turn.text.clone()).collect();
        prop_assert_eq!(&seen.texts, &texts);
    }

    #[test]
    fn told_to_stop_at_any_token_the_turn_under_way_is_dropped(
        setting in settings(),
        tokens in 0_usize..60,
    ) {
        let expected = whole(&setting);
        let mut reading = setting.reading();
        let mut seen = Seen::default();
        let ended = run(&mut reading, Some(tokens), &mut seen).unwrap();
        let mut n_told = 0;
        let is_whole = |turn: &&longhand_reading::Turn| {
            n_told += turn.ids.len();
            n_told <= tokens
        };
        let n_whole = expected.turns.iter().take_while(is_whole).count();
        prop_assert_eq!(&seen.turns[..], &expected.turns[..n_whole]);
        prop_assert_eq!(ended == Ended::Answered, n_whole == expected.turns.len());
        prop_assert_eq!(reading.place().n_turns, n_whole);
        prop_assert_eq!(reading.reader().n_turns_done(), n_whole);
        // The same reading can be told to go on.
        run(&mut reading, None, &mut seen).unwrap();
        prop_assert_eq!(seen.turns, expected.turns);
    }

    #[test]
    fn no_turn_exceeds_the_window(setting in settings(), window in 5_usize..60) {
        let setting = Setting { window: Some(window), ..setting };
        let Ok(reader) = setting.reader() else {
            // What is refused is refused before anything is sampled.
            return Ok(());
        };
        let stop = AtomicBool::new(false);
        let mut generator = Scripted::new(&stop, None);
        setting.reading().run(&mut generator, &stop, &mut |_| Ok(())).unwrap();
        prop_assert!(generator.longest <= window);
        prop_assert!(0 < generator.longest);
        prop_assert!(reader.limits().window == Some(window));
    }
}

#[test]
fn a_reading_told_to_stop_beforehand_asks_nothing() {
    let stop = AtomicBool::new(true);
    let mut generator = Scripted::new(&stop, None);
    let mut on_event = |event: Event<'_>| panic!("{event:?}");
    let ended = Setting::default()
        .reading()
        .run(&mut generator, &stop, &mut on_event);
    assert_eq!(ended.unwrap(), Ended::Interrupted);
    assert!(stop.load(Ordering::Relaxed));
}

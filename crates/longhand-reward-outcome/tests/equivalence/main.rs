//! The equivalence of answers, held against labelled pairs.
//!
//! `developed_with.tsv` was read while the rules were written, `held_out.tsv` was written before the first
//! of them and never used to change one: its score says what to expect of other pairs.

mod laws;

use longhand_reward_outcome::{Budget, Verdict, equivalent};

/// A pair and whether it is labelled as the same answer.
struct Pair<'a> {
    is_same: bool,
    left: &'a str,
    right: &'a str,
}

fn pairs(text: &str) -> Vec<Pair<'_>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line| match str::split(line, '\t').collect::<Vec<_>>().as_slice() {
        [label @ ("=" | "!"), left, right] => Pair {
            is_same: *label == "=",
            left,
            right,
        },
        _ => panic!("{line:?} is no pair"),
    };
    lines.map(pair).collect()
}

/// The pairs that are judged wrongly: (missed, falsely equal).
fn wrong(pairs: &[Pair]) -> (Vec<String>, Vec<String>) {
    let (mut missed, mut false_equal) = (Vec::new(), Vec::new());
    for Pair {
        is_same,
        left,
        right,
    } in pairs
    {
        let verdict = equivalent(left, right, &Budget::default());
        assert_eq!(
            verdict,
            equivalent(right, left, &Budget::default()),
            "{left} | {right} depends on the order"
        );
        let line = format!("{left} | {right}: {verdict:?}");
        match (*is_same, verdict == Verdict::Equal) {
            (true, false) => missed.push(line),
            (false, true) => false_equal.push(line),
            _ => {}
        }
    }
    (missed, false_equal)
}

#[test]
fn the_pairs_it_was_developed_with() {
    let pairs = pairs(include_str!("developed_with.tsv"));
    assert!(200 < pairs.len());
    let (missed, false_equal) = wrong(&pairs);
    assert!(
        missed.is_empty() && false_equal.is_empty(),
        "missed:\n{}\nfalsely equal:\n{}",
        missed.join("\n"),
        false_equal.join("\n")
    );
}

#[test]
fn the_pairs_held_out() {
    let pairs = pairs(include_str!("held_out.tsv"));
    assert!(150 < pairs.len());
    let (missed, false_equal) = wrong(&pairs);
    assert!(
        false_equal.is_empty(),
        "falsely equal:\n{}",
        false_equal.join("\n")
    );
    let share = 1.0 - missed.len() as f64 / pairs.len() as f64;
    assert!(
        0.97 < share,
        "{share} of the pairs are right; missed:\n{}",
        missed.join("\n")
    );
}

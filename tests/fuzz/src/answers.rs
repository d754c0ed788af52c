//! What models and judges write, and what formulas are asked.

use longhand_compute::Kind;
use longhand_reward_judge::parse_reply;
use longhand_reward_outcome::{
    Budget, Checker, Equivalence, Percent, Verdict, boxed, clean_math, extract_boxed, normalise,
    parse_number,
};
use serde_json::{Value, json};

/// Zero bytes divide a prediction and accepted answers.
fn texts(bytes: &[u8]) -> Vec<String> {
    let parts = bytes.split(|byte| *byte == 0);
    parts
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect()
}

/// What is in a box is a part of the text, and is right where it is what was expected.
pub(crate) fn boxed_answer(bytes: &[u8]) {
    let texts = texts(bytes);
    let Some(content) = extract_boxed(&texts[0]) else {
        assert_eq!(boxed(&texts[0], &texts), 0.0);
        return;
    };
    assert!(texts[0].contains(content));
    assert_eq!(boxed(&texts[0], &[content.to_owned()]), 1.0, "{content:?}");
}

/// Numbers are equal to themselves, whichever is compared with which.
pub(crate) fn number(bytes: &[u8]) {
    let texts = texts(bytes);
    let read = || -> Vec<_> {
        let numbers = texts.iter().filter_map(|text| parse_number(text));
        numbers.take(4).collect()
    };
    let (numbers, again) = (read(), read());
    assert_eq!(numbers, again);
    for left in &numbers {
        for right in &again {
            let (forth, back) = (left.eq(right), right.eq(left));
            assert_eq!(forth, back);
        }
    }
}

/// A verdict is the same in both orders, an answer is its own equal, and numbers are compared as numbers.
pub(crate) fn equivalence(bytes: &[u8]) {
    let texts = texts(bytes);
    for percent in [Percent::Hundredth, Percent::Sign] {
        let equivalence = Equivalence {
            percent,
            budget: Budget::default(),
        };
        for text in texts.iter().take(3) {
            let content = extract_boxed(text).unwrap_or(text).trim();
            let is_itself = equivalence.compare(text, text) == Verdict::Equal;
            assert_eq!(is_itself, !content.is_empty(), "{text:?}");
            for other in texts.iter().take(3) {
                let verdict = equivalence.compare(text, other);
                assert_eq!(
                    verdict,
                    equivalence.compare(other, text),
                    "{text:?} {other:?}"
                );
                let is_plain = |text: &str| text.bytes().all(|b| b"0123456789./-+e".contains(&b));
                if let (Some(number), Some(second)) = (parse_number(text), parse_number(other))
                    && is_plain(text)
                    && is_plain(other)
                    && text.len().max(other.len()) < 4096
                {
                    assert_eq!(
                        verdict == Verdict::Equal,
                        number == second,
                        "{text:?} {other:?}"
                    );
                }
            }
        }
    }
}

/// Cleaning never makes a text much longer.
pub(crate) fn math_cleaning(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let clean = clean_math(&text);
    // Braces around two arguments and `\frac` in the place of `/`; `.5` gets its zero.
    assert!(
        clean.len() <= 3 * text.len() + 8,
        "{} bytes from {}",
        clean.len(),
        text.len()
    );
    assert_eq!(clean, clean_math(&text));
}

/// Scores are in the range, a text is its own right answer, and what was not parsed scores nothing.
pub(crate) fn checkers(bytes: &[u8]) {
    let texts = texts(bytes);
    let (prediction, answers) = texts.split_first().expect("splitting gives one part");
    let same = [prediction.clone()];
    let answers = if answers.is_empty() {
        &same[..]
    } else {
        answers
    };
    for checker in Checker::ALL {
        let score = checker.score(prediction, answers);
        assert!((0.0..=1.0).contains(&score), "{checker:?}: {score}");
        let compares_anything = matches!(
            checker,
            Checker::ExactMatch | Checker::TokenF1 | Checker::Contains
        ) && answers.iter().any(|answer| normalise(answer).is_empty());
        if !checker.is_parsed(prediction) && !compares_anything {
            assert_eq!(score, 0.0, "{checker:?}");
        }
        let finds_itself = match checker {
            Checker::ExactMatch | Checker::TokenF1 | Checker::Contains => true,
            Checker::Numeric => checker.is_parsed(prediction),
            _ => false,
        };
        if finds_itself {
            assert_eq!(checker.score(prediction, &same), 1.0, "{checker:?}");
        }
    }
}

/// A reply that is accepted has a reward in the range, and printed it reads as the same.
pub(crate) fn judge_reply(bytes: &[u8]) {
    match parse_reply(bytes) {
        Ok(reply) => {
            let printed = match &reply.reward {
                Ok(reward) => {
                    assert!((0.0..=1.0).contains(reward));
                    json!({"id": reply.id, "reward": reward})
                }
                Err(reason) => json!({"id": reply.id, "error": reason}),
            };
            assert_eq!(parse_reply(printed.to_string().as_bytes()), Ok(reply));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Every line of formulas gets one line of JSON, an error or only numbers, and the same one twice.
pub(crate) fn compute_lines(bytes: &[u8]) {
    for kind in Kind::ALL {
        let mut output = Vec::new();
        let summary = longhand_compute::run(bytes, &mut output, kind).expect("memory takes all");
        let mut n_failed = 0;
        let lines: Vec<&[u8]> = output.split_inclusive(|byte| *byte == b'\n').collect();
        for line in &lines {
            let answer: Value = serde_json::from_slice(line).expect("JSON");
            n_failed += usize::from(answer.get("error").is_some());
        }
        assert_eq!((summary.lines, summary.failed), (lines.len(), n_failed));
        let mut again = Vec::new();
        longhand_compute::run(bytes, &mut again, kind).expect("memory takes all");
        assert_eq!(output, again);
    }
}

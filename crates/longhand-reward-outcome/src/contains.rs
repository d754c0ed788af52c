//! Containment: the prediction may say more than the answer, as long as it says the answer.
//!
//! `1 if normalise(answer) is a substring of normalise(prediction) for any accepted answer, else 0`
//!
//! Source: the recall-style metric common for long-context question answering (RULER,
//! arXiv:2404.06654), here on SQuAD's normalised text (arXiv:1606.05250).
//!
//! Assumption: answers are distinctive. It is a substring of characters, so `12` contains `1`.
//! Difference: an answer that normalises to nothing (a choice named `A`) is contained in everything;
//! it only counts when the prediction normalises to nothing as well.

use crate::{best, normalise};

/// 1 when an accepted answer occurs in the prediction, both after [`normalise`], else 0.
///
/// # Panics
/// When `answers` is empty.
pub fn contains(prediction: &str, answers: &[String]) -> f64 {
    let prediction = normalise(prediction);
    best(answers, |answer| {
        let answer = normalise(answer);
        f64::from(if answer.is_empty() {
            prediction.is_empty()
        } else {
            prediction.contains(&answer)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::contains;
    use crate::exact_match;
    use proptest::prelude::*;

    #[track_caller]
    fn check(prediction: &str, answers: &[&str], expected: f64) {
        let answers: Vec<String> = answers.iter().map(|a| a.to_string()).collect();
        assert_eq!(contains(prediction, &answers), expected, "{prediction:?}");
    }

    #[test]
    fn an_empty_answer_is_not_contained_in_everything() {
        check("anything", &["A"], 0.0);
        check("", &["A"], 1.0);
        check("", &["Paris"], 0.0);
    }

    #[test]
    fn the_answer_may_stand_anywhere() {
        check(
            "It was, I think, the City of Paris.",
            &["city of Paris"],
            1.0,
        );
        check("Paris city", &["city of Paris"], 0.0);
        check("born in MÜNCHEN", &["Zürich", "München"], 1.0);
    }

    #[test]
    fn the_other_direction_does_not_count() {
        check("Paris", &["city of Paris"], 0.0);
    }

    proptest! {
        #[test]
        fn an_exact_match_is_contained(text in "\\PC{0,20}", other in "\\PC{0,20}") {
            let answers = [other, text.clone()];
            prop_assert_eq!(exact_match(&text, &answers), 1.0);
            prop_assert_eq!(contains(&text, &answers), 1.0);
        }
    }
}

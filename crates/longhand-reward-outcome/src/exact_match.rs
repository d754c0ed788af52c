//! Exact match after SQuAD's normalisation (arXiv:1606.05250): TAMTRL's outcome (arXiv:2603.21663).
//!
//! `1 if normalise(prediction) = normalise(answer) for any accepted answer, else 0`
//!
//! Differences: none. As in the original, an answer that is only an article (a choice named `A`)
//! normalises to nothing and equals an empty prediction; use other labels, or
//! [`boxed`](crate::boxed), for such tasks.

use crate::{best, normalise};

/// 1 when the prediction equals an accepted answer after [`normalise`], else 0.
///
/// # Panics
/// When `answers` is empty.
pub fn exact_match(prediction: &str, answers: &[String]) -> f64 {
    let prediction = normalise(prediction);
    best(answers, |answer| f64::from(normalise(answer) == prediction))
}

#[cfg(test)]
mod tests {
    use super::exact_match;

    #[track_caller]
    fn check(prediction: &str, answers: &[&str], expected: f64) {
        let answers: Vec<String> = answers.iter().map(|a| a.to_string()).collect();
        assert_eq!(
            exact_match(prediction, &answers),
            expected,
            "{prediction:?}"
        );
    }

    #[test]
    fn an_empty_prediction_only_equals_an_empty_answer() {
        check("", &["Paris"], 0.0);
        check("the", &[""], 1.0);
        check("", &["A"], 1.0);
    }

    #[test]
    fn the_best_answer_counts() {
        check("The Beatles.", &["Rolling Stones", "beatles"], 1.0);
        check("the beatles band", &["Beatles"], 0.0);
        check(
            "Denver Broncos",
            &["Denver Broncos", "Denver Broncos", "x"],
            1.0,
        );
    }

    #[test]
    fn case_is_folded_beyond_ascii() {
        check("ÉCOLE", &["école"], 1.0);
        check("Škoda", &["skoda"], 0.0);
    }
}

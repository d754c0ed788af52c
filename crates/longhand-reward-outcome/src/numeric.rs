//! Numeric equality: `0.5`, `1/2` and `50%` are the same answer.
//!
//! `1 if parse_number(prediction) = parse_number(answer) for any accepted answer, else 0`
//!
//! Exact, see [`parse_number`]: no tolerance, and different numbers are never
//! equal. The whole prediction must be one number; a text around it scores 0 (extract the answer
//! first, for example with [`extract_boxed`](crate::extract_boxed)). An accepted answer that is no
//! number matches nothing.

use crate::{best, parse_number};

/// 1 when the prediction is the same number as an accepted answer, else 0.
///
/// # Panics
/// When `answers` is empty.
pub fn numeric(prediction: &str, answers: &[String]) -> f64 {
    let prediction = parse_number(prediction);
    best(answers, |answer| {
        f64::from(prediction.is_some() && parse_number(answer) == prediction)
    })
}

#[cfg(test)]
mod tests {
    use super::numeric;

    #[track_caller]
    fn check(prediction: &str, answers: &[&str], expected: f64) {
        let answers: Vec<String> = answers.iter().map(|a| a.to_string()).collect();
        assert_eq!(numeric(prediction, &answers), expected, "{prediction:?}");
    }

    #[test]
    fn what_is_no_number_is_never_equal() {
        check("", &[""], 0.0);
        check("seven", &["seven"], 0.0);
        check("7", &["seven"], 0.0);
    }

    #[test]
    fn the_best_answer_counts() {
        check("7", &["seven", "7.0"], 1.0);
        check("$1,000", &["1e3"], 1.0);
        check("0.333", &["1/3"], 0.0);
    }
}

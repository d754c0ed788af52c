//! Token F1 after SQuAD's normalisation (arXiv:1606.05250): partial credit for partial answers.
//!
//! `F1 = 2 P R / (P + R)`, with P and R the shares of shared words (counted as a multiset) in the
//! prediction and in the answer. If either side has no word, `F1 = 1` when both have none, else 0
//! (the rule of SQuAD 2.0, arXiv:1806.03822). The best accepted answer counts.
//!
//! Differences: none.

use std::collections::HashMap;

use crate::{best, normalise};

/// Word overlap of the prediction with the closest accepted answer, in `[0, 1]`.
///
/// # Panics
/// When `answers` is empty.
pub fn token_f1(prediction: &str, answers: &[String]) -> f64 {
    let prediction = normalise(prediction);
    let words: Vec<&str> = prediction.split_whitespace().collect();
    best(answers, |answer| {
        let answer = normalise(answer);
        let answer_words: Vec<&str> = answer.split_whitespace().collect();
        f1(&words, &answer_words)
    })
}

fn f1(prediction: &[&str], answer: &[&str]) -> f64 {
    if prediction.is_empty() || answer.is_empty() {
        return f64::from(prediction.is_empty() && answer.is_empty());
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in answer {
        *left.entry(word).or_default() += 1;
    }
    let mut n_shared = 0_usize;
    for word in prediction {
        if let Some(n) = left.get_mut(word)
            && *n != 0
        {
            *n -= 1;
            n_shared += 1;
        }
    }
    // 2PR/(P+R) with P = shared/n_prediction and R = shared/n_answer, divided out.
    2.0 * n_shared as f64 / (prediction.len() + answer.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::token_f1;
    use proptest::prelude::*;

    #[track_caller]
    fn check(prediction: &str, answers: &[&str], expected: f64) {
        let answers: Vec<String> = answers.iter().map(|a| a.to_string()).collect();
        let found = token_f1(prediction, &answers);
        assert!((found - expected).abs() < 1e-15, "{prediction:?}: {found}");
    }

    #[test]
    fn without_words_only_both_empty_is_right() {
        check("", &["the"], 1.0);
        check("", &["Paris"], 0.0);
        check("Paris", &["!"], 0.0);
    }

    // By hand: 1 shared word of 2 and of 3: P = 1/2, R = 1/3, F1 = 2*(1/6)/(5/6) = 0.4.
    #[test]
    fn precision_and_recall_both_count() {
        check("green car", &["car of Tom"], 0.4);
        check("x y", &["p q"], 0.0);
        check("x", &["x"], 1.0);
    }

    // By hand: the multiset intersection of {b,b,c} and {b,c,c} is {b,c}: F1 = 4/6.
    #[test]
    fn repeated_words_are_counted() {
        check("b b c", &["b c c"], 2.0 / 3.0);
        check("b b b b", &["b"], 0.4);
    }

    #[test]
    fn the_best_answer_counts() {
        check("b c", &["d", "b", "b c d"], 0.8);
    }

    proptest! {
        #[test]
        fn f1_is_symmetric_and_within_bounds(a in "[abcd ]{0,12}", b in "[abcd ]{0,12}") {
            let there = token_f1(&a, std::slice::from_ref(&b));
            let back = token_f1(&b, std::slice::from_ref(&a));
            prop_assert_eq!(there, back);
            prop_assert!((0.0..=1.0).contains(&there));
            prop_assert_eq!(token_f1(&a, std::slice::from_ref(&a)), 1.0);
        }
    }
}

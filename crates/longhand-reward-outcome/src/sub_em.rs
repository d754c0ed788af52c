//! MemAgent's evaluation metric: containment in either direction (arXiv:2507.02259, official code).
//!
//! `1 if normalise(answer) in normalise(prediction) or normalise(prediction) in normalise(answer)`
//!
//! The prediction is what follows the last "the answer is" ([`after_answer_cue`]), and only the
//! first accepted answer is looked at. The original leaves empty outputs out of its denominator;
//! here they are `None`, and the caller decides.
//!
//! Difference: "empty" is judged after normalisation, where the original counts an output such as
//! `...` as right because nothing is contained in everything. A metric, not a reward: a policy
//! trained on it learns to answer with a single letter.

use crate::normalise;

/// 1 when either text contains the other after [`normalise`], 0 when not, `None` for a prediction
/// without any word.
pub fn sub_em(prediction: &str, answer: &str) -> Option<f64> {
    let prediction = words(prediction)?;
    let answer = normalise(answer);
    let contained = prediction.contains(&answer) || answer.contains(&prediction);
    // An answer without any word is contained in everything, and says nothing.
    Some(f64::from(contained && !answer.is_empty()))
}

/// The prediction in the form that is compared; `None` when no word is in it.
pub(crate) fn words(prediction: &str) -> Option<String> {
    Some(normalise(prediction)).filter(|words| !words.is_empty())
}

/// What follows the last "the answer is" (in any case); the whole text when that is not there.
pub fn after_answer_cue(text: &str) -> &str {
    const CUE: &[u8] = b"the answer is";
    let found = text
        .as_bytes()
        .windows(CUE.len())
        .rposition(|window| window.eq_ignore_ascii_case(CUE));
    match found {
        // The cue is ASCII, so its end is a character boundary.
        Some(start) => &text[start + CUE.len()..],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{after_answer_cue, sub_em};

    #[test]
    fn an_output_without_words_is_no_answer() {
        assert_eq!(sub_em("", "Paris"), None);
        assert_eq!(sub_em(" ... ", "Paris"), None);
        assert_eq!(sub_em("Paris", "the"), Some(0.0));
    }

    #[test]
    fn both_directions_count() {
        assert_eq!(sub_em("the city of Paris", "Paris"), Some(1.0));
        assert_eq!(sub_em("Paris", "city of Paris"), Some(1.0));
        assert_eq!(sub_em("Rome", "city of Paris"), Some(0.0));
    }

    #[test]
    fn the_last_cue_wins() {
        assert_eq!(
            after_answer_cue("The answer is 4. No, THE ANSWER IS 5"),
            " 5"
        );
        assert_eq!(after_answer_cue("Ωthe answer isΩ"), "Ω");
        assert_eq!(after_answer_cue("none"), "none");
        assert_eq!(after_answer_cue(""), "");
    }
}

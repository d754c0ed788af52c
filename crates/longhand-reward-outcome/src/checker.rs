//! One checker, chosen by name.

use crate::{
    BoxedOptions, MEMAGENT_BOX, after_answer_cue, boxed_with, contains, exact_match, numeric,
    sub_em, token_f1,
};

/// Which rule decides whether a final answer is right. In files: the name in kebab case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Checker {
    /// `exact-match`: equal after SQuAD's normalisation, [`exact_match`].
    ExactMatch,
    /// `token-f1`: word overlap, [`token_f1`].
    TokenF1,
    /// `contains`: the prediction contains an accepted answer, [`contains`].
    Contains,
    /// `sub-em`: MemAgent's evaluation metric, [`sub_em`] with the first accepted answer on what
    /// follows the last "the answer is"; a prediction without any word scores 0.
    SubEm,
    /// `boxed`: the content of the last box, [`boxed`](crate::boxed).
    Boxed,
    /// `memagent-box`: the same, looking at the last 300 characters only, [`MEMAGENT_BOX`].
    MemagentBox,
    /// `numeric`: equal as exact numbers, [`numeric`].
    Numeric,
}

impl Checker {
    /// Every checker, in the order of the documentation.
    pub const ALL: [Checker; 7] = [
        Checker::ExactMatch,
        Checker::TokenF1,
        Checker::Contains,
        Checker::SubEm,
        Checker::Boxed,
        Checker::MemagentBox,
        Checker::Numeric,
    ];

    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Checker::ExactMatch => "exact-match",
            Checker::TokenF1 => "token-f1",
            Checker::Contains => "contains",
            Checker::SubEm => "sub-em",
            Checker::Boxed => "boxed",
            Checker::MemagentBox => "memagent-box",
            Checker::Numeric => "numeric",
        }
    }

    /// The reward of a prediction, in `[0, 1]`.
    ///
    /// # Panics
    /// When `answers` is empty.
    pub fn score(self, prediction: &str, answers: &[String]) -> f64 {
        match self {
            Checker::ExactMatch => exact_match(prediction, answers),
            Checker::TokenF1 => token_f1(prediction, answers),
            Checker::Contains => contains(prediction, answers),
            Checker::SubEm => {
                let first = answers
                    .first()
                    .expect("a checker needs at least one accepted answer");
                sub_em(after_answer_cue(prediction), first).unwrap_or(0.0)
            }
            Checker::Boxed => boxed_with(&BoxedOptions::default(), prediction, answers),
            Checker::MemagentBox => boxed_with(&MEMAGENT_BOX, prediction, answers),
            Checker::Numeric => numeric(prediction, answers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Checker;

    #[test]
    fn each_checker_is_its_own_function() {
        let answers = ["1,000".to_owned()];
        let scores = |prediction: &str| Checker::ALL.map(|c| c.score(prediction, &answers));
        //                                       em   f1   in   sub  box  mem  num
        assert_eq!(scores("1000"), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(scores("1e3"), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(
            scores("The answer is 00"),
            [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(
            scores("\\boxed{1,000}"),
            [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]
        );
        let late = format!("\\boxed{{1,000}}{}", "x".repeat(290));
        assert_eq!(scores(&late)[4..6], [1.0, 0.0]);
        assert_eq!(scores("1000 of them"), [0.0, 0.5, 1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(scores(""), [0.0; 7]);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn names_in_files_are_the_names() {
        for checker in Checker::ALL {
            let written = serde_json::to_value(checker).unwrap();
            assert_eq!(written, checker.name());
            assert_eq!(serde_json::from_value::<Checker>(written).unwrap(), checker);
        }
    }
}

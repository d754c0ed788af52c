//! One checker, chosen by name.

use crate::{
    BoxedOptions, MEMAGENT_BOX, after_answer_cue, boxed::boxed_content, boxed_with, contains,
    exact_match, normalise, numeric, parse_number, sub_em, sub_em::words, token_f1,
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

    /// Whether anything of the checker's form is in the prediction: a closed box (an empty one too), a
    /// number and nothing else, for `sub-em` a word after the last "the answer is", for the others
    /// anything that normalisation leaves over.
    ///
    /// What is not parsed scores 0, with one exception: `exact-match`, `token-f1` and `contains`
    /// compare without looking for a form, so where an accepted answer normalises to nothing too (a
    /// choice named `A`), an empty prediction equals it and scores 1.
    pub fn is_parsed(self, prediction: &str) -> bool {
        match self {
            Checker::ExactMatch | Checker::TokenF1 | Checker::Contains => {
                !normalise(prediction).is_empty()
            }
            Checker::SubEm => words(after_answer_cue(prediction)).is_some(),
            Checker::Boxed => boxed_content(&BoxedOptions::default(), prediction).is_some(),
            Checker::MemagentBox => boxed_content(&MEMAGENT_BOX, prediction).is_some(),
            Checker::Numeric => parse_number(prediction).is_some(),
        }
    }

    /// What the checker would compare: the content of the box, the words behind the cue, the number, or
    /// the normalised text. None where nothing of its form is there, and where it is empty.
    ///
    /// For votes among attempts, which compare answers with each other instead of with a truth.
    pub fn answer_in(self, prediction: &str) -> Option<String> {
        let found = match self {
            Checker::ExactMatch | Checker::TokenF1 | Checker::Contains => normalise(prediction),
            Checker::SubEm => after_answer_cue(prediction).trim().to_string(),
            Checker::Boxed => boxed_content(&BoxedOptions::default(), prediction)?
                .trim()
                .to_string(),
            Checker::MemagentBox => boxed_content(&MEMAGENT_BOX, prediction)?.trim().to_string(),
            Checker::Numeric => {
                parse_number(prediction)?;
                prediction.trim().to_string()
            }
        };
        (!found.is_empty()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::Checker;
    use crate::{after_answer_cue, normalise};
    use proptest::prelude::*;

    #[test]
    fn the_answer_is_what_is_compared() {
        let found = |prediction: &str| Checker::ALL.map(|c| c.answer_in(prediction));
        let text = |text: &str| Some(text.to_string());
        let boxed = r"so the answer is \boxed{ 1 2 }";
        assert_eq!(
            found(boxed)[4..],
            [text("1 2"), text("1 2"), None],
            "a box, and no number alone"
        );
        assert_eq!(found(boxed)[3], text(r"\boxed{ 1 2 }"));
        assert_eq!(found(" The 12. ")[0], text("12"));
        assert_eq!(found(" 1,200 ")[6], text("1,200"));
        assert_eq!(found(r"\boxed{}")[4], None, "an empty box is no answer");
        assert_eq!(found(""), Checker::ALL.map(|_| None));
    }

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

    #[test]
    fn each_checker_looks_for_its_own_form() {
        #[track_caller]
        fn check(prediction: &str, expected: [u8; 7]) {
            let parsed = Checker::ALL.map(|c| u8::from(c.is_parsed(prediction)));
            assert_eq!(parsed, expected, "{prediction:?}");
        }
        //                      em f1 in sub box mem num
        check("", [0, 0, 0, 0, 0, 0, 0]);
        check(" The ...", [0, 0, 0, 0, 0, 0, 0]);
        check("Paris", [1, 1, 1, 1, 0, 0, 0]);
        check("-1/2", [1, 1, 1, 1, 0, 0, 1]);
        check("so 12", [1, 1, 1, 1, 0, 0, 0]);
        check("The answer is ...", [1, 1, 1, 0, 0, 0, 0]);
        check("\\boxed{Paris}", [1, 1, 1, 1, 1, 1, 0]);
        check("\\boxed{}", [1, 1, 1, 1, 1, 1, 0]);
        check("\\boxed{Par", [1, 1, 1, 1, 0, 0, 0]);
        let late = format!("\\boxed{{5}}{}", "x".repeat(300));
        check(&late, [1, 1, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn nothing_equals_an_answer_that_normalises_to_nothing() {
        let answers = ["Paris".to_owned(), "A".to_owned()];
        let scores = Checker::ALL.map(|c| c.score("...", &answers));
        assert_eq!(scores, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    /// Texts in which every form occurs, whole and in part.
    fn text() -> impl Strategy<Value = String> {
        let parts = prop::sample::select(vec![
            "\\boxed{",
            "\\boxed",
            "}",
            "the answer is",
            "a",
            "the",
            "x",
            "7",
            "1/2",
            "%",
            "...",
            " ",
            "$",
            "-",
        ]);
        let joined = prop::collection::vec(parts, 0..5).prop_map(|parts| parts.concat());
        prop_oneof![4 => joined, 1 => "\\PC{0,12}"]
    }

    proptest! {
        #[test]
        fn what_is_not_parsed_scores_0(
            prediction in text(), answers in prop::collection::vec(text(), 1..4),
        ) {
            let has_empty = answers.iter().any(|answer| normalise(answer).is_empty());
            for checker in Checker::ALL {
                let compares_nothing = matches!(
                    checker, Checker::ExactMatch | Checker::TokenF1 | Checker::Contains
                );
                let score = checker.score(&prediction, &answers);
                if !checker.is_parsed(&prediction) {
                    let expected = f64::from(compares_nothing && has_empty);
                    prop_assert_eq!(score, expected, "{}", checker.name());
                }
            }
        }

        #[test]
        fn what_is_parsed_equals_itself(prediction in text()) {
            let said = after_answer_cue(&prediction).to_owned();
            for (checker, own) in [(Checker::Numeric, prediction.clone()), (Checker::SubEm, said)] {
                let is_right = checker.score(&prediction, &[own]) == 1.0;
                prop_assert_eq!(is_right, checker.is_parsed(&prediction), "{}", checker.name());
            }
        }
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

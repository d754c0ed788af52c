//! Final-answer checkers on strings.
//!
//! A checker takes what the policy answered and the accepted answers, and returns a reward, almost
//! always 0 or 1: [`exact_match`], [`token_f1`], [`contains`], [`boxed`] and [`numeric`] share one
//! signature, and [`Checker`] picks one by name. The best of the accepted answers counts.
//! [`overlong_penalty`] is the one reward that looks at a length instead of a text.
//!
//! [`equivalent`] says whether two answers are the same one, written differently; it is a relation between
//! answers rather than a checker, for votes among attempts as much as for accepted answers.
//! [`AnswerRelation`] picks it or a simpler one by name.
//!
//! Every checker runs in time linear in the length of the prediction and takes any UTF-8 text: what
//! a policy writes is hostile input. A comparison by [`equivalent`] ends within its [`Budget`].
//!
//! Knows nothing of tokens, documents or models: strings go in, a number comes out.

mod boxed;
mod checker;
mod contains;
mod equivalence;
mod exact_match;
mod math_clean;
mod normalise;
mod number;
mod numeric;
mod overlong;
mod relation;
mod sub_em;
mod token_f1;

pub use boxed::{BoxedOptions, MEMAGENT_BOX, boxed, boxed_with, extract_boxed};
pub use checker::Checker;
pub use contains::contains;
pub use equivalence::{Budget, Equivalence, Percent, Verdict, equivalent};
pub use exact_match::exact_match;
pub use math_clean::clean_math;
pub use normalise::normalise;
pub use number::{Number, parse_number};
pub use numeric::numeric;
pub use overlong::{overlong_penalty, overlong_slope};
pub use relation::AnswerRelation;
pub use sub_em::{after_answer_cue, sub_em};
pub use token_f1::token_f1;

/// The best score over the accepted answers.
///
/// # Panics
/// When there is no accepted answer: a problem that nothing can solve would train in silence.
fn best(answers: &[String], score: impl FnMut(&String) -> f64) -> f64 {
    assert!(
        !answers.is_empty(),
        "a checker needs at least one accepted answer"
    );
    answers.iter().map(score).fold(0.0, f64::max)
}

//! Whether two final answers are the same one, written differently.
//!
//! `1/2` is `\frac{1}{2}`, `0.5` and `50\%`; `x = 5` is `5`; `(x-1)(x+1)` is `x^2-1`; `{1,2}` is `{2,1}`.
//! Of a text with a `\boxed{...}` the content of the last one is compared. In this order:
//!
//! 1. the same text, or the same tokens ([LaTeX's spacing and fonts](token) leave none): equal;
//! 2. two plain numbers: compared as [`parse_number`] reads them, with exponents of any size;
//! 3. both are [read](parse) as words, quantities with units, lists, sets, tuples, intervals, unions,
//!    equations, inequalities or matrices, and [compared](compare) part by part; formulas by
//!    [exact arithmetic](algebra) on canonical forms, sets with rational ends as [sets](real_set).
//!
//! Equal means proved: decimals are rationals, nothing is rounded, no number is evaluated in floating
//! point, and no sample of points stands for a proof. What is not read, has no value or exceeds the
//! [`Budget`] is [`Verdict::Unknown`], which is not equal.
//!
//! What is decided where writing leaves it open:
//!
//! - a unit may be left out (`5 cm` is `5`), two units must agree (`100 cm` is `1 m` and not `1 cm`);
//!   currencies and counted things are units; `90^\circ` is `90` and half of pi;
//! - a percent sign is read as [`Percent`] says;
//! - `1,234` is a number, `1,23` a list; inside brackets a comma always divides;
//! - a whole number before a proper fraction is a mixed number; before an improper one it is not read;
//! - `a/bc` is not read, since it may mean two things; `1/2 x` and `4/3\pi` are half of x and four thirds
//!   of pi; `2e3` is 2000;
//! - entries without brackets are in no order, as are sets; `x=1 or x=2` is `1, 2`; `(1,2)` is both a
//!   point and an open interval; `\pm 2` is `2, -2`;
//! - letters are symbols and cases differ (`x`, `X`); words have no case (`Yes`, `yes`); `i` is the
//!   imaginary unit, `e` Euler's number; `\log` without a base is neither `\ln` nor `\log_{10}`;
//! - an equation for one symbol is the same as the other side alone, a set of one as its element.
//!
//! The relation is symmetric, and reflexive but for the empty text. It is **not transitive**: `5 cm` and
//! `5 m` are both `5`, and `x=5` and `y=5` are both `5`. Whoever builds clusters from it fixes an order.

mod budget;

mod parse;
mod syntax;
mod token;
mod unit;

mod brackets;
mod formula;

mod algebra;
mod compare;
mod evaluate;
mod function;
mod polynomial;
mod power;
mod radical;
mod real_set;

pub use budget::Budget;
pub use parse::Percent;

use crate::{extract_boxed, parse_number};
use algebra::Algebra;
use budget::{Meter, Stop};
use parse::parse;
use syntax::Answer;
use token::{Spaced, Token, tokenise};

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Proved to be the same.
    Equal,
    /// Both were read to the end, and there is no proof that they are the same. For numbers made of
    /// rationals, roots of rationals, `pi` and `e`, and for rational functions, what is different is
    /// proved; `sqrt(x^2)` and `|x|` are merely not known to be the same.
    Different,
    /// One of them was not read, has no value, or cost more than the budget.
    Unknown,
}

/// How answers are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Equivalence {
    /// How percent signs are read.
    pub percent: Percent,
    /// Limits of one comparison.
    pub budget: Budget,
}

/// Whether two answers are the same, with percent signs as hundredths.
///
/// ```
/// use longhand_reward_outcome::{Budget, Verdict, equivalent};
/// let verdict = |left, right| equivalent(left, right, &Budget::default());
/// assert_eq!(verdict(r"\frac{\sqrt{12}}{2}", r"\sqrt 3"), Verdict::Equal);
/// assert_eq!(verdict("0.333", "1/3"), Verdict::Different);
/// assert_eq!(verdict("10^10^10", "10^{10^{9}}"), Verdict::Unknown);
/// ```
pub fn equivalent(left: &str, right: &str, budget: &Budget) -> Verdict {
    let equivalence = Equivalence {
        budget: *budget,
        ..Equivalence::default()
    };
    equivalence.compare(left, right)
}

impl Equivalence {
    /// Whether the two are proved to be the same answer.
    pub fn holds(&self, left: &str, right: &str) -> bool {
        self.compare(left, right) == Verdict::Equal
    }

    /// What is known of the two answers.
    pub fn compare(&self, left: &str, right: &str) -> Verdict {
        let inside = |text| extract_boxed(text).unwrap_or(text).trim();
        let (left, right) = (inside(left), inside(right));
        if left.is_empty() || right.is_empty() {
            return Verdict::Unknown;
        }
        if left == right {
            return Verdict::Equal;
        }
        if self.budget.max_bytes < left.len().max(right.len()) {
            return Verdict::Unknown;
        }
        if let (Some(number), Some(other)) = (plain_number(left), plain_number(right)) {
            return match number == other {
                true => Verdict::Equal,
                false => Verdict::Different,
            };
        }
        match self.compare_read(left, right) {
            Ok(true) => Verdict::Equal,
            Ok(false) => Verdict::Different,
            Err(_) => Verdict::Unknown,
        }
    }

    /// One order of the two gives the verdict for both, whatever the budget.
    fn compare_read(&self, left: &str, right: &str) -> Result<bool, Stop> {
        let (left, right) = (left.min(right), left.max(right));
        let (left, right) = (tokenise(left)?, tokenise(right)?);
        if !left.is_empty() && same_tokens(&left, &right) {
            return Ok(true);
        }
        let mut meter = Meter::new(&self.budget);
        let mut read = |tokens| parse(tokens, self.percent, &self.budget, &mut meter);
        let (left, right) = (read(left)?, read(right)?);
        let is_text = |answer: &Answer| matches!(answer, Answer::Text(_));
        if is_text(&left) != is_text(&right) {
            return Ok(false);
        }
        Algebra::new(&mut meter).same(&left, &right)
    }
}

/// A number without a percent sign or a currency, whose meaning is for [`parse`] to decide.
fn plain_number(text: &str) -> Option<crate::Number> {
    let is_plain = |c: char| !matches!(c, '%' | '$' | '€' | '£' | '¥' | '₹' | '₩' | '₽');
    parse_number(text).filter(|_| text.chars().all(is_plain))
}

/// Numbers next to each other are the same only with the same space between.
fn same_tokens(left: &[Spaced], right: &[Spaced]) -> bool {
    let is_number = |at: usize| matches!(left[at].token, Token::Number(_));
    let pairs = || left.iter().zip(right).enumerate();
    left.len() == right.len()
        && pairs().all(|(at, (l, r))| {
            let is_second = at != 0 && is_number(at - 1) && is_number(at);
            l.token == r.token && (!is_second || l.has_space == r.has_space)
        })
}

#[cfg(test)]
mod tests {
    use super::{Budget, Equivalence, Percent, Verdict, equivalent};
    use crate::parse_number;
    use proptest::prelude::*;

    #[track_caller]
    fn check(left: &str, right: &str, expected: Verdict) {
        let budget = Budget::default();
        assert_eq!(
            equivalent(left, right, &budget),
            expected,
            "{left} | {right}"
        );
        assert_eq!(
            equivalent(right, left, &budget),
            expected,
            "{right} | {left}"
        );
    }

    #[test]
    fn nothing_is_no_answer() {
        check("", "", Verdict::Unknown);
        check(" ", "0", Verdict::Unknown);
        check("\\boxed{}", "\\boxed{}", Verdict::Unknown);
        check("$$", "\\left.", Verdict::Unknown);
    }

    #[test]
    fn what_cannot_be_read_equals_itself_only() {
        for text in [
            "\\int_0^1 x dx",
            "1/0",
            "10^10^10",
            ")(",
            "\\frac",
            "a/bc",
            "2\\frac{5}{3}",
            "?",
        ] {
            check(text, text, Verdict::Equal);
            check(text, &format!(" {text}\n"), Verdict::Equal);
            check(text, "1", Verdict::Unknown);
        }
        check("\\int_0^1 x dx", "\\int _0^1 x\\, dx", Verdict::Equal);
        check("a/bc", "\\frac{a}{bc}", Verdict::Unknown);
        check("a/bc", "\\frac{ac}{b}", Verdict::Unknown);
        check("\\infty - \\infty", "0", Verdict::Unknown);
        check("\\frac{\\infty}{\\infty}", "1", Verdict::Unknown);
        check("0^0", "1", Verdict::Unknown);
        check("\\frac{0}{\\sqrt{4}-2}", "0", Verdict::Unknown);
        check("\\frac{1}{\\sqrt2\\sqrt3-\\sqrt6}", "1", Verdict::Unknown);
    }

    #[test]
    fn percent_signs_are_read_as_asked() {
        let holds = |percent, left: &str, right: &str| {
            let equivalence = Equivalence {
                percent,
                ..Equivalence::default()
            };
            equivalence.holds(left, right)
        };
        assert!(holds(Percent::Hundredth, "50\\%", "1/2"));
        assert!(!holds(Percent::Hundredth, "50\\%", "50"));
        assert!(!holds(Percent::Sign, "50\\%", "1/2"));
        assert!(holds(Percent::Sign, "50\\%", "50"));
        for percent in [Percent::Hundredth, Percent::Sign] {
            assert!(holds(percent, "50%", "50.0 \\%"));
            assert!(!holds(percent, "50%", "5%"));
        }
    }

    // The doors of the documentation: each middle one equals both others.
    #[test]
    fn it_is_not_transitive_where_writing_leaves_something_out() {
        for [left, middle, right] in [
            ["5 cm", "5", "5 m"],
            ["x = 5", "5", "y = 5"],
            ["180", "180^\\circ", "\\pi"],
            ["x > 3", "(3, \\infty)", "y > 3"],
        ] {
            check(left, middle, Verdict::Equal);
            check(middle, right, Verdict::Equal);
            check(left, right, Verdict::Different);
        }
    }

    #[test]
    fn numbers_next_to_each_other_are_not_run_together() {
        check("1 2", "12", Verdict::Unknown);
        check("1 1/2", "11/2", Verdict::Different);
        check("1,2", "12", Verdict::Different);
        check("(1,234)", "1234", Verdict::Different);
        check("\\frac123", "\\frac{1}{23}", Verdict::Unknown);
    }

    #[test]
    fn both_signs_read_the_same_digits() {
        check("\\pm\\frac12", "0.5, -0.5", Verdict::Equal);
        check("(\\pm 1, 2)", "(1,2), (-1,2)", Verdict::Equal);
        check("\\{\\pm 1, 2\\}", "\\{-1,1,2\\}", Verdict::Equal);
        check("1 \\pm 2 \\mp 3", "0, 2", Verdict::Equal);
    }

    #[test]
    fn hostile_texts_end_at_once() {
        let deep =
            |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
        let started = std::time::Instant::now();
        for text in [
            "10^10^10".to_owned(),
            "9^{9^{9^{9}}}".to_owned(),
            "(10^{900})^{900}".to_owned(),
            "2^{0.0000001}".to_owned(),
            "1e99999999999999999999 x".to_owned(),
            "(x+y+z+w+1)^{60}".to_owned(),
            "(x+1)^{99999}".to_owned(),
            "1000!!".to_owned(),
            "(((200!)!)!)".to_owned(),
            "\\binom{10^{9}}{10^{8}}".to_owned(),
            "\\sqrt{10^{999}+7}".repeat(40),
            deep("(", ")", 2000),
            deep("\\frac{1}{1+", "}", 300),
            deep("\\sqrt{1+", "}", 300),
            deep("\\text{", "}", 300),
            deep("\\{", "\\}", 300),
            deep("|", "|", 1000),
            deep("\\frac{1}{x+", "}", 25),
            deep("\\sqrt{x+", "}", 25),
            "\\sin".repeat(800) + "x",
            "x^".repeat(1500) + "2",
            "-".repeat(4000),
            "\\frac".repeat(600),
            "1,".repeat(2000),
            "\\pm 1,".repeat(500),
            "\\pm ".repeat(500),
            "$".repeat(4000),
            "\\vec{".repeat(600),
            "x_".repeat(1500),
            (1..400)
                .map(|idx| format!("\\sqrt{{{idx}}}+"))
                .collect::<String>()
                + "1",
            (1..400)
                .map(|idx| format!("x_{{{idx}}}+"))
                .collect::<String>()
                + "1",
            "9".repeat(3000) + "x",
            "x".repeat(1_000_000),
            "9".repeat(1_000_000) + "x",
        ] {
            let start: String = text.chars().take(40).collect();
            for other in ["1", "x^2+1", "\\{1, 2\\}"] {
                let verdict = equivalent(&text, other, &Budget::default());
                assert_ne!(verdict, Verdict::Equal, "{start} | {other}");
            }
            assert_eq!(
                equivalent(&text, &text, &Budget::default()),
                Verdict::Equal,
                "{start}"
            );
        }
        let seconds = started.elapsed().as_secs_f64();
        // A second on an idle machine; the limit is for a busy one.
        assert!(seconds < 120.0, "{seconds} s for all of them");
    }

    #[test]
    fn a_budget_of_nothing_leaves_only_the_same_tokens() {
        let budget = Budget {
            n_steps: 0,
            ..Budget::default()
        };
        assert_eq!(equivalent("x+1", "1+x", &budget), Verdict::Unknown);
        assert_eq!(equivalent("x + 1", "x+1", &budget), Verdict::Equal);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(
            left in "(\\PC|\\\\(frac|sqrt|text|pm|circ|cup|begin\\{pmatrix\\}|left|log)|[-+*/^_={}()\\[\\],.<>|%$! 0-9xie])*",
            right in "[-+*/^(){} 0-9x,]*",
        ) {
            let verdict = equivalent(&left, &right, &Budget::default());
            prop_assert_eq!(equivalent(&right, &left, &Budget::default()), verdict);
            let same = equivalent(&left, &left, &Budget::default());
            prop_assert!(same == Verdict::Equal || crate::extract_boxed(&left).unwrap_or(&left).trim().is_empty());
        }

        #[test]
        fn numbers_are_compared_as_numbers(
            a in -99_i64..99, b in 1_i64..20, c in -99_i64..99, d in 1_i64..20,
        ) {
            let expected = match a * d == c * b {
                true => Verdict::Equal,
                false => Verdict::Different,
            };
            let plain = format!("{c}/{d}");
            for left in [
                format!("{a}/{b}"),
                format!("\\frac{{{a}}}{{{b}}}"),
                format!("{a} \\div {b}"),
                format!("x = {}/{}", 7 * a, 7 * b),
                format!("\\frac{{{a}x}}{{{b}x}}"),
                format!("{a}\\sqrt{{\\frac{{1}}{{{}}}}}", b * b),
                format!("{}\\% \\cdot \\frac{{1}}{{{b}}}", 100 * a),
            ] {
                prop_assert_eq!(equivalent(&left, &plain, &Budget::default()), expected, "{} {}", left, plain);
            }
            prop_assert_eq!(parse_number(&format!("{a}/{b}")) == parse_number(&plain), expected == Verdict::Equal);
        }
    }
}

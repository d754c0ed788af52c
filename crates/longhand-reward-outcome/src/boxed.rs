//! The last `\boxed{...}` of a text, compared as mathematics is usually written.
//!
//! `1 if clean_math(last box) = clean_math(answer) for any accepted answer, else 0`
//!
//! Source: the MATH benchmark's convention (arXiv:2103.03874) and MemAgent's training reward
//! (arXiv:2507.02259, official code), which looks at the last 300 characters ([`MEMAGENT_BOX`]) and
//! ignores case.
//!
//! Decisions: `\fbox` counts only in a text without any `\boxed`. A last box that is never closed
//! (an answer cut off) is no box, even after an earlier one. Escaped braces do not count as braces.
//! `\boxed 5` without braces reaches to the next `$` or the end of the line.

use crate::{best, clean_math};

/// How [`boxed_with`] looks for the box and compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxedOptions {
    /// Only the last so many characters of the prediction are searched; `None`: all of it.
    pub last_chars: Option<usize>,
    /// Both sides are lower-cased before they are compared, as MemAgent does. Mathematics in which
    /// `x` and `X` differ needs `false`.
    pub lowercase: bool,
}

impl Default for BoxedOptions {
    /// The whole prediction, lower-cased.
    fn default() -> Self {
        BoxedOptions {
            last_chars: None,
            lowercase: true,
        }
    }
}

impl BoxedOptions {
    /// The part of a prediction in which the box is searched.
    pub fn searched<'a>(&self, prediction: &'a str) -> &'a str {
        match self.last_chars {
            Some(n_chars) => last_chars(prediction, n_chars),
            None => prediction,
        }
    }
}

/// MemAgent's training reward: the last 300 characters, lower-cased.
pub const MEMAGENT_BOX: BoxedOptions = BoxedOptions {
    last_chars: Some(300),
    lowercase: true,
};

/// 1 when the last box of the prediction equals an accepted answer after [`clean_math`] and without
/// regard to case, else 0; a prediction without a box scores 0.
///
/// # Panics
/// When `answers` is empty.
pub fn boxed(prediction: &str, answers: &[String]) -> f64 {
    boxed_with(&BoxedOptions::default(), prediction, answers)
}

/// [`boxed`] with options.
///
/// # Panics
/// When `answers` is empty.
pub fn boxed_with(options: &BoxedOptions, prediction: &str, answers: &[String]) -> f64 {
    let content = boxed_content(options, prediction);
    let fold = |text: &str| match options.lowercase {
        true => text.to_lowercase(),
        false => text.to_owned(),
    };
    best(answers, |answer| {
        f64::from(content.is_some_and(|content| same(&fold(content), &fold(answer))))
    })
}

/// The content of the box that [`boxed_with`] compares; `None` without a box.
pub(crate) fn boxed_content<'a>(options: &BoxedOptions, prediction: &'a str) -> Option<&'a str> {
    extract_boxed(options.searched(prediction))
}

/// Equality after cleaning; what cleaning would erase altogether is compared as it stands.
fn same(content: &str, answer: &str) -> bool {
    let (clean_content, clean_answer) = (clean_math(content), clean_math(answer));
    if clean_content.is_empty() || clean_answer.is_empty() {
        return content.trim() == answer.trim();
    }
    clean_content == clean_answer
}

fn last_chars(text: &str, n_chars: usize) -> &str {
    match n_chars.checked_sub(1) {
        None => "",
        Some(n) => match text.char_indices().rev().nth(n) {
            Some((start, _)) => &text[start..],
            None => text,
        },
    }
}

/// The content of the last `\boxed{...}`, or of the last `\fbox{...}` when there is no `\boxed`.
///
/// ```
/// use longhand_reward_outcome::extract_boxed;
/// assert_eq!(extract_boxed(r"so \boxed{1} or rather $\boxed{\frac{1}{2}}$."), Some(r"\frac{1}{2}"));
/// assert_eq!(extract_boxed(r"cut off \boxed{\frac{1}{2"), None);
/// ```
pub fn extract_boxed(text: &str) -> Option<&str> {
    let rest = after_last(text, "\\boxed").or_else(|| after_last(text, "\\fbox"))?;
    let rest = rest.trim_start();
    match rest.strip_prefix('{') {
        Some(inner) => closing_brace(inner).map(|end| &inner[..end]),
        None => {
            let end = rest.find(['$', '\n']).unwrap_or(rest.len());
            Some(rest[..end].trim()).filter(|content| !content.is_empty())
        }
    }
}

/// What follows the last use of a command (not of a longer one that begins the same).
fn after_last<'a>(text: &'a str, command: &str) -> Option<&'a str> {
    text.rmatch_indices(command)
        .map(|(start, _)| &text[start + command.len()..])
        .find(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Where the group that the text is inside of ends.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut escaped = false;
    for (idx, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(idx),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{BoxedOptions, MEMAGENT_BOX, boxed, boxed_with, extract_boxed, last_chars};
    use proptest::prelude::*;

    #[track_caller]
    fn check_extract(text: &str, expected: Option<&str>) {
        assert_eq!(extract_boxed(text), expected, "{text:?}");
    }

    #[track_caller]
    fn check(prediction: &str, answer: &str, expected: f64) {
        assert_eq!(
            boxed(prediction, &[answer.to_owned()]),
            expected,
            "{prediction:?}"
        );
    }

    #[test]
    fn without_a_closed_box_there_is_no_answer() {
        check_extract("", None);
        check_extract("5", None);
        check_extract("\\boxed", None);
        check_extract("\\boxed{", None);
        check_extract("\\boxed{{5}", None);
        check_extract("\\boxed{1} then \\boxed{2", None);
        check_extract("\\boxed{}", Some(""));
        check("5", "5", 0.0);
        check("\\boxed{}", "5", 0.0);
    }

    #[test]
    fn the_last_box_counts_and_braces_nest() {
        check_extract(r"\boxed{1} \boxed{\frac{1}{2}} so", Some(r"\frac{1}{2}"));
        check_extract(r"\boxed{\{1,2\}}", Some(r"\{1,2\}"));
        check_extract(r"\boxed{\{} x}", Some(r"\{"));
        check_extract(r"\boxed{a\\} b}", Some(r"a\\"));
        check_extract("\\boxed {é日本} ☃", Some("é日本"));
    }

    #[test]
    fn a_frame_counts_only_without_a_box() {
        check_extract(r"\fbox{7}", Some("7"));
        check_extract(r"\boxed{8} \fbox{7}", Some("8"));
        check_extract(r"\boxedsomething{8} \fbox{7}", Some("7"));
    }

    #[test]
    fn a_box_without_braces_ends_with_the_formula() {
        check_extract("$\\boxed 12$ apples", Some("12"));
        check_extract("\\boxed 12\napples", Some("12"));
        check_extract("\\boxed $", None);
    }

    #[test]
    fn the_comparison_is_cleaned_and_ignores_case() {
        check(r"$\boxed{\dfrac12}$", "1/2", 1.0);
        check(r"\boxed{ New York }", "new york", 1.0);
        check(r"\boxed{\text{Paris}}", "Paris", 1.0);
        check(r"\boxed{0.5}", r"\frac{1}{2}", 1.0);
        check(r"\boxed{50\%}", "50", 1.0);
        check(r"\boxed{2}", "3", 0.0);
    }

    #[test]
    fn what_cleaning_erases_is_not_equal_to_everything_erased() {
        check(r"\boxed{\%}", r"\$", 0.0);
        check(r"\boxed{%}", "%", 1.0);
    }

    #[test]
    fn case_can_matter() {
        let options = BoxedOptions {
            lowercase: false,
            ..BoxedOptions::default()
        };
        let answers = ["X".to_owned()];
        assert_eq!(boxed_with(&options, "\\boxed{x}", &answers), 0.0);
        assert_eq!(boxed_with(&options, "\\boxed{X}", &answers), 1.0);
    }

    #[test]
    fn memagent_reads_the_last_300_characters() {
        let answers = ["é".to_owned()];
        // `\boxed{É}` has 9 characters: 291 more is the last length at which it is whole.
        let late = |n| format!("\\boxed{{É}}{}", "日".repeat(n));
        assert_eq!(boxed_with(&MEMAGENT_BOX, &late(291), &answers), 1.0);
        assert_eq!(boxed_with(&MEMAGENT_BOX, &late(292), &answers), 0.0);
        assert_eq!(boxed(&late(292), &answers), 1.0);
    }

    #[test]
    fn the_tail_is_counted_in_characters() {
        assert_eq!(last_chars("aé日", 0), "");
        assert_eq!(last_chars("aé日", 2), "é日");
        assert_eq!(last_chars("aé日", 9), "aé日");
    }

    #[test]
    fn hostile_nesting_ends_fast() {
        let deep = format!("\\boxed{{{}", "{".repeat(1_000_000));
        check_extract(&deep, None);
        let many = "\\boxed{".repeat(200_000);
        check_extract(&many, None);
        let closed = format!("\\boxed{{{}{}}}", "{".repeat(300_000), "}".repeat(300_000));
        check(&closed, "5", 0.0);
    }

    fn balanced() -> impl Strategy<Value = String> {
        let leaf = "[a-z0-9é ]{0,4}";
        leaf.prop_recursive(4, 16, 3, |inner| {
            prop::collection::vec(inner, 0..3)
                .prop_map(|parts| parts.iter().map(|p| format!("{{{p}}}")).collect::<String>())
        })
    }

    proptest! {
        #[test]
        fn a_box_gives_back_its_content(
            content in balanced(), before in "[a-z{} ]{0,8}", after in "[a-z{} ]{0,8}",
        ) {
            let text = format!("{before}\\boxed{{{content}}}{after}");
            prop_assert_eq!(extract_boxed(&text), Some(content.as_str()));
        }

        #[test]
        fn any_text_is_survived(text in "(\\PC|\\\\boxed|\\\\frac|[{}\\\\$^/.])*") {
            let answers = [text.clone()];
            for score in [boxed(&text, &answers), boxed_with(&MEMAGENT_BOX, &text, &answers)] {
                prop_assert!(score == 0.0 || score == 1.0);
            }
            prop_assert_eq!(boxed(&format!("\\boxed{{{}}}", text.replace(['{', '}', '\\'], "")),
                &[text.replace(['{', '}', '\\'], "")]), 1.0);
        }
    }
}

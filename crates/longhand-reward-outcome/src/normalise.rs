//! The text normalisation of SQuAD's evaluation: what two equal short answers may differ in.
//!
//! Source: Rajpurkar et al., arXiv:1606.05250, the official evaluation script: lower-case, delete
//! ASCII punctuation, delete the words `a`, `an` and `the`, squeeze white space, in this order.
//!
//! Differences: none meant. A word is a run of letters and digits in Unicode's sense, so an article
//! beside a dash or a curly quote is deleted as well. Punctuation beyond ASCII stays.

/// Brings a short answer to the form in which [`exact_match`](crate::exact_match) and its
/// relatives compare it.
///
/// ```
/// assert_eq!(longhand_reward_outcome::normalise("The  U.S.\tArmy!"), "us army");
/// ```
pub fn normalise(text: &str) -> String {
    let lowered = text.to_lowercase();
    let mut without_articles = String::with_capacity(lowered.len());
    let mut word = String::new();
    for c in lowered.chars().filter(|c| !c.is_ascii_punctuation()) {
        if c.is_alphanumeric() {
            word.push(c);
        } else {
            push_word(&mut without_articles, &mut word);
            without_articles.push(c);
        }
    }
    push_word(&mut without_articles, &mut word);

    let mut squeezed = String::with_capacity(without_articles.len());
    for part in without_articles.split(is_space).filter(|p| !p.is_empty()) {
        if !squeezed.is_empty() {
            squeezed.push(' ');
        }
        squeezed.push_str(part);
    }
    squeezed
}

/// Moves a finished word over; an article leaves a space, so that its neighbours do not join.
fn push_word(out: &mut String, word: &mut String) {
    match word.as_str() {
        "a" | "an" | "the" => out.push(' '),
        _ => out.push_str(word),
    }
    word.clear();
}

/// White space as the original script sees it: Unicode's, and the four ASCII separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::normalise;
    use proptest::prelude::*;

    // Expected values: the official script's four steps in Python 3,
    // `' '.join(re.sub(r'\b(a|an|the)\b', ' ', ''.join(c for c in s.lower() if c not in string.punctuation)).split())`.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(normalise(text), expected, "{text:?}");
    }

    #[test]
    fn nothing_is_left_of_articles_and_punctuation() {
        check("", "");
        check(" \t\n", "");
        check("The", "");
        check("a, an; THE!", "");
        check("...", "");
    }

    #[test]
    fn punctuation_goes_before_articles() {
        check("A.N. Other", "other");
        check("th-e end", "end");
        check("it's", "its");
        check("a_b", "ab");
    }

    #[test]
    fn only_whole_words_are_articles() {
        check("theatre and another banana", "theatre and another banana");
        check("an2 a3", "an2 a3");
    }

    #[test]
    fn unicode_letters_are_letters_and_dashes_are_not() {
        check("Ça, là-bas", "ça làbas");
        check("the—end", "—end");
        check("‘the’ Beatles", "‘ ’ beatles");
        check("ΑΣ ΣΑ", "ας σα");
        check("日本\u{3000}語", "日本 語");
        check("x\u{1f}y\u{a0}z", "x y z");
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC*|[theaAn .,-]*") {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once);
        }
    }
}

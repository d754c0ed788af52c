//! Rust source with its comments and literals blanked out, so that a rule about code does not
//! trip over prose.
//!
//! A scanner, not a parser: it knows comments, strings and characters, and nothing of the grammar.

/// `source` with every comment and the inside of every string and character literal replaced by
/// spaces. Line breaks stay where they were, so line numbers still hold.
#[must_use]
pub fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            for &c in &chars[at..end] {
                out.push(if c == '\n' { '\n' } else { ' ' });
            }
            at = end;
        }
    }
    out
}

/// Lines (from 1) of `code` on which `word` stands as a whole word.
///
/// A word that ends in `!` is a macro call; one that starts with `#[` is an attribute.
#[must_use]
pub fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let in_identifier = |c: char| c.is_alphanumeric() || c == '_';
    let stands_alone = |line: &str, start: usize| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        let open_start = !word.starts_with(in_identifier) || !before.is_some_and(in_identifier);
        let open_end = !word.ends_with(in_identifier) || !after.is_some_and(in_identifier);
        open_start && open_end
    };
    let numbered = code.lines().enumerate();
    numbered
        .filter(|(_, line)| {
            line.match_indices(word)
                .any(|(start, _)| stands_alone(line, start))
        })
        .map(|(idx, _)| idx + 1)
        .collect()
}

/// The end of the comment or literal that starts at `at`; `at` itself where none does.
fn literal_or_comment_end(chars: &[char], at: usize) -> usize {
    let starts_with = |text: &str| {
        text.chars()
            .enumerate()
            .all(|(i, c)| chars.get(at + i) == Some(&c))
    };
    let preceded_by_name = at
        .checked_sub(1)
        .is_some_and(|i| chars[i].is_alphanumeric() || chars[i] == '_');
    match chars[at] {
        '/' if starts_with("//") => line_end(chars, at),
        '/' if starts_with("/*") => block_comment_end(chars, at),
        '"' => string_end(chars, at),
        'r' if !preceded_by_name => raw_string_end(chars, at, at + 1),
        'b' | 'c' if !preceded_by_name && chars.get(at + 1) == Some(&'r') => {
            raw_string_end(chars, at, at + 2)
        }
        '\'' => character_end(chars, at),
        _ => at,
    }
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..]
        .iter()
        .position(|&c| c == '\n')
        .map_or(chars.len(), |n| at + n)
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut i = at;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                i += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// A raw string that starts at `at` and whose `r` is just before `hashes`; `at` if this is none.
fn raw_string_end(chars: &[char], at: usize, hashes: usize) -> usize {
    let n_hashes = chars[hashes.min(chars.len())..]
        .iter()
        .take_while(|&&c| c == '#')
        .count();
    let open = hashes + n_hashes;
    // `r#type` is a raw identifier: no quote follows its `#`.
    if chars.get(open) != Some(&'"') {
        return at;
    }
    let closes =
        |i: usize| chars[i] == '"' && (1..=n_hashes).all(|n| chars.get(i + n) == Some(&'#'));
    (open + 1..chars.len())
        .find(|&i| closes(i))
        .map_or(chars.len(), |i| i + 1 + n_hashes)
}

/// A character literal that starts at `at`; `at` if the quote starts a lifetime.
fn character_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        // The escaped character itself may be a quote: look for the closing one after it.
        (Some('\\'), Some(_)) => chars[at + 3..]
            .iter()
            .position(|&c| c == '\'')
            .map_or(chars.len(), |n| at + 3 + n + 1),
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kept` is what must be left of `source` once runs of spaces are one space.
    fn check(source: &str, kept: &str) {
        let code = code_only(source);
        assert_eq!(
            code.chars().count(),
            source.chars().count(),
            "positions moved in {source:?}"
        );
        assert_eq!(
            code.lines().count(),
            source.lines().count(),
            "lines moved in {source:?}"
        );
        assert_eq!(
            code.split_whitespace().collect::<Vec<_>>().join(" "),
            kept,
            "in {source:?}"
        );
    }

    #[test]
    fn comments_go_and_code_stays() {
        check("", "");
        check("a // todo!()\nb", "a b");
        check("a /* x /* nested */ y */ b", "a b");
        check("a /* never closed", "a");
        check("//! header\nfn f() {}", "fn f() {}");
    }

    #[test]
    fn strings_go_whatever_their_kind() {
        check(r#"f("a \" b", c)"#, "f( , c)");
        check(r###"f(r#"a " b"#, c)"###, "f( , c)");
        check(r##"f(br"a", b"x", c)"##, "f( , b , c)");
        check("f(\"// not a comment\", c)", "f( , c)");
        check("f(\"never closed", "f(");
    }

    #[test]
    fn characters_go_and_lifetimes_stay() {
        check("f('\"', b)", "f( , b)");
        check(r"f('\'', '\u{41}', b)", "f( , , b)");
        check(
            "fn f<'a>(x: &'a str) -> &'static str",
            "fn f<'a>(x: &'a str) -> &'static str",
        );
    }

    #[test]
    fn raw_identifiers_are_not_raw_strings() {
        check("r#type r", "r#type r");
        check("for r in \"x\"", "for r in");
    }

    #[test]
    fn a_word_is_found_whole_only() {
        assert_eq!(
            lines_with_word("unsafe_code\nunsafe {}\nnot_unsafe", "unsafe"),
            [2]
        );
        assert_eq!(lines_with_word("my_todo!()\ntodo!()", "todo!"), [2]);
        assert_eq!(
            lines_with_word("#[ignore]\n#[ignore = \"\"]\n#[ignored]", "#[ignore"),
            [1, 2]
        );
        assert_eq!(lines_with_word("", "unsafe"), [0_usize; 0]);
    }
}

//! Cleaning of short mathematical answers before they are compared as strings.
//!
//! Source: the conventions of the MATH benchmark's answer comparison (arXiv:2103.03874), which
//! MemAgent's reward uses (arXiv:2507.02259), written anew on a list of LaTeX tokens. In this order:
//!
//! 1. doubled backslashes become one; a unit (`\text{ ...` after something) is cut off;
//! 2. white space and spacing commands, `\left`, `\right`, dollar and percent signs, degree marks
//!    go; `\dfrac` and `\tfrac` are `\frac`;
//! 3. a whole answer inside `\text{...}` or a font command is unwrapped;
//! 4. `.5` is `0.5`; `x=5` (at most two symbols before the only `=`) is `5`;
//! 5. the arguments of `\sqrt` and `\frac` get their braces: `\frac12` is `\frac{1}{2}`;
//! 6. an answer that is `0.5`, `a/b` or `\frac{-a}{b}` of whole numbers becomes `\frac{a}{b}` with
//!    the sign in front.
//!
//! Differences from MATH's script: it works on characters, so that `\rightarrow` loses its head; it
//! does not do step 3, drops only escaped dollar and percent signs, and keeps the sign inside the
//! fraction. It never reduces a fraction, and neither does this.

/// A LaTeX token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A backslash and letters; the letters.
    Command(&'a str),
    /// A backslash and one other character; that character.
    Escaped(char),
    /// Any other character.
    Plain(char),
}
use Token::{Command, Escaped, Plain};

/// The form in which two mathematical answers are compared.
///
/// ```
/// use longhand_reward_outcome::clean_math;
/// assert_eq!(clean_math(r"x = \dfrac 12"), r"\frac{1}{2}");
/// assert_eq!(clean_math(r"\$1{,}000 \text{ dollars}"), "1{,}000");
/// ```
pub fn clean_math(text: &str) -> String {
    let text = text.replace("\\\\", "\\");
    let text = without_unit(&text);
    let tokens = without_decoration(&tokenise(text));
    let tokens = after_equals(unwrap_text(&tokens));
    signed_fraction(&render(&with_argument_braces(&with_leading_zeros(tokens))))
}

/// Step 1: `3 \text{ cm}` is 3; a text that stands alone is no unit.
fn without_unit(text: &str) -> &str {
    match text.find("\\text{ ") {
        Some(start) if !text[..start].trim().is_empty() => &text[..start],
        _ => text,
    }
}

fn tokenise(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            tokens.push(Plain(c));
            continue;
        }
        let n_letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        if n_letters != 0 {
            tokens.push(Command(&rest[..n_letters]));
            rest = &rest[n_letters..];
        } else if let Some(c) = rest.chars().next() {
            tokens.push(Escaped(c));
            rest = &rest[c.len_utf8()..];
        }
    }
    tokens
}

/// Step 2.
fn without_decoration<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::with_capacity(tokens.len());
    for &token in tokens {
        match token {
            Plain('$' | '%' | '°') => {}
            Plain(c) if c.is_whitespace() => {}
            Escaped('!' | ',' | ';' | ':' | '$' | '%') => {}
            Escaped(c) if c.is_whitespace() => {}
            Command("left" | "right" | "quad" | "degree") => {}
            Command("dfrac" | "tfrac") => kept.push(Command("frac")),
            // A raised circle is a degree mark: `^\circ` and `^{\circ}`.
            Command("circ") if kept.ends_with(&[Plain('^')]) => {
                kept.pop();
            }
            Command("circ") if kept.ends_with(&[Plain('^'), Plain('{')]) => kept.push(token),
            Plain('}') if kept.ends_with(&[Plain('^'), Plain('{'), Command("circ")]) => {
                kept.truncate(kept.len() - 3);
            }
            _ => kept.push(token),
        }
    }
    kept
}

/// Step 3.
fn unwrap_text<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    const WRAPPERS: [&str; 7] = [
        "text", "textbf", "textit", "textrm", "mathrm", "mathbf", "mbox",
    ];
    match tokens {
        [Command(name), Plain('{'), inner @ .., Plain('}')]
            if WRAPPERS.contains(name) && is_balanced(inner) =>
        {
            inner
        }
        _ => tokens,
    }
}

fn is_balanced(tokens: &[Token]) -> bool {
    let mut depth = 0_usize;
    for token in tokens {
        match token {
            Plain('{') => depth += 1,
            Plain('}') if depth == 0 => return false,
            Plain('}') => depth -= 1,
            _ => {}
        }
    }
    depth == 0
}

/// Step 4, second half.
fn after_equals<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let mut places = tokens.iter().enumerate().filter(|(_, t)| **t == Plain('='));
    match (places.next(), places.next()) {
        (Some((idx, _)), None) if idx <= 2 => &tokens[idx + 1..],
        _ => tokens,
    }
}

/// Step 4, first half.
fn with_leading_zeros<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let is_digit = |token: Option<&Token>| matches!(token, Some(Plain('0'..='9')));
    let mut out = Vec::with_capacity(tokens.len() + 1);
    for (idx, &token) in tokens.iter().enumerate() {
        if token == Plain('.') && is_digit(tokens.get(idx + 1)) && !is_digit(out.last()) {
            out.push(Plain('0'));
        }
        out.push(token);
    }
    out
}

/// Step 5. Marks the tokens that stand for an argument, then wraps them all: no recursion, so that
/// a million open braces cost a million steps and no stack.
fn with_argument_braces<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let closing = matching_braces(tokens);
    let mut wrapped = vec![false; tokens.len()];
    for (idx, token) in tokens.iter().enumerate() {
        let n_arguments = match token {
            // A root with an index, `\sqrt[3]{2}`, has braces already.
            Command("sqrt") if tokens.get(idx + 1) != Some(&Plain('[')) => 1,
            Command("frac") => 2,
            _ => 0,
        };
        let mut next = idx + 1;
        for _ in 0..n_arguments {
            next = match (tokens.get(next), closing.get(next)) {
                (Some(Plain('{')), Some(Some(end))) => end + 1,
                // An argument that is missing or never closed: leave the rest alone.
                (None | Some(Plain('{' | '}')), _) => break,
                (Some(_), _) => {
                    wrapped[next] = true;
                    next + 1
                }
            };
        }
    }
    let mut out = Vec::with_capacity(tokens.len() + 4);
    for (token, wrapped) in tokens.iter().zip(wrapped) {
        match wrapped {
            true => out.extend([Plain('{'), *token, Plain('}')]),
            false => out.push(*token),
        }
    }
    out
}

/// For every open brace the place where it closes.
fn matching_braces(tokens: &[Token]) -> Vec<Option<usize>> {
    let mut closing = vec![None; tokens.len()];
    let mut open = Vec::new();
    for (idx, token) in tokens.iter().enumerate() {
        match token {
            Plain('{') => open.push(idx),
            Plain('}') => {
                if let Some(start) = open.pop() {
                    closing[start] = Some(idx);
                }
            }
            _ => {}
        }
    }
    closing
}

fn render(tokens: &[Token]) -> String {
    let mut out = String::with_capacity(2 * tokens.len());
    let mut after_command = false;
    for token in tokens {
        match token {
            Command(name) => {
                out.push('\\');
                out.push_str(name);
            }
            Escaped(c) => out.extend(['\\', *c]),
            Plain(c) => {
                // Without the space, `\pi r` would read like a command `\pir`.
                if after_command && c.is_ascii_alphabetic() {
                    out.push(' ');
                }
                out.push(*c);
            }
        }
        after_command = matches!(token, Command(_));
    }
    out
}

/// Step 6.
fn signed_fraction(text: &str) -> String {
    if text == "0.5" {
        return "\\frac{1}{2}".to_owned();
    }
    let is_whole = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text),
    };
    if let Some((numerator, denominator)) = unsigned.split_once('/')
        && is_whole(numerator)
        && is_whole(denominator)
    {
        return format!("{sign}\\frac{{{numerator}}}{{{denominator}}}");
    }
    if let Some(rest) = text.strip_prefix("\\frac{-")
        && let Some((numerator, tail)) = rest.split_once('}')
        && is_whole(numerator)
    {
        return format!("-\\frac{{{numerator}}}{tail}");
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::clean_math;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(clean_math(text), expected, "{text:?}");
    }

    #[test]
    fn nothing_and_lone_marks() {
        check("", "");
        check(" \n", "");
        check("\\", "");
        check("$%", "");
        check("\\frac", "\\frac");
        check("\\frac1", "\\frac{1}");
        check("\\frac{1", "\\frac{1");
        check("\\sqrt}", "\\sqrt}");
        check("=", "");
    }

    // What MATH's script gives for these, except where the header says otherwise.
    #[test]
    fn fractions_and_roots_get_their_braces() {
        check(r"\frac12", r"\frac{1}{2}");
        check(r"\frac1{72}", r"\frac{1}{72}");
        check(r"\tfrac{1}2", r"\frac{1}{2}");
        check(r"\frac{\frac12}3", r"\frac{\frac{1}{2}}{3}");
        check(r"\frac\pi2", r"\frac{\pi}{2}");
        check(r"3\sqrt2+\sqrt{5}", r"3\sqrt{2}+\sqrt{5}");
        check(r"\sqrt[3]{2}", r"\sqrt[3]{2}");
        check("1/2", r"\frac{1}{2}");
        check("-1/2", r"-\frac{1}{2}");
        check(r"\frac{-1}{2}", r"-\frac{1}{2}");
        check(r"\frac{-x}{2}", r"\frac{-x}{2}");
        check("x/2", "x/2");
        check(".5", r"\frac{1}{2}");
        check("0.50", "0.50");
    }

    #[test]
    fn marks_and_units_go() {
        check(r"90^\circ", "90");
        check(r"90^{\circ}", "90");
        check(r"f\circ g", r"f\circ g");
        check(r"\$5.50", "5.50");
        check(r"50\%", "50");
        check(r"3\text{ cm}", "3");
        check(r"\text{ cm}", "cm");
        check(r"\text{Paris}", "Paris");
        check(r"\text{a}+\text{b}", r"\text{a}+\text{b}");
        check(r"\left(1,\! 2\right)", "(1,2)");
        check(r"x\rightarrow y", r"x\rightarrow y");
        check("\\\\frac12", r"\frac{1}{2}");
    }

    #[test]
    fn a_short_left_side_goes() {
        check("x = 5", "5");
        check("x_1=5", "x_1=5");
        check("a=b=c", "a=b=c");
        check(r"\pi r^2", r"\pi r^2");
        check("-.5x", "-0.5x");
        check("1.5", "1.5");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(\\PC|\\\\frac|\\\\sqrt|\\\\circ|[{}\\\\$^/.=0-9])*") {
            clean_math(&text);
        }

        #[test]
        fn white_space_never_matters(text in "[a-z0-9+^.]{0,12}", at in 0_usize..12) {
            let at = at.min(text.len());
            let spaced = format!(" {} \n{}", &text[..at], &text[at..]);
            prop_assert_eq!(clean_math(&spaced), clean_math(&text));
        }
    }
}

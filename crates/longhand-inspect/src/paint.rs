//! Colour, width, and text that is safe to show.

/// How text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal; text is wrapped to them, and never to fewer than 40.
    pub width: usize,
    /// Whether to colour.
    pub colour: bool,
}

/// What a text is coloured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Plain,
    Heading,
    /// Aside, or not trained.
    Dim,
    /// Made more probable.
    Encouraged,
    /// Made less probable, or wrong.
    Discouraged,
}

/// The columns of the terminal that is standard output; none where it is no terminal.
#[must_use]
pub fn terminal_width() -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(columns))
}

impl Style {
    /// The columns to wrap to.
    pub(crate) fn columns(&self) -> usize {
        self.width.max(40)
    }

    /// One line of text in a colour.
    pub(crate) fn paint(&self, ink: Ink, line: &str) -> String {
        let code = match ink {
            Ink::Plain => return line.to_owned(),
            Ink::Heading => "1",
            Ink::Dim => "2",
            Ink::Encouraged => "32",
            Ink::Discouraged => "31",
        };
        if self.colour && !line.is_empty() {
            format!("\x1b[{code}m{line}\x1b[0m")
        } else {
            line.to_owned()
        }
    }

    /// Text as lines that fit, each indented and coloured by itself, so that a pager that shows some
    /// of them shows them right. Every line ends with a line's end.
    pub(crate) fn block(&self, ink: Ink, indent: usize, text: &str) -> String {
        let fitting = self.columns() - indent;
        let lines = wrap(&shown(text), fitting);
        let margin = " ".repeat(indent);
        let line = |line: &String| match line.is_empty() {
            true => "\n".to_owned(),
            false => format!("{margin}{}\n", self.paint(ink, line)),
        };
        lines.iter().map(line).collect()
    }
}

/// Text without anything that moves the cursor or turns the direction of writing.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push(c),
            '\t' => shown.push_str("    "),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.extend(c.escape_unicode());
            }
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// The same on one line.
pub(crate) fn shown_on_a_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    shown(&words.join(" "))
}

/// Lines of at most `width` characters, broken at spaces where there are any. Spaces at a break are
/// left out, all others stay.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut rest: Vec<char> = line.trim_end().chars().collect();
        while width < rest.len() {
            // A space behind the last column breaks a line that fits exactly.
            let space = rest[..=width].iter().rposition(|c| *c == ' ');
            let end = match space {
                Some(space) if rest[..space].iter().any(|c| *c != ' ') => space,
                _ => width,
            };
            let tail = rest.split_off(end);
            lines.push(rest.iter().collect::<String>().trim_end().to_owned());
            rest = tail.into_iter().skip_while(|c| *c == ' ').collect();
        }
        lines.push(rest.into_iter().collect());
    }
    while lines.len() != 1 && lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// The two ends of a long text with a line between them that says how much is left out.
pub(crate) fn ends(text: &str, n_each: usize) -> String {
    let n = text.chars().count();
    if n <= 2 * n_each {
        return text.to_owned();
    }
    let head: String = text.chars().take(n_each).collect();
    let tail: String = text.chars().skip(n - n_each).collect();
    format!("{head}\n[... {} characters ...]\n{tail}", n - 2 * n_each)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_break_at_spaces_where_there_are_any() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("a  b\n\n  c\n\n", 9), ["a  b", "", "  c"]);
        assert_eq!(wrap("", 9), [""]);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(
            shown("a\x1b[2Jb\r\t\u{202e}c"),
            "a\\u{1b}[2Jb\\r    \\u{202e}c"
        );
        assert_eq!(shown_on_a_line(" a\n\tb\x07"), "a b\\u{7}");
    }

    #[test]
    fn long_texts_keep_their_ends() {
        assert_eq!(ends("abcdef", 3), "abcdef");
        assert_eq!(ends("abcdefgh", 3), "abc\n[... 2 characters ...]\nfgh");
    }

    #[test]
    fn every_line_is_coloured_by_itself() {
        let style = Style {
            width: 0,
            colour: true,
        };
        let text = format!("{}\n\nb", "a".repeat(40));
        assert_eq!(
            style.block(Ink::Encouraged, 2, &text),
            format!(
                "  \x1b[32m{}\x1b[0m\n  \x1b[32maa\x1b[0m\n\n  \x1b[32mb\x1b[0m\n",
                "a".repeat(38)
            )
        );
    }

    proptest! {
        #[test]
        fn wrapped_lines_fit_and_keep_all_but_spaces(text in "[ab \n]{0,60}", width in 1..12_usize) {
            let lines = wrap(&text, width);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}

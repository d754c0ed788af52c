//! HTML: what a page shows, line by line, and its title.

use html5gum::{DefaultEmitter, Token, Tokenizer};

use crate::{Document, document::one_line};

/// Elements of which nothing is shown.
const HIDDEN: [&[u8]; 8] = [
    b"script",
    b"style",
    b"noscript",
    b"template",
    b"svg",
    b"math",
    b"iframe",
    b"noframes",
];

/// Elements with a blank line around them.
const BLOCKS: [&[u8]; 27] = [
    b"address",
    b"article",
    b"aside",
    b"blockquote",
    b"body",
    b"details",
    b"dl",
    b"fieldset",
    b"figure",
    b"footer",
    b"form",
    b"h1",
    b"h2",
    b"h3",
    b"h4",
    b"h5",
    b"h6",
    b"header",
    b"hr",
    b"main",
    b"nav",
    b"ol",
    b"p",
    b"pre",
    b"section",
    b"table",
    b"ul",
];

/// Elements on lines of their own.
const LINES: [&[u8]; 14] = [
    b"br",
    b"caption",
    b"center",
    b"dd",
    b"div",
    b"dt",
    b"figcaption",
    b"legend",
    b"li",
    b"option",
    b"summary",
    b"tbody",
    b"thead",
    b"tr",
];

/// The text of a page and its title: `<title>`, else the first `<h1>`, else empty.
///
/// White space is one space, as a page shows it, but within `<pre>`. Cells of a table have tabs
/// between them.
pub(crate) fn document(source: &str) -> Document {
    let mut emitter = DefaultEmitter::default();
    // Scripts, styles and titles have no tags within.
    emitter.naively_switch_states(true);
    let mut page = Page::default();
    for Ok(token) in Tokenizer::new_with_emitter(source, emitter) {
        match token {
            Token::StartTag(tag) => page.open(&tag.name, tag.self_closing),
            Token::EndTag(tag) => page.close(&tag.name),
            Token::String(text) => page.write(&String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
    let title = one_line(&page.title.unwrap_or_default());
    Document {
        title: if title.is_empty() {
            one_line(&page.heading.unwrap_or_default())
        } else {
            title
        },
        text: page.shown.finished(),
    }
}

/// A page up to some token.
#[derive(Default)]
struct Page {
    shown: Shown,
    /// The hidden element that is open, and how many of its name are.
    hidden: Option<(Vec<u8>, usize)>,
    title: Option<String>,
    in_title: bool,
    heading: Option<String>,
    in_heading: bool,
}

impl Page {
    fn open(&mut self, name: &[u8], self_closing: bool) {
        if let Some((hidden, depth)) = &mut self.hidden {
            if hidden == name && !self_closing {
                *depth += 1;
            }
            return;
        }
        if HIDDEN.contains(&name) {
            // HTML ignores the slash, but not within pictures and formulas.
            if !self_closing || !matches!(name, b"svg" | b"math") {
                self.hidden = Some((name.to_owned(), 1));
            }
            return;
        }
        match name {
            // Only the first one is the page's.
            b"title" => self.in_title = true,
            b"h1" if self.heading.is_none() => self.in_heading = true,
            b"pre" => self.shown.n_open_pre += 1,
            b"td" | b"th" => self.shown.part(Gap::Tab),
            _ => {}
        }
        self.part(name);
        if name == b"li" {
            self.shown.write("- ", true);
        }
    }

    fn close(&mut self, name: &[u8]) {
        if let Some((hidden, depth)) = &mut self.hidden {
            if hidden == name {
                *depth -= 1;
                if *depth == 0 {
                    self.hidden = None;
                }
            }
            return;
        }
        match name {
            b"title" => {
                self.in_title = false;
                self.title.get_or_insert_default();
            }
            b"h1" => self.in_heading = false,
            b"pre" => self.shown.n_open_pre = self.shown.n_open_pre.saturating_sub(1),
            _ => {}
        }
        self.part(name);
    }

    fn part(&mut self, name: &[u8]) {
        if BLOCKS.contains(&name) {
            self.shown.part(Gap::Block);
        } else if LINES.contains(&name) {
            self.shown.part(Gap::Line);
        }
    }

    fn write(&mut self, text: &str) {
        if self.hidden.is_some() {
            return;
        }
        if self.in_title {
            // A second title, as of a picture within the page, is not the page's.
            self.title.get_or_insert_with(|| text.to_owned());
            return;
        }
        if self.in_heading {
            self.heading.get_or_insert_default().push_str(text);
        }
        self.shown.write(text, false);
    }
}

/// What stands between two words; a larger one takes the place of a smaller one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    Space,
    Tab,
    Line,
    Block,
}

/// The text so far, and what is to stand before the next word.
#[derive(Default)]
struct Shown {
    text: String,
    gap: Gap,
    n_open_pre: usize,
}

impl Shown {
    fn part(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    fn write(&mut self, text: &str, as_it_is: bool) {
        if as_it_is || 0 < self.n_open_pre {
            if !text.is_empty() {
                self.fill_gap();
                self.text.push_str(text);
            }
            return;
        }
        for (idx, word) in text.split(is_collapsed).enumerate() {
            if 0 < idx {
                self.part(Gap::Space);
            }
            if !word.is_empty() {
                self.fill_gap();
                self.text.push_str(word);
            }
        }
    }

    fn fill_gap(&mut self) {
        let gap = std::mem::take(&mut self.gap);
        if self.text.is_empty() {
            return;
        }
        let ends_line = self.text.ends_with('\n');
        self.text.push_str(match gap {
            Gap::None => "",
            Gap::Space if self.text.ends_with([' ', '\n']) => "",
            Gap::Space => " ",
            Gap::Tab if ends_line => "",
            Gap::Tab => "\t",
            Gap::Line if ends_line => "",
            Gap::Line => "\n",
            Gap::Block if self.text.ends_with("\n\n") => "",
            Gap::Block if ends_line => "\n",
            Gap::Block => "\n\n",
        });
    }

    fn finished(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text
    }
}

/// The white space that a page shows as one space; a no-break space is shown as it is.
fn is_collapsed(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(source: &str, title: &str, text: &str) {
        let page = document(source);
        assert_eq!(
            (page.title.as_str(), page.text.as_str()),
            (title, text),
            "{source}"
        );
    }

    #[test]
    fn a_page_reads_as_it_looks() {
        check(
            "<!doctype html><html><head><title> The\n page &amp; more </title><style>p { x: y }</style>\
             <script>if (a < b) { document.write('<p>no</p>') }</script></head>\
             <body><h1>Top</h1>\n<p>One <b>bo</b>ld   caf&eacute;\n&lt;tag&gt; &#x1F600;</p><!-- no -->\
             <p>Two<br>lines</p></body></html>",
            "The page & more",
            "Top\n\nOne bold café <tag> 😀\n\nTwo\nlines\n",
        );
        check(
            "<ul><li>a<li>b <i>c</i></ul><table><tr><th>x<th>y<tr><td>1<td>2</table>end",
            "",
            "- a\n- b c\n\nx\ty\n1\t2\n\nend\n",
        );
        check("<pre>a\n  b\n</pre>c", "", "a\n  b\n\nc\n");
        check("<div>a</div><div>b</div> c", "", "a\nb\nc\n");
    }

    #[test]
    fn the_title_is_the_pages_own() {
        check(
            "<title></title><h1>A <em>b</em></h1><h1>C</h1>x",
            "A b",
            "A b\n\nC\n\nx\n",
        );
        check("<svg><title>no</title><text>no</text></svg><p>x", "", "x\n");
        check("<title>yes</title><title>no</title>x", "yes", "x\n");
    }

    #[test]
    fn hidden_elements_hide_what_is_within_and_no_more() {
        check("a<noscript><p>no</p></noscript>b", "", "ab\n");
        check(
            "a<template>x<template>y</template>z</template>b",
            "",
            "ab\n",
        );
        check("a<svg/>b", "", "ab\n");
        check("a<script>no", "", "a\n");
        check("a<script/>no</script>b", "", "ab\n");
    }

    #[test]
    fn a_page_of_a_hundred_thousand_open_elements_is_read() {
        let source = format!("{}x", "<div><b>".repeat(100_000));
        check(&source, "", "x\n");
    }

    proptest! {
        #[test]
        fn no_text_panics(source in "(</?(p|title|h1|pre|svg|script|li|td|b)/?>|<|>|&|;|&amp|#x[0-9]|!--|[ \\n]|\\PC){0,40}") {
            let _ = document(&source);
        }

        #[test]
        fn text_without_markup_comes_back(words in proptest::collection::vec("[a-zé]{1,8}", 1..20)) {
            let text = words.join(" ");
            prop_assert_eq!(document(&format!("<p>{text}</p>")).text, format!("{text}\n"));
        }
    }
}

//! Markdown: its first heading, and its text without markup.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::document::one_line;

/// The first heading; empty if there is none.
pub(crate) fn title(source: &str) -> String {
    let mut title: Option<String> = None;
    for piece in pieces(source) {
        for event in parser(piece) {
            match (event, &mut title) {
                (Event::Start(Tag::Heading { .. }), title) => *title = Some(String::new()),
                (Event::Text(text) | Event::Code(text), Some(title)) => title.push_str(&text),
                (Event::SoftBreak | Event::HardBreak, Some(title)) => title.push(' '),
                (Event::End(TagEnd::Heading(_)), Some(found)) => {
                    let found = one_line(found);
                    if !found.is_empty() {
                        return found;
                    }
                    title = None;
                }
                _ => {}
            }
        }
    }
    String::new()
}

/// What a reader would see: blocks with blank lines between them, items with their marks, rows of
/// tables with tabs between cells; links and pictures by their texts, HTML left out.
pub(crate) fn stripped(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    for piece in pieces(source) {
        append_stripped(piece, &mut text);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn append_stripped(source: &str, text: &mut String) {
    // For each open list the number of its next item; `None` if it has no numbers.
    let mut lists: Vec<Option<u64>> = Vec::new();
    let mut in_metadata = false;
    for event in parser(source) {
        match event {
            Event::Start(Tag::MetadataBlock(_)) => in_metadata = true,
            Event::End(TagEnd::MetadataBlock(_)) => in_metadata = false,
            _ if in_metadata => {}
            Event::Start(Tag::List(first)) => {
                if lists.is_empty() {
                    end_block(text);
                } else {
                    end_line(text);
                }
                lists.push(first);
            }
            Event::End(TagEnd::List(_)) => {
                lists.pop();
                if lists.is_empty() {
                    end_block(text);
                }
            }
            Event::Start(Tag::Item) => {
                end_line(text);
                // Deeper lists look alike: a document may nest a thousand of them.
                text.push_str(&"  ".repeat(lists.len().saturating_sub(1).min(8)));
                match lists.last_mut() {
                    Some(Some(number)) => {
                        text.push_str(&format!("{number}. "));
                        *number = number.saturating_add(1);
                    }
                    _ => text.push_str("- "),
                }
            }
            Event::End(TagEnd::Item | TagEnd::TableRow | TagEnd::TableHead) => end_line(text),
            Event::End(TagEnd::Paragraph) if !lists.is_empty() => end_line(text),
            Event::End(TagEnd::TableCell) => text.push('\t'),
            Event::Start(
                Tag::Heading { .. } | Tag::CodeBlock(_) | Tag::Table(_) | Tag::BlockQuote(_),
            )
            | Event::End(
                TagEnd::Paragraph
                | TagEnd::Heading(_)
                | TagEnd::CodeBlock
                | TagEnd::Table
                | TagEnd::BlockQuote(_),
            )
            | Event::Rule => end_block(text),
            Event::Text(part)
            | Event::Code(part)
            | Event::InlineMath(part)
            | Event::DisplayMath(part) => text.push_str(&part),
            Event::SoftBreak | Event::HardBreak => text.push('\n'),
            _ => {}
        }
    }
    end_block(text);
}

fn parser(source: &str) -> Parser<'_> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    Parser::new_ext(source, options)
}

fn end_line(text: &mut String) {
    let n_kept = text.trim_end_matches([' ', '\t']).len();
    if 0 < n_kept {
        text.truncate(n_kept);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
}

fn end_block(text: &mut String) {
    end_line(text);
    if !text.is_empty() && !text.ends_with("\n\n") {
        text.push('\n');
    }
}

/// How much Markdown is parsed at once: the parser keeps a node for every few bytes.
const N_PIECE_BYTES: usize = 1 << 20;

/// A text in pieces that end before a blank line outside of fenced code, each at least
/// [`N_PIECE_BYTES`] long but the last. A reference in one piece to a link in another stays as it is
/// written; its text is there all the same.
fn pieces(source: &str) -> impl Iterator<Item = &str> {
    let mut rest = source;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(end_of_piece(rest));
        rest = after;
        Some(piece)
    })
}

fn end_of_piece(text: &str) -> usize {
    if text.len() <= N_PIECE_BYTES {
        return text.len();
    }
    let (mut at, mut in_fence, mut was_blank) = (0, false, false);
    for line in text.split_inclusive('\n') {
        // Indented lines after a blank one may go on with a list or with code.
        let begins_block = was_blank && !line.starts_with([' ', '\t']);
        if N_PIECE_BYTES <= at && begins_block && !in_fence {
            return at;
        }
        let trimmed = line.trim();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            in_fence = !in_fence;
        }
        was_blank = trimmed.is_empty();
        at += line.len();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(source: &str, expected_title: &str, expected: &str) {
        assert_eq!(title(source), expected_title, "{source:?}");
        assert_eq!(stripped(source), expected, "{source:?}");
    }

    #[test]
    fn markup_goes_and_text_stays() {
        check(
            "---\nkey: value\n---\n\nIntro *here*.\n\n## The `one` title\n\nA [link](http://a.b) and ![a picture](x.png).\nSecond line.\n\n> quoted\n\n---\n\nEnd &amp; *out*.\n",
            "The one title",
            "Intro here.\n\nThe one title\n\nA link and a picture.\nSecond line.\n\nquoted\n\nEnd & out.\n",
        );
        check(
            "1. one\n2. two\n   - deep **er**\n\nText\n\n```rust\nlet x = *y;\n\n# no heading\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
            "",
            "1. one\n2. two\n  - deep er\n\nText\n\nlet x = *y;\n\n# no heading\n\na\tb\n1\t2\n",
        );
        check(
            "Setext\ntitle\n===\n\ntext",
            "Setext title",
            "Setext\ntitle\n\ntext\n",
        );
        check("#\n\n# Second\n", "Second", "Second\n");
        check(
            "a <b>bold</b> word\n\n<div>\nblock\n</div>\n",
            "",
            "a bold word\n",
        );
    }

    #[test]
    fn a_long_text_is_cut_into_pieces_that_lose_nothing() {
        let block = "A paragraph of *some* words.\n\n```\ncode\n\nmore code\n```\n\n";
        let n_blocks = 2 * N_PIECE_BYTES / block.len() + 10;
        let source = block.repeat(n_blocks);
        assert!(2 <= pieces(&source).count());
        assert!(pieces(&source).collect::<String>() == source);
        let clean = "A paragraph of some words.\n\ncode\n\nmore code\n\n".repeat(n_blocks);
        assert!(stripped(&source).trim_end() == clean.trim_end());
    }

    proptest! {
        #[test]
        fn no_text_panics(source in "([ \\n\\t>#*_`~\\[\\]()<>!|:1.&-]|[a-z]|\\PC){0,60}") {
            let _ = (title(&source), stripped(&source));
        }

        #[test]
        fn plain_paragraphs_come_back(words in proptest::collection::vec("[a-z]{1,8}", 1..20)) {
            let source = words.join("\n\n");
            prop_assert_eq!(stripped(&source), format!("{source}\n"));
        }
    }
}

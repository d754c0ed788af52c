//! Text from a run as text of a page.
//!
//! `& < > " '` become references. What a reader could not see, or what would move or hide the text
//! around it, is spelled out: control characters as `[U+0000]`, and likewise the marks, embeddings
//! and overrides of writing direction, line and paragraph separators, the byte order mark and code
//! points that are no characters. Tabs and line ends stay.

use std::fmt::Write as _;

/// Appends `text` to `out`, escaped for elements and for quoted attributes.
pub(crate) fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            _ if is_unseen(character) => {
                // Writing to a string cannot fail.
                let _ = write!(out, "[U+{:04X}]", u32::from(character));
            }
            _ => out.push(character),
        }
    }
}

/// Whether a character is spelled out. Joiners stay: scripts and emoji are written with them.
fn is_unseen(character: char) -> bool {
    let code = u32::from(character);
    character.is_control()
        || matches!(code, 0x061C | 0x200B | 0x200E | 0x200F | 0x2028..=0x202E | 0x2060 | 0x2066..=0x2069)
        || matches!(code, 0xFEFF | 0xFDD0..=0xFDEF | 0xFFF9..=0xFFFB | 0xE0000..=0xE007F)
        || code & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let mut out = String::new();
        escape(text, &mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn markup_is_text() {
        check("</script>", "&lt;/script&gt;");
        check("a=\"b\" & c='d'", "a=&quot;b&quot; &amp; c=&#39;d&#39;");
        check("&lt;", "&amp;lt;");
        check("]]>", "]]&gt;");
    }

    #[test]
    fn what_is_not_seen_is_spelled_out() {
        check("a\0b\u{1b}[31m", "a[U+0000]b[U+001B][31m");
        check("\u{7f}\u{85}\r\n\t", "[U+007F][U+0085][U+000D]\n\t");
        check(
            "pay \u{202e}001\u{202c}\u{2066}",
            "pay [U+202E]001[U+202C][U+2066]",
        );
        check("\u{200f}\u{feff}\u{ffff}", "[U+200F][U+FEFF][U+FFFF]");
        check("\u{1fffe}", "[U+1FFFE]");
    }

    #[test]
    fn other_scripts_stay_as_they_are() {
        check(
            "naïve שלום 東京 👩\u{200d}🔬",
            "naïve שלום 東京 👩\u{200d}🔬",
        );
    }
}

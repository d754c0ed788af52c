//! Text of ids that come one by one.
//!
//! A token may end inside a character, and decoders look at what stands before: each step decodes the
//! last piece that was shown and everything after it, and shows what is new once it ends with a whole
//! character. White space at either end of the text is never shown.

/// Whatever keeps ids from having a text.
pub type DecodeError = Box<dyn std::error::Error + Send + Sync>;

/// The text of ids, without special tokens.
pub type Decode<'a> = dyn Fn(&[u32]) -> Result<String, DecodeError> + 'a;

/// What decoders write for bytes that are no character.
const REPLACEMENT: char = '\u{fffd}';

/// The text of whole ids, as it is shown and kept: without white space at its ends, and without the
/// beginning of a character that was cut off.
///
/// # Errors
/// Those of `decode`.
pub fn text_of(ids: &[u32], decode: &Decode<'_>) -> Result<String, DecodeError> {
    let text = decode(ids)?;
    Ok(text.trim_end_matches(REPLACEMENT).trim().to_owned())
}

/// Turns ids into pieces of text that can be shown at once.
///
/// All pieces together are [`text_of`] the ids, for decoders that write a text's pieces as they write the
/// text.
#[derive(Debug, Default)]
pub struct Detokenizer {
    /// The ids of the piece shown last, and those that came after it.
    ids: Vec<u32>,
    /// How many of them are shown.
    n_shown: usize,
    /// White space that is shown once something follows it.
    held_back: String,
    has_shown: bool,
}

impl Detokenizer {
    /// The piece that this id completes; often empty.
    ///
    /// # Errors
    /// Those of `decode`.
    pub fn push(&mut self, id: u32, decode: &Decode<'_>) -> Result<String, DecodeError> {
        self.ids.push(id);
        let shown = decode(&self.ids[..self.n_shown])?;
        let text = decode(&self.ids)?;
        if text.ends_with(REPLACEMENT) {
            return Ok(String::new());
        }
        let Some(new) = text.strip_prefix(&shown).filter(|new| !new.is_empty()) else {
            return Ok(String::new());
        };
        let piece = self.trimmed(new);
        self.ids.drain(..self.n_shown);
        self.n_shown = self.ids.len();
        Ok(piece)
    }

    /// The piece that is left when no id follows.
    ///
    /// # Errors
    /// Those of `decode`.
    pub fn finish(mut self, decode: &Decode<'_>) -> Result<String, DecodeError> {
        let shown = decode(&self.ids[..self.n_shown])?;
        let text = decode(&self.ids)?;
        let text = text.trim_end_matches(REPLACEMENT);
        Ok(match text.strip_prefix(&shown) {
            Some(new) => self.trimmed(new),
            None => String::new(),
        })
    }

    /// A piece with the white space that was held back before it and without that at its end.
    fn trimmed(&mut self, new: &str) -> String {
        let new = if self.has_shown {
            new
        } else {
            new.trim_start()
        };
        let body = new.trim_end();
        if body.is_empty() {
            self.held_back.push_str(new);
            return String::new();
        }
        let piece = std::mem::take(&mut self.held_back) + body;
        self.held_back.push_str(&new[body.len()..]);
        self.has_shown = true;
        piece
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tokens as bytes, some of which are parts of characters.
    const TOKENS: [&[u8]; 14] = [
        b"a",
        b" b",
        b"\n",
        b" ",
        b"\xc3",
        b"\xa9",
        b"\xe2\x82",
        b"\xac",
        b"\xf0\x9f",
        b"\x98\x80",
        b"\xff",
        b"\xef\xbf\xbd",
        b"<end>",
        b"\t\n",
    ];
    const END: u32 = 12;

    /// Bytes joined, special tokens left out, what is no character replaced.
    fn bytes(ids: &[u32]) -> Result<String, DecodeError> {
        let ids = ids.iter().filter(|id| **id != END);
        let bytes: Vec<u8> = ids.flat_map(|id| TOKENS[*id as usize]).copied().collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A space before each word but the first, as sentence-piece decoders write it.
    fn words(ids: &[u32]) -> Result<String, DecodeError> {
        let words: Vec<String> = ids.iter().map(ToString::to_string).collect();
        Ok(words.join(" "))
    }

    fn streamed(ids: &[u32], decode: &Decode<'_>) -> Vec<String> {
        let mut detokenizer = Detokenizer::default();
        let mut pieces: Vec<String> = Vec::new();
        for id in ids {
            pieces.push(detokenizer.push(*id, decode).unwrap());
        }
        pieces.push(detokenizer.finish(decode).unwrap());
        pieces
    }

    fn check(ids: &[u32], expected: &[&str]) {
        assert_eq!(streamed(ids, &bytes), expected, "{ids:?}");
    }

    #[test]
    fn a_character_is_shown_when_it_is_whole() {
        check(&[0, 4, 5, 1], &["a", "", "\u{e9}", " b", ""]);
        check(&[8, 9], &["", "\u{1f600}", ""]);
        check(&[0, 8], &["a", "", ""]);
        // A byte that begins no character is one that the model wrote.
        check(&[10, 0], &["", "\u{fffd}a", ""]);
    }

    #[test]
    fn white_space_is_shown_once_something_follows() {
        check(
            &[3, 2, 1, 2, 13, 0, 3],
            &["", "", "b", "", "", "\n\t\na", "", ""],
        );
        check(&[0, END], &["a", "", ""]);
        check(&[], &[""]);
        check(&[3], &["", ""]);
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_text(ids in proptest::collection::vec(0_u32..14, 0..40)) {
            let text = streamed(&ids, &bytes).concat();
            prop_assert_eq!(text, text_of(&ids, &bytes).unwrap());
            let text = streamed(&ids, &words).concat();
            prop_assert_eq!(text, text_of(&ids, &words).unwrap());
        }

        #[test]
        fn no_character_of_a_text_is_shown_in_parts(text in "[a\u{e9} \u{20ac}\u{1f600}]{0,12}") {
            let ids: Vec<u32> = text.bytes().map(u32::from).collect();
            let decode = |ids: &[u32]| -> Result<String, DecodeError> {
                let bytes: Vec<u8> = ids.iter().map(|id| *id as u8).collect();
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            };
            for n_bytes in 0..=ids.len() {
                let pieces = streamed(&ids[..n_bytes], &decode);
                prop_assert!(text.trim().starts_with(&pieces.concat()));
            }
        }
    }
}

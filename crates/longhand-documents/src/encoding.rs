//! Bytes of a file as one text with line feeds at line ends: UTF-8, or UTF-16 with a byte order mark.

use std::io::{self, Read};

/// Why bytes are not text, and where.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// The reader failed.
    Io(io::Error),
    /// What stands at a byte is not text.
    NotText {
        offset: u64,
        reason: &'static str,
        mend: &'static str,
    },
}

impl From<io::Error> for DecodeError {
    fn from(error: io::Error) -> Self {
        DecodeError::Io(error)
    }
}

/// Reads `reader` to its end, of which about `n_bytes` are expected.
///
/// The bytes of UTF-8 become the text without a copy; UTF-16 is decoded piece by piece.
pub(crate) fn decoded(mut reader: impl Read, n_bytes: usize) -> Result<String, DecodeError> {
    let mut start = Vec::new();
    (&mut reader).take(2).read_to_end(&mut start)?;
    let text = match start.as_slice() {
        [0xff, 0xfe] => utf16(reader, n_bytes, u16::from_le_bytes)?,
        [0xfe, 0xff] => utf16(reader, n_bytes, u16::from_be_bytes)?,
        _ => utf8(start, reader, n_bytes)?,
    };
    // A NUL is valid UTF-8, but no document holds one: this is data, or UTF-16 without its mark.
    if let Some(offset) = text.bytes().position(|byte| byte == 0) {
        return Err(DecodeError::NotText {
            offset: offset as u64,
            reason: "a zero byte, as in binary files and in UTF-16 without a byte order mark,",
            mend: "give a text file in UTF-8",
        });
    }
    Ok(with_line_feeds(text))
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn utf8(start: Vec<u8>, mut reader: impl Read, n_bytes: usize) -> Result<String, DecodeError> {
    let mut bytes = start;
    bytes.reserve_exact(n_bytes.saturating_add(1));
    reader.read_to_end(&mut bytes)?;
    let n_mark_bytes = if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
        BYTE_ORDER_MARK.len()
    } else {
        0
    };
    String::from_utf8(bytes).map_err(|error| DecodeError::NotText {
        offset: (n_mark_bytes + error.utf8_error().valid_up_to()) as u64,
        reason: "bytes that are not UTF-8",
        mend: "save it in UTF-8, or convert it: `iconv -f ENCODING -t UTF-8 FILE`",
    })
}

fn utf16(
    mut reader: impl Read,
    n_bytes: usize,
    unit: fn([u8; 2]) -> u16,
) -> Result<String, DecodeError> {
    const N_PIECE_BYTES: usize = 1 << 16;
    let mut text = String::with_capacity(n_bytes / 2);
    let mut piece = Vec::with_capacity(N_PIECE_BYTES);
    // The offset of the next unit to decode; the mark took two bytes.
    let mut offset = 2_u64;
    let mut high: Option<u16> = None;
    let broken = |offset, reason| DecodeError::NotText {
        offset,
        reason,
        mend: "save it in UTF-8",
    };
    loop {
        piece.clear();
        (&mut reader)
            .take(N_PIECE_BYTES as u64)
            .read_to_end(&mut piece)?;
        if piece.is_empty() {
            break;
        }
        let units = piece.chunks_exact(2);
        if !units.remainder().is_empty() {
            let offset = offset + piece.len() as u64 - 1;
            return Err(broken(offset, "half a character of UTF-16"));
        }
        for pair in units {
            let unit = unit([pair[0], pair[1]]);
            let pair = high.take().into_iter().chain([unit]);
            match char::decode_utf16(pair).next() {
                Some(Ok(character)) => text.push(character),
                Some(Err(alone)) if alone.unpaired_surrogate() == unit && is_high(unit) => {
                    high = Some(unit);
                }
                _ => return Err(broken(offset, "half a surrogate pair of UTF-16")),
            }
            offset += 2;
        }
    }
    match high {
        None => Ok(text),
        Some(_) => Err(broken(offset - 2, "half a surrogate pair of UTF-16")),
    }
}

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

/// Line ends of any system as line feeds.
fn with_line_feeds(text: String) -> String {
    if !text.contains('\r') {
        return text;
    }
    let mut replaced = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\r' {
            replaced.push(character);
        } else if characters.peek() != Some(&'\n') {
            replaced.push('\n');
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offset(bytes: &[u8]) -> (u64, &'static str) {
        match decoded(bytes, bytes.len()) {
            Err(DecodeError::NotText { offset, reason, .. }) => (offset, reason),
            other => panic!("{bytes:?} gave {other:?}"),
        }
    }

    fn encoded_utf16(text: &str, big: bool) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        let bytes = |unit: u16| {
            if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        };
        units.flat_map(bytes).collect()
    }

    #[test]
    fn marks_are_dropped_and_line_ends_are_line_feeds() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"a", "a"),
            (b"a\r\nb\rc\n\r", "a\nb\nc\n\n"),
            (b"\xef\xbb\xbf\xc3\xa9", "é"),
            (b"\xff\xfea\0\n\0", "a\n"),
            (b"\xfe\xff\0a\0\r\0\n", "a\n"),
        ] {
            assert_eq!(decoded(bytes, 0).expect("sound bytes"), text, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_text_is_named_by_its_offset_in_the_file() {
        let (utf8, zero) = ("bytes that are not UTF-8", "a zero byte");
        let (half, pair) = ("half a character of", "half a surrogate pair");
        for (bytes, at, what) in [
            (&b"caf\xe9 au lait"[..], 3, utf8),
            (b"\xef\xbb\xbfcaf\xe9", 6, utf8),
            (b"\xff", 0, utf8),
            (b"ab\0", 2, zero),
            (b"a\0b\0", 1, zero),
            (b"\xff\xfea\0b", 4, half),
            (b"\xff\xfea\0\0\xd8", 4, pair),
            (b"\xff\xfea\0\0\xd8b\0", 6, pair),
            (b"\xff\xfe\0\xdca\0", 2, pair),
            (b"\xff\xfe\0\xd8\0\xd8", 4, pair),
        ] {
            let (found, reason) = offset(bytes);
            assert_eq!(found, at, "{bytes:?}");
            assert!(reason.starts_with(what), "{bytes:?}: {reason}");
        }
    }

    #[test]
    fn a_surrogate_pair_over_two_pieces_is_one_character() {
        let text = format!("{}😀", "a".repeat((1 << 15) - 1));
        let read = decoded(encoded_utf16(&text, false).as_slice(), 0).expect("sound bytes");
        assert!(read == text);
    }

    proptest! {
        #[test]
        fn every_encoding_of_a_text_reads_as_that_text(text in "[^\\x00\\r]{0,40}", big in any::<bool>()) {
            let bytes = encoded_utf16(&text, big);
            prop_assert_eq!(decoded(bytes.as_slice(), 0).expect("sound bytes"), text.as_str());
            // A text may begin with a mark of its own.
            let marked = [BYTE_ORDER_MARK, text.as_bytes()].concat();
            prop_assert_eq!(decoded(marked.as_slice(), 0).expect("sound bytes"), text.as_str());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), mark in 0_usize..3) {
            let mark = [&b""[..], b"\xff\xfe", b"\xfe\xff"][mark];
            let _ = decoded([mark, &bytes].concat().as_slice(), 0);
        }
    }
}

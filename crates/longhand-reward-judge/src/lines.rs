//! Lines out of pieces of output, of bounded length.

/// A line of a judge's output may have so many bytes, without its line break.
pub const MAX_REPLY_BYTES: usize = 64 * 1024;

/// What has come and is not yet taken; never much more than one line and one piece.
#[derive(Default)]
pub(crate) struct Lines {
    waiting: Vec<u8>,
    /// So many of the waiting bytes have been searched for a line break.
    n_searched: usize,
}

/// A line with more than [`MAX_REPLY_BYTES`] bytes.
#[derive(Debug, PartialEq)]
pub(crate) struct TooLong;

impl Lines {
    /// Adds a piece of output.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.waiting.extend_from_slice(piece);
    }

    /// The next whole line, without its line break; `None` until one is there.
    pub(crate) fn take(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let found = self.waiting[self.n_searched..]
            .iter()
            .position(|&byte| byte == b'\n');
        let n_bytes = match found {
            Some(offset) => self.n_searched + offset,
            None => self.waiting.len(),
        };
        if MAX_REPLY_BYTES < n_bytes {
            return Err(TooLong);
        }
        if found.is_none() {
            self.n_searched = n_bytes;
            return Ok(None);
        }
        let mut line: Vec<u8> = self.waiting.drain(..=n_bytes).collect();
        line.pop();
        self.n_searched = 0;
        Ok(Some(line))
    }

    /// What has come and is no whole line.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, MAX_REPLY_BYTES, TooLong};
    use proptest::prelude::*;

    #[test]
    fn a_line_may_be_as_long_as_the_bound() {
        let mut lines = Lines::default();
        let mut text = vec![b'x'; MAX_REPLY_BYTES];
        lines.push(&text);
        assert_eq!(lines.take(), Ok(None));
        lines.push(b"\n");
        assert_eq!(lines.take(), Ok(Some(text.clone())));
        text.push(b'x');
        lines.push(&text);
        assert_eq!(lines.take(), Err(TooLong));
        lines.push(b"\n");
        assert_eq!(lines.take(), Err(TooLong));
    }

    proptest! {
        #[test]
        fn where_the_pieces_end_does_not_matter(text in "[ab\n]{0,40}", piece in 1_usize..9) {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(piece) {
                lines.push(piece);
                while let Some(line) = lines.take().unwrap() {
                    found.push(String::from_utf8(line).unwrap());
                }
            }
            found.push(String::from_utf8(lines.rest().to_vec()).unwrap());
            let expected: Vec<&str> = text.split('\n').collect();
            prop_assert_eq!(found, expected);
        }
    }
}

//! Splits a data file into JSON objects: one per line, the elements of one list, or rows of Parquet.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    ops::ControlFlow,
    path::Path,
};

use serde_json::{Map, Value};

use crate::{RecordPlace, TaskError, fields::kind_of, parquet_rows};

/// One JSON object, or why the text that should have held one does not.
pub(crate) type Object = Result<Map<String, Value>, String>;

/// Hands every record with its place to `on_record` until that breaks off, and returns how many blank
/// lines stood between the records of a file with one object per line.
///
/// A file that begins with Parquet's mark is read row by row. A file whose first character is `[` is
/// one list; it is read whole. In any other file each line is a record, and a line longer than
/// `max_line_bytes` is never held in memory.
pub(crate) fn for_each_record(
    path: &Path,
    max_line_bytes: usize,
    mut on_record: impl FnMut(RecordPlace, Object) -> ControlFlow<()>,
) -> Result<usize, TaskError> {
    let unreadable = |source| TaskError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let not_a_file = |what| TaskError::NotAFile {
        path: path.to_owned(),
        what,
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(not_a_file("a folder"));
    }
    if !metadata.is_file() {
        return Err(not_a_file("a device or a pipe"));
    }

    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let start = reader.fill_buf().map_err(unreadable)?;
    if start.starts_with(parquet_rows::MARK) {
        parquet_rows::for_each_row(path, reader.into_inner(), max_line_bytes, |row, object| {
            on_record(RecordPlace::Row(row), object)
        })?;
        return Ok(0);
    }
    let mut on_record = |line, object| on_record(RecordPlace::Line(line), object);
    let n_mark_bytes = if start.starts_with(BYTE_ORDER_MARK) {
        BYTE_ORDER_MARK.len()
    } else {
        0
    };
    if start[n_mark_bytes..].trim_ascii_start().first() == Some(&b'[') {
        let bytes = fs::read(path).map_err(unreadable)?;
        // Whether somebody broke off makes no difference here.
        let _ = for_each_element(&bytes[n_mark_bytes..], max_line_bytes, &mut on_record);
        return Ok(0);
    }
    reader.consume(n_mark_bytes);
    for_each_line(&mut reader, max_line_bytes, &mut on_record).map_err(unreadable)
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn for_each_line(
    reader: &mut impl BufRead,
    max_line_bytes: usize,
    on_record: &mut impl FnMut(usize, Object) -> ControlFlow<()>,
) -> io::Result<usize> {
    let (mut line, mut line_number, mut n_blank) = (Vec::new(), 0, 0);
    while let Some(n_bytes) = read_line(reader, &mut line, max_line_bytes)? {
        line_number += 1;
        let object = if max_line_bytes < n_bytes {
            Err(too_long("this line", n_bytes, max_line_bytes))
        } else if line.trim_ascii().is_empty() {
            n_blank += 1;
            continue;
        } else {
            parse(&line, "put one whole JSON object on each line")
        };
        if on_record(line_number, object).is_break() {
            break;
        }
    }
    Ok(n_blank)
}

/// Reads one line without its end into `line`, but no more than `max_bytes` of it. Returns its
/// whole length; `None` at the end of the file.
fn read_line(
    reader: &mut impl BufRead,
    line: &mut Vec<u8>,
    max_bytes: usize,
) -> io::Result<Option<usize>> {
    line.clear();
    let mut n_bytes = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok((0 < n_bytes).then_some(n_bytes));
        }
        let line_end = buffer.iter().position(|&byte| byte == b'\n');
        let part = &buffer[..line_end.unwrap_or(buffer.len())];
        let n_kept = part.len().min(max_bytes - line.len());
        line.extend_from_slice(&part[..n_kept]);
        n_bytes += part.len();
        let n_used = part.len() + usize::from(line_end.is_some());
        reader.consume(n_used);
        if line_end.is_some() {
            return Ok(Some(n_bytes));
        }
    }
}

/// Finds the elements of one list by its commas and brackets; what they hold is parsed one by one,
/// so that one broken element does not hide the others.
fn for_each_element(
    bytes: &[u8],
    max_bytes: usize,
    on_record: &mut impl FnMut(usize, Object) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut emit = |element: Option<(usize, usize)>, end: usize, line: usize| match element {
        None => on_record(
            line,
            Err("nothing stands between two commas; remove one".to_owned()),
        ),
        Some((start, line)) => {
            let element = bytes[start..end].trim_ascii_end();
            if max_bytes < element.len() {
                on_record(line, Err(too_long("this record", element.len(), max_bytes)))
            } else {
                on_record(
                    line,
                    parse(element, "make each element of the list one JSON object"),
                )
            }
        }
    };
    let (mut line, mut depth, mut n_elements) = (1, 0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    let mut element: Option<(usize, usize)> = None;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte == b'\n' {
            line += 1;
        }
        if in_string {
            (in_string, escaped) = (byte != b'"' || escaped, byte == b'\\' && !escaped);
            continue;
        }
        match byte {
            b'[' if depth == 0 => {
                depth = 1;
                continue;
            }
            b']' if depth == 1 => {
                if element.is_some() || 0 < n_elements {
                    emit(element, at, line)?;
                }
                let rest = bytes[at + 1..].trim_ascii_start();
                if !rest.is_empty() {
                    let line = 1 + count_lines(&bytes[..bytes.len() - rest.len()]);
                    on_record(
                        line,
                        Err("text follows the end of the list; remove it".to_owned()),
                    )?;
                }
                return ControlFlow::Continue(());
            }
            b',' if depth == 1 => {
                emit(element.take(), at, line)?;
                n_elements += 1;
                continue;
            }
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            // Inside an element brackets need not match here: its own parser says what is wrong.
            b'}' | b']' => depth = (depth - 1).max(1),
            _ => {}
        }
        if element.is_none() && 0 < depth && !byte.is_ascii_whitespace() {
            element = Some((at, line));
        }
    }
    let line = element.map_or(line, |(_, line)| line);
    let reason = "the list is not closed after this record; the file may have been cut off";
    on_record(line, Err(reason.to_owned()))
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

pub(crate) fn too_long(what: &str, n_bytes: usize, max_bytes: usize) -> String {
    format!(
        "{what} has {n_bytes} bytes, more than `max_line_bytes` = {max_bytes}; shorten the document \
         or raise `max_line_bytes`"
    )
}

fn parse(bytes: &[u8], mend: &str) -> Object {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let byte = error.valid_up_to() + 1;
        format!("byte {byte} of this record is not UTF-8; save the file in UTF-8")
    })?;
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(format!(
            "this is {}, not a JSON object; {mend}",
            kind_of(&other)
        )),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let error = error.to_string();
            let what = error.split(" at line ").next().unwrap_or(&error);
            Err(format!(
                "this is not JSON: {what} at line {line}, column {column} of this record; {mend}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], max_line_bytes: usize) -> (Vec<(usize, Object)>, usize) {
        let mut records = Vec::new();
        // A buffer of three bytes makes every line cross its end.
        let mut reader = BufReader::with_capacity(3, bytes);
        let n_blank = for_each_line(&mut reader, max_line_bytes, &mut |line, object| {
            records.push((line, object));
            ControlFlow::Continue(())
        });
        (records, n_blank.expect("reading from memory cannot fail"))
    }

    fn elements(text: &str) -> Vec<(usize, Object)> {
        let mut records = Vec::new();
        let flow = for_each_element(text.as_bytes(), 1_000, &mut |line, object| {
            records.push((line, object));
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue());
        records
    }

    fn sketch(records: &[(usize, Object)]) -> Vec<(usize, &str)> {
        records
            .iter()
            .map(|(line, object)| match object {
                Ok(object) => (*line, object.keys().next().map_or("{}", String::as_str)),
                Err(reason) => (*line, reason.as_str()),
            })
            .collect()
    }

    #[test]
    fn lines_are_counted_over_blank_ones_and_need_no_last_line_end() {
        let (records, n_blank) = lines(b"{\"a\":1}\n\n  \r\n{\"b\":2}\r\n{\"c\":3}", 100);
        assert_eq!(sketch(&records), [(1, "a"), (4, "b"), (5, "c")]);
        assert_eq!(n_blank, 2);
        assert_eq!(lines(b"", 100).0.len(), 0);
    }

    #[test]
    fn a_line_may_have_exactly_the_limit() {
        let (records, _) = lines(b"{\"a\":1}\n{\"b\":22}\n{\"c\":3}", 7);
        assert_eq!(records[0].1.as_ref().map(Map::len), Ok(1));
        assert!(
            sketch(&records)[1]
                .1
                .contains("has 8 bytes, more than `max_line_bytes` = 7")
        );
        assert_eq!(sketch(&records)[2], (3, "c"));
    }

    #[test]
    fn bytes_that_are_not_text_are_named() {
        let (records, _) = lines(b"{\"a\":\"\xff\"}", 100);
        assert!(
            sketch(&records)[0]
                .1
                .starts_with("byte 7 of this record is not UTF-8")
        );
    }

    #[test]
    fn a_list_is_split_at_its_own_commas_only() {
        let records = elements("[{\"a\": \"],[\\\",{\"},\n\n {\"b\": [1, {\"c\": 2}]}\n]\n");
        assert_eq!(sketch(&records), [(1, "a"), (3, "b")]);
        assert!(elements(" [ ] ").is_empty());
    }

    #[test]
    fn broken_lists_are_named_where_they_break() {
        for (text, line, reason) in [
            ("[{\"a\":1},\n\n]", 3, "nothing stands between"),
            ("[{\"a\":1},,{\"b\":2}]", 1, "nothing stands between"),
            ("[{\"a\":1},\n{\"b\":", 2, "the list is not closed"),
            ("[{\"a\":1}]\n\n x", 3, "text follows the end"),
            ("[\n{\"a\":}]", 2, "this is not JSON"),
            ("[\n7]", 2, "this is a number, not a JSON object"),
        ] {
            let records = elements(text);
            let found = sketch(&records)
                .into_iter()
                .any(|(at, found)| at == line && found.starts_with(reason));
            assert!(found, "{text:?} gave {:?}", sketch(&records));
        }
    }
}

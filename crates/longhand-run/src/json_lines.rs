//! Records as lines of JSON, one object each.
//!
//! Numbers are finite and nothing is null: a value that was not measured is left out. A line counts
//! once it has its end; what comes behind the last end is torn, even if it would parse.

use std::path::Path;

use serde::Serialize;

use crate::error::RunError;
use crate::finite::first_gap;

/// A record as one line of JSON; `path` is where it will go.
pub(crate) fn json_line(record: &impl Serialize, path: &Path) -> Result<Vec<u8>, RunError> {
    let path = || path.to_path_buf();
    if let Some(gap) = first_gap(record) {
        let (key, path) = (gap.key, path());
        return Err(match gap.value {
            Some(value) => RunError::NotFinite { key, value, path },
            None => RunError::NoValue { key, path },
        });
    }
    let mut line = serde_json::to_vec(record).map_err(|source| RunError::NotJson {
        path: path(),
        source,
    })?;
    if !line.starts_with(b"{") {
        return Err(RunError::NotAnObject {
            path: path(),
            record: String::from_utf8_lossy(&line).into_owned(),
        });
    }
    line.push(b'\n');
    Ok(line)
}

/// The records of a file of JSON lines, every one of which has its end.
pub(crate) fn parse_lines<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
) -> Result<Vec<T>, RunError> {
    let mut records = Vec::new();
    for (idx, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let (path, line_number) = (|| path.to_path_buf(), idx + 1);
        let line = line.strip_suffix(b"\n").ok_or_else(|| RunError::TornLine {
            path: path(),
            line: line_number,
        })?;
        records.push(
            serde_json::from_slice(line).map_err(|source| RunError::BadLine {
                path: path(),
                line: line_number,
                source,
            })?,
        );
    }
    Ok(records)
}

/// The records of a file that is still being written, or was when its writer was killed, and
/// whether a torn line, which is left out, follows them.
pub(crate) fn parse_lines_so_far<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
) -> Result<(Vec<T>, bool), RunError> {
    let n_whole = whole_len(bytes);
    let records = parse_lines(&bytes[..n_whole], path)?;
    Ok((records, n_whole < bytes.len()))
}

/// `[bytes]` up to the end of the last whole line.
pub(crate) fn whole_len(bytes: &[u8]) -> usize {
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    end.map_or(0, |idx| idx + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn refusal(record: &impl Serialize) -> RunError {
        json_line(record, Path::new("metrics.jsonl")).expect_err("refused")
    }

    fn parse(text: &[u8]) -> Result<Vec<Value>, RunError> {
        parse_lines(text, Path::new("metrics.jsonl"))
    }

    #[test]
    fn a_number_that_is_not_finite_and_a_null_are_refused_with_their_key() {
        let message = refusal(&BTreeMap::from([("kl", f32::NAN)])).to_string();
        assert!(message.starts_with("`kl` is NaN, and "), "{message}");
        assert!(message.contains("metrics.jsonl"), "{message}");
        let message = refusal(&json!({"a": {"b": f64::NAN}})).to_string();
        assert!(message.starts_with("`a.b` has no value"), "{message}");
    }

    #[test]
    fn only_objects_are_records() {
        let message = refusal(&[1, 2]).to_string();
        assert!(message.contains("`[1,2]` is none"), "{message}");
        let error = refusal(&BTreeMap::from([((1, 2), 3)]));
        assert!(matches!(error, RunError::NotJson { .. }), "{error}");
    }

    #[test]
    fn a_torn_last_line_is_called_torn_even_if_it_would_parse() {
        for torn in ["{\"step\":", "{\"step\":2}"] {
            let text = format!("{{\"step\":1}}\n{torn}");
            let message = parse(text.as_bytes()).expect_err("torn").to_string();
            assert!(
                message.contains("metrics.jsonl, line 2 is torn"),
                "{message}"
            );
            let so_far = parse_lines_so_far::<Value>(text.as_bytes(), Path::new("metrics.jsonl"));
            assert_eq!(so_far.expect("readable"), (vec![json!({"step": 1})], true));
        }
        let whole = parse_lines_so_far::<Value>(b"{\"step\":1}\n", Path::new("metrics.jsonl"));
        assert_eq!(whole.expect("readable"), (vec![json!({"step": 1})], false));
    }

    #[test]
    fn a_broken_line_is_named() {
        for broken in [&b"{\"step\":}"[..], b"", b"{\"a\":\"\xff\"}", b"{} {}"] {
            let text = [b"{\"step\":1}\n", broken, b"\n{}\n"].concat();
            let strict = parse(&text).expect_err("broken");
            let so_far = parse_lines_so_far::<Value>(&text, Path::new("metrics.jsonl"));
            for message in [strict.to_string(), so_far.expect_err("broken").to_string()] {
                assert!(message.contains("metrics.jsonl, line 2: "), "{message}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_finite_number_comes_back_bit_for_bit(bits in any::<u64>(), small in any::<u32>()) {
            let numbers = (f64::from_bits(bits), f32::from_bits(small));
            prop_assume!(numbers.0.is_finite() && numbers.1.is_finite());
            let path = Path::new("metrics.jsonl");
            let line = json_line(&BTreeMap::from([("a", numbers.0)]), path).expect("finite");
            let back: Vec<BTreeMap<String, f64>> = parse_lines(&line, path).expect("parsed");
            prop_assert_eq!(back[0]["a"].to_bits(), numbers.0.to_bits());
            let line = json_line(&BTreeMap::from([("a", numbers.1)]), path).expect("finite");
            let back: Vec<BTreeMap<String, f32>> = parse_lines(&line, path).expect("parsed");
            prop_assert_eq!(back[0]["a"].to_bits(), numbers.1.to_bits());
        }
    }
}

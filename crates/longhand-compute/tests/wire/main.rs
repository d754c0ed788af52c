//! The wire format, line by line: one `check` for answers, one `check_error` for errors.

mod advantage;
mod entropy;
mod errors;
mod objective;
mod reward;
mod schema;
mod streams;

use longhand_compute::{Kind, run};
use serde_json::Value;

/// The answer to one line.
#[track_caller]
fn answer(kind: Kind, line: &str) -> Value {
    let mut output = Vec::new();
    let summary = run(line.as_bytes(), &mut output, kind).unwrap();
    let answer: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(summary.lines, 1);
    assert_eq!(summary.failed, usize::from(answer.get("error").is_some()));
    answer
}

/// Checks an answer: numbers to 1e-6 (expected values are given to six digits), everything else
/// exactly. An object may have more fields than expected, which `fields` pins down.
#[track_caller]
fn check(kind: Kind, line: &str, expected: &str) {
    let found = answer(kind, line);
    let expected: Value = serde_json::from_str(expected).unwrap();
    assert!(
        is_close(&found, &expected),
        "{line}\n   found {found}\nexpected {expected}"
    );
}

fn is_close(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Array(found), Value::Array(expected)) => {
            let pairs = || found.iter().zip(expected);
            found.len() == expected.len() && pairs().all(|(f, e)| is_close(f, e))
        }
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(key, expected)| {
                found
                    .get(key)
                    .is_some_and(|found| is_close(found, expected))
            })
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            (found - expected).abs() < 1.001e-6
        }
        (found, expected) => found == expected,
    }
}

/// Checks that an answer is an error that says all of `parts`.
#[track_caller]
fn check_error(kind: Kind, line: &str, parts: &[&str]) {
    let found = answer(kind, line);
    let message = found["error"]
        .as_str()
        .unwrap_or_else(|| panic!("{line}\nis no error but {found}"));
    for part in parts {
        assert!(message.contains(part), "{line}\nsays {message}\nnot {part}");
    }
    assert!(
        message.len() < 1000,
        "an error message of {} bytes",
        message.len()
    );
}

//! A judge in Rust: the largest share of an accepted answer's words that the answer holds.
//!
//! Try it by hand:
//!
//! ```text
//! echo '{"id": 0, "expected": ["Ada Lovelace"], "answer": "Ada"}' | cargo run --example word_judge
//! ```

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};

use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut replies = stdout().lock();
    // The loop ends with the input, and so does the program.
    for line in stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let reply = match reward(&request) {
            Some(reward) => json!({"id": request["id"], "reward": reward}),
            None => json!({"id": request["id"], "error": "no accepted answer has a word"}),
        };
        // A line that stays in a buffer would be waited for until the timeout.
        writeln!(replies, "{reply}")?;
        replies.flush()?;
    }
    Ok(())
}

fn reward(request: &Value) -> Option<f64> {
    let answer: Vec<&str> = request["answer"].as_str()?.split_whitespace().collect();
    let share = |expected: &str| {
        let words: Vec<&str> = expected.split_whitespace().collect();
        let n_found = words.iter().filter(|word| answer.contains(word)).count();
        (!words.is_empty()).then(|| n_found as f64 / words.len() as f64)
    };
    let expected = request["expected"].as_array()?;
    expected
        .iter()
        .filter_map(Value::as_str)
        .filter_map(share)
        .reduce(f64::max)
}

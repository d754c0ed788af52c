//! One record of GSM8K (arXiv:2110.14168), with everything that is wrong with it.

use serde_json::{Map, Value};

use crate::{
    Problem,
    fields::{Fault, Fields},
};

/// The fields that are read; the first tells records apart.
pub(crate) const FIELDS: [&str; 2] = ["question", "answer"];

/// What stands before the final answer.
pub(crate) const MARK: &str = "####";

/// One record: a question without a document. The answer is the number after `####`, without
/// commas and currency, as in the data set's own scripts; the steps before it are left out.
pub(crate) fn parse(object: &Map<String, Value>) -> Result<Problem, Vec<Fault>> {
    let mut fields = Fields::new(object);
    let question = fields.text("question");
    let answer = fields.text("answer").and_then(|answer| {
        let found = final_answer(answer);
        if let Err(reason) = &found {
            fields.fault("answer", *reason);
        }
        found.ok()
    });
    let faults = fields.into_faults();
    let (Some(question), Some(answer)) = (question, answer) else {
        return Err(faults);
    };
    Ok(Problem {
        id: String::new(),
        question: question.to_owned(),
        paragraphs: Vec::new(),
        answers: vec![answer],
        solution: None,
        classes: Vec::new(),
        n_facts: 0,
    })
}

/// The number after the first `####`: the longest run of digits, points and a minus sign in front,
/// with commas and signs of currency dropped.
fn final_answer(answer: &str) -> Result<String, &'static str> {
    let (_, end) = answer
        .split_once(MARK)
        .ok_or("has no `####`; end it with `#### ` and the final answer")?;
    let mut number = String::new();
    for character in end.trim_start().chars() {
        match character {
            ',' | '$' | '€' | '£' => {}
            '-' if number.is_empty() => number.push('-'),
            '0'..='9' | '.' => number.push(character),
            _ => break,
        }
    }
    if number.bytes().any(|byte| byte.is_ascii_digit()) {
        Ok(number)
    } else {
        Err("has no number after `####`; give the final answer there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: Python's `re.search(r"#### (\-?[0-9\.\,]+)", s).group(1).replace(",", "")`, where
    /// there is no currency.
    #[test]
    fn final_answers_are_those_of_the_data_sets_own_scripts() {
        for (answer, expected) in [
            ("a = <<2*3=6>>6\n#### 6", Some("6")),
            ("#### 1,234,567", Some("1234567")),
            ("#### -5", Some("-5")),
            ("#### 0.25", Some("0.25")),
            ("#### 7\n#### 8", Some("7")),
            ("#### 10 apples", Some("10")),
            ("#### 3-4", Some("3")),
            ("#### $1,000", Some("1000")),
            ("#### -$2.50", Some("-2.50")),
            ("####18", Some("18")),
            ("#### none", None),
            ("#### -", None),
            ("####", None),
            ("6", None),
        ] {
            assert_eq!(final_answer(answer).ok().as_deref(), expected, "{answer:?}");
        }
    }
}

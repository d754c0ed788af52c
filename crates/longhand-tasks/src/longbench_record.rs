//! One record of LongBench (arXiv:2308.14508), with everything that is wrong with it.

use serde_json::{Map, Value};

use crate::{
    Problem,
    fields::{Fault, Fields},
    jsonl_record::{divided, texts},
};

/// The fields that are read; the first is the id.
pub(crate) const FIELDS: [&str; 5] = ["_id", "input", "context", "answers", "all_classes"];

/// One record: `input` asks about `context`, which is divided at its blank lines.
///
/// The official files leave `input` empty where the prompt of the task is the question, as for
/// summaries; such a record cannot be asked and is a fault. `_id` may be absent.
pub(crate) fn parse(object: &Map<String, Value>) -> Result<Problem, Vec<Fault>> {
    let mut fields = Fields::new(object);
    let id = fields.optional("_id").map(|id| fields.as_text("_id", id));
    let question = question(&mut fields);
    let document = fields.text("context");
    let answers = fields
        .required("answers")
        .and_then(|answers| texts(&mut fields, "answers", answers));
    let classes = match fields.optional("all_classes") {
        Some(classes) => texts(&mut fields, "all_classes", classes),
        None => Some(Vec::new()),
    };
    let faults = fields.into_faults();
    match (question, document, answers, classes) {
        (Some(question), Some(document), Some(answers), Some(classes)) if faults.is_empty() => {
            Ok(Problem {
                id: id.flatten().unwrap_or_default().to_owned(),
                question: question.to_owned(),
                paragraphs: divided(document),
                answers,
                solution: None,
                classes,
                n_facts: 0,
            })
        }
        _ => Err(faults),
    }
}

fn question<'a>(fields: &mut Fields<'a>) -> Option<&'a str> {
    let value = fields.required("input")?;
    let input = fields.as_any_text("input", value)?;
    if input.trim().is_empty() {
        let reason = "is empty, so nothing is asked; write the question of this task into it";
        fields.fault("input", reason);
        return None;
    }
    Some(input)
}

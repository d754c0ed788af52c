//! One row of the data that verl and MemAgent train on, with everything that is wrong with it.

use serde_json::{Map, Value};

use crate::{
    Problem,
    fields::{Fault, Fields, kind_of},
    jsonl_record::divided,
};

/// The fields that are read; the first tells rows apart.
pub(crate) const FIELDS: [&str; 5] = [
    "extra_info",
    "prompt",
    "context",
    "reward_model",
    "data_source",
];

/// One row: the question is the `prompt`, or its one message of a user; the document is the
/// `context`, divided at its blank lines, or none; the answers are `reward_model.ground_truth`.
///
/// Messages of the system are left out: a prompt of this project's own says what to do. The id is
/// `data_source:split:index`, as far as the row has them; without `extra_info.index` it is empty.
pub(crate) fn parse(object: &Map<String, Value>) -> Result<Problem, Vec<Fault>> {
    let mut fields = Fields::new(object);
    let question = fields
        .required("prompt")
        .and_then(|prompt| question(&mut fields, prompt));
    let document = match fields.optional("context") {
        Some(context) => fields.as_any_text("context", context),
        None => Some(""),
    };
    let answers = answers(&mut fields);
    let id = id(&mut fields);
    let faults = fields.into_faults();
    match (question, document, answers) {
        (Some(question), Some(document), Some(answers)) if faults.is_empty() => Ok(Problem {
            id,
            question: question.to_owned(),
            paragraphs: divided(document),
            answers,
            solution: None,
            classes: Vec::new(),
            n_facts: 0,
        }),
        _ => Err(faults),
    }
}

fn question<'a>(fields: &mut Fields<'a>, prompt: &'a Value) -> Option<&'a str> {
    if prompt.is_string() {
        return fields.as_text("prompt", prompt);
    }
    let messages = fields.as_list("prompt", prompt, "{role, content}")?;
    let mut asked: Option<&str> = None;
    for (idx, message) in messages.iter().enumerate() {
        let field = format!("prompt[{idx}]");
        let Some(message) = message.as_object() else {
            let reason = format!("is {}; give {{role, content}}", kind_of(message));
            fields.fault(field, reason);
            return None;
        };
        let part = |name: &str| message.get(name).unwrap_or(&Value::Null);
        let role = fields.as_text(&format!("{field}.role"), part("role"))?;
        match role {
            "system" => {}
            "user" if asked.is_none() => {
                asked = Some(fields.as_text(&format!("{field}.content"), part("content"))?);
            }
            "user" | "assistant" => {
                let reason = "is a second turn, but a problem asks once; leave only the question";
                fields.fault(field, reason);
                return None;
            }
            other => {
                let reason = format!("is {other:?}; roles are system and user");
                fields.fault(format!("{field}.role"), reason);
                return None;
            }
        }
    }
    if asked.is_none() {
        fields.fault("prompt", "has no message of the user; add the question");
    }
    asked
}

fn answers(fields: &mut Fields) -> Option<Vec<String>> {
    const FIELD: &str = "reward_model.ground_truth";
    let reward_model = fields.required("reward_model")?;
    let Some(reward_model) = reward_model.as_object() else {
        let reason = format!("is {}; give {{ground_truth}}", kind_of(reward_model));
        fields.fault("reward_model", reason);
        return None;
    };
    match reward_model.get("ground_truth") {
        None | Some(Value::Null) => {
            fields.fault(FIELD, "is missing; add it");
            None
        }
        Some(list @ Value::Array(_)) => fields
            .as_list(FIELD, list, "texts")?
            .iter()
            .enumerate()
            .map(|(idx, answer)| answer_text(fields, &format!("{FIELD}[{idx}]"), answer))
            .collect::<Vec<_>>()
            .into_iter()
            .collect(),
        Some(answer) => Some(vec![answer_text(fields, FIELD, answer)?]),
    }
}

/// Numbers are written as texts: data sets of mathematics give them as they are.
fn answer_text<'a>(fields: &mut Fields<'a>, field: &str, value: &'a Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        other => fields.as_text(field, other).map(str::to_owned),
    }
}

fn id(fields: &mut Fields) -> String {
    let extra = fields.optional("extra_info");
    let part = |name: &str| match extra.and_then(|extra| extra.get(name)) {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let Some(index) = part("index") else {
        return String::new();
    };
    let source = fields.optional("data_source").and_then(Value::as_str);
    let parts = [source.map(str::to_owned), part("split"), Some(index)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(":")
}

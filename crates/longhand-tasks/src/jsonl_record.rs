//! One record of our own data format, with everything that is wrong with it.

use serde_json::{Map, Value};

use crate::{
    Paragraph, Problem,
    fields::{Fault, Fields, kind_of},
};

/// The fields that are read; the first is the id.
pub(crate) const FIELDS: [&str; 10] = [
    "id",
    "question",
    "answer",
    "answers",
    "solution",
    "document",
    "paragraphs",
    "relevant",
    "n_facts",
    "classes",
];

/// One record.
pub(crate) fn parse(object: &Map<String, Value>) -> Result<Problem, Vec<Fault>> {
    let mut fields = Fields::new(object);
    let id = id(&mut fields);
    let question = fields.text("question");
    let answers = answers(&mut fields);
    let solution = fields
        .optional("solution")
        .map(|solution| fields.as_text("solution", solution).map(str::to_owned));
    let paragraphs = document(&mut fields);
    let stated_facts = fields
        .optional("n_facts")
        .map(|value| fields.as_count("n_facts", value));
    let classes = fields
        .optional("classes")
        .map(|classes| texts(&mut fields, "classes", classes));

    let faults = fields.into_faults();
    let (Some(id), Some(question), Some(answers), Some(paragraphs)) =
        (id, question, answers, paragraphs)
    else {
        return Err(faults);
    };
    // A record can have all it needs and still be broken.
    if !faults.is_empty() {
        return Err(faults);
    }
    let n_relevant = paragraphs
        .iter()
        .filter(|paragraph| paragraph.relevant)
        .count();
    Ok(Problem {
        id,
        question: question.to_owned(),
        answers,
        solution: solution.flatten(),
        classes: classes.flatten().unwrap_or_default(),
        n_facts: stated_facts.flatten().unwrap_or(n_relevant),
        paragraphs,
    })
}

fn id(fields: &mut Fields) -> Option<String> {
    match fields.required("id")? {
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::String(id) if !id.trim().is_empty() => Some(id.clone()),
        Value::String(_) => {
            fields.fault("id", "is empty; give each record its own");
            None
        }
        other => {
            let reason = format!("is {}; give a text or a whole number", kind_of(other));
            fields.fault("id", reason);
            None
        }
    }
}

fn answers(fields: &mut Fields) -> Option<Vec<String>> {
    match (fields.optional("answer"), fields.optional("answers")) {
        (Some(_), Some(_)) => {
            fields.fault(
                "answers",
                "stands beside `answer`; give only one of the two",
            );
            None
        }
        (None, None) => {
            fields.fault("answer", "is missing; add it, or a list `answers`");
            None
        }
        (Some(answer), None) => Some(vec![fields.as_text("answer", answer)?.to_owned()]),
        (None, Some(answers)) => texts(fields, "answers", answers),
    }
}

/// A list of texts, none of them blank.
pub(crate) fn texts<'a>(
    fields: &mut Fields<'a>,
    field: &str,
    list: &'a Value,
) -> Option<Vec<String>> {
    fields
        .as_list(field, list, "texts")?
        .iter()
        .enumerate()
        .map(|(idx, text)| {
            fields
                .as_text(&format!("{field}[{idx}]"), text)
                .map(str::to_owned)
        })
        // Every fault is wanted, not only those up to the first.
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

fn document(fields: &mut Fields) -> Option<Vec<Paragraph>> {
    match (fields.optional("document"), fields.optional("paragraphs")) {
        (Some(_), Some(_)) => {
            fields.fault(
                "paragraphs",
                "stands beside `document`; give only one of the two",
            );
            None
        }
        (None, None) => {
            fields.fault("document", "is missing; add it, or a list `paragraphs`");
            None
        }
        (Some(document), None) => {
            if fields.optional("relevant").is_some() {
                let reason = "needs `paragraphs` to point into; give these instead of `document`";
                fields.fault("relevant", reason);
            }
            Some(divided(fields.as_text("document", document)?))
        }
        (None, Some(Value::Array(list)))
            if list.is_empty() && fields.optional("relevant").is_none() =>
        {
            Some(Vec::new())
        }
        (None, Some(paragraphs)) => {
            let list = fields.as_list("paragraphs", paragraphs, "paragraphs")?;
            let paragraphs: Vec<Option<Paragraph>> = list
                .iter()
                .enumerate()
                .map(|(idx, value)| paragraph(fields, &format!("paragraphs[{idx}]"), value))
                .collect();
            let mut paragraphs: Vec<Paragraph> = paragraphs.into_iter().collect::<Option<_>>()?;
            if fields.optional("relevant").is_some() {
                mark_relevant(fields, list, &mut paragraphs)?;
            }
            Some(paragraphs)
        }
    }
}

/// The paragraphs of one text: runs of lines between blank lines.
pub(crate) fn divided(document: &str) -> Vec<Paragraph> {
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    let mut goes_on = false;
    for line in document.lines() {
        let is_blank = line.trim().is_empty();
        match paragraphs.last_mut() {
            _ if is_blank => {}
            Some(last) if goes_on => {
                last.text.push('\n');
                last.text.push_str(line);
            }
            _ => paragraphs.push(Paragraph {
                text: line.to_owned(),
                ..Paragraph::default()
            }),
        }
        goes_on = !is_blank;
    }
    paragraphs
}

fn paragraph<'a>(fields: &mut Fields<'a>, field: &str, value: &'a Value) -> Option<Paragraph> {
    match value {
        Value::String(_) => Some(Paragraph {
            text: fields.as_text(field, value)?.to_owned(),
            ..Paragraph::default()
        }),
        Value::Object(object) => {
            let part = |name: &str| object.get(name).filter(|value| !value.is_null());
            for name in object.keys() {
                if !["title", "text", "relevant", "note"].contains(&name.as_str()) {
                    let reason = "is unknown; a paragraph has `title`, `text`, `relevant`, `note`";
                    fields.fault(format!("{field}.{name}"), reason);
                }
            }
            let text = match part("text") {
                Some(text) => fields.as_text(&format!("{field}.text"), text),
                None => {
                    fields.fault(format!("{field}.text"), "is missing; add it");
                    None
                }
            };
            let title =
                part("title").map(|title| fields.as_any_text(&format!("{field}.title"), title));
            let note = part("note").map(|note| fields.as_any_text(&format!("{field}.note"), note));
            let relevant =
                part("relevant").map(|flag| fields.as_bool(&format!("{field}.relevant"), flag));
            // The inner `None` means a fault, the outer one that the part is absent.
            Some(Paragraph {
                title: title.unwrap_or(Some(""))?.to_owned(),
                text: text?.to_owned(),
                relevant: relevant.unwrap_or(Some(false))?,
                note: match note {
                    Some(note) => Some(note?.to_owned()),
                    None => None,
                },
            })
        }
        other => {
            let reason = format!(
                "is {}; give a text, or an object with `text`",
                kind_of(other)
            );
            fields.fault(field, reason);
            None
        }
    }
}

/// Sets the flags that the record's own list `relevant` names.
fn mark_relevant(fields: &mut Fields, list: &[Value], paragraphs: &mut [Paragraph]) -> Option<()> {
    if list
        .iter()
        .any(|value| value.get("relevant").is_some_and(|flag| !flag.is_null()))
    {
        let reason = "stands beside flags in `paragraphs`; give only one of the two";
        fields.fault("relevant", reason);
        return None;
    }
    let value = fields.optional("relevant")?;
    let Some(numbers) = value.as_array() else {
        let reason = format!(
            "is {}; give a list of paragraph numbers from 0",
            kind_of(value)
        );
        fields.fault("relevant", reason);
        return None;
    };
    for (idx, number) in numbers.iter().enumerate() {
        let field = format!("relevant[{idx}]");
        let paragraph_idx = fields.as_count(&field, number)?;
        let n_paragraphs = paragraphs.len();
        match paragraphs.get_mut(paragraph_idx) {
            Some(paragraph) => paragraph.relevant = true,
            None => {
                let reason = format!(
                    "is {paragraph_idx}, but the last of the {n_paragraphs} paragraphs is number {}",
                    n_paragraphs - 1
                );
                fields.fault(field, reason);
                return None;
            }
        }
    }
    Some(())
}

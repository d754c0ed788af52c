//! One record of HotpotQA in the distractor setting, with everything that is wrong with it.

use serde_json::{Map, Value};

use crate::{
    Paragraph, Problem,
    fields::{Fault, Fields, kind_of},
};

/// The fields that are read; the first is the id.
pub(crate) const FIELDS: [&str; 5] = ["_id", "question", "answer", "supporting_facts", "context"];

/// One record, with the paragraphs in the order of the file.
///
/// The note of a gold paragraph is its title and its supporting sentences. Sentence numbers beyond
/// the paragraph's end, of which the official files have some, name no sentence.
pub(crate) fn parse(object: &Map<String, Value>) -> Result<Problem, Vec<Fault>> {
    let mut fields = Fields::new(object);
    let id = fields.text("_id");
    let question = fields.text("question");
    let answer = fields.text("answer");
    let facts = supporting_facts(&mut fields);
    let context = context(&mut fields);

    let (Some(id), Some(question), Some(answer), Some(facts), Some(context)) =
        (id, question, answer, facts, context)
    else {
        return Err(fields.into_faults());
    };
    for (fact_idx, (title, _)) in facts.iter().enumerate() {
        if !context.iter().any(|(other, _)| other == title) {
            fields.fault(
                format!("supporting_facts[{fact_idx}]"),
                format!(
                    "names {title:?}, which `context` lacks; use a file of the distractor setting"
                ),
            );
        }
    }
    let paragraphs: Vec<Paragraph> = context
        .iter()
        .map(|(title, sentences)| {
            let told: Vec<&str> = facts
                .iter()
                .filter(|(fact_title, _)| fact_title == title)
                .filter_map(|&(_, sentence_idx)| sentences.get(sentence_idx))
                .map(|sentence| sentence.trim())
                .filter(|sentence| !sentence.is_empty())
                .collect();
            Paragraph {
                title: (*title).to_owned(),
                text: joined(sentences),
                relevant: facts.iter().any(|(fact_title, _)| fact_title == title),
                note: (!told.is_empty()).then(|| format!("{title}: {}", told.join(" "))),
            }
        })
        .collect();
    let faults = fields.into_faults();
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Problem {
        classes: Vec::new(),
        id: id.to_owned(),
        question: question.to_owned(),
        n_facts: paragraphs
            .iter()
            .filter(|paragraph| paragraph.relevant)
            .count(),
        paragraphs,
        answers: vec![answer.to_owned()],
        solution: None,
    })
}

fn supporting_facts<'a>(fields: &mut Fields<'a>) -> Option<Vec<(&'a str, usize)>> {
    let value = fields.required("supporting_facts")?;
    let list = fields.as_list("supporting_facts", value, "[title, sentence number]")?;
    list.iter()
        .enumerate()
        .map(|(fact_idx, fact)| {
            let field = format!("supporting_facts[{fact_idx}]");
            let Some([title, sentence_idx]) = fact.as_array().map(Vec::as_slice) else {
                fields.fault(field, not_a_pair(fact, "[title, sentence number]"));
                return None;
            };
            let title = fields.as_text(&format!("{field}[0]"), title);
            let sentence_idx = fields.as_count(&format!("{field}[1]"), sentence_idx);
            title.zip(sentence_idx)
        })
        // Every fault is wanted, not only those up to the first.
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

fn context<'a>(fields: &mut Fields<'a>) -> Option<Vec<(&'a str, Vec<&'a str>)>> {
    let value = fields.required("context")?;
    let list = fields.as_list("context", value, "[title, [sentences]]")?;
    list.iter()
        .enumerate()
        .map(|(paragraph_idx, paragraph)| {
            let field = format!("context[{paragraph_idx}]");
            let Some([title, sentences]) = paragraph.as_array().map(Vec::as_slice) else {
                fields.fault(field, not_a_pair(paragraph, "[title, [sentences]]"));
                return None;
            };
            let title = fields.as_text(&format!("{field}[0]"), title);
            let field = format!("{field}[1]");
            let sentences = fields.as_list(&field, sentences, "sentences")?;
            let sentences: Vec<_> = sentences
                .iter()
                .enumerate()
                .map(|(idx, sentence)| fields.as_any_text(&format!("{field}[{idx}]"), sentence))
                .collect();
            title.zip(sentences.into_iter().collect())
        })
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

fn not_a_pair(value: &Value, wanted: &str) -> String {
    match value {
        Value::Array(list) => format!("has {} elements; give {wanted}", list.len()),
        other => format!("is {}; give {wanted}", kind_of(other)),
    }
}

/// Sentences as one text. The official files begin all but the first with a space; where one does
/// not, a space is put in.
fn joined(sentences: &[&str]) -> String {
    let mut text = String::new();
    for sentence in sentences {
        if !text.is_empty()
            && !text.ends_with(char::is_whitespace)
            && !sentence.starts_with(char::is_whitespace)
        {
            text.push(' ');
        }
        text.push_str(sentence);
    }
    text.trim().to_owned()
}

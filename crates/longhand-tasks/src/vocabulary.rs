//! Texts of a task for training a tokenizer.

use crate::{Paragraph, Source, TaskError};

/// Texts that look like what a policy on this task reads and writes, without end until `n_problems`
/// train problems are told: questions, paragraphs, notes, solutions and answers.
///
/// If the task's vocabulary is closed, the first text holds each of its words once, so that a
/// word-level tokenizer trained on any number of texts knows all of them.
pub fn vocabulary_sample(
    source: &dyn Source,
    seed: u64,
    n_problems: u64,
) -> impl Iterator<Item = Result<String, TaskError>> {
    let all_words = source.closed_vocabulary().map(|words| Ok(words.join(" ")));
    all_words
        .into_iter()
        .chain(
            (0..n_problems).flat_map(move |idx| match source.sample_problem(seed, idx) {
                Ok(problem) => {
                    let notes: Vec<_> = problem
                        .paragraphs
                        .iter()
                        .filter_map(|p| p.note.clone())
                        .collect();
                    let mut texts = vec![problem.question];
                    texts.extend(problem.paragraphs.iter().map(Paragraph::rendered));
                    texts.extend(notes);
                    // What is written is the solution, where there is one.
                    match problem.solution {
                        Some(solution) => texts.push(solution),
                        None => texts.extend(problem.answers),
                    }
                    texts.into_iter().map(Ok).collect::<Vec<_>>()
                }
                Err(error) => vec![Err(error)],
            }),
        )
}

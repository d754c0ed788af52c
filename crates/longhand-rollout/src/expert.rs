//! A scripted expert that reads with the notes a task provides: what a warm start learns from.
//!
//! ```text
//! memory after a chunk = notes carried over + notes of the paragraphs that end in this chunk
//! ```
//!
//! in reading order. A careless expert forgets each carried note with the same probability at
//! each turn, independently; new notes are always written. So a policy that imitates it has every
//! skill and one bad habit, which reinforcement learning can then mend.
//!
//! At the answer turn it writes the problem's solution, steps and answer, or the bare answer where there
//! is no solution. A question without a document is that turn alone.
//!
//! Assumption: the answer turn always shows the notes of a careful expert. An answer learnt from
//! notes that lack it would be a lesson in guessing.

use longhand_memory::{Reader, StopReason, TurnKind, centre_cut};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use crate::{EncodedProblem, ReaderSetup, RolloutError};

/// One supervised turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// What the turn is for.
    pub kind: TurnKind,
    /// The tokens given, exactly as a reader would ask: `[n_prompt]`.
    pub prompt: Vec<u32>,
    /// The tokens to learn, with one end token at the end: `[n_target]`.
    pub target: Vec<u32>,
}

/// Walks an expert through a problem and returns all its turns, the answer turn last.
///
/// `forget` is the probability with which a carried note is forgotten at each turn: 0 for a careful
/// expert. One number is drawn from `rng` for each carried note and turn.
///
/// A note is written in the first chunk that holds the last token of its paragraph.
///
/// # Errors
/// When the problem cannot be read with this setup, has no answer, loses a noted paragraph to the
/// cut of a document over `max_chunks`, or when the notes of a careful expert, or the answer, do
/// not fit their budget together with the end token.
pub fn expert_walk(
    problem: &EncodedProblem,
    setup: &ReaderSetup,
    forget: f64,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Example>, RolloutError> {
    if !(0.0..=1.0).contains(&forget) {
        return Err(RolloutError::Forget { forget });
    }
    let end_id = *setup.end_ids.first().ok_or(RolloutError::NoEndToken)?;
    if problem.answer.is_empty() {
        return Err(RolloutError::NoAnswer {
            id: problem.id.clone(),
        });
    }
    let mut careless = setup.reader(problem)?;
    let mut careful = careless.clone();
    let note_ends = note_ends(problem, &careless)?;

    let mut examples = Vec::with_capacity(careless.n_turns());
    let mut carried: Vec<usize> = Vec::new();
    let mut n_read = 0;
    for span in careless.chunk_spans().to_vec() {
        let Some(ask) = careless.ask() else { break };
        carried.retain(|_| forget <= unit_draw(rng));
        let n_read_before = n_read;
        n_read += note_ends[n_read..]
            .iter()
            .take_while(|&&end| end <= span.end)
            .count();
        carried.extend(n_read_before..n_read);

        let all = target(problem, 0..n_read, end_id);
        if ask.max_tokens < all.len() {
            return Err(RolloutError::ExpertOverLimit {
                id: problem.id.clone(),
                what: format!("the {n_read} notes up to chunk {}", examples.len()),
                n_tokens: all.len(),
                limit_name: "max_memory_tokens",
                limit: ask.max_tokens,
            });
        }
        let target = target(problem, carried.iter().copied(), end_id);
        careful.reply(&all, StopReason::EndToken);
        careless.reply(&target, StopReason::EndToken);
        examples.push(Example {
            kind: ask.kind,
            prompt: ask.prompt,
            target,
        });
    }

    let mut target = problem.answer.clone();
    target.push(end_id);
    if let Some(ask) = careful.ask() {
        if ask.max_tokens < target.len() {
            return Err(RolloutError::ExpertOverLimit {
                id: problem.id.clone(),
                what: "the answer".to_owned(),
                n_tokens: target.len(),
                limit_name: "max_answer_tokens",
                limit: ask.max_tokens,
            });
        }
        examples.push(Example {
            kind: ask.kind,
            prompt: ask.prompt,
            target,
        });
    }
    Ok(examples)
}

fn target(
    problem: &EncodedProblem,
    notes: impl IntoIterator<Item = usize>,
    end_id: u32,
) -> Vec<u32> {
    let ids = notes
        .into_iter()
        .flat_map(|note_idx| &problem.notes[note_idx].ids)
        .copied();
    ids.chain([end_id]).collect()
}

/// Where each noted paragraph ends in the document as the reader sees it.
fn note_ends(problem: &EncodedProblem, reader: &Reader) -> Result<Vec<usize>, RolloutError> {
    let cut = centre_cut(problem.document.ids.len(), reader.document().ids.len());
    let end_in_view = |note: &crate::ExpertNote| {
        let paragraph = &note.paragraph;
        if paragraph.end <= cut.start || cut.is_empty() {
            Ok(paragraph.end)
        } else if cut.end <= paragraph.start {
            Ok(paragraph.end - cut.len())
        } else {
            Err(RolloutError::NoteCut {
                id: problem.id.clone(),
                dropped_tokens: cut.len(),
                start: paragraph.start,
                end: paragraph.end,
            })
        }
    };
    problem.notes.iter().map(end_in_view).collect()
}

/// Makes slips in a written-out solution: with this probability each token but the last, which ends it,
/// gives way to one of the solution's own, drawn alike. Two numbers are drawn from `rng` for each slip,
/// one for each other token.
///
/// What follows a slip goes on as if there had been none, so that whoever learns from it knows the way and
/// stumbles on it: several attempts then agree on what is right and differ in what is wrong.
///
/// # Panics
/// When `slips` is no probability.
pub fn slip(target: &mut [u32], slips: f64, rng: &mut ChaCha8Rng) {
    assert!((0.0..=1.0).contains(&slips), "{slips} is no probability");
    let Some((_, written)) = target.split_last_mut() else {
        return;
    };
    let own = written.to_vec();
    for token in written {
        if unit_draw(rng) < slips {
            let idx = (unit_draw(rng) * own.len() as f64) as usize;
            *token = own[idx];
        }
    }
}

/// A number in [0, 1) from the upper 53 bits of one draw.
fn unit_draw(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use longhand_memory::{ChunkOptions, Document, ReaderLimits, TemplatesText};

    use super::*;
    use crate::{ExpertNote, Purpose, StreamBase};

    const END: u32 = 0;

    /// Prompts are question, chunk and memory side by side.
    fn setup(chunk_size: usize, max_chunks: Option<usize>) -> ReaderSetup {
        let text = TemplatesText::parse("{question}{chunk}{memory}", "{question}{memory}", "");
        ReaderSetup {
            chunks: ChunkOptions::new(chunk_size, 0, max_chunks).unwrap(),
            templates: Arc::new(text.unwrap().compile(|_| vec![])),
            limits: ReaderLimits {
                max_question_tokens: 1,
                max_memory_tokens: 4,
                max_answer_tokens: 2,
                window: None,
            },
            end_ids: vec![END],
        }
    }

    /// Tokens 10 to 18; notes 1 and 2 at the paragraphs 0..2 and 4..7, and 3 at 7..9.
    fn problem() -> EncodedProblem {
        let note = |paragraph, id| ExpertNote {
            paragraph,
            ids: vec![id],
        };
        EncodedProblem {
            id: "p".to_owned(),
            question: vec![5],
            document: Arc::new(Document::new((10..19).collect(), vec![]).unwrap()),
            notes: vec![note(0..2, 1), note(4..7, 2), note(7..9, 3)],
            answers: vec!["x".to_owned()],
            answer: vec![9],
            ..EncodedProblem::default()
        }
    }

    fn rng(step: u32) -> ChaCha8Rng {
        StreamBase {
            seed: 1,
            purpose: Purpose::EXPERT,
            step,
        }
        .key(0, 0, 0)
        .rng()
    }

    fn walk(setup: &ReaderSetup, forget: f64) -> Result<Vec<Example>, String> {
        expert_walk(&problem(), setup, forget, &mut rng(0)).map_err(|error| error.to_string())
    }

    fn read(chunk_idx: usize, prompt: &[u32], target: &[u32]) -> Example {
        let kind = TurnKind::Read { chunk_idx };
        Example {
            kind,
            prompt: prompt.to_vec(),
            target: target.to_vec(),
        }
    }

    fn answer(prompt: &[u32]) -> Example {
        Example {
            kind: TurnKind::Answer,
            prompt: prompt.to_vec(),
            target: vec![9, END],
        }
    }

    #[test]
    fn a_careful_expert_notes_paragraphs_when_they_have_ended_and_keeps_every_note() {
        // Paragraph 4..7 straddles the chunks 3..6 and 6..9, so its note comes with the latter.
        let expect = [
            read(0, &[5, 10, 11, 12], &[1, END]),
            read(1, &[5, 13, 14, 15, 1], &[1, END]),
            read(2, &[5, 16, 17, 18, 1], &[1, 2, 3, END]),
            answer(&[5, 1, 2, 3]),
        ];
        assert_eq!(walk(&setup(3, None), 0.0).unwrap(), expect);
    }

    #[test]
    fn a_note_belongs_to_the_chunk_that_ends_exactly_with_its_paragraph() {
        let targets: Vec<_> = walk(&setup(7, None), 0.0)
            .unwrap()
            .into_iter()
            .map(|example| example.target)
            .collect();
        assert_eq!(targets, [vec![1, 2, END], vec![1, 2, 3, END], vec![9, END]]);
    }

    #[test]
    fn an_expert_that_always_forgets_writes_only_what_is_new_and_answers_from_everything() {
        let expect = [
            read(0, &[5, 10, 11, 12], &[1, END]),
            read(1, &[5, 13, 14, 15, 1], &[END]),
            read(2, &[5, 16, 17, 18], &[2, 3, END]),
            answer(&[5, 1, 2, 3]),
        ];
        assert_eq!(walk(&setup(3, None), 1.0).unwrap(), expect);
    }

    #[test]
    fn slips_are_as_frequent_as_asked_and_keep_the_end() {
        let careful: Vec<u32> = (0..1001).collect();
        let slipped = |slips| {
            let mut target = careful.clone();
            slip(&mut target, slips, &mut rng(0));
            target
        };
        assert_eq!(slipped(0.0), careful);
        for slips in [0.1, 1.0] {
            let target = slipped(slips);
            assert_eq!(target.last(), careful.last());
            assert!(target.iter().all(|token| *token <= 1000));
            let n_other = target.iter().zip(&careful).filter(|(a, b)| a != b).count();
            // One in a thousand draws gives the same token; the standard error of a tenth is 0.0095.
            let share = n_other as f64 / 1000.0;
            assert!((share - slips).abs() < 0.04, "{share} for {slips}");
        }
        slip(&mut [], 0.5, &mut rng(0));
    }

    #[test]
    fn a_careless_expert_forgets_each_carried_note_with_the_given_probability() {
        // Note 1 is carried once into the second chunk. Over 400 streams the share of walks that
        // forget it has a standard error of 0.023 around 0.3.
        let setup = setup(3, None);
        let forgets = |step| {
            let walk = expert_walk(&problem(), &setup, 0.3, &mut rng(step)).unwrap();
            walk[1].target == [END]
        };
        let share = (0..400).filter(|&step| forgets(step)).count() as f64 / 400.0;
        assert!((share - 0.3).abs() < 0.1, "{share}");
    }

    #[test]
    fn a_forgotten_note_does_not_come_back() {
        let setup = setup(1, None);
        let note_1 = |example: &Example| example.target.contains(&1);
        for step in 0..50 {
            let walk = expert_walk(&problem(), &setup, 0.3, &mut rng(step)).unwrap();
            let held: Vec<bool> = walk[1..9].iter().map(note_1).collect();
            assert!(
                held.is_sorted_by(|before, after| after <= before),
                "{held:?}"
            );
        }
    }

    #[test]
    fn an_empty_document_has_only_an_answer_turn() {
        let empty = EncodedProblem {
            document: Arc::default(),
            notes: vec![],
            ..problem()
        };
        let walk = expert_walk(&empty, &setup(3, None), 0.0, &mut rng(0)).unwrap();
        assert_eq!(walk, [answer(&[5])]);
    }

    #[test]
    fn notes_behind_a_cut_move_with_it_and_a_cut_through_one_is_refused() {
        // Of 9 tokens 4 remain with chunks of two: 0..2 and 7..9, which loses the paragraph 4..7.
        assert_eq!(
            walk(&setup(2, Some(2)), 0.0).unwrap_err(),
            "problem p: the cut of 5 tokens from the document's centre hits the noted paragraph at \
             tokens 4..7; raise max_chunks or make the document shorter"
        );
        let mut problem = problem();
        problem.notes.remove(1);
        let walk = expert_walk(&problem, &setup(2, Some(2)), 0.0, &mut rng(0)).unwrap();
        let expect = [
            read(0, &[5, 10, 11], &[1, END]),
            read(1, &[5, 17, 18, 1], &[1, 3, END]),
            answer(&[5, 1, 3]),
        ];
        assert_eq!(walk, expect);
    }

    #[test]
    fn what_does_not_fit_its_budget_is_refused_with_the_numbers() {
        let mut tight = setup(3, None);
        tight.limits.max_memory_tokens = 3;
        assert_eq!(
            walk(&tight, 0.0).unwrap_err(),
            "problem p: the expert needs 4 tokens for the 3 notes up to chunk 2, its end token \
             included, over max_memory_tokens = 3; raise it"
        );
        let mut tight = setup(3, None);
        tight.limits.max_answer_tokens = 1;
        assert!(
            walk(&tight, 0.0)
                .unwrap_err()
                .contains("needs 2 tokens for the answer")
        );
    }

    #[test]
    fn an_expert_needs_an_answer_an_end_token_and_a_probability() {
        let setup = setup(3, None);
        let no_answer = EncodedProblem {
            answer: vec![],
            ..problem()
        };
        let walked = expert_walk(&no_answer, &setup, 0.0, &mut rng(0));
        assert!(matches!(walked, Err(RolloutError::NoAnswer { .. })));
        for forget in [-0.1, 1.1, f64::NAN] {
            assert!(walk(&setup, forget).unwrap_err().starts_with("forget is "));
        }
        let endless = ReaderSetup {
            end_ids: vec![],
            ..setup
        };
        assert!(walk(&endless, 0.0).unwrap_err().contains("end_ids"));
    }
}

//! Every turn of some attempts: what was read, what was written, and what it was paid.

use std::io::Write;

use longhand_run::{Transcript, TranscriptKind, TranscriptTurn};

use crate::attempts::{expected, rewards};
use crate::error::InspectError;
use crate::measures::{dropped, logprobs, number, stop};
use crate::paint::{Ink, Style, ends, shown_on_a_line};
use crate::query::Query;

/// Characters of a prompt that are shown at either end.
const PROMPT_END: usize = 240;

/// Writes attempts at one problem; question and expected answers once.
pub(crate) fn write(
    attempts: &[&Transcript],
    query: &Query,
    style: &Style,
    out: &mut impl Write,
) -> Result<(), InspectError> {
    let Some(first) = attempts.first() else {
        writeln!(out, "No attempt is like that.")?;
        return Ok(());
    };
    let heading = format!(
        "{} step {}, problem {} ({})",
        first.stage,
        first.step,
        first.problem_idx,
        shown_on_a_line(&first.problem_id)
    );
    write!(out, "{}", style.block(Ink::Heading, 0, &heading))?;
    let question = format!("question: {}", shown_on_a_line(&first.question));
    write!(out, "{}", style.block(Ink::Plain, 0, &question))?;
    let expected = format!("expected: {}", expected(first));
    write!(out, "{}", style.block(Ink::Plain, 0, &expected))?;
    for attempt in attempts {
        write_attempt(attempt, query, style, out)?;
    }
    Ok(())
}

fn write_attempt(
    attempt: &Transcript,
    query: &Query,
    style: &Style,
    out: &mut impl Write,
) -> Result<(), InspectError> {
    let reward = match (attempt.outcome, &attempt.reward_error) {
        (Some(reward), _) => format!("reward {}", number(reward)),
        (None, Some(error)) => format!("no reward ({})", shown_on_a_line(error)),
        (None, None) => "no reward".to_owned(),
    };
    let mut facts = vec![format!("attempt {}: {reward}", attempt.attempt)];
    facts.extend(rewards(attempt));
    if let Some(reason) = attempt.dropped {
        facts.push(format!("left out of the training ({})", dropped(reason)));
    }
    if attempt.unparsed {
        facts.push("unparsed".to_owned());
    }
    if attempt.dropped_tokens != 0 {
        let n = attempt.dropped_tokens;
        facts.push(format!("{n} tokens cut from the document"));
    }
    writeln!(out)?;
    write!(out, "{}", style.block(Ink::Heading, 0, &facts.join(", ")))?;
    let digest = attempt.weights_digest.as_deref().map(shown_on_a_line);
    let origin = format!(
        "seed {}, policy version {}{}",
        attempt.seed,
        attempt.policy_version,
        digest.map_or_else(String::new, |digest| format!(", weights {digest}"))
    );
    write!(out, "{}", style.block(Ink::Dim, 0, &origin))?;
    let answer = format!("answer: {}", shown_on_a_line(&attempt.answer));
    write!(out, "{}", style.block(Ink::Plain, 0, &answer))?;
    for (idx, turn) in attempt.turns.iter().enumerate() {
        write_turn(idx, attempt, turn, query, style, out)?;
    }
    Ok(())
}

fn write_turn(
    idx: usize,
    attempt: &Transcript,
    turn: &TranscriptTurn,
    query: &Query,
    style: &Style,
    out: &mut impl Write,
) -> Result<(), InspectError> {
    let (what, written) = match (turn.kind, turn.chunk_idx) {
        (TranscriptKind::Read, Some(chunk)) => (format!("reads chunk {chunk}"), "notes"),
        (TranscriptKind::Read, None) => ("reads".to_owned(), "notes"),
        (TranscriptKind::Answer, _) => ("answers".to_owned(), "answer"),
    };
    let is_trained = attempt.trained(turn);
    let mut facts = vec![
        format!("turn {idx} {what}: {}", stop(turn.stop_reason)),
        match turn.completion_ids.len() {
            1 => "1 token".to_owned(),
            n => format!("{n} tokens"),
        },
    ];
    let optional = [
        ("reward", turn.reward),
        ("advantage", turn.advantage),
        ("teacher score", turn.teacher_score),
    ];
    let there = optional
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", number(value?))));
    facts.extend(there);
    if !is_trained {
        facts.push("not trained".to_owned());
    }
    let prompt = match query.full {
        true => turn.prompt.clone(),
        false => ends(&turn.prompt, PROMPT_END),
    };
    let ink = match turn.advantage.filter(|_| is_trained) {
        Some(advantage) if 0.0 < advantage => Ink::Encouraged,
        Some(advantage) if advantage < 0.0 => Ink::Discouraged,
        Some(_) => Ink::Plain,
        None => Ink::Dim,
    };
    writeln!(out)?;
    let facts = facts.join(", ");
    write!(out, "{}", style.block(Ink::Heading, 0, &facts))?;
    let logprobs = logprobs(&turn.rollout_logprobs);
    write!(out, "{}", style.block(Ink::Dim, 2, &logprobs))?;
    writeln!(out, "  prompt:")?;
    write!(out, "{}", style.block(Ink::Plain, 4, &prompt))?;
    writeln!(out, "  {written}:")?;
    write!(out, "{}", style.block(ink, 4, &turn.completion))?;
    if query.tokens {
        let mut tokens = Vec::new();
        for (idx, id) in turn.completion_ids.iter().enumerate() {
            let logprob = turn.rollout_logprobs.get(idx);
            let logprob = logprob.map_or_else(|| "?".to_owned(), |lp| number(f64::from(*lp)));
            tokens.push(format!("{id}:{logprob}"));
        }
        writeln!(out, "  token ids and log-probabilities:")?;
        write!(out, "{}", style.block(ink, 4, &tokens.join(" ")))?;
    }
    Ok(())
}

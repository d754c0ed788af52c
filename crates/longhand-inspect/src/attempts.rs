//! The list of attempts, grouped by their problems.

use std::io::Write;

use longhand_run::{RunDir, Transcript, TranscriptFile};

use crate::error::InspectError;
use crate::measures::{advantages, dropped, number, or_dash};
use crate::paint::{Ink, Style, shown_on_a_line};
use crate::query::Query;
use crate::table::{Line, write_table};
use crate::{Damaged, Seen, write_json};

const HEADER: [&str; 8] = [
    "attempt",
    "reward",
    "rewards",
    "left out",
    "turns",
    "tokens",
    "advantage",
    "answer",
];

/// Writes the attempts of some files that the query selects. Files are read one by one, and of an
/// attempt no more is kept than its row.
pub(crate) fn write(
    run: &RunDir,
    files: &[TranscriptFile],
    query: &Query,
    style: &Style,
    out: &mut impl Write,
) -> Result<Seen, InspectError> {
    let mut seen = Seen::default();
    let mut lines = Vec::new();
    let mut heading = None;
    for file in files {
        let attempts = match run.read_transcripts(&file.stage, file.step) {
            Ok(attempts) => attempts,
            Err(error) => {
                seen.damaged.push(Damaged::new(file, &error));
                continue;
            }
        };
        let selected = attempts.iter().filter(|attempt| query.selects(attempt));
        if query.json {
            write_json(&selected.collect::<Vec<_>>(), query, out, &mut seen)?;
            continue;
        }
        for attempt in selected {
            if query.rows() <= seen.shown {
                seen.left_out += 1;
                continue;
            }
            seen.shown += 1;
            let problem = (file.stage.clone(), file.step, attempt.problem_idx);
            if heading.as_ref() != Some(&problem) {
                lines.push(Line::Heading(about(attempt)));
                heading = Some(problem);
            }
            lines.push(row(attempt));
        }
    }
    if query.json {
        return Ok(seen);
    }
    if lines.is_empty() {
        writeln!(out, "No attempt is like that.")?;
        return Ok(seen);
    }
    write_table(out, style, &HEADER, &lines)?;
    write_left_out(out, seen.left_out, "attempt", "attempts")?;
    Ok(seen)
}

/// Says how many rows a limit left out; nothing where it left out none.
pub(crate) fn write_left_out(
    out: &mut impl Write,
    n: usize,
    one: &str,
    many: &str,
) -> std::io::Result<()> {
    match n {
        0 => Ok(()),
        1 => writeln!(out, "\n1 more {one}; --limit 0 shows all"),
        n => writeln!(out, "\n{n} more {many}; --limit 0 shows all"),
    }
}

/// The step, the problem and its question.
fn about(attempt: &Transcript) -> String {
    format!(
        "{} step {}, problem {} ({}): {} Expected: {}",
        attempt.stage,
        attempt.step,
        attempt.problem_idx,
        shown_on_a_line(&attempt.problem_id),
        shown_on_a_line(&attempt.question),
        expected(attempt)
    )
}

/// The answers that count as right, on a line.
pub(crate) fn expected(attempt: &Transcript) -> String {
    let expected: Vec<String> = attempt
        .expected
        .iter()
        .map(|e| shown_on_a_line(e))
        .collect();
    expected.join(" | ")
}

/// Each of several rewards, by its name.
pub(crate) fn rewards(attempt: &Transcript) -> Option<String> {
    let named = attempt.rewards.iter();
    let named: Vec<String> = named
        .map(|(name, reward)| format!("{} {}", shown_on_a_line(name), number(*reward)))
        .collect();
    (!named.is_empty()).then(|| named.join(", "))
}

fn row(attempt: &Transcript) -> Line {
    let n_tokens: usize = attempt
        .turns
        .iter()
        .map(|turn| turn.completion_ids.len())
        .sum();
    let ink = match (&attempt.reward_error, attempt.dropped) {
        (Some(_), _) => Ink::Discouraged,
        (None, Some(_)) => Ink::Dim,
        (None, None) => Ink::Plain,
    };
    let answer = shown_on_a_line(&attempt.answer);
    let answer = match &attempt.reward_error {
        Some(error) => format!("{answer} [{}]", shown_on_a_line(error)),
        None if attempt.unparsed => format!("{answer} [unparsed]"),
        None => answer,
    };
    let answer = answer.trim_start().to_owned();
    Line::Row(
        ink,
        vec![
            attempt.attempt.to_string(),
            or_dash(attempt.outcome.map(number)),
            or_dash(rewards(attempt)),
            or_dash(attempt.dropped.map(|reason| dropped(reason).to_owned())),
            attempt.turns.len().to_string(),
            n_tokens.to_string(),
            or_dash(advantages(attempt)),
            answer,
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_rewards_stand_with_their_names() {
        let attempt = |rewards: &str| -> Transcript {
            let text = format!(
                r#"{{"stage": "rl", "step": 0, "problem_idx": 1, "problem_id": "p", "attempt": 0, "question": "?",
                    "expected": ["7"], "answer": "7", "rewards": {rewards}, "dropped_tokens": 0, "turns": []}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let votes = attempt(r#"{"self-certainty": 7.25, "cluster-vote": 0.5}"#);
        let told = "cluster-vote 0.500, self-certainty 7.250";
        assert_eq!(rewards(&votes).as_deref(), Some(told));
        assert_eq!(rewards(&attempt("{}")), None);
    }
}

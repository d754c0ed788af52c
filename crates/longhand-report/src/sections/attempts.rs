//! The best and the worst attempts of the last steps, turn by turn.

use std::collections::BTreeSet;

use longhand_run::{
    RunDir, Transcript, TranscriptDropped, TranscriptKind, TranscriptStop, TranscriptTurn,
};

use crate::html::Html;
use crate::numbers::{change, count, number, with_thousands};
use crate::sections::Pair;

/// Steps whose attempts are looked at, counted from the last.
const N_STEPS: usize = 3;
/// Attempts shown of the best, and of the worst.
const N_SHOWN: usize = 3;
/// Attempts shown whose reward failed.
const N_SHOWN_FAILED: usize = 2;
/// Turns shown of an attempt: so many from its beginning, and so many from its end.
const N_FIRST_TURNS: usize = 8;
const N_LAST_TURNS: usize = 4;
/// Characters of a prompt that stays whole, and of the two ends of one that does not.
const SHORT_PROMPT: usize = 700;
const PROMPT_ENDS: (usize, usize) = (420, 220);
/// Characters of a long prompt's whole text, and of a completion.
const MOST_PROMPT: usize = 16_000;
const MOST_COMPLETION: usize = 6_000;

/// A few attempts of the run; says why where there are none.
pub(crate) fn section(run: &RunDir, pair: Pair<'_>) -> Html {
    let mut html = Html::new();
    html.raw("<section id=\"attempts\"><h2>Best and worst attempts");
    if pair.against.is_some() {
        html.raw(" of ").text(&pair.run.label);
    }
    html.raw("</h2>");
    let (attempts, troubles) = last_attempts(run);
    for trouble in troubles {
        html.wrap("<p class=\"warning\">", trouble, "</p>");
    }
    if attempts.is_empty() {
        html.raw("<p>The run has no transcripts of reinforcement learning.</p></section>");
        return html;
    }
    let chosen = choose(&attempts);
    let steps: BTreeSet<u64> = attempts.iter().map(|attempt| attempt.step).collect();
    let steps: Vec<String> = steps.iter().map(|step| number(*step as f64)).collect();
    let n_chosen = chosen.iter().map(|(_, chosen)| chosen.len()).sum();
    html.raw("<p class=\"how\">")
        .text(count(n_chosen, "attempt", "attempts"))
        .raw(" of ");
    html.text(with_thousands(&attempts.len().to_string()))
        .raw(" in the last transcripts (step ");
    html.text(steps.join(", ")).raw("), by outcome, then by mean advantage, one per problem; <code>longhand inspect</code> shows all. What the model wrote stands on green where training made it more probable, on red where less, on grey where it was not trained.</p>");
    for (title, chosen) in chosen {
        if chosen.is_empty() {
            continue;
        }
        html.wrap("<h3>", title, "</h3>");
        for (idx, attempt) in chosen.into_iter().enumerate() {
            show(attempt, idx == 0, &mut html);
        }
    }
    html.raw("</section>");
    html
}

/// Attempts of the last steps, and what could not be read.
fn last_attempts(run: &RunDir) -> (Vec<Transcript>, Vec<String>) {
    let files = match run.transcript_files() {
        Ok(files) => files,
        Err(error) => return (Vec::new(), vec![error.to_string()]),
    };
    let rl = files.iter().filter(|file| file.stage == "rl");
    let (mut attempts, mut troubles) = (Vec::new(), Vec::new());
    for file in rl.rev().take(N_STEPS) {
        match run.read_transcripts(&file.stage, file.step) {
            Ok(read) => attempts.extend(read),
            Err(error) => troubles.push(error.to_string()),
        }
    }
    (attempts, troubles)
}

/// Titles with their attempts; none stands twice, and of a problem there is one at most in each.
fn choose(attempts: &[Transcript]) -> [(&'static str, Vec<&Transcript>); 3] {
    let mut scored: Vec<&Transcript> = attempts
        .iter()
        .filter(|attempt| attempt.outcome.is_some())
        .collect();
    let key = |attempt: &Transcript| {
        (
            attempt.outcome.unwrap_or(0.0),
            mean_advantage(attempt).unwrap_or(0.0),
        )
    };
    scored.sort_by(|a, b| {
        let (a, b) = (key(a), key(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    // Few attempts are shared out: the better half can be best, the other half worst.
    let (lower, upper) = scored.split_at(scored.len() / 2);
    let best = one_per_problem(upper.iter().rev().copied(), N_SHOWN);
    let worst = one_per_problem(lower.iter().copied(), N_SHOWN);
    let failed = attempts
        .iter()
        .filter(|attempt| attempt.reward_error.is_some());
    [
        ("Best", best),
        ("Worst", worst),
        ("Without a reward", one_per_problem(failed, N_SHOWN_FAILED)),
    ]
}

fn one_per_problem<'a>(
    attempts: impl Iterator<Item = &'a Transcript>,
    most: usize,
) -> Vec<&'a Transcript> {
    let mut seen = BTreeSet::new();
    attempts
        .filter(|attempt| seen.insert(attempt.problem_idx))
        .take(most)
        .collect()
}

/// The mean advantage of the turns that have one.
fn mean_advantage(attempt: &Transcript) -> Option<f64> {
    let advantages: Vec<f64> = attempt
        .turns
        .iter()
        .filter_map(|turn| turn.advantage)
        .collect();
    let n = advantages.len() as f64;
    (!advantages.is_empty()).then(|| advantages.iter().sum::<f64>() / n)
}

fn show(attempt: &Transcript, is_open: bool, html: &mut Html) {
    html.raw(if is_open {
        "<details class=\"attempt\" open>"
    } else {
        "<details class=\"attempt\">"
    });
    html.raw("<summary><span class=\"outcome\">")
        .text(outcome(attempt))
        .raw("</span> <span class=\"question\">");
    html.text(ends(&attempt.question, 160, 0))
        .raw("</span> <small>step ")
        .text(attempt.step);
    html.raw(", problem ")
        .text(ends(&attempt.problem_id, 60, 0))
        .raw(", attempt ")
        .text(attempt.attempt);
    html.raw("</small></summary><dl class=\"facts\">");
    let mut fact = |what: &'static str, value: String| {
        html.raw("<div>")
            .wrap("<dt>", what, "</dt>")
            .wrap("<dd>", value, "</dd>")
            .raw("</div>");
    };
    fact("Question", ends(&attempt.question, MOST_COMPLETION, 0));
    let expected: Vec<String> = attempt
        .expected
        .iter()
        .take(8)
        .map(|answer| ends(answer, 400, 0))
        .collect();
    fact("Right answers", expected.join(" · "));
    fact(
        "Answer",
        if attempt.answer.is_empty() {
            "(nothing)".to_owned()
        } else {
            ends(&attempt.answer, MOST_COMPLETION, 0)
        },
    );
    if attempt.unparsed {
        fact("Form", "the checker found nothing of its form".to_owned());
    }
    if let Some(error) = &attempt.reward_error {
        fact("Reward", format!("none: {error}"));
    }
    if let Some(advantage) = mean_advantage(attempt) {
        fact("Mean advantage", change(advantage));
    }
    if let Some(dropped) = attempt.dropped {
        fact("Left out", why_dropped(dropped).to_owned());
    }
    if attempt.dropped_tokens != 0 {
        fact(
            "Never read",
            count(
                attempt.dropped_tokens,
                "token of the document",
                "tokens of the document",
            ),
        );
    }
    html.raw("</dl><ol class=\"turns\">");
    let n_turns = attempt.turns.len();
    for (idx, turn) in attempt.turns.iter().enumerate() {
        if N_FIRST_TURNS + N_LAST_TURNS < n_turns
            && (N_FIRST_TURNS..n_turns - N_LAST_TURNS).contains(&idx)
        {
            if idx == N_FIRST_TURNS {
                let n_left_out = n_turns - N_FIRST_TURNS - N_LAST_TURNS;
                html.raw("<li class=\"skipped\">")
                    .text(count(n_left_out, "turn", "turns"))
                    .raw(" not shown.</li>");
            }
            continue;
        }
        show_turn(turn, attempt.trained(turn), html);
    }
    html.raw("</ol></details>");
}

fn show_turn(turn: &TranscriptTurn, is_trained: bool, html: &mut Html) {
    html.raw("<li><h4>");
    match (turn.kind, turn.chunk_idx) {
        (TranscriptKind::Read, Some(chunk_idx)) => html.raw("Reads chunk ").text(chunk_idx + 1),
        (TranscriptKind::Read, None) => html.raw("Reads"),
        (TranscriptKind::Answer, _) => html.raw("Answers"),
    };
    html.raw("</h4><p class=\"marks\">");
    html.raw(if is_trained {
        "<span class=\"badge\">trained</span> "
    } else {
        "<span class=\"badge off\">not trained</span> "
    });
    for (what, value) in [
        ("advantage", turn.advantage),
        ("reward", turn.reward),
        ("teacher score", turn.teacher_score),
    ] {
        if let Some(value) = value {
            let value = if what == "advantage" {
                change(value)
            } else {
                number(value)
            };
            html.raw("<span>")
                .text(what)
                .raw(" <b>")
                .text(value)
                .raw("</b></span> ");
        }
    }
    let n_tokens = turn.completion_ids.len();
    html.raw("<span>").text(count(n_tokens, "token", "tokens"));
    if !turn.rollout_logprobs.is_empty() {
        let sum: f64 = turn
            .rollout_logprobs
            .iter()
            .map(|logprob| f64::from(*logprob))
            .sum();
        html.raw(", mean log-probability ")
            .text(number(sum / turn.rollout_logprobs.len() as f64));
    }
    html.raw("</span> <span>").raw(match turn.stop_reason {
        TranscriptStop::EndToken => "ended by itself",
        TranscriptStop::MaxTokens => "stopped at its token cap",
        TranscriptStop::WindowFull => "stopped by the window",
    });
    html.raw("</span></p>");
    prompt(&turn.prompt, html);
    html.raw(match turn.advantage.filter(|_| is_trained) {
        Some(advantage) if advantage < 0.0 => "<pre class=\"said trained less\">\n",
        Some(_) => "<pre class=\"said trained\">\n",
        None => "<pre class=\"said\">\n",
    });
    html.text(ends(&turn.completion, MOST_COMPLETION, 0))
        .raw("</pre></li>");
}

/// The prompt; a long one by its ends, with the whole to unfold.
fn prompt(prompt: &str, html: &mut Html) {
    html.raw("<pre class=\"asked\">\n")
        .text(if prompt.chars().count() <= SHORT_PROMPT {
            prompt.to_owned()
        } else {
            ends(prompt, PROMPT_ENDS.0, PROMPT_ENDS.1)
        });
    html.raw("</pre>");
    if SHORT_PROMPT < prompt.chars().count() {
        html.raw("<details><summary>The whole prompt, ").text(count(
            prompt.chars().count(),
            "character",
            "characters",
        ));
        html.raw("</summary><pre class=\"asked\">\n")
            .text(ends(prompt, MOST_PROMPT / 2, MOST_PROMPT / 2))
            .raw("</pre></details>");
    }
}

/// The text, or its first and last characters and how many are left out between them.
fn ends(text: &str, n_first: usize, n_last: usize) -> String {
    let n = text.chars().count();
    if n <= n_first + n_last {
        return text.to_owned();
    }
    let first: String = text.chars().take(n_first).collect();
    let last: String = text.chars().skip(n - n_last).collect();
    let left_out = count(n - n_first - n_last, "character", "characters");
    format!("{first} […{left_out} left out…] {last}")
}

fn outcome(attempt: &Transcript) -> String {
    attempt.outcome.map_or("no reward".to_owned(), |outcome| {
        format!("outcome {}", number(outcome))
    })
}

fn why_dropped(dropped: TranscriptDropped) -> &'static str {
    match dropped {
        TranscriptDropped::EqualRewards => "all rewards of its group are equal",
        TranscriptDropped::RewardErrors => "no attempt of its group has a reward",
        TranscriptDropped::Surplus => "the step had enough groups without its group",
        TranscriptDropped::VotesOnly => "it was sampled for its vote alone",
    }
}

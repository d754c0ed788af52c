//! What is shown of a small run, literally.

mod small_run;

use std::fs;

use longhand_inspect::{Query, Seen, Style, inspect};
use longhand_run::{Transcript, TranscriptStop};
use serde_json::Value;

use crate::small_run::{SmallRun, small_run};

const PLAIN: Style = Style {
    width: 100,
    colour: false,
};

fn shown(small: &SmallRun, query: &Query, style: Style) -> (String, Seen) {
    let mut out = Vec::new();
    let seen = inspect(&small.run, query, &style, &mut out).expect("it is there");
    (String::from_utf8(out).expect("text"), seen)
}

/// What a query shows of the small run; `expected` begins with a line's end, so that its lines stand
/// below each other.
fn check(query: Query, expected: &str) {
    let (text, seen) = shown(&small_run(), &query, PLAIN);
    assert_eq!(format!("\n{text}"), expected, "\n{text}");
    assert_eq!(seen.damaged, []);
}

/// What a query that names something absent is told.
fn refused(query: Query) -> String {
    let error = inspect(&small_run().run, &query, &PLAIN, &mut Vec::new()).expect_err("absent");
    error.to_string()
}

fn of_step(step: u64) -> Query {
    Query {
        step: Some(step),
        ..Query::default()
    }
}

fn of_problem(step: u64, problem: &str) -> Query {
    Query {
        problem: Some(problem.to_owned()),
        ..of_step(step)
    }
}

/// The attempts that a query selects, as `step/problem/attempt`.
fn selected(query: Query) -> Vec<String> {
    let query = Query {
        json: true,
        ..query
    };
    let (text, seen) = shown(&small_run(), &query, PLAIN);
    let names: Vec<String> = text
        .lines()
        .map(|line| {
            let attempt: Transcript = serde_json::from_str(line).expect("a transcript");
            format!(
                "{}/{}/{}",
                attempt.step, attempt.problem_idx, attempt.attempt
            )
        })
        .collect();
    assert_eq!(seen.shown, names.len());
    names
}

#[test]
fn without_a_wish_the_steps_are_shown() {
    check(
        Query::default(),
        "
  step  reward  live   entropy  kl      attempts  no reward  left out  stop reasons
  ----  ------  -----  -------  ------  --------  ---------  --------  ------------
  0     0.000   0.500  0.400    2.0e-9  4         1          2         end-token 4, max-tokens 3
  1     0.250   0.500  0.400    2.0e-9  4         1          2         end-token 4, max-tokens 3
  2     0.500   0.500  0.400    2.0e-9  4         1          -         -
  3     -       -      -        -       4         1          2         end-token 4, max-tokens 3

Besides: 1 line of --stage warm-start, 1 line of --stage eval
",
    );
}

#[test]
fn a_limit_keeps_the_last_steps_and_says_how_many_it_left_out() {
    let query = Query {
        limit: Some(1),
        ..Query::default()
    };
    check(
        query.clone(),
        "
  step  attempts  no reward  left out  stop reasons
  ----  --------  ---------  --------  ------------
  3     4         1          2         end-token 4, max-tokens 3

3 more steps before these; --limit 0 shows all

Besides: 1 line of --stage warm-start, 1 line of --stage eval
",
    );
    let (_, seen) = shown(&small_run(), &query, PLAIN);
    assert_eq!((seen.shown, seen.left_out), (1, 3));
}

#[test]
fn other_stages_have_their_own_tables() {
    let of_stage = |stage: &str| Query {
        stage: Some(stage.to_owned()),
        ..Query::default()
    };
    check(
        of_stage("warm-start"),
        "
  step  read loss  answer loss  lr      gradient norm
  ----  ---------  -----------  ------  -------------
  0     0.500      0.250        1.0e-4  1.500
",
    );
    check(
        of_stage("eval"),
        "
  step  when    temperature  accuracy by tokens
  ----  ------  -----------  ------------------
  0     before  0.000        192: 0.500, 768: 0.250
",
    );
    assert_eq!(
        refused(of_stage("sft")),
        "the run has no stage `sft`; there are `eval`, `rl`, `warm-start`"
    );
}

#[test]
fn a_step_shows_its_attempts() {
    check(
        of_step(1),
        r"
  attempt  reward  left out       turns  tokens  advantage      answer
  -------  ------  -------------  -----  ------  -------------  ------
rl step 1, problem 7 (needle-7): Who keeps the key? Expected: Ida | Miss Ida
  0        1.000   -              2      4       0.500          Ida
  1        0.000   -              2      4       -0.500..0.000  Bob\u{1b}[2J
rl step 1, problem 8 (needle-8): Who sold the harp? Expected: Ida | Miss Ida
  0        -       equal-rewards  1      3       -              [judge-timeout: no reply within 5 s]
  1        0.500   equal-rewards  2      4       -              Ida? [unparsed]
",
    );
}

#[test]
fn a_problem_shows_its_turns() {
    check(
        of_problem(1, "7"),
        r"
rl step 1, problem 7 (needle-7)
question: Who keeps the key?
expected: Ida | Miss Ida

attempt 0: reward 1.000
seed 5, policy version 2, weights 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f
answer: Ida

turn 0 reads chunk 0: end-token, 3 tokens, reward 0.750, advantage 0.500, teacher score 0.800
  log-probability: mean -0.750, lowest -1.500, sum -2.250
  prompt:
    Who keeps the key?
    Ida keeps the key.
  notes:
    Ida: key

turn 1 answers: max-tokens, 1 token, advantage 0.500
  log-probability: mean -0.125, lowest -0.125, sum -0.125
  prompt:
    Who keeps the key?
    Ida: key
  answer:
    Ida

attempt 1: reward 0.000
seed 5, policy version 2, weights 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f
answer: Bob\u{1b}[2J

turn 0 reads chunk 0: end-token, 3 tokens, reward 0.750, advantage -0.500, teacher score 0.800
  log-probability: mean -0.750, lowest -1.500, sum -2.250
  prompt:
    Who keeps the key?
    Ida keeps the key.
  notes:
    Ida: key

turn 1 answers: max-tokens, 1 token, advantage 0.000
  log-probability: mean -0.125, lowest -0.125, sum -0.125
  prompt:
    Who keeps the key?
    Ida: key
  answer:
    Bob\u{1b}[2J
",
    );
}

#[test]
fn what_was_not_trained_and_why_is_told() {
    check(
        of_problem(1, "needle-8"),
        "
rl step 1, problem 8 (needle-8)
question: Who sold the harp?
expected: Ida | Miss Ida

attempt 0: no reward (judge-timeout: no reply within 5 s), left out of the training (equal-rewards)
seed 5, policy version 2, weights 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f
answer:

turn 0 reads chunk 0: end-token, 3 tokens, reward 0.750, teacher score 0.800, not trained
  log-probability: mean -0.750, lowest -1.500, sum -2.250
  prompt:
    Who keeps the key?
    Ida keeps the key.
  notes:
    Ida: key

attempt 1: reward 0.500, left out of the training (equal-rewards), unparsed, 12 tokens cut from the
document
seed 5, policy version 2, weights 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f
answer: Ida?

turn 0 reads chunk 0: end-token, 3 tokens, reward 0.750, advantage 0.250, teacher score 0.800, not
trained
  log-probability: mean -0.750, lowest -1.500, sum -2.250
  prompt:
    Who keeps the key?
    Ida keeps the key.
  notes:
    Ida: key

turn 1 answers: max-tokens, 1 token, advantage 0.250, not trained
  log-probability: mean -0.125, lowest -0.125, sum -0.125
  prompt:
    Who keeps the key?
    Ida: key
  answer:
    Ida?
",
    );
}

#[test]
fn tokens_are_shown_as_ids_with_their_log_probabilities() {
    let query = Query {
        attempt: Some(0),
        tokens: true,
        ..of_problem(0, "7")
    };
    check(
        query,
        "
rl step 0, problem 7 (needle-7)
question: Who keeps the key?
expected: Ida | Miss Ida

attempt 0: reward 1.000
seed 5, policy version 0, weights 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f
answer: Ida

turn 0 reads chunk 0: end-token, 3 tokens, reward 0.750, advantage 0.500, teacher score 0.800
  log-probability: mean -0.750, lowest -1.500, sum -2.250
  prompt:
    Who keeps the key?
    Ida keeps the key.
  notes:
    Ida: key
  token ids and log-probabilities:
    7:-0.250 8:-1.500 1:-0.500

turn 1 answers: max-tokens, 1 token, advantage 0.500
  log-probability: mean -0.125, lowest -0.125, sum -0.125
  prompt:
    Who keeps the key?
    Ida: key
  answer:
    Ida
  token ids and log-probabilities:
    7:-0.125
",
    );
}

#[test]
fn colour_shows_the_way_of_the_training() {
    let colourful = Style {
        colour: true,
        ..PLAIN
    };
    let (text, _) = shown(&small_run(), &of_problem(0, "7"), colourful);
    let notes: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("Ida: key") && line.contains('\x1b'))
        .collect();
    assert_eq!(
        notes,
        ["    \x1b[32mIda: key\x1b[0m", "    \x1b[31mIda: key\x1b[0m"]
    );
    // An advantage of 0 trains nothing, and what was left out is dim.
    assert!(text.contains("\n    Bob\\u{1b}[2J\n"), "{text}");
    let (text, _) = shown(&small_run(), &of_problem(0, "8"), colourful);
    assert!(text.contains("\n    \x1b[2mIda?\x1b[0m\n"), "{text}");
    assert!(
        !text.contains("\x1b[32m") && !text.contains("\x1b[31m"),
        "{text}"
    );
}

#[test]
fn long_prompts_are_shortened_in_their_middle_unless_they_are_asked_for() {
    let small = small_run();
    let mut attempts = small.run.read_transcripts("rl", 0).expect("readable");
    attempts[0].turns[0].prompt = format!("begin {} end", "word ".repeat(200));
    small
        .run
        .write_transcripts("rl", 0, &attempts[..1])
        .expect("written");
    let (text, _) = shown(&small, &of_problem(0, "7"), PLAIN);
    assert!(text.contains("begin word"), "{text}");
    assert!(text.contains("\n    [... 530 characters ...]\n"), "{text}");
    let full = Query {
        full: true,
        ..of_problem(0, "7")
    };
    let (text, _) = shown(&small, &full, PLAIN);
    assert_eq!(text.matches("word").count(), 200);
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[test]
fn text_is_wrapped_to_the_width() {
    let narrow = Style {
        width: 48,
        colour: false,
    };
    for query in [of_step(1), of_problem(1, "8")] {
        let (text, _) = shown(&small_run(), &query, narrow);
        let widest = text.lines().map(|line| line.chars().count()).max();
        // The columns before it take 64 and are not broken; the answer is wrapped behind them.
        let allowed = if query.problem.is_some() { 48 } else { 80 };
        assert!(widest <= Some(allowed), "{widest:?}\n{text}");
    }
}

#[test]
fn filters_select_attempts_of_all_steps_or_of_one() {
    let all = Query::default();
    for (query, expected) in [
        (
            Query {
                min_reward: Some(1.0),
                ..all.clone()
            },
            vec!["0/7/0", "1/7/0", "3/7/0"],
        ),
        (
            Query {
                max_reward: Some(0.5),
                ..of_step(1)
            },
            vec!["1/7/1", "1/8/1"],
        ),
        (
            Query {
                stop_reason: Some(TranscriptStop::MaxTokens),
                ..of_step(3)
            },
            vec!["3/7/0", "3/7/1", "3/8/1"],
        ),
        (
            Query {
                dropped: true,
                ..of_step(0)
            },
            vec!["0/8/0", "0/8/1"],
        ),
        (
            Query {
                errors: true,
                ..all.clone()
            },
            vec!["0/8/0", "1/8/0", "3/8/0"],
        ),
        (
            Query {
                question: Some("the HARP".to_owned()),
                attempt: Some(1),
                ..all.clone()
            },
            vec!["0/8/1", "1/8/1", "3/8/1"],
        ),
        (
            Query {
                problem: Some("needle-7".to_owned()),
                max_reward: Some(0.0),
                stage: Some("rl".to_owned()),
                ..all.clone()
            },
            vec!["0/7/1", "1/7/1", "3/7/1"],
        ),
        (
            Query {
                errors: true,
                min_reward: Some(0.0),
                ..all.clone()
            },
            vec![],
        ),
    ] {
        assert_eq!(selected(query.clone()), expected, "{query:?}");
    }
    check(
        Query {
            min_reward: Some(2.0),
            ..all
        },
        "\nNo attempt is like that.\n",
    );
}

#[test]
fn a_limit_keeps_the_first_attempts() {
    let query = Query {
        limit: Some(3),
        min_reward: Some(0.0),
        ..Query::default()
    };
    check(
        query.clone(),
        r"
  attempt  reward  left out       turns  tokens  advantage      answer
  -------  ------  -------------  -----  ------  -------------  ------
rl step 0, problem 7 (needle-7): Who keeps the key? Expected: Ida | Miss Ida
  0        1.000   -              2      4       0.500          Ida
  1        0.000   -              2      4       -0.500..0.000  Bob\u{1b}[2J
rl step 0, problem 8 (needle-8): Who sold the harp? Expected: Ida | Miss Ida
  1        0.500   equal-rewards  2      4       -              Ida? [unparsed]

6 more attempts; --limit 0 shows all
",
    );
    assert_eq!(selected(query.clone()), ["0/7/0", "0/7/1", "0/8/1"]);
    let all = Query {
        limit: Some(0),
        ..query
    };
    assert_eq!(selected(all).len(), 9);
}

#[test]
fn lists_have_twenty_rows_unless_more_are_asked_for() {
    let small = small_run();
    let mut attempts = small.run.read_transcripts("rl", 0).expect("readable");
    for number in 4..30 {
        attempts.push(Transcript {
            attempt: number,
            ..attempts[3].clone()
        });
    }
    small
        .run
        .write_transcripts("rl", 0, &attempts)
        .expect("written");
    let (text, seen) = shown(&small, &of_step(0), PLAIN);
    assert_eq!((seen.shown, seen.left_out), (20, 10));
    assert!(
        text.ends_with("\n\n10 more attempts; --limit 0 shows all\n"),
        "{text}"
    );
    let json = Query {
        json: true,
        ..of_step(0)
    };
    assert_eq!(shown(&small, &json, PLAIN).1.shown, 30);
}

#[test]
fn steps_as_json_are_their_lines() {
    let query = Query {
        json: true,
        limit: Some(2),
        ..Query::default()
    };
    let (text, seen) = shown(&small_run(), &query, PLAIN);
    let steps: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["step"].clone())
        .collect();
    assert_eq!(steps, [1, 2]);
    assert_eq!((seen.shown, seen.left_out), (2, 1));
}

#[test]
fn what_is_absent_is_told_with_what_there_is() {
    assert_eq!(
        refused(of_step(2)),
        "the run has no transcripts of step 2; there are those of steps 0-1, 3"
    );
    assert_eq!(
        refused(of_problem(1, "9")),
        "step 1 has no problem `9`; there are 7-8"
    );
    let attempt = Query {
        attempt: Some(2),
        ..of_problem(1, "7")
    };
    assert_eq!(
        refused(attempt),
        "problem `7` of step 1 has no attempt 2; there are 0-1"
    );
    let stage = Query {
        stage: Some("warm-start".to_owned()),
        ..of_step(0)
    };
    assert_eq!(
        refused(stage),
        "the run has no stage `warm-start`; there are `rl`"
    );
}

#[test]
fn damaged_files_are_named_and_skipped() {
    let small = small_run();
    let path = small.run.path().join("transcripts/rl-000001.jsonl.zst");
    let whole = fs::read(&path).expect("readable");
    fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    let all = Query {
        min_reward: Some(1.0),
        ..Query::default()
    };
    for (query, shown_attempts) in [
        (all, 2),
        (of_step(1), 0),
        (of_problem(1, "7"), 0),
        (Query::default(), 4),
    ] {
        let (text, seen) = shown(&small, &query, PLAIN);
        assert_eq!(seen.shown, shown_attempts, "{text}");
        let [damaged] = seen.damaged.as_slice() else {
            panic!("one file is damaged: {:?}", seen.damaged)
        };
        assert_eq!(damaged.path, path);
        assert!(
            damaged.reason.contains("rl-000001.jsonl.zst"),
            "{}",
            damaged.reason
        );
    }
    let (text, _) = shown(&small, &Query::default(), PLAIN);
    assert!(text.contains("transcripts damaged"), "{text}");
}

#[test]
fn a_run_that_was_killed_is_shown_as_far_as_it_went() {
    let small = small_run();
    let path = small.run.metrics_path();
    let mut text = fs::read_to_string(&path).expect("readable");
    text.push_str("{\"stage\":\"rl\",\"st");
    fs::write(&path, text).expect("written");
    let (text, seen) = shown(&small, &Query::default(), PLAIN);
    assert!(seen.torn);
    assert_eq!(seen.shown, 4, "{text}");
}

#[test]
fn a_run_without_any_step_says_so() {
    let root = tempfile::tempdir().expect("a folder");
    let run = longhand_run::RunDir::create(root.path()).expect("made");
    let mut out = Vec::new();
    inspect(&run, &Query::default(), &PLAIN, &mut out).expect("nothing is wrong");
    assert_eq!(out, b"The run has no such steps yet.\n");
    let error = inspect(&run, &of_step(0), &PLAIN, &mut out).expect_err("no transcripts");
    assert!(error.to_string().starts_with("the run has no transcripts:"));
}

//! Pages of made-up runs: what stands on them, and that they stay whole whatever a run left.

mod markup;
mod planted;

use std::fs;

use longhand_run::RunDir;
use serde_json::json;
use tempfile::TempDir;

use crate::markup::{check_closed, check_tags};
use crate::planted::{CONFIG, Plant, transcript, turn};

/// The page of a run, checked for what every page must hold.
fn page(run: &RunDir, against: Option<&RunDir>) -> String {
    let out = run.path().join("report.html");
    longhand_report::write_report(run, against, &out).expect("written");
    let page = fs::read_to_string(out).expect("UTF-8");
    check_closed(&page);
    check_tags(&page);
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    assert!(
        page.contains("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
    );
    page
}

fn check(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "no `{text}` on the page");
    }
}

#[test]
fn a_finished_run_has_all_its_sections_and_numbers() {
    let plant = Plant::new(60).finished();
    let page = page(&plant.run, None);
    let ids = [
        "numbers", "findings", "lengths", "curves", "rewards", "times", "attempts", "config",
    ];
    for id in ids {
        check(
            &page,
            &[
                &format!("<section id=\"{id}\">"),
                &format!("<a href=\"#{id}\">"),
            ],
        );
    }
    check(
        &page,
        &[
            "<h1>planted</h1>",
            "a run with everything",
            "Finished: 60 of 60 RL steps, after 3 steps of warm start. Written from 2023-11-14 22:13 UTC",
            // Of the rewards 0/60, 1/60, ... 59/60.
            "<dd>0.9833 <small>step 59; mean of the last 10: 0.9083</small>",
            "<dd>60,000 <small>in RL steps</small>",
            "<dd>30.0 % → 90.0 % <small>most probable tokens; after [80.0, 95.0]</small>",
            "<td>30.0 % [20.0, 40.0]</td><td>90.0 % [80.0, 95.0]</td><td>+60 points</td>",
            "<h3>Entropy</h3>",
            "<h3>Warm-start losses</h3>",
            "The same at every step: ",
            "Learning rate 0.0005",
            // 60 steps of 0.5 of 1.5 seconds, 3 of warm start and 4 measurements of 1.
            "<th scope=\"row\">generate</th><td>30.0 s</td><td>30.9 %</td>",
            "<dd>1 min 37 s",
            "200.0 MiB",
            "<th scope=\"row\">judge did not answer in time</th><td>60</td><td>6.3 %</td><td>60 of 60</td>",
            "<h3>penalty_overlong</h3>",
            "some_new_number",
        ],
    );
    assert!(!page.contains("torn"));
}

#[test]
fn runs_without_labels_show_votes_entropy_and_rewards_by_name() {
    let plant = Plant::with_config(0, CONFIG);
    let mut lines = plant.run.lines().expect("opened");
    for step in 0..4_u64 {
        let share = step as f64 / 4.0;
        let line = json!({"stage": "rl", "step": step, "reward": 0.5, "cluster_share": 0.5 + share / 2.0,
            "label_accuracy": 0.5 - share / 2.0, "distinct_answers": 4.0 - share, "token_entropy": 1.0 - share,
            "entropy_target": 0.3, "self_certainty": 9.0 + share, "repetition": share, "response_tokens": 900.0 - share,
            "selected_tokens": share / 50.0, "abs_log_ratio": share / 100.0, "entropy_gate": step == 2,
            "control_weight": 1.1, "entropy_coef": share,
            "reward_columns": {"outcome": share, "cluster-vote": 0.5, "self-certainty": 9.0 + share, "teacher": share}});
        lines.metrics(&line).expect("written");
    }
    let page = page(&plant.run, None);
    check(
        &page,
        &[
            "<section id=\"collapse\">",
            "<a href=\"#collapse\">",
            "<h3>Agreement</h3>",
            "labels right: 0.5 → 0.125",
            "<h3>Different answers</h3>",
            "<h3>Entropy of the distributions</h3>",
            "entropy: 1 → 0.25",
            "target: 0.3 → 0.3",
            "<h3>Self-certainty</h3>",
            "<h3>Length of an attempt</h3>",
            "<h3>Repetition</h3>",
            "<h3>Log-ratio</h3>",
            "open: 0 → 0",
            "Weight of entropy control 1.1",
            "<h3>Coefficient of the entropy bonus</h3>",
            "<h3>Rewards by name</h3>",
            "outcome: 0 → 0.75",
            "cluster-vote: 0.5 → 0.5",
            "<h3>Reward: self-certainty</h3>",
            "<h3>Reward: teacher</h3>",
        ],
    );
    assert!(!page.contains("Other numbers of the steps"));
    let without = Plant::new(4);
    let page = self::page(&without.run, None);
    assert!(!page.contains("id=\"collapse\"") && !page.contains("Rewards by name"));
}

#[test]
fn a_collapse_stands_in_the_table_of_what_was_kept() {
    let plant = Plant::with_config(0, CONFIG);
    let mut lines = plant.run.lines().expect("opened");
    // The steps done before a measurement are counted from the steps' own lines.
    for (n_steps, accuracy) in [(0, 0.1), (40, 0.729), (100, 0.6), (160, 0.3), (340, 0.0)] {
        if let Some(step) = u64::checked_sub(n_steps, 1) {
            let line = json!({"stage": "rl", "step": step, "reward": 0.5});
            lines.metrics(&line).expect("written");
        }
        let score = |tokens: u64, accuracy: f64| json!({"target_tokens": tokens, "n_documents": 100, "accuracy": accuracy});
        let mut scores = vec![score(512, accuracy)];
        if n_steps == 340 {
            scores.push(score(2048, 0.5));
        }
        let line = json!({"stage": "eval", "label": "during", "step": n_steps, "temperature": 0.0, "lengths": scores});
        lines.metrics(&line).expect("written");
    }
    let page = page(&plant.run, None);
    check(
        &page,
        &[
            "<th scope=\"col\">collapse step</th>",
            "<th scope=\"row\">most probable tokens</th><td>512</td><td>72.9 %</td><td>40</td><td>160</td>\
             <td>0.0 %</td><td>0.0 %</td></tr></tbody>",
        ],
    );
    let held = Plant::new(20).finished();
    check(
        &self::page(&held.run, Some(&plant.run)),
        &["<td>90.0 %</td><td>20</td><td>–</td><td>90.0 %</td><td>100.0 %</td><td>72.9 %</td>"],
    );
}

#[test]
fn the_page_fetches_nothing_and_reads_without_scripts() {
    let plant = Plant::new(30).finished();
    let page = page(&plant.run, None);
    for reference in [
        "http://", "https://", "//www", " src=", "@import", "url(", "<iframe", "<object", "fetch(",
        "XMLHttp",
    ] {
        assert!(!page.contains(reference), "`{reference}` on the page");
    }
    let hrefs = page.split(" href=\"").skip(1);
    for href in hrefs {
        assert!(
            href.starts_with('#') || href.starts_with("data:,\""),
            "{}",
            &href[..20]
        );
    }
    assert_eq!(page.matches("<script").count(), 1);
    let script_at = page.find("<script").expect("the script");
    check(
        &page[..script_at],
        &[
            "</section>",
            "</main>",
            "aria-label=\"Reward (mean outcome of all attempts) by step. reward: 0 → 0.9667",
        ],
    );
}

#[test]
fn text_of_a_run_stays_text() {
    let hostile = "</script><script>alert(1)</script></title></pre><img src=x onerror=\"y\"> & 'q' \u{202e}back\u{7}\u{0}";
    let plant = Plant::with_config(
        3,
        &format!(
            "name = {0:?}\ndescription = {0:?}\n",
            hostile.replace(['\u{0}', '\u{7}', '\u{202e}'], "")
        ),
    );
    let mut lines = plant.run.lines().expect("opened");
    for step in 3..5 {
        let line = json!({"stage": "rl", "step": step, "reward": 1.0, hostile: step});
        lines.metrics(&line).expect("written");
    }
    let line = json!({"stage": "eval", "label": hostile, "temperature": 0.0,
        "lengths": [{"target_tokens": 64, "n_documents": 10, "accuracy": 0.5}]});
    lines.metrics(&line).expect("written");
    let mut attempt = transcript(3, 0, Some(0.0), -1.0);
    for text in [
        &mut attempt.question,
        &mut attempt.answer,
        &mut attempt.problem_id,
    ] {
        *text = hostile.to_owned();
    }
    attempt.expected = vec![hostile.to_owned()];
    attempt.reward_error = Some(hostile.to_owned());
    attempt.turns[0].prompt = hostile.repeat(20);
    attempt.turns[0].completion = hostile.to_owned();
    plant
        .run
        .write_transcripts("rl", 3, &[attempt])
        .expect("written");
    let page = page(&plant.run, None);
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!page.contains("<img") && !page.contains("\" onerror"));
    assert!(
        !page
            .chars()
            .any(|c| c != '\n' && c != '\t' && c.is_control() || c == '\u{202e}')
    );
    check(
        &page,
        &[
            "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;",
            "onerror=&quot;y&quot;&gt; &amp; &#39;q&#39; [U+202E]back[U+0007][U+0000]",
        ],
    );
    // A key that came from the run is the title of a chart.
    check(&page, &["<h3>&lt;/script&gt;"]);
}

#[test]
fn a_run_that_was_killed_says_how_far_it_came() {
    let plant = Plant::new(20);
    let mut metrics = fs::read(plant.run.metrics_path()).expect("readable");
    metrics.extend(b"{\"stage\":\"rl\",\"ste");
    fs::write(plant.run.metrics_path(), metrics).expect("written");
    plant
        .run
        .write_failure("rl", 20, &json!({}))
        .expect("written");
    let page = page(&plant.run, None);
    check(
        &page,
        &[
            "Not finished: 20 of 60 RL steps, after 3 steps of warm start so far.",
            "The last line of metrics.jsonl of",
            "failures/rl-000020.json",
            ">at step 20</th>",
        ],
    );
}

#[test]
fn a_run_without_any_line_has_a_page() {
    let plant = Plant::with_config(0, CONFIG);
    let page = page(&plant.run, None);
    check(
        &page,
        &[
            "Not finished: 0 of 60 RL steps so far.",
            "No step has been recorded yet.",
            "The run has no transcripts",
        ],
    );
    assert!(!page.contains("id=\"times\"") && !page.contains("#lengths"));
}

#[test]
fn older_runs_keep_their_times_in_the_metrics() {
    let plant = Plant::with_config(0, CONFIG);
    let mut lines = plant.run.lines().expect("opened");
    for step in 0..3 {
        let line = json!({"stage": "rl", "step": step, "reward": 0.5, "seconds_generate": 1.0,
            "seconds_score": 0.5, "seconds_train": 2.0, "seconds": 4.0, "resident_bytes": 104_857_600});
        lines.metrics(&line).expect("written");
    }
    fs::remove_file(plant.run.timings_path()).expect("removed");
    let page = page(&plant.run, None);
    check(
        &page,
        &[
            "<th scope=\"row\">train</th><td>6.00 s</td><td>50.0 %</td>",
            "<th scope=\"row\">other</th><td>1.50 s</td>",
            "100.0 MiB",
        ],
    );
}

#[test]
fn long_runs_are_thinned_and_stay_small() {
    let plant = Plant::new(12_000);
    let prompt = "the same words again ".repeat(2_000);
    let attempts: Vec<_> = (0..30)
        .map(|idx| {
            let mut attempt = transcript(11_999, idx, Some(1.0), 0.5);
            attempt.turns = vec![turn(&prompt, "notes", Some(0.5)); 40];
            attempt
        })
        .collect();
    plant
        .run
        .write_transcripts("rl", 11_999, &attempts)
        .expect("written");
    let page = page(&plant.run, None);
    check(
        &page,
        &[
            "Of up to 12,000 points a line, the lowest and the highest of each pixel column are drawn.",
            "thick ones smoothed over up to 601 neighbouring points",
            "Each bar is the mean of up to 100 steps.",
            "6 attempts of 30 in the last transcripts (step 11,999)",
            "28 turns not shown.",
            "The whole prompt, 42,000 characters",
            "characters left out…]",
        ],
    );
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
}

#[test]
fn two_runs_stand_side_by_side() {
    let (one, other) = (
        Plant::new(30).finished(),
        Plant::with_config(26, &CONFIG.replace("lr = 0.0005", "lr = 0.001")),
    );
    let page = page(&one.run, Some(&other.run));
    let name = |plant: &Plant| {
        plant
            .run
            .path()
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    check(
        &page,
        &[
            &format!(
                "<th scope=\"col\">{}</th><th scope=\"col\">{}</th>",
                name(&one),
                name(&other)
            ),
            "class=\"line raw against-0\"",
            "class=\"line against-before\"",
            "<code>stage.0.optimizer.lr</code></th><td><code>0.0005</code></td><td><code>0.001</code></td>",
            &format!("Time of a step, {}", name(&other)),
        ],
    );
    let differing = page.split("Keys that differ").nth(1).expect("the table");
    assert!(
        !differing
            .split("</table>")
            .next()
            .expect("its rows")
            .contains("seed")
    );
}

#[test]
fn runs_of_one_name_are_told_apart_by_their_folders() {
    let root = tempfile::tempdir().expect("a folder");
    let make = |parent: &str| {
        let run = RunDir::create(&root.path().join(parent).join("run-001")).expect("made");
        run.write_config(CONFIG).expect("written");
        run
    };
    let page = page(&make("first"), Some(&make("second")));
    check(
        &page,
        &[
            "<b>first/run-001</b> against <b>second/run-001</b>",
            "None: both runs have the same settings.",
        ],
    );
}

#[test]
fn attempts_are_chosen_by_outcome_and_advantage_one_per_problem() {
    let plant = Plant::new(5);
    let mut attempts = Vec::new();
    for problem_idx in 0..4 {
        for (attempt, outcome) in [(0, 0.0), (1, 1.0)] {
            let mut made = transcript(4, problem_idx, Some(outcome), problem_idx as f64 - 1.5);
            made.attempt = attempt;
            attempts.push(made);
        }
    }
    let mut failed = transcript(4, 9, None, 0.0);
    failed.reward_error = Some("judge-timeout: no reply in 5 s".to_owned());
    failed.turns[0].advantage = None;
    attempts.push(failed);
    plant
        .run
        .write_transcripts("rl", 4, &attempts)
        .expect("written");
    let page = page(&plant.run, None);
    let order: Vec<&str> = page
        .split("problem problem-")
        .skip(1)
        .map(|rest| rest.split("</small>").next().expect("an end"))
        .collect();
    let expected = [
        "3, attempt 1",
        "2, attempt 1",
        "1, attempt 1",
        "0, attempt 0",
        "1, attempt 0",
        "2, attempt 0",
        "9, attempt 0",
    ];
    assert_eq!(order, expected);
    check(
        &page,
        &[
            "none: judge-timeout: no reply in 5 s",
            "<span class=\"badge off\">not trained</span>",
            "<pre class=\"said trained less\">",
        ],
    );
}

#[test]
fn transcripts_that_cannot_be_read_are_named() {
    let plant = Plant::new(5);
    fs::write(
        plant.run.path().join("transcripts/rl-000004.jsonl.zst"),
        "torn",
    )
    .expect("written");
    let page = page(&plant.run, None);
    check(
        &page,
        &[
            "<p class=\"warning\">",
            "rl-000004.jsonl.zst",
            "The run has no transcripts of reinforcement learning.",
        ],
    );
}

#[test]
fn the_same_files_give_the_same_page() {
    let plant = Plant::new(30).finished();
    assert_eq!(page(&plant.run, None), page(&plant.run, None));
}

#[test]
fn a_page_that_cannot_be_stored_is_refused() {
    let plant = Plant::new(1);
    let nowhere: TempDir = tempfile::tempdir().expect("a folder");
    let error =
        longhand_report::write_report(&plant.run, None, &nowhere.path().join("not/there.html"));
    let error = error.expect_err("no such folder").to_string();
    assert!(error.starts_with("no report: cannot write"), "{error}");
}

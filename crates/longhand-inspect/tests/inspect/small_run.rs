//! A run of three steps with two problems of two attempts each, one of each kind.

use longhand_run::{
    RunDir, Transcript, TranscriptDropped, TranscriptKind, TranscriptStop, TranscriptTurn,
};
use serde_json::json;

/// A run's folder, which goes when this goes.
pub(crate) struct SmallRun {
    _root: tempfile::TempDir,
    pub(crate) run: RunDir,
}

/// Steps 0, 1 and 3 have transcripts; step 2 lost its own, and step 3 has no metrics yet.
pub(crate) fn small_run() -> SmallRun {
    let root = tempfile::tempdir().expect("a folder");
    let run = RunDir::create(root.path()).expect("made");
    let mut lines = run.lines().expect("opened");
    let mut metrics = |record| lines.metrics(&record).expect("appended");
    metrics(
        json!({"stage": "warm-start", "stage_idx": 0, "step": 0, "read_loss": 0.5,
        "answer_loss": 0.25, "grad_norm": 1.5, "lr": 1e-4, "n_run_tokens": 9}),
    );
    metrics(
        json!({"stage": "eval", "label": "before", "stage_idx": 1, "step": 0, "temperature": 0.0,
        "lengths": [{"target_tokens": 192, "accuracy": 0.5}, {"target_tokens": 768, "accuracy": 0.25}]}),
    );
    for step in 0..3_u64 {
        metrics(
            json!({"stage": "rl", "step": step, "reward": 0.25 * step as f64, "live_groups": 0.5,
            "entropy": 0.4, "approx_kl": 2e-9, "n_attempts": 4, "n_masked_attempts": 1}),
        );
    }
    for step in [0, 1, 3] {
        run.write_transcripts("rl", step, &attempts(step))
            .expect("written");
    }
    SmallRun { _root: root, run }
}

/// Problem 7: right and wrong, trained. Problem 8: left out; one attempt without a reward, one whose
/// answer could not be parsed.
fn attempts(step: u64) -> Vec<Transcript> {
    let attempt = |problem_idx: u64, attempt: u32, answer: &str, outcome, advantages: [f64; 2]| {
        let read = TranscriptTurn {
            kind: TranscriptKind::Read,
            chunk_idx: Some(0),
            prompt: "Who keeps the key?\nIda keeps the key.".to_owned(),
            completion: "Ida: key".to_owned(),
            completion_ids: vec![7, 8, 1],
            rollout_logprobs: vec![-0.25, -1.5, -0.5],
            stop_reason: TranscriptStop::EndToken,
            reward: Some(0.75),
            advantage: Some(advantages[0]),
            teacher_score: Some(0.8),
        };
        let turns = vec![
            read,
            TranscriptTurn {
                kind: TranscriptKind::Answer,
                chunk_idx: None,
                prompt: "Who keeps the key?\nIda: key".to_owned(),
                completion: answer.to_owned(),
                completion_ids: vec![7],
                rollout_logprobs: vec![-0.125],
                stop_reason: TranscriptStop::MaxTokens,
                reward: None,
                advantage: Some(advantages[1]),
                teacher_score: None,
            },
        ];
        Transcript {
            stage: "rl".to_owned(),
            step,
            problem_idx,
            problem_id: format!("needle-{problem_idx}"),
            attempt,
            question: "Who keeps\nthe key?".to_owned(),
            expected: vec!["Ida".to_owned(), "Miss Ida".to_owned()],
            answer: answer.to_owned(),
            seed: 5,
            policy_version: 2 * step,
            weights_digest: Some("0f".repeat(16)),
            outcome,
            rewards: Default::default(),
            reward_error: None,
            dropped: None,
            unparsed: false,
            dropped_tokens: 0,
            turns,
        }
    };
    let mut attempts = vec![
        attempt(7, 0, "Ida", Some(1.0), [0.5, 0.5]),
        attempt(7, 1, "Bob\x1b[2J", Some(0.0), [-0.5, 0.0]),
        attempt(8, 0, "", None, [0.0, 0.0]),
        attempt(8, 1, "Ida?", Some(0.5), [0.25, 0.25]),
    ];
    for attempt in &mut attempts[2..] {
        attempt.dropped = Some(TranscriptDropped::EqualRewards);
        attempt.question = "Who sold the harp?".to_owned();
    }
    attempts[2].reward_error = Some("judge-timeout: no reply within 5 s".to_owned());
    attempts[2].turns.truncate(1);
    attempts[2].turns[0].advantage = None;
    attempts[3].unparsed = true;
    attempts[3].dropped_tokens = 12;
    attempts
}

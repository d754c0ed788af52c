//! Transcripts: what every attempt of a step read, wrote and was paid, token by token.
//!
//! `transcripts/STAGE-000012.jsonl.zst` holds the attempts of step 12 of a stage: JSON lines, one
//! [`Transcript`] each, compressed with Zstandard (`zstd -dc FILE` shows them). The schema:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `stage` | string | the stage of the run, as the experiment file names it |
//! | `step` | integer | the step of that stage |
//! | `problem_idx` | integer | the problem's place in its task |
//! | `problem_id` | string | the problem's own name |
//! | `attempt` | integer | which attempt of the group, from 0 |
//! | `question` | string | what was asked |
//! | `expected` | list of strings | the answers that count as right |
//! | `answer` | string | the answer that was given |
//! | `seed` | integer | the run's seed; 0 in files from before this field |
//! | `policy_version` | integer | updates of the policy before the attempt; 0 in older files |
//! | `weights_digest` | string or absent | digest of the weights that sampled it; absent on a GPU |
//! | `outcome` | number or absent | the answer's score, 0 to 1; absent when the reward failed |
//! | `rewards` | object or absent | each of several rewards by its name, where the stage has several; a missing one is left out |
//! | `reward_error` | string or absent | why there is no score: a kind (`judge-timeout`, `judge-bad-reply`, `judge-failure`), `: ` and what happened |
//! | `dropped` | `"equal-rewards"`, `"reward-errors"`, `"surplus"`, `"votes-only"` or absent | why it was left out of the training: all rewards of its group were equal, none of its group has a reward, the step had enough groups, or it was sampled for its vote alone |
//! | `unparsed` | boolean or absent | whether the checker found nothing of its form in the answer; absent for false |
//! | `dropped_tokens` | integer | document tokens that were cut out and never read |
//! | `turns` | list of objects | the turns in their order |
//!
//! A turn:
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `kind` | `"read"` or `"answer"` | what the turn was for |
//! | `chunk_idx` | integer, absent for answers | the chunk that was read |
//! | `prompt` | string | the prompt as text |
//! | `completion` | string | what was written, as text |
//! | `completion_ids` | list of integers | the sampled tokens, the end token included |
//! | `rollout_logprobs` | list of numbers | their log-probabilities while sampling, one per token |
//! | `stop_reason` | `"end-token"`, `"max-tokens"` or `"window-full"` | why sampling ended |
//! | `reward` | number or absent | the reward of the turn |
//! | `advantage` | number or absent | the advantage its tokens were trained with |
//! | `teacher_score` | number or absent | the better-informed prompt's score of the turn |
//!
//! A turn was trained when it has an `advantage` and its attempt was not `dropped`.
//!
//! Numbers are finite and nothing is null. The ids are the record, the texts are there to be read.
//! Fields may be added; readers pass over fields that they do not know.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic_file::write_file_atomic;
use crate::error::RunError;
use crate::json_lines::{json_line, parse_lines};
use crate::run_dir::{RunDir, is_plain};

/// End of a transcript file's name.
const EXTENSION: &str = ".jsonl.zst";
/// Zstandard's own default.
const COMPRESSION_LEVEL: i32 = 3;

/// One attempt at one problem; the fields are described in the module's header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// The stage of the run.
    pub stage: String,
    /// The step of that stage.
    pub step: u64,
    /// The problem's place in its task.
    pub problem_idx: u64,
    /// The problem's own name.
    pub problem_id: String,
    /// Which attempt of the group, from 0.
    pub attempt: u32,
    /// What was asked.
    pub question: String,
    /// The answers that count as right.
    pub expected: Vec<String>,
    /// The answer that was given.
    pub answer: String,
    /// The run's seed.
    #[serde(default)]
    pub seed: u64,
    /// Updates of the policy before the attempt.
    #[serde(default)]
    pub policy_version: u64,
    /// Digest of the weights that sampled the attempt; none where it is not computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_digest: Option<String>,
    /// The answer's score, 0 to 1; none when the reward failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<f64>,
    /// Each of several rewards by its name, where the stage has several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rewards: BTreeMap<String, f64>,
    /// Why there is no score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward_error: Option<String>,
    /// Why its group was left out of the training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<TranscriptDropped>,
    /// Whether the checker found nothing of its form in the answer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unparsed: bool,
    /// Document tokens that were cut out and never read.
    pub dropped_tokens: usize,
    /// The turns in their order.
    pub turns: Vec<TranscriptTurn>,
}

impl Transcript {
    /// Whether the tokens of `turn`, one of this attempt's, were trained.
    #[must_use]
    pub fn trained(&self, turn: &TranscriptTurn) -> bool {
        turn.advantage.is_some() && self.dropped.is_none()
    }
}

/// One turn of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TranscriptTurn {
    /// What the turn was for.
    pub kind: TranscriptKind,
    /// The chunk that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_idx: Option<usize>,
    /// The prompt as text.
    pub prompt: String,
    /// What was written, as text.
    pub completion: String,
    /// `[tokens]` The sampled tokens, the end token included.
    pub completion_ids: Vec<u32>,
    /// `[tokens]` Their log-probabilities while sampling.
    pub rollout_logprobs: Vec<f32>,
    /// Why sampling ended.
    pub stop_reason: TranscriptStop,
    /// The reward of the turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
    /// The advantage its tokens were trained with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advantage: Option<f64>,
    /// The better-informed prompt's score of the turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher_score: Option<f64>,
}

/// What a turn was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TranscriptKind {
    /// A chunk was read and the notes were written anew.
    Read,
    /// The question was answered from the notes.
    Answer,
}

/// Why a group was left out of the training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TranscriptDropped {
    /// All its rewards were equal.
    EqualRewards,
    /// None of its attempts has a reward.
    RewardErrors,
    /// The step had enough groups without it.
    Surplus,
    /// These attempts were sampled for their votes alone.
    VotesOnly,
}

/// Why sampling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TranscriptStop {
    /// An end token was sampled.
    EndToken,
    /// The turn's cap was hit first.
    MaxTokens,
    /// The model had no positions left.
    WindowFull,
}

/// The file of one step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TranscriptFile {
    /// The stage.
    pub stage: String,
    /// The step of that stage.
    pub step: u64,
    /// The file.
    pub path: PathBuf,
}

impl RunDir {
    /// Stores the attempts of one step and returns the file's path. A step that is run again, after
    /// a resume, replaces its file.
    ///
    /// # Errors
    ///
    /// A stage that cannot be part of a file's name, a number that is not finite, with its place, a
    /// run that is gone or was opened to be read, or a file that cannot be written.
    pub fn write_transcripts(
        &self,
        stage: &str,
        step: u64,
        transcripts: &[Transcript],
    ) -> Result<PathBuf, RunError> {
        let path = self.transcript_path(stage, step)?;
        let mut text = Vec::new();
        for transcript in transcripts {
            text.extend(json_line(transcript, &path).map_err(|error| at(transcript, error))?);
        }
        self.check_still_there()?;
        let packed = pack(&text).map_err(RunError::unwritable(&path))?;
        write_file_atomic(&path, &packed)?;
        Ok(path)
    }

    /// The attempts of one step.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or unpacked; with its number, a line that is not a transcript.
    pub fn read_transcripts(&self, stage: &str, step: u64) -> Result<Vec<Transcript>, RunError> {
        let path = self.transcript_path(stage, step)?;
        let file = fs::File::open(&path).map_err(RunError::unreadable(&path))?;
        let text = zstd::decode_all(file).map_err(RunError::unreadable(&path))?;
        parse_lines(&text, &path)
    }

    /// All transcript files, by stage and step. Other files in their folder are passed over.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read.
    pub fn transcript_files(&self) -> Result<Vec<TranscriptFile>, RunError> {
        let folder = self.transcripts_folder();
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).map_err(RunError::unreadable(&folder))? {
            let path = entry.map_err(RunError::unreadable(&folder))?.path();
            if let Some((stage, step)) = stage_and_step(&path) {
                files.push(TranscriptFile { stage, step, path });
            }
        }
        files.sort();
        Ok(files)
    }

    fn transcript_path(&self, stage: &str, step: u64) -> Result<PathBuf, RunError> {
        if !is_plain(stage) {
            return Err(RunError::BadName {
                name: stage.to_owned(),
                what: "a stage",
                except: "",
            });
        }
        Ok(self
            .transcripts_folder()
            .join(format!("{stage}-{step:06}{EXTENSION}")))
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Adds which attempt it was to the place of a number.
fn at(transcript: &Transcript, error: RunError) -> RunError {
    match error {
        RunError::NotFinite { key, value, path } => RunError::NotFinite {
            key: format!(
                "{key} (problem {}, attempt {})",
                transcript.problem_id, transcript.attempt
            ),
            value,
            path,
        },
        other => other,
    }
}

/// Compresses with a checksum, so that a flipped bit is an error and not another text.
fn pack(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), COMPRESSION_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.write_all(text)?;
    encoder.finish()
}

fn stage_and_step(path: &Path) -> Option<(String, u64)> {
    let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?;
    let (stage, step) = name.rsplit_once('-')?;
    let step = step.parse().ok()?;
    is_plain(stage).then(|| (stage.to_owned(), step))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run() -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().expect("a folder");
        let run = RunDir::create(root.path()).expect("made");
        (root, run)
    }

    fn transcript() -> Transcript {
        let read = TranscriptTurn {
            kind: TranscriptKind::Read,
            chunk_idx: Some(0),
            prompt: "Who keeps the key?\nIda keeps the key.".to_owned(),
            completion: "Ida: key – \"yes\"\n".to_owned(),
            completion_ids: vec![7, 4_294_967_295],
            rollout_logprobs: vec![-0.1, -17.25],
            stop_reason: TranscriptStop::MaxTokens,
            reward: Some(0.5),
            advantage: Some(-1.25),
            teacher_score: Some(0.8),
        };
        let answer = TranscriptTurn {
            kind: TranscriptKind::Answer,
            chunk_idx: None,
            completion_ids: Vec::new(),
            rollout_logprobs: Vec::new(),
            stop_reason: TranscriptStop::EndToken,
            reward: None,
            advantage: None,
            teacher_score: None,
            ..read.clone()
        };
        Transcript {
            stage: "rl".to_owned(),
            step: 12,
            problem_idx: 3,
            problem_id: "needle-3".to_owned(),
            attempt: 1,
            question: "Who keeps the key?".to_owned(),
            expected: vec!["Ida".to_owned()],
            answer: "Ida".to_owned(),
            seed: u64::MAX,
            policy_version: 24,
            weights_digest: Some("0123456789abcdef0123456789abcdef".to_owned()),
            outcome: Some(1.0),
            rewards: Default::default(),
            reward_error: None,
            dropped: None,
            unparsed: false,
            dropped_tokens: 0,
            turns: vec![read, answer],
        }
    }

    #[test]
    fn the_schema_is_the_one_in_the_header() {
        let expected = json!({
            "stage": "rl", "step": 12, "problem_idx": 3, "problem_id": "needle-3", "attempt": 1,
            "question": "Who keeps the key?", "expected": ["Ida"], "answer": "Ida",
            "seed": u64::MAX, "policy_version": 24,
            "weights_digest": "0123456789abcdef0123456789abcdef", "outcome": 1.0,
            "dropped_tokens": 0,
            "turns": [
                {"kind": "read", "chunk_idx": 0, "prompt": "Who keeps the key?\nIda keeps the key.",
                 "completion": "Ida: key – \"yes\"\n", "completion_ids": [7, 4_294_967_295_u32],
                 "rollout_logprobs": [-0.1_f32, -17.25], "stop_reason": "max-tokens",
                 "reward": 0.5, "advantage": -1.25, "teacher_score": 0.8},
                {"kind": "answer", "prompt": "Who keeps the key?\nIda keeps the key.",
                 "completion": "Ida: key – \"yes\"\n", "completion_ids": [], "rollout_logprobs": [],
                 "stop_reason": "end-token"},
            ],
        });
        assert_eq!(serde_json::to_value(transcript()).expect("JSON"), expected);
    }

    #[test]
    fn what_was_written_is_read_and_what_was_run_again_replaces_it() {
        let (_root, run) = run();
        let first = [
            transcript(),
            Transcript {
                attempt: 2,
                ..transcript()
            },
        ];
        let path = run.write_transcripts("rl", 12, &first).expect("written");
        assert_eq!(path, run.path().join("transcripts/rl-000012.jsonl.zst"));
        assert_eq!(run.read_transcripts("rl", 12).expect("read"), first);
        run.write_transcripts("rl", 12, &first[1..])
            .expect("written");
        assert_eq!(run.read_transcripts("rl", 12).expect("read"), first[1..]);
        run.write_transcripts("rl", 13, &[]).expect("written");
        assert_eq!(run.read_transcripts("rl", 13).expect("read"), []);
    }

    #[test]
    fn files_are_listed_by_stage_and_step() {
        let (_root, run) = run();
        for (stage, step) in [
            ("warm-start", 2),
            ("rl", 1_000_000),
            ("rl", 999_999),
            ("rl", 2),
        ] {
            run.write_transcripts(stage, step, &[]).expect("written");
        }
        fs::write(
            run.path()
                .join("transcripts/.unfinished-rl-000001.jsonl.zst"),
            "",
        )
        .expect("written");
        fs::write(run.path().join("transcripts/notes.txt"), "").expect("written");
        let files = run.transcript_files().expect("listed");
        let found: Vec<_> = files
            .iter()
            .map(|file| (file.stage.as_str(), file.step))
            .collect();
        assert_eq!(
            found,
            [
                ("rl", 2),
                ("rl", 999_999),
                ("rl", 1_000_000),
                ("warm-start", 2)
            ]
        );
        assert!(files.iter().all(|file| file.path.is_file()));
    }

    #[test]
    fn a_number_that_is_not_finite_names_its_turn_and_writes_nothing() {
        let (_root, run) = run();
        let mut bad = transcript();
        bad.turns[0].rollout_logprobs[1] = f32::NEG_INFINITY;
        let error = run
            .write_transcripts("rl", 12, &[transcript(), bad])
            .expect_err("refused");
        let message = error.to_string();
        let place = "`turns[0].rollout_logprobs[1] (problem needle-3, attempt 1)` is -inf, ";
        assert!(message.starts_with(place), "{message}");
        assert_eq!(run.transcript_files().expect("listed"), []);
    }

    #[test]
    fn stages_that_are_not_plain_names_are_refused() {
        let (_root, run) = run();
        for stage in ["", "../rl", "a b"] {
            let error = run.write_transcripts(stage, 1, &[]).expect_err("refused");
            assert!(error.to_string().contains("cannot name a stage"), "{error}");
        }
    }

    #[test]
    fn broken_files_are_named() {
        let (_root, run) = run();
        let path = run
            .write_transcripts("rl", 1, &[transcript()])
            .expect("written");
        let whole = fs::read(&path).expect("readable");
        let mut flipped = whole.clone();
        *flipped.last_mut().expect("not empty") ^= 1;
        for broken in [&whole[..whole.len() / 2], &flipped] {
            fs::write(&path, broken).expect("written");
            let error = run.read_transcripts("rl", 1).expect_err("broken");
            assert!(matches!(error, RunError::Unreadable { .. }), "{error}");
            assert!(error.to_string().contains("rl-000001.jsonl.zst"), "{error}");
        }

        let wrong = zstd::encode_all(&b"{\"stage\":\"rl\"}\n"[..], 1).expect("packed");
        fs::write(&path, wrong).expect("written");
        let message = run
            .read_transcripts("rl", 1)
            .expect_err("fields are missing")
            .to_string();
        assert!(
            message.contains("line 1: missing field `step`"),
            "{message}"
        );
    }

    #[test]
    fn attempts_without_a_reward_say_why_and_were_not_trained() {
        let (_root, run) = run();
        let bad = Transcript {
            outcome: None,
            reward_error: Some("judge-timeout: no reply within 10 s".to_owned()),
            dropped: Some(TranscriptDropped::RewardErrors),
            unparsed: true,
            ..transcript()
        };
        let json = serde_json::to_value(&bad).expect("JSON");
        assert_eq!(json.get("outcome"), None);
        assert_eq!(json["reward_error"], "judge-timeout: no reply within 10 s");
        assert_eq!(json["dropped"], "reward-errors");
        assert_eq!(json["unparsed"], true);
        run.write_transcripts("rl", 1, std::slice::from_ref(&bad))
            .expect("written");
        let back = run.read_transcripts("rl", 1).expect("read");
        assert_eq!(back, std::slice::from_ref(&bad));

        let trained = |of: &Transcript| of.turns.iter().map(|turn| of.trained(turn)).collect();
        let (dropped, kept): (Vec<bool>, Vec<bool>) = (trained(&bad), trained(&transcript()));
        assert_eq!((dropped, kept), (vec![false, false], vec![true, false]));
    }

    #[test]
    fn files_from_before_seeds_and_versions_are_read() {
        let (_root, run) = run();
        let mut old = serde_json::to_value(transcript()).expect("JSON");
        let fields = old.as_object_mut().expect("an object");
        for field in ["seed", "policy_version", "weights_digest"] {
            fields.remove(field).expect("a field of today");
        }
        let packed = zstd::encode_all(format!("{old}\n").as_bytes(), 1).expect("packed");
        fs::write(run.path().join("transcripts/rl-000001.jsonl.zst"), packed).expect("written");
        let expected = Transcript {
            seed: 0,
            policy_version: 0,
            weights_digest: None,
            ..transcript()
        };
        assert_eq!(run.read_transcripts("rl", 1).expect("read"), [expected]);
    }

    #[test]
    fn fields_that_a_later_version_adds_are_passed_over() {
        let (_root, run) = run();
        let mut later = serde_json::to_value(transcript()).expect("JSON");
        later["mood"] = json!("cheerful");
        let line = format!("{later}\n");
        let packed = zstd::encode_all(line.as_bytes(), 1).expect("packed");
        fs::write(run.path().join("transcripts/rl-000001.jsonl.zst"), packed).expect("written");
        assert_eq!(run.read_transcripts("rl", 1).expect("read"), [transcript()]);
    }
}

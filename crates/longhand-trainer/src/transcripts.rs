//! Rollouts as a person reads them.

use std::collections::BTreeMap;

use longhand_policy::TextTokenizer;
use longhand_rollout::{StopReason, Trajectory, Turn, TurnKind};
use longhand_run::{Transcript, TranscriptDropped, TranscriptKind, TranscriptStop, TranscriptTurn};

use crate::{
    credit::{Credited, FailedAttempt, ScoredGroup, TurnCredit},
    error::TrainError,
};

/// Writes attempts down for one step.
#[derive(Clone)]
pub(crate) struct Scribe<'a> {
    pub(crate) stage: &'a str,
    pub(crate) step: usize,
    pub(crate) seed: u64,
    pub(crate) tokenizer: &'a TextTokenizer,
    /// Names of the columns of several rewards.
    pub(crate) columns: Vec<&'static str>,
}

impl Scribe<'_> {
    /// All attempts of a step: those that were trained on, with their credits, then those of groups that
    /// were left out. Attempts without a reward stand behind the others of their group.
    pub(crate) fn all(
        &self,
        scored: &[ScoredGroup],
        credited: &Credited,
        left_out: &[(ScoredGroup, TranscriptDropped)],
    ) -> Result<Vec<Transcript>, TrainError> {
        let mut transcripts = Vec::new();
        for (scored, credits) in scored.iter().zip(&credited.turns) {
            self.group(scored, credits, None, &mut transcripts)?;
        }
        for (scored, dropped) in left_out {
            self.group(scored, &[], Some(*dropped), &mut transcripts)?;
        }
        Ok(transcripts)
    }

    /// Attempts without credits have none.
    fn group(
        &self,
        scored: &ScoredGroup,
        credits: &[Vec<TurnCredit>],
        dropped: Option<TranscriptDropped>,
        transcripts: &mut Vec<Transcript>,
    ) -> Result<(), TrainError> {
        for (idx, trajectory) in scored.group.trajectories.iter().enumerate() {
            let credits = credits.get(idx).map_or(&[][..], Vec::as_slice);
            let attempt = scored.attempts[idx];
            transcripts.push(Transcript {
                outcome: Some(scored.outcomes[idx]),
                rewards: self.rewards(&scored.columns[idx]),
                unparsed: !scored.parsed[idx],
                dropped,
                ..self.attempt(scored, attempt, trajectory, credits)?
            });
        }
        for FailedAttempt {
            attempt,
            trajectory,
            failure,
        } in &scored.failed
        {
            transcripts.push(Transcript {
                reward_error: Some(failure.record.clone()),
                dropped,
                ..self.attempt(scored, *attempt, trajectory, &[])?
            });
        }
        Ok(())
    }

    fn rewards(&self, row: &[Option<f64>]) -> BTreeMap<String, f64> {
        let named = self.columns.iter().zip(row);
        named
            .filter_map(|(name, reward)| Some((name.to_string(), (*reward)?)))
            .collect()
    }

    /// What was read and written, without a verdict.
    pub(crate) fn attempt(
        &self,
        scored: &ScoredGroup,
        attempt: u32,
        trajectory: &Trajectory,
        credits: &[TurnCredit],
    ) -> Result<Transcript, TrainError> {
        let problem = &scored.group.problem;
        let weights = scored.group.weights;
        let turns = trajectory.turns.iter().enumerate().map(|(turn_idx, turn)| {
            self.turn(turn, credits.get(turn_idx).copied().unwrap_or_default())
        });
        Ok(Transcript {
            stage: self.stage.to_string(),
            step: self.step as u64,
            problem_idx: scored.group.problem_idx,
            problem_id: problem.id.clone(),
            attempt,
            question: problem.question_text.clone(),
            expected: problem.answers.clone(),
            answer: self
                .tokenizer
                .decode(&trajectory.answer)?
                .trim()
                .to_string(),
            seed: self.seed,
            policy_version: weights.map_or(0, |weights| weights.version),
            weights_digest: weights.and_then(|weights| weights.digest_hex()),
            outcome: None,
            rewards: BTreeMap::new(),
            reward_error: None,
            dropped: None,
            unparsed: false,
            dropped_tokens: trajectory.dropped_tokens,
            turns: turns.collect::<Result<_, TrainError>>()?,
        })
    }

    fn turn(&self, turn: &Turn, credit: TurnCredit) -> Result<TranscriptTurn, TrainError> {
        Ok(TranscriptTurn {
            kind: kind(turn.kind),
            chunk_idx: match turn.kind {
                TurnKind::Read { chunk_idx } => Some(chunk_idx),
                TurnKind::Answer => None,
            },
            prompt: self.tokenizer.decode_all(&turn.prompt)?,
            completion: self.tokenizer.decode_all(&turn.completion)?,
            completion_ids: turn.completion.clone(),
            rollout_logprobs: turn.rollout_logprobs.clone(),
            stop_reason: stop(turn.stop_reason),
            reward: credit.reward,
            advantage: credit.advantage,
            teacher_score: credit.teacher_score,
        })
    }
}

fn kind(kind: TurnKind) -> TranscriptKind {
    match kind {
        TurnKind::Read { .. } => TranscriptKind::Read,
        TurnKind::Answer => TranscriptKind::Answer,
    }
}

fn stop(reason: StopReason) -> TranscriptStop {
    match reason {
        StopReason::EndToken => TranscriptStop::EndToken,
        StopReason::MaxTokens => TranscriptStop::MaxTokens,
        StopReason::WindowFull => TranscriptStop::WindowFull,
    }
}

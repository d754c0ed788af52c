//! Rollouts as a person reads them.

use longhand_policy::TextTokenizer;
use longhand_rollout::{StopReason, TurnKind};
use longhand_run::{Transcript, TranscriptKind, TranscriptStop, TranscriptTurn};

use crate::{
    credit::{Credited, ScoredGroup},
    error::TrainError,
};

/// Transcripts of all attempts of a step.
pub(crate) fn transcripts(
    stage: &str,
    step: usize,
    scored: &[ScoredGroup],
    credited: &Credited,
    tokenizer: &TextTokenizer,
) -> Result<Vec<Transcript>, TrainError> {
    let mut transcripts = Vec::new();
    for (scored, credits) in scored.iter().zip(&credited.turns) {
        let problem = &scored.group.problem;
        for (attempt, trajectory) in scored.group.trajectories.iter().enumerate() {
            let turns = trajectory
                .turns
                .iter()
                .zip(&credits[attempt])
                .map(|(turn, credit)| {
                    Ok(TranscriptTurn {
                        kind: kind(turn.kind),
                        chunk_idx: match turn.kind {
                            TurnKind::Read { chunk_idx } => Some(chunk_idx),
                            TurnKind::Answer => None,
                        },
                        prompt: tokenizer.decode_all(&turn.prompt)?,
                        completion: tokenizer.decode_all(&turn.completion)?,
                        completion_ids: turn.completion.clone(),
                        rollout_logprobs: turn.rollout_logprobs.clone(),
                        stop_reason: stop(turn.stop_reason),
                        reward: credit.reward,
                        advantage: credit.advantage,
                        teacher_score: credit.teacher_score,
                    })
                });
            transcripts.push(Transcript {
                stage: stage.to_string(),
                step: step as u64,
                problem_idx: scored.group.problem_idx,
                problem_id: problem.id.clone(),
                attempt: attempt as u32,
                question: problem.question_text.clone(),
                expected: problem.answers.clone(),
                answer: tokenizer.decode(&trajectory.answer)?.trim().to_string(),
                outcome: scored.outcomes[attempt],
                dropped_tokens: trajectory.dropped_tokens,
                turns: turns.collect::<Result<_, TrainError>>()?,
            });
        }
    }
    Ok(transcripts)
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

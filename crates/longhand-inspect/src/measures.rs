//! Numbers and reasons as text.

use longhand_run::{Transcript, TranscriptDropped, TranscriptStop};

/// A number with three decimals, or in scientific form where they would all be 0.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 || 5e-4 <= value.abs() {
        format!("{value:.3}")
    } else {
        format!("{value:.1e}")
    }
}

/// `-` for what is not there.
pub(crate) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// A stop reason as transcripts write it.
pub(crate) fn stop(reason: TranscriptStop) -> &'static str {
    match reason {
        TranscriptStop::EndToken => "end-token",
        TranscriptStop::MaxTokens => "max-tokens",
        TranscriptStop::WindowFull => "window-full",
    }
}

/// Why a group was left out, likewise.
pub(crate) fn dropped(reason: TranscriptDropped) -> &'static str {
    match reason {
        TranscriptDropped::EqualRewards => "equal-rewards",
        TranscriptDropped::RewardErrors => "reward-errors",
        TranscriptDropped::Surplus => "surplus",
        TranscriptDropped::VotesOnly => "votes-only",
    }
}

/// The turns by how they ended, as `end-token 12, max-tokens 1`.
pub(crate) fn stops(attempts: &[Transcript]) -> String {
    let reasons = [
        TranscriptStop::EndToken,
        TranscriptStop::MaxTokens,
        TranscriptStop::WindowFull,
    ];
    let turns = || attempts.iter().flat_map(|attempt| &attempt.turns);
    let told: Vec<String> = reasons
        .into_iter()
        .map(|reason| (reason, turns().filter(|t| t.stop_reason == reason).count()))
        .filter(|(_, n)| *n != 0)
        .map(|(reason, n)| format!("{} {n}", stop(reason)))
        .collect();
    told.join(", ")
}

/// The advantages that an attempt's turns were trained with: one number, or the lowest and the
/// highest; none where nothing was trained.
pub(crate) fn advantages(attempt: &Transcript) -> Option<String> {
    let trained = || {
        let turns = attempt.turns.iter().filter(|turn| attempt.trained(turn));
        turns.filter_map(|turn| turn.advantage)
    };
    let lowest = trained().min_by(f64::total_cmp)?;
    let highest = trained().max_by(f64::total_cmp)?;
    Some(if lowest == highest {
        number(lowest)
    } else {
        format!("{}..{}", number(lowest), number(highest))
    })
}

/// Mean, lowest and sum of a turn's log-probabilities.
pub(crate) fn logprobs(logprobs: &[f32]) -> String {
    if logprobs.is_empty() {
        return "no tokens".to_owned();
    }
    let sum: f64 = logprobs.iter().copied().map(f64::from).sum();
    let lowest = logprobs.iter().copied().fold(f32::INFINITY, f32::min);
    format!(
        "log-probability: mean {}, lowest {}, sum {}",
        number(sum / logprobs.len() as f64),
        number(f64::from(lowest)),
        number(sum)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_do_not_become_zero() {
        assert_eq!(number(0.0), "0.000");
        assert_eq!(number(-0.12345), "-0.123");
        assert_eq!(number(0.0005), "0.001");
        assert_eq!(number(4.4e-14), "4.4e-14");
    }

    #[test]
    fn log_probabilities_are_summed_up() {
        let told = "log-probability: mean -1.000, lowest -1.750, sum -2.000";
        assert_eq!(logprobs(&[-0.25, -1.75]), told);
        assert_eq!(logprobs(&[]), "no tokens");
    }
}

//! How far a reading is, how fast it goes, and how long it will take.

use std::fmt;
use std::time::Duration;

/// What is left to do and what was done, measured over the turns of this session.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Chunks that were read, those of an earlier session too.
    pub n_chunks_read: usize,
    /// Chunks of the document.
    pub n_chunks: usize,
    /// Prompt tokens per second; none before there was a turn to measure.
    pub read_rate: Option<f64>,
    /// Sampled tokens per second; none where a turn's tokens came all at once.
    pub write_rate: Option<f64>,
    /// Time that the rest will take at this speed; none before there was a turn to measure.
    pub left: Option<Duration>,
}

impl fmt::Display for Progress {
    /// `chunk 3/12, reading 210 tokens/s, writing 18 tokens/s, 4m 10s left`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunk {}/{}", self.n_chunks_read, self.n_chunks)?;
        if let Some(rate) = self.read_rate {
            write!(f, ", reading {rate:.0} tokens/s")?;
        }
        if let Some(rate) = self.write_rate {
            write!(f, ", writing {rate:.1} tokens/s")?;
        }
        match self.left {
            Some(left) => write!(f, ", {} left", Spell(left)),
            None => Ok(()),
        }
    }
}

/// A duration as people say it, to two units.
struct Spell(Duration);

impl fmt::Display for Spell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match (hours, minutes) {
            (0, 0) => write!(f, "{seconds}s"),
            (0, _) => write!(f, "{minutes}m {seconds:02}s"),
            _ => write!(f, "{hours}h {minutes:02}m"),
        }
    }
}

/// Sums over the turns that were measured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    n_turns: usize,
    n_prompt: usize,
    reading: Duration,
    /// Sampled tokens after the first of each turn: that one comes with the prompt.
    n_written: usize,
    writing: Duration,
}

/// Below this a rate says more about the clock.
const MEASURABLE: Duration = Duration::from_millis(1);

impl Pace {
    /// A turn: `reading` until its first token, `writing` from there to its last.
    pub(crate) fn add(
        &mut self,
        n_prompt: usize,
        reading: Duration,
        n_sampled: usize,
        writing: Duration,
    ) {
        self.n_turns += 1;
        self.n_prompt += n_prompt;
        self.reading += reading;
        self.n_written += n_sampled.saturating_sub(1);
        self.writing += writing;
    }

    pub(crate) fn read_rate(&self) -> Option<f64> {
        rate(self.n_prompt, self.reading)
    }

    pub(crate) fn write_rate(&self) -> Option<f64> {
        rate(self.n_written, self.writing)
    }

    /// Time for `n_prompt` more prompt tokens in `n_turns` more turns that write as much as those before.
    pub(crate) fn left(&self, n_prompt: usize, n_turns: usize) -> Option<Duration> {
        if self.n_turns == 0 || self.n_prompt == 0 {
            return None;
        }
        let reading = self.reading.as_secs_f64() * n_prompt as f64 / self.n_prompt as f64;
        let writing = self.writing.as_secs_f64() * n_turns as f64 / self.n_turns as f64;
        Duration::try_from_secs_f64(reading + writing).ok()
    }
}

fn rate(n_tokens: usize, time: Duration) -> Option<f64> {
    (0 < n_tokens && MEASURABLE <= time).then(|| n_tokens as f64 / time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_the_rest_follow_from_the_turns_so_far() {
        let mut pace = Pace::default();
        assert_eq!((pace.read_rate(), pace.left(10, 1)), (None, None));
        let seconds = Duration::from_secs;
        pace.add(1000, seconds(10), 21, seconds(2));
        pace.add(500, seconds(5), 41, seconds(4));
        assert_eq!(
            (pace.read_rate(), pace.write_rate()),
            (Some(100.0), Some(10.0))
        );
        // 3000 tokens at 100 a second, four turns of 3 seconds' writing.
        assert_eq!(pace.left(3000, 4), Some(seconds(42)));
    }

    #[test]
    fn tokens_that_come_all_at_once_have_no_rate() {
        let mut pace = Pace::default();
        pace.add(1000, Duration::from_secs(10), 500, Duration::ZERO);
        assert_eq!((pace.read_rate(), pace.write_rate()), (Some(100.0), None));
        assert_eq!(pace.left(100, 1), Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let mut progress = Progress {
            n_chunks_read: 1,
            n_chunks: 12,
            ..Progress::default()
        };
        assert_eq!(progress.to_string(), "chunk 1/12");
        progress.read_rate = Some(209.6);
        progress.write_rate = Some(18.25);
        for (seconds, said) in [(59, "59s"), (130, "2m 10s"), (7265, "2h 01m")] {
            progress.left = Some(Duration::from_secs(seconds));
            assert_eq!(
                progress.to_string(),
                format!("chunk 1/12, reading 210 tokens/s, writing 18.2 tokens/s, {said} left")
            );
        }
    }
}

//! What is asked of whatever samples tokens: a model in this process, a server, or a script.

use longhand_memory::StopReason;

use crate::{RolloutError, StreamKey};

/// One prompt to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Token ids to continue, `[n_prompt]`; never empty.
    pub prompt: Vec<u32>,
    /// Most tokens to sample, the end token included; at least 1.
    pub max_tokens: usize,
    /// Requests of one group are likely to begin with the same tokens, worth prefilling once.
    /// How many they share is for the generator to find out.
    pub group: usize,
    /// The random stream to draw from, and from no other: so a completion does not depend on the
    /// batch.
    pub key: StreamKey,
}

/// What was sampled after one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The sampled ids, the end token included if one was sampled, `[n_sampled]`.
    pub ids: Vec<u32>,
    /// Natural log-probability of each of them, `[n_sampled]`: log-softmax of `logits /
    /// temperature` over the tokenizer's ids, before top-k and top-p cut anything. At temperature
    /// 0, that of temperature 1.
    pub logprobs: Vec<f32>,
    /// Why sampling ended.
    pub stop_reason: StopReason,
}

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Sampling {
    /// Logits are divided by this; 0 takes the most probable token.
    pub temperature: f32,
    /// The fewest most probable tokens whose share reaches this are kept; 1 keeps all.
    pub top_p: f32,
    /// This many most probable tokens are kept; 0 keeps all.
    pub top_k: usize,
}

impl Sampling {
    /// The most probable token each time.
    pub const GREEDY: Sampling = Sampling {
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
    };

    /// The whole distribution at this temperature.
    pub fn at(temperature: f32) -> Self {
        Sampling {
            temperature,
            top_p: 1.0,
            top_k: 0,
        }
    }

    /// Whether tokens can be drawn in this way.
    ///
    /// # Errors
    /// [`RolloutError::Temperature`] unless it is finite and at least 0; [`RolloutError::TopP`]
    /// unless it is above 0 and at most 1.
    pub fn check(&self) -> Result<(), RolloutError> {
        let Sampling {
            temperature,
            top_p,
            top_k: _,
        } = *self;
        if !(temperature.is_finite() && 0.0 <= temperature) {
            return Err(RolloutError::Temperature { temperature });
        }
        if !(0.0 < top_p && top_p <= 1.0) {
            return Err(RolloutError::TopP { top_p });
        }
        Ok(())
    }
}

/// Samples completions. Closures of the method's shape implement it.
pub trait Generate {
    /// Why it may fail.
    type Error: std::error::Error + Send + Sync + 'static;

    /// One completion for each request, in their order.
    ///
    /// # Errors
    /// Whatever keeps the generator from sampling all of them.
    fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, Self::Error>;
}

impl<F, E> Generate for F
where
    F: FnMut(&[Request], &Sampling) -> Result<Vec<Completion>, E>,
    E: std::error::Error + Send + Sync + 'static,
{
    type Error = E;

    fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, E> {
        self(requests, sampling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_sampled_from_are_refused() {
        let text = |temperature, top_p| {
            Sampling {
                temperature,
                top_p,
                top_k: 0,
            }
            .check()
            .map_err(|error| error.to_string())
        };
        assert_eq!(text(0.0, 1.0), Ok(()));
        assert_eq!(text(1.5, 0.1), Ok(()));
        assert_eq!(
            text(-1.0, 1.0),
            Err("temperature is -1: it must be at least 0".to_owned())
        );
        assert!(
            text(f32::NAN, 1.0)
                .unwrap_err()
                .starts_with("temperature is NaN")
        );
        assert!(
            text(f32::INFINITY, 1.0)
                .unwrap_err()
                .starts_with("temperature is inf")
        );
        for top_p in [0.0, 1.1, f32::NAN] {
            assert!(
                text(1.0, top_p).unwrap_err().starts_with("top_p is "),
                "{top_p}"
            );
        }
    }
}

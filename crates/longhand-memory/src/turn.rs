//! What a reader asks for at a turn, and how the reply to it ended.

/// What a turn is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum TurnKind {
    /// Reads a chunk and writes the memory.
    Read {
        /// Which chunk, from 0.
        chunk_idx: usize,
    },
    /// Gives the answer from the memory.
    Answer,
}

/// Why sampling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum StopReason {
    /// An end token was sampled.
    EndToken,
    /// The turn's cap was hit first.
    MaxTokens,
    /// The model had no positions left.
    WindowFull,
}

/// What a reader wants to be told next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What the turn is for.
    pub kind: TurnKind,
    /// The prompt, `[n_prompt]`; never empty.
    pub prompt: Vec<u32>,
    /// Most tokens to sample after it, the end token included.
    pub max_tokens: usize,
}

//! Which sampled tokens of a memory update the teacher scores (arXiv:2603.21663, left open).

/// Which tokens go into [`turn_score`](crate::turn_score).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum ScoredTokens {
    /// The memory that is passed on, without the end token.
    #[default]
    Memory,
    /// The memory and the end token, if one was sampled: an empty memory then has a score too, and
    /// stopping too early or too late is seen by the teacher.
    MemoryAndEnd,
}

impl ScoredTokens {
    /// How many of the sampled tokens are scored, counted from the first one. `has_end_token`:
    /// the last of the `n_sampled` tokens is an end token.
    ///
    /// # Panics
    /// When nothing was sampled and yet the last token is an end token.
    pub fn count(self, n_sampled: usize, has_end_token: bool) -> usize {
        assert!(
            n_sampled != 0 || !has_end_token,
            "an end token counts as sampled"
        );
        match self {
            ScoredTokens::Memory => n_sampled - usize::from(has_end_token),
            ScoredTokens::MemoryAndEnd => n_sampled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ScoredTokens;

    #[test]
    fn the_end_token_counts_only_on_request() {
        assert_eq!(ScoredTokens::Memory.count(0, false), 0);
        assert_eq!(ScoredTokens::Memory.count(1, true), 0);
        assert_eq!(ScoredTokens::Memory.count(3, true), 2);
        assert_eq!(ScoredTokens::Memory.count(3, false), 3);
        assert_eq!(ScoredTokens::MemoryAndEnd.count(1, true), 1);
        assert_eq!(ScoredTokens::MemoryAndEnd.count(3, false), 3);
    }
}

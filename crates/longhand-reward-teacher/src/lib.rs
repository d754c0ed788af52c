//! TAMTRL: rewards for every memory update from a better-informed teacher prompt (arXiv:2603.21663).
//!
//! The teacher is the policy itself, shown only the relevant part of a chunk. How probable it finds
//! the memory that the policy wrote is that turn's score:
//!
//! 1. [`turn_score`]: mean probability of the written tokens (Eq. 4);
//! 2. [`MinMax`]: scores scaled to `[0, 1]` over the batch (Eq. 5);
//! 3. [`Combine`]: gated by the attempt's outcome (Eq. 6), which gives the reward of each turn.
//!
//! [`TeacherAligned`] holds the choices and does steps 2 and 3. Step 4, the pool of all turns of a
//! problem (Eq. 7), is an advantage: `turn_pool` in the crate for advantages.
//!
//! What the sources leave open is an option whose default is our best reading: [`AnswerTurn`],
//! [`ScoredTokens`], [`LiveBy`]. The probabilities themselves are the caller's: of the weights that
//! sampled the memory, at temperature 1, over the full vocabulary, without a gradient. The paper is
//! known to us through a secondary source.
//!
//! Knows nothing of prompts, tokens or models: probabilities and outcomes go in, rewards come out.

mod teacher_aligned;

mod live_by;
mod min_max;
mod scored_tokens;
mod turn_score;

pub use live_by::LiveBy;
pub use min_max::{MIN_RANGE, MinMax};
pub use scored_tokens::ScoredTokens;
pub use teacher_aligned::{AnswerTurn, Combine, TeacherAligned, TurnRewards};
pub use turn_score::turn_score;

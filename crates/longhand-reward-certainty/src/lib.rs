//! Rewards without labels: cluster votes, majority labels, self-certainty, token entropy.
//!
//! What a policy can be rewarded for when nobody knows the answer: agreeing with its other attempts
//! ([`cluster_vote`], CIRCA; [`majority_vote`], TTRL) and being sure of its tokens ([`self_certainty`],
//! Intuitor; [`negative_entropy`], RENT). Each of them alone can be had by writing the same thing every
//! time; [`VoteDiagnosis`] and [`repetition`] show when a policy has found that out.
//!
//! Whether two answers are the same is the caller's relation, a closure over two texts; [`Clusters`] calls
//! it in a fixed order. Certainties and entropies come per token from the policy that is trained, without
//! a gradient; [`token_certainty`] and [`token_entropy`] are the formulas for one row of logits.
//!
//! A reward that does not exist (no token was sampled, or the answer was not read and the caller wants
//! it so) is `None`, not 0: an advantage estimator then leaves the attempt out of that reward's group.
//!
//! Knows nothing of models, prompts or how answers are found in texts: answers and numbers per token go
//! in, one reward for each attempt of a group comes out.

mod cluster_vote;
mod clusters;
mod majority_vote;

mod self_certainty;
mod token_entropy;

mod repetition;
mod vote_diagnosis;

pub use cluster_vote::cluster_vote;
pub use clusters::{Clusters, Unread};
pub use majority_vote::{majority_label, majority_reward, majority_vote};
pub use repetition::{repetition, repetition_rate};
pub use self_certainty::{Alignment, self_certainty, token_certainty};
pub use token_entropy::{WITHOUT_ANSWER, negative_entropy, token_entropy};
pub use vote_diagnosis::VoteDiagnosis;

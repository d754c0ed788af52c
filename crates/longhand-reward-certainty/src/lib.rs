//! Rewards without labels: cluster votes, majority labels, self-certainty, token entropy.

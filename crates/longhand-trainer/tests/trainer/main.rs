//! The trainer through real policies of a few thousand parameters.

mod degenerate;
mod first_update;
mod fixture;
mod gradients;
mod invariance;
mod judging;
mod measurements;
mod reference;
mod refusals;
mod repeatability;
mod resuming;
mod several_rewards;
mod stages;
mod teacher;
mod warm_start;

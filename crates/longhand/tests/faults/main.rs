//! Runs of the built program that are killed, stopped, damaged, starved and misled: what is left is whole, and a
//! resumed run ends as the one that nothing happened to.
//!
//! Signals and small disks are unix's; broken numbers and refusals are tried everywhere.

#[cfg(unix)]
mod chance;
#[cfg(unix)]
mod damage;
#[cfg(unix)]
mod disk;
mod fixture;
#[cfg(unix)]
mod folder;
#[cfg(unix)]
mod judge;
#[cfg(unix)]
mod kill;
mod not_finite;
mod refusals;
#[cfg(unix)]
mod settings;
#[cfg(unix)]
mod signals;
#[cfg(unix)]
mod two_writers;

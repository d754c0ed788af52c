//! The program as a user meets it: what it prints, what it leaves behind, and its exit code.

mod bench;
mod compute;
mod data;
mod evaluate;
mod exporting;
mod fixture;
mod models;
mod read;
mod runs;
mod scoring;
mod streams;
mod train;
mod usage;

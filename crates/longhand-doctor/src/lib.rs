//! Documented rules that find what is wrong with a run from its metrics.

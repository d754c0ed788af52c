//! Writes event files that TensorBoard reads.

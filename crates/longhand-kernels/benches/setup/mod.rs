//! What the benches share: the machine, made-up numbers, and groups that take seconds.

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use longhand_kernels::Cpu;

/// All that this machine has; says what that is, since the numbers mean nothing without it.
pub(crate) fn machine() -> Cpu {
    let cpu = Cpu::detect();
    println!("{}, {} threads", cpu.isa(), cpu.n_threads());
    cpu
}

/// Numbers between -0.5 and 0.5 that follow no short pattern.
pub(crate) fn numbers(n: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 7919 + i / 64) % 1009) as f32 / 1009.0 - 0.5;
    (0..n).map(number).collect()
}

/// A group whose every line takes about a second.
pub(crate) fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    group
}

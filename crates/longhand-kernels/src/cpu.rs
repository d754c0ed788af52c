//! The instructions a machine has, and the threads a computation may use.

use std::{fmt, num::NonZero, str::FromStr, sync::Arc};

use thiserror::Error;

use crate::{amx, pool::Pool};

/// Instruction sets that kernels are written for; each has those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Whatever the compiler makes of plain Rust.
    Portable,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors.
    Avx512,
    /// 512-bit vectors and pairwise products of bf16.
    Avx512Bf16,
    /// Matrix tiles of bf16.
    Amx,
}

impl Isa {
    /// All of them, from the least to the most.
    pub const ALL: [Isa; 5] = [
        Isa::Portable,
        Isa::Avx2,
        Isa::Avx512,
        Isa::Avx512Bf16,
        Isa::Amx,
    ];

    /// The name that configs and the command line use.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512-bf16",
            Isa::Amx => "amx",
        }
    }

    /// Whether this machine, and its operating system, can run it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Portable => true,
            Isa::Avx2 => has_avx2(),
            Isa::Avx512 => has_avx2() && has_avx512(),
            Isa::Avx512Bf16 => has_avx2() && has_avx512() && has_avx512_bf16(),
            Isa::Amx => has_avx2() && has_avx512() && has_avx512_bf16() && amx::is_available(),
        }
    }

    /// The most that this machine can run.
    pub fn detect() -> Isa {
        let mut available = Isa::ALL.into_iter().rev().filter(|isa| isa.is_available());
        available.next().unwrap_or(Isa::Portable)
    }

    /// Everything that this machine can run, from the least to the most.
    pub fn available() -> Vec<Isa> {
        Isa::ALL
            .into_iter()
            .filter(|isa| isa.is_available())
            .collect()
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = CpuError;

    fn from_str(name: &str) -> Result<Self, CpuError> {
        let mut all = Isa::ALL.into_iter();
        all.find(|isa| isa.name() == name)
            .ok_or_else(|| CpuError::UnknownIsa { name: name.into() })
    }
}

/// A machine that is not as asked for.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CpuError {
    /// No instruction set of this name.
    #[error(
        "unknown instruction set `{name}`: portable, avx2, avx512, avx512-bf16 and amx are known"
    )]
    UnknownIsa {
        /// The name.
        name: String,
    },
    /// The machine does not have it.
    #[error(
        "this machine cannot run `{isa}`; the most it can is `{}`",
        Isa::detect()
    )]
    Unavailable {
        /// What was asked for.
        isa: Isa,
    },
}

/// What kernels run on: instructions that are there, and a pool of threads. Clones share the threads.
#[derive(Clone)]
pub struct Cpu {
    isa: Isa,
    pool: Arc<Pool>,
}

impl Cpu {
    /// A machine restricted to these instructions and this many threads.
    ///
    /// # Errors
    /// When the machine lacks the instructions.
    pub fn new(isa: Isa, n_threads: NonZero<usize>) -> Result<Cpu, CpuError> {
        if !isa.is_available() {
            return Err(CpuError::Unavailable { isa });
        }
        Ok(Cpu {
            isa,
            pool: Arc::new(Pool::new(n_threads)),
        })
    }

    /// All that this machine has.
    pub fn detect() -> Cpu {
        let n_threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        Cpu {
            isa: Isa::detect(),
            pool: Arc::new(Pool::new(n_threads)),
        }
    }

    /// The most that kernels may use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads, the calling one included.
    pub fn n_threads(&self) -> usize {
        self.pool.n_threads()
    }

    /// Runs `task(0)`, ..., `task(n_tasks - 1)`, each once, on all threads, and returns when all are done.
    /// Which thread runs which is left open, so nothing may depend on it. Inside a task, tasks run one
    /// after the other on the same thread.
    ///
    /// # Panics
    /// When a task does, after all running ones have ended.
    pub fn for_each(&self, n_tasks: usize, task: impl Fn(usize) + Sync) {
        self.pool.run(n_tasks, &task);
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cpu")
            .field("isa", &self.isa)
            .field("n_threads", &self.n_threads())
            .finish()
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512_bf16() -> bool {
    is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512_bf16() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_refused() {
        for isa in Isa::ALL {
            assert_eq!(isa.name().parse(), Ok(isa));
        }
        let error = "sse9".parse::<Isa>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown instruction set `sse9`"),
            "{error}"
        );
    }

    #[test]
    fn what_is_available_is_a_run_from_portable_to_the_detected() {
        let available = Isa::available();
        assert_eq!(available.first(), Some(&Isa::Portable));
        assert_eq!(available.last(), Some(&Isa::detect()));
        assert_eq!(available, Isa::ALL[..available.len()]);
    }
}

//! The burn backend, chosen by one cargo feature; nothing else in the workspace asks which it is.

#[cfg(feature = "cuda")]
mod chosen {
    pub(super) type Backend = burn_cuda::Cuda<f32, i32>;
    pub(super) const BACKEND: &str = "cuda";
}

#[cfg(all(feature = "wgpu", not(feature = "cuda")))]
mod chosen {
    pub(super) type Backend = burn_wgpu::Wgpu<f32, i32, u32>;
    pub(super) const BACKEND: &str = "wgpu";
}

#[cfg(all(feature = "flex", not(any(feature = "cuda", feature = "wgpu"))))]
mod chosen {
    pub(super) type Backend = burn_flex::Flex;
    pub(super) const BACKEND: &str = "flex";
}

#[cfg(not(any(feature = "flex", feature = "cuda", feature = "wgpu")))]
compile_error!("choose a backend: one of the features `flex`, `cuda`, `wgpu`");

// The `gemm` crate is a dependency only so that its AVX-512 kernels are compiled in.
#[cfg(feature = "flex")]
use gemm as _;

/// Tensors without a gradient graph: rollouts and scoring.
pub(crate) type Backend = chosen::Backend;

/// Tensors with a gradient graph: the training pass.
pub(crate) type AutodiffBackend = burn::backend::Autodiff<Backend>;

/// Where the tensors live.
pub type Device = burn::tensor::Device<Backend>;

/// The name of the chosen backend, as its cargo feature is spelled.
pub const BACKEND: &str = chosen::BACKEND;

/// Whether the chosen backend runs on the CPU, where the engine does better.
pub(crate) const IS_CPU: bool = cfg!(not(any(feature = "cuda", feature = "wgpu")));

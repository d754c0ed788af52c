//! The numbers that projections are multiplied in.

use burn::{
    module::Param,
    tensor::{DType, Distribution, FloatDType, Tensor, backend::Backend as AnyBackend},
};
use longhand_engine::Precision;
use thiserror::Error;

use super::model::{Lora, Transformer};
use crate::backend::{BACKEND, Backend, Device};

/// How projections are multiplied. The head is always multiplied in f32: rounded logits would be rounded
/// log-probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Products {
    /// In f32.
    F32,
    /// Operands and result rounded to bf16, sums as the backend makes them, which is in f32. Weights are
    /// kept, and updated, in f32.
    Bf16,
}

/// How a layer's inputs go through its projections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Projecting {
    pub(crate) products: Products,
    /// What the output of adapters is multiplied with.
    pub(crate) lora_scale: f64,
    /// Share of the numbers that adapters do not get to see; 0 but in training.
    pub(crate) lora_dropout: f64,
}

impl Projecting {
    /// `x · weight + scale · dropout(x) · a · b`
    pub(crate) fn project<B: AnyBackend>(
        self,
        x: Tensor<B, 2>,
        weight: &Param<Tensor<B, 2>>,
        lora: Option<&Lora<B>>,
    ) -> Tensor<B, 2> {
        let Some(Lora { a, b }) = lora else {
            return self.products.product(x, weight);
        };
        let y = self.products.product(x.clone(), weight);
        let seen = if 0.0 < self.lora_dropout {
            let kept = 1.0 - self.lora_dropout;
            let mask = x.random_like(Distribution::Bernoulli(kept));
            x * mask.div_scalar(kept)
        } else {
            x
        };
        let low = self.products.product(seen, a).mul_scalar(self.lora_scale);
        y + self.products.product(low, b)
    }
}

/// The device does not compute in the numbers that were asked for.
#[derive(Debug, Error)]
#[error(
    "`compute.precision` is bf16, which the backend `{BACKEND}` does not compute in on this device: \
     choose f32 or auto"
)]
pub struct NoBf16;

impl Products {
    /// What a precision means on burn: bf16 only where it is asked for by name.
    pub(crate) fn new(precision: Precision, device: &Device) -> Result<Self, NoBf16> {
        match precision {
            Precision::Auto | Precision::F32 => Ok(Self::F32),
            Precision::Bf16 if Backend::supports_dtype(device, DType::BF16) => Ok(Self::Bf16),
            Precision::Bf16 => Err(NoBf16),
        }
    }

    /// As configs spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// `x · weight`, f32 in and out; the weight may have been rounded before ([`Products::round`]).
    fn product<B: AnyBackend>(self, x: Tensor<B, 2>, weight: &Param<Tensor<B, 2>>) -> Tensor<B, 2> {
        match self {
            Self::F32 => x.matmul(weight.val()),
            Self::Bf16 => {
                let weight = weight.val().cast(FloatDType::BF16);
                let y = x.cast(FloatDType::BF16).matmul(weight);
                y.cast(FloatDType::F32)
            }
        }
    }

    /// A model whose projections need no rounding any more: for many passes over the same weights.
    pub(crate) fn round(self, mut model: Transformer<Backend>) -> Transformer<Backend> {
        if self == Self::F32 {
            return model;
        }
        for layer in &mut model.layers {
            for weight in [
                &mut layer.q_proj,
                &mut layer.k_proj,
                &mut layer.v_proj,
                &mut layer.o_proj,
                &mut layer.gate_proj,
                &mut layer.up_proj,
                &mut layer.down_proj,
            ] {
                *weight = weight.clone().map(|weight| weight.cast(FloatDType::BF16));
            }
        }
        model
    }
}

//! The update on burn's tensors.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::{
        AdamW, AdamWConfig, GradientsAccumulator, GradientsParams, Optimizer as _,
        adaptor::OptimizerAdaptor,
    },
    record::{BinBytesRecorder, FullPrecisionSettings, Recorder},
    tensor::Tensor,
};

use longhand_engine::ScoreGradient;

use super::AdamWSettings;
use crate::{
    backend::{AutodiffBackend, Backend, Device},
    on_burn::{BurnPass, OnBurn, Transformer},
};

type Model = Transformer<AutodiffBackend>;

pub(super) struct BurnAdamW {
    adamw: OptimizerAdaptor<AdamW, Model, AutodiffBackend>,
    accumulator: GradientsAccumulator<Model>,
    gathered: Option<GradientsParams>,
}

impl BurnAdamW {
    pub(super) fn new(settings: &AdamWSettings) -> Self {
        let adamw = AdamWConfig::new()
            .with_beta_1(settings.beta1 as f32)
            .with_beta_2(settings.beta2 as f32)
            .with_epsilon(settings.eps as f32)
            .with_weight_decay(settings.weight_decay as f32)
            .init();
        Self {
            adamw,
            accumulator: GradientsAccumulator::new(),
            gathered: None,
        }
    }

    pub(super) fn accumulate(&mut self, on_burn: &OnBurn, pass: BurnPass, grad: ScoreGradient<'_>) {
        let gradients = GradientsParams::from_grads(pass.backward(grad), on_burn.model());
        if let Some(earlier) = self.gathered.take() {
            self.accumulator.accumulate(on_burn.model(), earlier);
        }
        self.accumulator.accumulate(on_burn.model(), gradients);
        self.gathered = Some(self.accumulator.grads());
    }

    pub(super) fn gradient(&self, on_burn: &OnBurn) -> Option<Vec<Vec<f32>>> {
        struct Lists<'a> {
            gradients: &'a GradientsParams,
            lists: Vec<Vec<f32>>,
            by_id: Vec<u64>,
        }
        impl ModuleVisitor<AutodiffBackend> for Lists<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AutodiffBackend, D>>) {
                let values = param.val();
                if !values.is_require_grad() {
                    return;
                }
                let n = values.shape().num_elements();
                let list = match self.gradients.get::<Backend, D>(param.id) {
                    Some(gradient) => gradient.into_data().iter::<f32>().collect(),
                    None => vec![0.0; n],
                };
                self.lists.push(list);
                self.by_id.push(param.id.val());
            }
        }
        let mut lists = Lists {
            gradients: self.gathered.as_ref()?,
            lists: Vec::new(),
            by_id: Vec::new(),
        };
        on_burn.model().visit(&mut lists);
        // Parameter ids are places in the fixed order; visiting follows the fields.
        let mut ordered: Vec<(u64, Vec<f32>)> = lists.by_id.into_iter().zip(lists.lists).collect();
        ordered.sort_by_key(|(id, _)| *id);
        Some(ordered.into_iter().map(|(_, list)| list).collect())
    }

    /// The moments as burn's own record.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let recorder = BinBytesRecorder::<FullPrecisionSettings>::default();
        let record = self.adamw.to_record();
        Recorder::<AutodiffBackend>::record(&recorder, record, ()).map_err(|e| e.to_string())
    }

    /// Takes the moments from what [`BurnAdamW::to_bytes`] gave.
    pub(super) fn restore(&mut self, bytes: Vec<u8>, device: &Device) -> Result<(), String> {
        let recorder = BinBytesRecorder::<FullPrecisionSettings>::default();
        let record = Recorder::<AutodiffBackend>::load(&recorder, bytes, device);
        self.adamw = self
            .adamw
            .clone()
            .load_record(record.map_err(|e| e.to_string())?);
        Ok(())
    }

    pub(super) fn update(&mut self, on_burn: &mut OnBurn, lr: f64, max_norm: f64) -> f64 {
        let Some(gradients) = self.gathered.take() else {
            return 0.0;
        };
        let norm = global_norm(&gradients, on_burn.model());
        if !norm.is_finite() {
            self.gathered = Some(gradients);
            return norm;
        }
        let gradients = if max_norm < norm {
            scaled(gradients, on_burn.model(), max_norm / norm)
        } else {
            gradients
        };
        on_burn.update(|model| self.adamw.step(lr, model, gradients));
        norm
    }
}

/// `√Σ g²` over all parameters.
fn global_norm(gradients: &GradientsParams, model: &Model) -> f64 {
    struct SquaredNorm<'a> {
        gradients: &'a GradientsParams,
        sum: f64,
    }
    impl ModuleVisitor<AutodiffBackend> for SquaredNorm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AutodiffBackend, D>>) {
            if let Some(gradient) = self.gradients.get::<Backend, D>(param.id) {
                let squared = (gradient.clone() * gradient).sum();
                self.sum += f64::from(squared.into_scalar());
            }
        }
    }
    let mut norm = SquaredNorm {
        gradients,
        sum: 0.0,
    };
    model.visit(&mut norm);
    norm.sum.sqrt()
}

fn scaled(gradients: GradientsParams, model: &Model, factor: f64) -> GradientsParams {
    struct Scale {
        gradients: GradientsParams,
        factor: f64,
    }
    impl ModuleVisitor<AutodiffBackend> for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AutodiffBackend, D>>) {
            if let Some(gradient) = self.gradients.remove::<Backend, D>(param.id) {
                self.gradients
                    .register(param.id, gradient.mul_scalar(self.factor));
            }
        }
    }
    let mut scale = Scale { gradients, factor };
    model.visit(&mut scale);
    scale.gradients
}

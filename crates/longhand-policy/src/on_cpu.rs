//! A policy on the CPU engine: weights in f32, and packed versions of them made when they are needed.

use std::sync::{Arc, OnceLock};

use longhand_engine::{Format, Model, ModelConfig, Weights};

use crate::compute::{Compute, RolloutWeights};

#[derive(Clone)]
pub(crate) struct OnCpu {
    config: ModelConfig,
    n_ids: usize,
    compute: Compute,
    weights: Arc<Weights>,
    model: OnceLock<Arc<Model>>,
    sampler: OnceLock<Arc<Model>>,
}

impl OnCpu {
    pub(crate) fn new(
        config: &ModelConfig,
        n_ids: usize,
        weights: Weights,
        compute: &Compute,
    ) -> Self {
        Self {
            config: config.clone(),
            n_ids,
            compute: compute.clone(),
            weights: Arc::new(weights),
            model: OnceLock::new(),
            sampler: OnceLock::new(),
        }
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The weights as scoring and training see them.
    pub(crate) fn model(&self) -> &Arc<Model> {
        self.model.get_or_init(|| self.pack(self.format()))
    }

    /// The weights as rollouts see them.
    pub(crate) fn sampler(&self) -> &Arc<Model> {
        match self.compute.rollout_weights {
            RolloutWeights::Same => self.model(),
            RolloutWeights::Int8 => self.sampler.get_or_init(|| self.pack(Format::Int8)),
        }
    }

    pub(crate) fn format(&self) -> Format {
        let Compute { precision, cpu, .. } = &self.compute;
        precision.format(cpu, &self.config)
    }

    fn pack(&self, format: Format) -> Arc<Model> {
        let model = Model::new(
            &self.compute.cpu,
            &self.config,
            self.n_ids,
            &self.weights,
            format,
        );
        Arc::new(model)
    }

    /// Changes the weights; what was packed is packed again when it is asked for.
    pub(crate) fn update(&mut self, update: impl FnOnce(&mut Weights)) {
        // A reference policy may hold the same weights; then it keeps them and these are a copy.
        update(Arc::make_mut(&mut self.weights));
        self.sampler = OnceLock::new();
        if let Some(model) = self.model.take() {
            match Arc::try_unwrap(model) {
                Ok(mut model) => {
                    model.repack(&self.weights);
                    self.model = OnceLock::from(Arc::new(model));
                }
                Err(_held_by_a_generator) => {}
            }
        }
    }
}

impl std::fmt::Debug for OnCpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnCpu")
            .field("config", &self.config)
            .field("compute", &self.compute)
            .finish_non_exhaustive()
    }
}

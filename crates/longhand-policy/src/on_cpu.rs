//! A policy on the CPU engine: weights in f32, and packed versions of them made when they are needed.

use std::sync::{Arc, OnceLock};

use longhand_engine::{Adapter, Format, Model, ModelConfig, Weights};
use longhand_rollout::WeightsId;
use xxhash_rust::xxh3::xxh3_128;

use crate::compute::{Compute, RolloutWeights};

#[derive(Clone)]
pub(crate) struct OnCpu {
    config: ModelConfig,
    n_ids: usize,
    compute: Compute,
    weights: Arc<Weights>,
    /// Of the weights alone.
    weights_digest: OnceLock<u128>,
    /// What is trained beside the weights, which then are frozen.
    adapter: Option<Adapter>,
    version: u64,
    digest: OnceLock<u128>,
    model: OnceLock<Packed>,
    sampler: OnceLock<Packed>,
}

/// A packed version of the weights, which remembers what it was packed from.
#[derive(Clone)]
pub(crate) struct Packed {
    pub(crate) model: Arc<Model>,
    pub(crate) of: WeightsId,
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
            weights_digest: OnceLock::new(),
            adapter: None,
            version: 0,
            digest: OnceLock::new(),
            model: OnceLock::new(),
            sampler: OnceLock::new(),
        }
    }

    /// The same weights, with another adapter beside them or none. They are not copied, nor packed again.
    pub(crate) fn with_adapter(&self, adapter: Option<Adapter>) -> Self {
        let mut other = Self {
            adapter,
            ..self.clone()
        };
        other.digest = OnceLock::new();
        // Packed now, if it was not yet, so that both hold the same memory.
        let _ = self.packed();
        other.adapt();
        other
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(crate) fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// What updates change.
    pub(crate) fn trained(&self) -> &Weights {
        match &self.adapter {
            Some(adapter) => &adapter.weights,
            None => &self.weights,
        }
    }

    /// A digest of the weights without the adapter.
    pub(crate) fn weights_digest(&self) -> u128 {
        let digest = || self.weights.digest(&self.compute.cpu);
        *self.weights_digest.get_or_init(digest)
    }

    /// The version of the weights as they are now.
    pub(crate) fn weights_id(&self) -> WeightsId {
        let digest = self.digest.get_or_init(|| match &self.adapter {
            Some(adapter) => {
                let digests = [
                    self.weights_digest(),
                    adapter.weights.digest(&self.compute.cpu),
                ];
                xxh3_128(digests.map(u128::to_le_bytes).as_flattened())
            }
            None => self.weights_digest(),
        });
        WeightsId {
            version: self.version,
            digest: Some(*digest),
        }
    }

    /// Says how many updates the weights have seen.
    pub(crate) fn set_version(&mut self, version: u64) {
        self.version = version;
        self.model = OnceLock::new();
        self.sampler = OnceLock::new();
    }

    /// The weights as scoring and training see them.
    pub(crate) fn model(&self) -> &Model {
        &self.packed().model
    }

    fn packed(&self) -> &Packed {
        self.model.get_or_init(|| self.pack(self.format()))
    }

    /// The weights as rollouts see them.
    pub(crate) fn sampler(&self) -> &Packed {
        match self.compute.rollout_weights {
            RolloutWeights::Same => self.packed(),
            RolloutWeights::Int8 => self.sampler.get_or_init(|| self.pack(Format::Int8)),
        }
    }

    pub(crate) fn format(&self) -> Format {
        let Compute { precision, cpu, .. } = &self.compute;
        precision.format(cpu, &self.config)
    }

    fn pack(&self, format: Format) -> Packed {
        let model = Model::new(
            &self.compute.cpu,
            &self.config,
            self.n_ids,
            &self.weights,
            format,
        );
        let model = match &self.adapter {
            Some(adapter) => model.with_adapter(adapter),
            None => model,
        };
        Packed {
            model: Arc::new(model),
            of: self.weights_id(),
        }
    }

    /// Puts the adapter as it is now beside what was packed.
    fn adapt(&mut self) {
        let of = self.weights_id();
        for packed in [&mut self.model, &mut self.sampler] {
            if let Some(Packed { model, .. }) = packed.take() {
                let model = match &self.adapter {
                    Some(adapter) => model.with_adapter(adapter),
                    None => model.without_adapter(),
                };
                let model = Arc::new(model);
                *packed = OnceLock::from(Packed { model, of });
            }
        }
    }

    /// Changes what is trained; what was packed is packed again when it is asked for.
    pub(crate) fn update(&mut self, update: impl FnOnce(&mut Weights)) {
        self.version += 1;
        self.digest = OnceLock::new();
        if let Some(adapter) = &mut self.adapter {
            update(&mut adapter.weights);
            return self.adapt();
        }
        // A reference policy may hold the same weights; then it keeps them and these are a copy.
        update(Arc::make_mut(&mut self.weights));
        self.weights_digest = OnceLock::new();
        self.sampler = OnceLock::new();
        if let Some(packed) = self.model.take() {
            match Arc::try_unwrap(packed.model) {
                Ok(mut model) => {
                    model.repack(&self.weights);
                    self.model = OnceLock::from(Packed {
                        model: Arc::new(model),
                        of: self.weights_id(),
                    });
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

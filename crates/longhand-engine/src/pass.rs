//! Scoring and training passes over the contexts of a batch, what they share being run once.

use longhand_rollout::{Context, PrefixTree};

use crate::{
    backward::{self, Gradients},
    cache::Cache,
    head::{self, HeadBuffers, ScoreGradient, Targets, TokenScores},
    packed_adapter::DropoutKey,
    packed_model::Model,
    rows::{Placed, Rows},
    trunk::{LayerBuffers, Scratch, embed, layer_forward},
    weights::Weights,
};

/// Rows of a scoring pass that are run at once.
const ROWS_AT_ONCE: usize = 2048;

/// What a training pass keeps of each layer for its way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Everything that the way back needs.
    #[default]
    Activations,
    /// The residual stream; the rest is computed again, a layer at a time.
    Checkpoints,
}

impl Model {
    /// Log-probabilities, entropies and self-certainties of all sampled tokens, context by context, in
    /// order, under `softmax(logits / temperature)` over the tokenizer's ids.
    ///
    /// # Panics
    /// When a prompt is empty, an id is not the model's, or the temperature is not positive.
    pub fn score(&self, contexts: &[Context<'_>], temperature: f64) -> TokenScores {
        let (temperature, base) = (checked(temperature), &*self.base);
        let mut cache = Cache::new(base.head_shape(), base.layers.len());
        let (rows, targets) = lay_out(contexts, &mut cache);
        let hidden = base.config.hidden_size;
        let mut of_targets = Vec::with_capacity(targets.rows.len() * hidden);
        let mut next = 0;
        self.hidden_states(&rows, &mut cache, |start, x| {
            while let Some(row) = targets.rows.get(next).map(|row| *row as usize)
                && row < start + x.len() / hidden
            {
                of_targets.extend_from_slice(&x[(row - start) * hidden..][..hidden]);
                next += 1;
            }
        });
        // Only rows with targets were kept, in their order.
        let kept = targets.renumbered();
        head::score(
            base,
            &of_targets,
            &kept,
            temperature,
            &mut HeadBuffers::default(),
        )
    }

    /// Runs rows through all layers, some at a time: `on_part` is told the number of a part's first row and
    /// its hidden states `[rows, hidden]` before the final norm.
    pub(crate) fn hidden_states(
        &self,
        rows: &Rows,
        cache: &mut Cache,
        mut on_part: impl FnMut(usize, &[f32]),
    ) {
        let base = &*self.base;
        let (mut x, mut buffers, mut scratch) =
            (Vec::new(), LayerBuffers::default(), Scratch::default());
        for (start, part) in rows.parts(ROWS_AT_ONCE) {
            embed(base, &part, &mut x);
            for (layer, pages) in self.layers(None).zip(&mut cache.layers) {
                layer_forward(
                    base,
                    layer,
                    pages,
                    &part,
                    &mut x,
                    &mut buffers,
                    &mut scratch,
                );
            }
            on_part(start, &x);
        }
    }

    /// [`Model::score`] with all that a gradient needs, in buffers that are used again. With a key, the adapter
    /// drops its share of what goes into it, and the scores are those of what is left; without a key, or
    /// without an adapter, nothing is dropped.
    ///
    /// # Panics
    /// As [`Model::score`].
    pub fn forward(
        &self,
        contexts: &[Context<'_>],
        temperature: f64,
        keep: Keep,
        mut buffers: PassBuffers,
        dropout: Option<DropoutKey>,
    ) -> Pass {
        let (temperature, base) = (checked(temperature), &*self.base);
        let mut cache = match buffers.cache.take() {
            Some(cache) => cache,
            None => Cache::new(base.head_shape(), base.layers.len()),
        };
        let (rows, targets) = lay_out(contexts, &mut cache);
        let part = rows.part(0..rows.n_rows());
        buffers
            .layers
            .resize_with(base.layers.len(), LayerBuffers::kept);
        let mut x = std::mem::take(&mut buffers.x);
        embed(base, &part, &mut x);
        let mut passing = LayerBuffers::default();
        let layers = self.layers(dropout).zip(&mut cache.layers);
        for (layer_idx, (layer, pages)) in layers.enumerate() {
            let kept = &mut buffers.layers[layer_idx];
            let of_layer = match keep {
                Keep::Activations => kept,
                Keep::Checkpoints => {
                    kept.x_in.clear();
                    kept.x_in.extend_from_slice(&x);
                    &mut passing
                }
            };
            let scratch = &mut buffers.scratch;
            layer_forward(base, layer, pages, &part, &mut x, of_layer, scratch);
        }
        let scores = head::score(base, &x, &targets, temperature, &mut buffers.head);
        buffers.x = x;
        buffers.cache = Some(cache);
        Pass {
            rows,
            targets,
            temperature,
            keep,
            dropout,
            scores,
            buffers,
        }
    }
}

/// Memory that training passes use one after the other.
#[derive(Default)]
pub struct PassBuffers {
    pub(crate) x: Vec<f32>,
    pub(crate) layers: Vec<LayerBuffers>,
    pub(crate) scratch: Scratch,
    pub(crate) cache: Option<Cache>,
    pub(crate) head: HeadBuffers,
}

/// A training pass that has gone forwards.
pub struct Pass {
    pub(crate) rows: Rows,
    pub(crate) targets: Targets,
    pub(crate) temperature: f32,
    pub(crate) keep: Keep,
    pub(crate) dropout: Option<DropoutKey>,
    scores: TokenScores,
    pub(crate) buffers: PassBuffers,
}

impl Pass {
    /// What the policy says of the sampled tokens, context by context, in order.
    pub fn scores(&self) -> &TokenScores {
        &self.scores
    }

    /// Tokens that were run.
    pub fn n_rows(&self) -> usize {
        self.rows.n_rows()
    }

    /// Adds the gradient of `Σ grad · score`, over log-probabilities and entropies, to `gradients` and gives
    /// the buffers back. `weights` are those
    /// that the model was packed from. With an adapter the gradient is that of the adapter's numbers alone,
    /// in their order; nothing is computed for the others.
    ///
    /// # Panics
    /// When a list of `grad` has not one derivative for each sampled token, the gradients are not of the same shapes as
    /// what is trained, or model and weights are not those of the way forwards.
    pub fn backward(
        mut self,
        model: &Model,
        weights: &Weights,
        grad: ScoreGradient<'_>,
        gradients: &mut Weights,
    ) -> PassBuffers {
        let n_targets = self.targets.n_targets();
        assert_eq!(
            grad.logprobs.len(),
            n_targets,
            "one derivative a log-probability"
        );
        if let Some(entropies) = grad.entropies {
            assert_eq!(entropies.len(), n_targets, "one derivative an entropy");
        }
        let trained = model.adapter.as_ref().map_or(weights, |all| all.weights());
        assert!(gradients.is_like(trained), "gradients of something else");
        let mut gradients = match model.adapter {
            Some(_) => Gradients::OfAdapter(gradients, Vec::new()),
            None => Gradients::OfModel(gradients),
        };
        backward::backward(&mut self, model, weights, grad, &mut gradients);
        self.buffers
    }
}

fn checked(temperature: f64) -> f32 {
    assert!(
        temperature.is_finite() && 0.0 < temperature,
        "temperature is {temperature}"
    );
    temperature as f32
}

/// The rows of all contexts and the targets among them. Pages of earlier passes are overwritten.
fn lay_out(contexts: &[Context<'_>], cache: &mut Cache) -> (Rows, Targets) {
    let tree = PrefixTree::new(contexts);
    cache.clear();
    let mut rows = Rows::default();
    let placed: Vec<Placed> = rows.push_tree(&tree, cache);
    let pairs: Vec<(u32, u32)> = tree
        .targets
        .iter()
        .flatten()
        .map(|target| {
            let row = placed[target.segment].first_row + target.offset;
            (row as u32, target.id)
        })
        .collect();
    (rows, Targets::new(&pairs))
}

//! The logits of every position of a sequence, for whoever compares models.

use longhand_rollout::{Context, PrefixTree};

use crate::{cache::Cache, head::HeadBuffers, packed_model::Model, rows::Rows};

/// Rows whose logits are computed at once, beside those that are returned.
const LOGITS_AT_ONCE: usize = 64;

impl Model {
    /// The logits after each token of a sequence, `[n, n_ids]`: what the model says of the next one.
    ///
    /// # Panics
    /// When the sequence is empty or an id is not the model's.
    pub fn logits(&self, ids: &[u32]) -> Vec<f32> {
        let context = Context {
            group: 0,
            prompt: ids,
            completion: &[],
        };
        let base = &*self.base;
        let mut cache = Cache::new(base.head_shape(), base.layers.len());
        let mut rows = Rows::default();
        rows.push_tree(&PrefixTree::new(&[context]), &mut cache);
        let mut head = HeadBuffers::default();
        let mut logits = Vec::with_capacity(ids.len() * base.n_ids);
        self.hidden_states(&rows, &mut cache, |_, x| {
            let n_rows = x.len() / base.config.hidden_size;
            let of_part: Vec<u32> = (0..n_rows as u32).collect();
            for rows in of_part.chunks(LOGITS_AT_ONCE) {
                head.logits_of(base, x, rows, 1.0);
                logits.extend_from_slice(&head.logits);
            }
        });
        logits
    }
}

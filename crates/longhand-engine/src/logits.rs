//! The logits of every position of a sequence, for whoever compares models.

use longhand_rollout::{Context, PrefixTree};

use crate::{
    cache::Cache,
    head::HeadBuffers,
    packed_model::Model,
    rows::Rows,
    trunk::{LayerBuffers, Scratch, embed, layer_forward},
};

/// Rows that are run at once.
const ROWS_AT_ONCE: usize = 2048;
/// Of these, rows whose logits are computed at once, beside those that are returned.
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
        let (mut x, mut buffers, mut scratch) =
            (Vec::new(), LayerBuffers::default(), Scratch::default());
        let mut head = HeadBuffers::default();
        let mut logits = Vec::with_capacity(ids.len() * base.n_ids);
        for (_, part) in rows.parts(ROWS_AT_ONCE) {
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
            let of_part: Vec<u32> = (0..part.n_rows() as u32).collect();
            for rows in of_part.chunks(LOGITS_AT_ONCE) {
                head.logits_of(base, &x, rows, 1.0);
                logits.extend_from_slice(&head.logits);
            }
        }
        logits
    }
}

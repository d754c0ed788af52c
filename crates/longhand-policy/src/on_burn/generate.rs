//! Batched generation; a group's shared prefix is run once.

use burn::tensor::Tensor;
use longhand_engine::{GenerateError, ModelConfig, check_request};
use longhand_rollout::{Completion, Generate, Request, Sampling};

use super::{
    decoding::Decoding,
    model::{Attention, Transformer, id_tensor},
    products::Projecting,
    shapes::Shapes,
    tree_attention::{
        Heads, PrefixKeys, SuffixGrid, attend, causal_mask, keys_by_suffix, prefix_padding,
    },
};
use crate::backend::{Backend, Device};

/// Samples completions from a policy's weights as they were when it was made.
#[derive(Clone, Debug)]
pub(crate) struct Generator {
    config: ModelConfig,
    projecting: Projecting,
    shapes: Shapes,
    model: Transformer<Backend>,
    /// `[hidden, n_ids]`
    head: Tensor<Backend, 2>,
    device: Device,
}

impl Generator {
    pub(crate) fn new(
        config: ModelConfig,
        projecting: Projecting,
        shapes: Shapes,
        model: Transformer<Backend>,
        n_ids: usize,
        device: Device,
    ) -> Self {
        Self {
            config,
            projecting,
            shapes,
            head: model.head(n_ids),
            model: projecting.products.round(model),
            device,
        }
    }

    /// Runs the shared prefixes once and keeps their keys and values, one entry a layer.
    fn prefill_prefixes(&self, mut prefixes: Vec<&[u32]>) -> Vec<PrefixKeys<Backend>> {
        let longest = prefixes
            .iter()
            .map(|prefix| prefix.len())
            .max()
            .unwrap_or(0);
        if longest == 0 {
            return Vec::new();
        }
        let longest = self.shapes.length(longest);
        prefixes.resize(self.shapes.count(prefixes.len()), &[]);
        let mut ids = Vec::with_capacity(prefixes.len() * longest);
        for prefix in &prefixes {
            ids.extend(*prefix);
            ids.extend(std::iter::repeat_n(0, longest - prefix.len()));
        }
        let positions: Vec<usize> = (0..ids.len()).map(|i| i % longest).collect();
        let lengths: Vec<usize> = prefixes.iter().map(|prefix| prefix.len()).collect();
        let heads = Heads::of(&self.config);
        let mut prefill = PrefixPrefill {
            grid: SuffixGrid {
                groups: prefixes.len(),
                suffixes: 1,
                positions: longest,
            },
            heads,
            causal: causal_mask(longest, heads, &self.device),
            padding: prefix_padding(&lengths, longest, heads, &self.device),
            keys: Vec::with_capacity(self.config.n_layers),
        };
        let ids = id_tensor(&ids, &self.device);
        self.model
            .trunk(&self.config, self.projecting, ids, &positions, &mut prefill);
        prefill.keys
    }
}

impl Generate for Generator {
    type Error = GenerateError;

    fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, GenerateError> {
        for (request_idx, request) in requests.iter().enumerate() {
            check_request(&self.config, request_idx, request)?;
        }
        let groups = group_requests(requests);
        let prefixes: Vec<&[u32]> = groups
            .iter()
            .map(|group| &requests[group.members[0]].prompt[..group.n_prefix])
            .collect();
        let prefix_keys = self.prefill_prefixes(prefixes);
        let (config, products) = (&self.config, self.projecting);
        let mut decoding = Decoding::new(
            requests,
            &groups,
            prefix_keys,
            sampling,
            config,
            self.shapes,
            &self.device,
        );
        while decoding.is_open() {
            let (ids, positions) = decoding.tokens();
            let attention = decoding.attention();
            let hidden = self
                .model
                .trunk(config, products, ids, &positions, attention);
            let hidden = decoding.last_of_rows(hidden);
            let logits = self
                .model
                .final_norm(config, hidden)
                .matmul(self.head.clone());
            decoding.sample(logits, &config.end_ids)?;
        }
        Ok(decoding.into_completions())
    }
}

/// Requests that share a prefix.
pub(crate) struct RequestGroup {
    /// Their places in the call.
    pub(crate) members: Vec<usize>,
    /// Tokens that all their prompts begin with.
    pub(crate) n_prefix: usize,
}

/// Requests by their `group`, in order of first appearance, with the length of the common prefix. The
/// last token of a prompt is never part of it: the first sampled token is predicted from that one.
fn group_requests(requests: &[Request]) -> Vec<RequestGroup> {
    let mut place = std::collections::HashMap::new();
    let mut groups: Vec<RequestGroup> = Vec::new();
    for (request_idx, request) in requests.iter().enumerate() {
        let group_idx = *place.entry(request.group).or_insert_with(|| {
            groups.push(RequestGroup {
                members: Vec::new(),
                n_prefix: request.prompt.len() - 1,
            });
            groups.len() - 1
        });
        let group = &mut groups[group_idx];
        if let Some(&first) = group.members.first() {
            let first = &requests[first].prompt[..group.n_prefix];
            let second = &request.prompt[..request.prompt.len() - 1];
            group.n_prefix = first.iter().zip(second).take_while(|(a, b)| a == b).count();
        }
        group.members.push(request_idx);
    }
    groups
}

/// Attention within the prefixes; keeps what later tokens need.
struct PrefixPrefill {
    grid: SuffixGrid,
    heads: Heads,
    causal: Tensor<Backend, 3>,
    padding: Option<Tensor<Backend, 3>>,
    keys: Vec<PrefixKeys<Backend>>,
}

impl Attention<Backend> for PrefixPrefill {
    fn attend(
        &mut self,
        _layer: usize,
        q: Tensor<Backend, 3>,
        k: Tensor<Backend, 3>,
        v: Tensor<Backend, 3>,
    ) -> Tensor<Backend, 2> {
        let keys = PrefixKeys {
            k: keys_by_suffix(k, self.grid, self.heads),
            v: keys_by_suffix(v, self.grid, self.heads),
            padding: self.padding.clone(),
        };
        self.keys.push(keys.clone());
        attend(
            q,
            keys.k,
            keys.v,
            self.causal.clone(),
            None,
            self.grid,
            self.heads,
        )
    }
}

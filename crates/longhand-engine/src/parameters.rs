//! The parameters of a model in their fixed order: names, shapes and places.
//!
//! The order is part of the format of optimiser state, so it never changes. Projections are `[in, out]`,
//! the transpose of a Hugging Face file.

use crate::ModelConfig;

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its Hugging Face name.
    pub name: String,
    /// Its shape in our layout.
    pub shape: Vec<usize>,
}

impl Parameter {
    /// How many numbers it has.
    pub fn n_values(&self) -> usize {
        self.shape.iter().product()
    }
}

/// All parameters of a model.
pub fn parameters(config: &ModelConfig) -> Vec<Parameter> {
    Inventory::new(config).parameters
}

/// Where each part of a model is among its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// `[vocab, hidden]`
    pub(crate) embed: usize,
    pub(crate) layers: Vec<LayerPlaces>,
    pub(crate) norm: usize,
    /// `[hidden, vocab]`; none when the head reuses the embedding.
    pub(crate) head: Option<usize>,
}

impl Places {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        Inventory::new(config).places
    }
}

/// The places of one layer.
#[derive(Clone, Debug)]
pub(crate) struct LayerPlaces {
    /// Of queries, keys, values.
    pub(crate) biases: Option<[usize; 3]>,
    /// Of queries, keys; each `[head_dim]`.
    pub(crate) head_norms: Option<[usize; 2]>,
    pub(crate) input_norm: usize,
    /// Queries, keys, values.
    pub(crate) qkv: [usize; 3],
    pub(crate) o: usize,
    pub(crate) post_norm: usize,
    /// Gate, up.
    pub(crate) gate_up: [usize; 2],
    pub(crate) down: usize,
}

struct Inventory {
    parameters: Vec<Parameter>,
    places: Places,
}

impl Inventory {
    fn new(config: &ModelConfig) -> Self {
        let mut parameters = Vec::new();
        let mut push = |name: String, shape: &[usize]| {
            parameters.push(Parameter {
                name,
                shape: shape.to_vec(),
            });
            parameters.len() - 1
        };
        let (d, inner, head_dim) = (
            config.hidden_size,
            config.intermediate_size,
            config.head_dim,
        );
        let (q, kv) = (config.n_heads * head_dim, config.n_kv_heads * head_dim);
        let embed = push("model.embed_tokens.weight".into(), &[config.vocab_size, d]);
        let mut layers = Vec::with_capacity(config.n_layers);
        for layer_idx in 0..config.n_layers {
            let name = |part: &str| format!("model.layers.{layer_idx}.{part}");
            layers.push(LayerPlaces {
                biases: config.family.qkv_bias().then(|| {
                    [("q", q), ("k", kv), ("v", kv)]
                        .map(|(part, n)| push(name(&format!("self_attn.{part}_proj.bias")), &[n]))
                }),
                head_norms: config.family.qk_norm().then(|| {
                    ["q", "k"].map(|part| {
                        push(name(&format!("self_attn.{part}_norm.weight")), &[head_dim])
                    })
                }),
                input_norm: push(name("input_layernorm.weight"), &[d]),
                qkv: [("q", q), ("k", kv), ("v", kv)]
                    .map(|(part, n)| push(name(&format!("self_attn.{part}_proj.weight")), &[d, n])),
                o: push(name("self_attn.o_proj.weight"), &[q, d]),
                post_norm: push(name("post_attention_layernorm.weight"), &[d]),
                gate_up: ["gate", "up"]
                    .map(|part| push(name(&format!("mlp.{part}_proj.weight")), &[d, inner])),
                down: push(name("mlp.down_proj.weight"), &[inner, d]),
            });
        }
        let norm = push("model.norm.weight".into(), &[d]);
        let head = (!config.tie_embeddings)
            .then(|| push("lm_head.weight".into(), &[d, config.vocab_size]));
        Self {
            parameters,
            places: Places {
                embed,
                layers,
                norm,
                head,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;

    #[test]
    fn every_family_has_as_many_numbers_as_its_config_counts() {
        for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
            for tie_embeddings in [false, true] {
                let config = ModelConfig {
                    family,
                    tie_embeddings,
                    ..crate::fixture::config()
                };
                let all = parameters(&config);
                let n: usize = all.iter().map(Parameter::n_values).sum();
                assert_eq!(n, config.n_parameters(), "{family:?} {tie_embeddings}");
                let names: std::collections::BTreeSet<_> = all.iter().map(|p| &p.name).collect();
                assert_eq!(names.len(), all.len());
            }
        }
    }
}

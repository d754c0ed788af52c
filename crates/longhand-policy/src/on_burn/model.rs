//! The transformer: parameters, and the trunk that every pass shares.
//!
//! The trunk works on a flat list of tokens `[n_tokens, hidden]`; only attention needs to know which
//! token sees which, and each pass brings its own ([`Attention`]).

use std::convert::Infallible;

use burn::{
    module::{Module, Param, ParamId},
    tensor::{Int, Tensor, TensorData, activation::silu, backend::Backend},
};
use longhand_engine::{Adapter, ModelConfig, Target};

use super::{products::Projecting, rotary::Rotation};

/// A pre-norm decoder with rotary positions, grouped queries and a gated feed-forward.
#[derive(Module, Debug)]
pub(crate) struct Transformer<B: Backend> {
    /// `[vocab, hidden]`
    pub(crate) embed_tokens: Param<Tensor<B, 2>>,
    pub(crate) layers: Vec<Layer<B>>,
    /// `[hidden]`
    pub(crate) norm: Param<Tensor<B, 1>>,
    /// `[hidden, vocab]`; none when the head reuses the embedding.
    pub(crate) lm_head: Option<Param<Tensor<B, 2>>>,
}

/// One layer. Projections are stored `[in, out]`, the transpose of a Hugging Face file.
#[derive(Module, Debug)]
pub(crate) struct Layer<B: Backend> {
    pub(crate) input_norm: Param<Tensor<B, 1>>,
    pub(crate) q_proj: Param<Tensor<B, 2>>,
    pub(crate) k_proj: Param<Tensor<B, 2>>,
    pub(crate) v_proj: Param<Tensor<B, 2>>,
    pub(crate) o_proj: Param<Tensor<B, 2>>,
    pub(crate) q_bias: Option<Param<Tensor<B, 1>>>,
    pub(crate) k_bias: Option<Param<Tensor<B, 1>>>,
    pub(crate) v_bias: Option<Param<Tensor<B, 1>>>,
    /// `[head_dim]`
    pub(crate) q_norm: Option<Param<Tensor<B, 1>>>,
    pub(crate) k_norm: Option<Param<Tensor<B, 1>>>,
    pub(crate) post_attention_norm: Param<Tensor<B, 1>>,
    pub(crate) gate_proj: Param<Tensor<B, 2>>,
    pub(crate) up_proj: Param<Tensor<B, 2>>,
    pub(crate) down_proj: Param<Tensor<B, 2>>,
    pub(crate) adapter: Option<LayerAdapter<B>>,
}

/// The low-rank adapters of a layer.
#[derive(Module, Debug)]
pub(crate) struct LayerAdapter<B: Backend> {
    q: Option<Lora<B>>,
    k: Option<Lora<B>>,
    v: Option<Lora<B>>,
    o: Option<Lora<B>>,
    gate: Option<Lora<B>>,
    up: Option<Lora<B>>,
    down: Option<Lora<B>>,
}

/// One low-rank adapter.
#[derive(Module, Debug)]
pub(crate) struct Lora<B: Backend> {
    /// `[in, rank]`
    pub(crate) a: Param<Tensor<B, 2>>,
    /// `[rank, out]`
    pub(crate) b: Param<Tensor<B, 2>>,
}

/// Which token attends to which: the one part of the trunk that differs between passes.
pub(crate) trait Attention<B: Backend> {
    /// Queries `[n_tokens, heads, head_dim]` (already rotated), keys and values
    /// `[n_tokens, kv_heads, head_dim]` of one layer, to `[n_tokens, heads * head_dim]`.
    fn attend(
        &mut self,
        layer_idx: usize,
        q: Tensor<B, 3>,
        k: Tensor<B, 3>,
        v: Tensor<B, 3>,
    ) -> Tensor<B, 2>;
}

impl<B: Backend> Transformer<B> {
    /// Builds a model from values by name: `source` is asked for every tensor, in a fixed order, by its
    /// Hugging Face name and its shape in our layout (projections `[in, out]`).
    pub(crate) fn assemble<E>(
        config: &ModelConfig,
        device: &B::Device,
        mut source: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut builder = Builder {
            source: &mut source,
            device,
            n_built: 0,
        };
        let (d, inner) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (
            config.n_heads * config.head_dim,
            config.n_kv_heads * config.head_dim,
        );
        let embed_tokens = builder.matrix("model.embed_tokens.weight", [config.vocab_size, d])?;
        let mut layers = Vec::with_capacity(config.n_layers);
        for layer_idx in 0..config.n_layers {
            let name = |part: &str| format!("model.layers.{layer_idx}.{part}");
            let bias = |b: &mut Builder<'_, B, _>, part: &str, n: usize| {
                if config.family.qkv_bias() {
                    b.vector(&name(part), n).map(Some)
                } else {
                    Ok(None)
                }
            };
            let q_bias = bias(&mut builder, "self_attn.q_proj.bias", q)?;
            let k_bias = bias(&mut builder, "self_attn.k_proj.bias", kv)?;
            let v_bias = bias(&mut builder, "self_attn.v_proj.bias", kv)?;
            let head_norm = |b: &mut Builder<'_, B, _>, part: &str| {
                if config.family.qk_norm() {
                    b.vector(&name(part), config.head_dim).map(Some)
                } else {
                    Ok(None)
                }
            };
            let q_norm = head_norm(&mut builder, "self_attn.q_norm.weight")?;
            let k_norm = head_norm(&mut builder, "self_attn.k_norm.weight")?;
            layers.push(Layer {
                input_norm: builder.vector(&name("input_layernorm.weight"), d)?,
                q_proj: builder.matrix(&name("self_attn.q_proj.weight"), [d, q])?,
                k_proj: builder.matrix(&name("self_attn.k_proj.weight"), [d, kv])?,
                v_proj: builder.matrix(&name("self_attn.v_proj.weight"), [d, kv])?,
                o_proj: builder.matrix(&name("self_attn.o_proj.weight"), [q, d])?,
                q_bias,
                k_bias,
                v_bias,
                q_norm,
                k_norm,
                post_attention_norm: builder.vector(&name("post_attention_layernorm.weight"), d)?,
                gate_proj: builder.matrix(&name("mlp.gate_proj.weight"), [d, inner])?,
                up_proj: builder.matrix(&name("mlp.up_proj.weight"), [d, inner])?,
                down_proj: builder.matrix(&name("mlp.down_proj.weight"), [inner, d])?,
                adapter: None,
            });
        }
        let norm = builder.vector("model.norm.weight", d)?;
        let lm_head = if config.tie_embeddings {
            None
        } else {
            Some(builder.matrix("lm_head.weight", [d, config.vocab_size])?)
        };
        Ok(Self {
            embed_tokens,
            layers,
            norm,
            lm_head,
        })
    }

    /// The same model with an adapter beside its weights, which then are frozen. Nothing is copied.
    pub(crate) fn with_adapter(
        &self,
        config: &ModelConfig,
        adapter: &Adapter,
        device: &B::Device,
    ) -> Self {
        let n_of_model = longhand_engine::parameters(config).len() as u64;
        let mut lists = adapter.weights.values().iter();
        let mut builder = Builder {
            source: &mut |_: &str, _: &[usize]| {
                Ok::<_, Infallible>(lists.next().cloned().unwrap_or_default())
            },
            device,
            n_built: n_of_model,
        };
        let parameters = longhand_engine::adapter_parameters(config, &adapter.config);
        let mut parameters = parameters.iter();
        let mut model = self.without_adapter().no_grad();
        for layer in &mut model.layers {
            let mut next = |target: Target| {
                if !adapter.config.targets.contains(&target) {
                    return None;
                }
                let mut matrix = || {
                    let parameter = parameters.next()?;
                    let &[rows, columns] = parameter.shape.as_slice() else {
                        return None;
                    };
                    let matrix = builder.matrix(&parameter.name, [rows, columns]);
                    Some(matrix.unwrap_or_else(|never| match never {}))
                };
                let (a, b) = (matrix()?, matrix()?);
                Some(Lora { a, b })
            };
            // In the order of `Target::ALL`, which is that of the lists.
            let [q, k, v, o, gate, up, down] = Target::ALL.map(&mut next);
            layer.adapter = Some(LayerAdapter {
                q,
                k,
                v,
                o,
                gate,
                up,
                down,
            });
        }
        model
    }

    /// The model alone.
    pub(crate) fn without_adapter(&self) -> Self {
        let mut model = self.clone();
        for layer in &mut model.layers {
            layer.adapter = None;
        }
        model
    }

    /// The hidden states of a flat list of tokens, before the final norm: `[n_tokens, hidden]`.
    pub(crate) fn trunk(
        &self,
        config: &ModelConfig,
        projecting: Projecting,
        ids: Tensor<B, 1, Int>,
        positions: &[usize],
        attention: &mut impl Attention<B>,
    ) -> Tensor<B, 2> {
        let device = self.norm.val().device();
        let ModelConfig {
            n_heads,
            n_kv_heads,
            ..
        } = *config;
        let frequencies = config.inverse_frequencies();
        let rotation = Rotation::new(positions, n_heads, n_kv_heads, &frequencies, &device);
        let mut x = self.embed_tokens.val().select(0, ids);
        for (layer_idx, layer) in self.layers.iter().enumerate() {
            x = layer.forward(config, projecting, x, &rotation, |q, k, v| {
                attention.attend(layer_idx, q, k, v)
            });
        }
        x
    }

    /// The final norm: `[n_tokens, hidden]` to the same.
    pub(crate) fn final_norm(&self, config: &ModelConfig, x: Tensor<B, 2>) -> Tensor<B, 2> {
        rms_norm(x, &self.norm, config.norm_eps)
    }

    /// The head `[hidden, n_ids]`: the columns of ids that the tokenizer has.
    pub(crate) fn head(&self, n_ids: usize) -> Tensor<B, 2> {
        let weight = match &self.lm_head {
            Some(weight) => weight.val(),
            None => self.embed_tokens.val().transpose(),
        };
        let [hidden, vocab] = weight.dims();
        if n_ids < vocab {
            weight.slice([0..hidden, 0..n_ids])
        } else {
            weight
        }
    }
}

impl<B: Backend> Layer<B> {
    fn forward(
        &self,
        config: &ModelConfig,
        projecting: Projecting,
        x: Tensor<B, 2>,
        rotation: &Rotation<B>,
        attend: impl FnOnce(Tensor<B, 3>, Tensor<B, 3>, Tensor<B, 3>) -> Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        let [n_tokens, _hidden] = x.dims();
        let h = rms_norm(x.clone(), &self.input_norm, config.norm_eps);
        let project = |weight: &Param<Tensor<B, 2>>,
                       lora: Option<&Lora<B>>,
                       bias: &Option<Param<Tensor<B, 1>>>,
                       heads: usize| {
            let mut y = projecting.project(h.clone(), weight, lora);
            if let Some(bias) = bias {
                y = y + bias.val().unsqueeze();
            }
            y.reshape([n_tokens, heads, config.head_dim])
        };
        let lora = |part: fn(&LayerAdapter<B>) -> &Option<Lora<B>>| {
            self.adapter
                .as_ref()
                .and_then(|adapter| part(adapter).as_ref())
        };
        let (n_heads, n_kv_heads) = (config.n_heads, config.n_kv_heads);
        let mut q = project(&self.q_proj, lora(|of| &of.q), &self.q_bias, n_heads);
        let mut k = project(&self.k_proj, lora(|of| &of.k), &self.k_bias, n_kv_heads);
        let v = project(&self.v_proj, lora(|of| &of.v), &self.v_bias, n_kv_heads);
        if let (Some(q_norm), Some(k_norm)) = (&self.q_norm, &self.k_norm) {
            q = rms_norm(q, q_norm, config.norm_eps);
            k = rms_norm(k, k_norm, config.norm_eps);
        }
        let attended = attend(rotation.queries(q), rotation.keys(k), v);
        let x = x + projecting.project(attended, &self.o_proj, lora(|of| &of.o));
        let h = rms_norm(x.clone(), &self.post_attention_norm, config.norm_eps);
        let gate = silu(projecting.project(h.clone(), &self.gate_proj, lora(|of| &of.gate)));
        let gated = gate * projecting.project(h, &self.up_proj, lora(|of| &of.up));
        x + projecting.project(gated, &self.down_proj, lora(|of| &of.down))
    }
}

/// `x / sqrt(mean(x²) + eps) · weight` over the last dimension.
fn rms_norm<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    weight: &Param<Tensor<B, 1>>,
    eps: f64,
) -> Tensor<B, D> {
    let scale = (x.clone() * x.clone())
        .mean_dim(D - 1)
        .add_scalar(eps)
        .sqrt()
        .recip();
    x * scale * weight.val().unsqueeze()
}

/// A tensor of token ids.
pub(crate) fn id_tensor<B: Backend>(ids: &[u32], device: &B::Device) -> Tensor<B, 1, Int> {
    index_tensor(ids.iter().map(|id| *id as i32), device)
}

/// A tensor of indices.
pub(crate) fn index_tensor<B: Backend>(
    values: impl Iterator<Item = i32>,
    device: &B::Device,
) -> Tensor<B, 1, Int> {
    let values: Vec<i32> = values.collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// Makes parameters in a fixed order. Their ids are their places in that order, so that optimiser state
/// saved by one process belongs to the same parameters in the next.
struct Builder<'a, B: Backend, F> {
    source: &'a mut F,
    device: &'a B::Device,
    n_built: u64,
}

impl<B: Backend, E, F: FnMut(&str, &[usize]) -> Result<Vec<f32>, E>> Builder<'_, B, F> {
    fn matrix(&mut self, name: &str, shape: [usize; 2]) -> Result<Param<Tensor<B, 2>>, E> {
        self.parameter(name, shape)
    }

    fn vector(&mut self, name: &str, n: usize) -> Result<Param<Tensor<B, 1>>, E> {
        self.parameter(name, [n])
    }

    fn parameter<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Param<Tensor<B, D>>, E> {
        let values = (self.source)(name, &shape)?;
        self.n_built += 1;
        let tensor = Tensor::from_data(TensorData::new(values, shape), self.device).require_grad();
        Ok(Param::initialized(ParamId::from(self.n_built), tensor))
    }
}

/// The numbers of every parameter, in the model's order.
pub(crate) fn values<B: Backend>(model: &Transformer<B>) -> Vec<Vec<f32>> {
    let mut values = Vec::new();
    let mut push = |list: Vec<f32>| values.push(list);
    push(to_list(&model.embed_tokens));
    for layer in &model.layers {
        for bias in [&layer.q_bias, &layer.k_bias, &layer.v_bias] {
            bias.iter().map(to_list).for_each(&mut push);
        }
        for norm in [&layer.q_norm, &layer.k_norm] {
            norm.iter().map(to_list).for_each(&mut push);
        }
        push(to_list(&layer.input_norm));
        for matrix in [&layer.q_proj, &layer.k_proj, &layer.v_proj, &layer.o_proj] {
            push(to_list(matrix));
        }
        push(to_list(&layer.post_attention_norm));
        for matrix in [&layer.gate_proj, &layer.up_proj, &layer.down_proj] {
            push(to_list(matrix));
        }
    }
    push(to_list(&model.norm));
    model.lm_head.iter().map(to_list).for_each(&mut push);
    values
}

/// The numbers of the adapter's parameters, in their order; none without an adapter.
pub(crate) fn adapter_values<B: Backend>(model: &Transformer<B>) -> Vec<Vec<f32>> {
    let adapters = model.layers.iter().flat_map(|layer| &layer.adapter);
    let loras = adapters.flat_map(|of| [&of.q, &of.k, &of.v, &of.o, &of.gate, &of.up, &of.down]);
    let matrices = loras.flatten().flat_map(|Lora { a, b }| [a, b]);
    matrices.map(to_list).collect()
}

fn to_list<B: Backend, const D: usize>(parameter: &Param<Tensor<B, D>>) -> Vec<f32> {
    parameter.val().into_data().iter::<f32>().collect()
}

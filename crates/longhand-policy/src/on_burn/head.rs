//! The head: log-probabilities of given tokens without a `[tokens, vocab]` matrix.
//!
//! Positions are worked on in chunks, and the backward pass computes each chunk's logits again, so memory
//! holds one chunk of logits in either direction, whatever the number of tokens. The backward pass is told
//! what the loss is, linear in log-probabilities and entropies, so that it pays only for what is in it.

use burn::{
    backend::autodiff::{
        checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::{
        IndexingUpdateOp, Int, Tensor, TensorPrimitive, activation::log_softmax, ops::FloatTensor,
    },
};

use crate::backend::{AutodiffBackend, Backend};

/// Logits that exist at a time: 4 Mi numbers, 16 MiB in f32.
const LOGITS_AT_A_TIME: usize = 4 << 20;

/// What a scored token's distribution looked like.
pub(crate) struct TokenScores {
    /// `[n_targets]`: natural logarithm of the probability of each target.
    pub(crate) logprobs: Tensor<Backend, 1>,
    /// `[n_targets]`: entropy of the distribution each target was drawn from, in nats.
    pub(crate) entropies: Tensor<Backend, 1>,
    /// `[n_targets]`: `KL(uniform ‖ p)` of that distribution over the head's ids, in nats.
    pub(crate) self_certainties: Tensor<Backend, 1>,
}

impl TokenScores {
    /// Tokens at these places.
    pub(crate) fn select(self, places: &Tensor<Backend, 1, Int>) -> Self {
        let select = |values: Tensor<Backend, 1>| values.select(0, places.clone());
        Self {
            logprobs: select(self.logprobs),
            entropies: select(self.entropies),
            self_certainties: select(self.self_certainties),
        }
    }
}

/// Scores targets `[n_targets]` given hidden states `[n_targets, hidden]` (after the final norm) and the
/// head `[hidden, n_ids]`: log-softmax of `hidden · head / temperature`.
pub(crate) fn score(
    hidden: Tensor<Backend, 2>,
    head: Tensor<Backend, 2>,
    targets: Tensor<Backend, 1, Int>,
    temperature: f64,
) -> TokenScores {
    let mut logprobs = Vec::new();
    let mut entropies = Vec::new();
    let mut self_certainties = Vec::new();
    let ln_n_ids = (head.dims()[1] as f64).ln();
    for (hidden, targets) in chunks(hidden, targets, head.dims()[1]) {
        let [n, _] = hidden.dims();
        let logits = hidden.matmul(head.clone()).div_scalar(temperature);
        let shifted = logits.clone() - logits.max_dim(1);
        let exp = shifted.clone().exp();
        let sum = exp.clone().sum_dim(1);
        let log_sum = sum.clone().log();
        let chosen = shifted.clone().gather(1, targets.reshape([n, 1]));
        logprobs.push((chosen - log_sum.clone()).reshape([n]));
        let of_uniform = log_sum.clone() - shifted.clone().mean_dim(1);
        self_certainties.push(of_uniform.sub_scalar(ln_n_ids).reshape([n]));
        let mean_logit = (exp * shifted).sum_dim(1) / sum;
        entropies.push((log_sum - mean_logit).reshape([n]));
    }
    TokenScores {
        logprobs: Tensor::cat(logprobs, 0),
        entropies: Tensor::cat(entropies, 0),
        self_certainties: Tensor::cat(self_certainties, 0),
    }
}

/// Where targets are predicted, on the way to a gradient.
#[derive(Clone, Debug)]
pub(crate) struct Predictions {
    /// `[n_targets, hidden]`: hidden states after the final norm.
    pub(crate) hidden: Tensor<AutodiffBackend, 2>,
    /// `[hidden, n_ids]`
    pub(crate) head: Tensor<AutodiffBackend, 2>,
    /// `[n_targets]`: the tokens' ids.
    pub(crate) targets: Tensor<Backend, 1, Int>,
    pub(crate) temperature: f64,
}

/// Derivatives of a loss with respect to what [`score`] says, `[n_targets]` each.
#[derive(Clone, Debug)]
pub(crate) struct Derivatives {
    pub(crate) logprobs: Tensor<Backend, 1>,
    /// None where the loss has no use for entropies.
    pub(crate) entropies: Option<Tensor<Backend, 1>>,
}

impl Predictions {
    /// What [`score`] says of them.
    pub(crate) fn score(&self) -> TokenScores {
        score(
            self.hidden.clone().inner(),
            self.head.clone().inner(),
            self.targets.clone(),
            self.temperature,
        )
    }

    /// `Σ derivative · score` `[1]`, whose value is given, with a gradient towards the hidden states and the
    /// head.
    pub(crate) fn loss(self, derivatives: Derivatives, value: f32) -> Tensor<AutodiffBackend, 1> {
        let state = State {
            hidden: self.hidden.clone().inner(),
            head: self.head.clone().inner(),
            targets: self.targets,
            temperature: self.temperature,
            derivatives,
        };
        let device = self.hidden.device();
        let value = Tensor::<Backend, 1>::from_floats([value], &device);
        let value: FloatTensor<Backend> = value.into_primitive().tensor();
        let hidden = self.hidden.into_primitive().tensor();
        let head = self.head.into_primitive().tensor();
        let prepared = ChunkedLoss
            .prepare::<NoCheckpointing>([hidden.node, head.node])
            .compute_bound()
            .stateful();
        let loss = match prepared {
            OpsKind::Tracked(preparation) => preparation.finish(state, value),
            OpsKind::UnTracked(preparation) => preparation.finish(value),
        };
        Tensor::from_primitive(TensorPrimitive::Float(loss))
    }
}

#[derive(Debug)]
struct ChunkedLoss;

#[derive(Clone, Debug)]
struct State {
    hidden: Tensor<Backend, 2>,
    head: Tensor<Backend, 2>,
    targets: Tensor<Backend, 1, Int>,
    temperature: f64,
    derivatives: Derivatives,
}

impl Backward<Backend, 2> for ChunkedLoss {
    type State = State;

    /// With `p` the softmax, `H` its entropy, and `g` and `e` the derivatives with respect to the
    /// log-probability and the entropy: `∂/∂logits = ((onehot − p) · g − p · (ln p + H) · e) / temperature`.
    fn backward(self, ops: Ops<State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let State {
            hidden,
            head,
            targets,
            temperature,
            derivatives,
        } = ops.state;
        let of_loss: Tensor<Backend, 1> =
            Tensor::from_primitive(TensorPrimitive::Float(grads.consume::<Backend>(&ops.node)));
        let scale = of_loss.div_scalar(temperature);
        let of_logprobs = derivatives.logprobs * scale.clone();
        let of_entropies = derivatives.entropies.map(|of| of * scale);
        let mut hidden_grads = Vec::new();
        let mut head_grad: Option<Tensor<Backend, 2>> = None;
        let mut start = 0;
        let [hidden_node, head_node] = ops.parents;
        for (hidden, targets) in chunks(hidden, targets, head.dims()[1]) {
            let [n, _] = hidden.dims();
            let column = |of: &Tensor<Backend, 1>| of.clone().narrow(0, start, n).reshape([n, 1]);
            let (of_logprobs, of_entropies) =
                (column(&of_logprobs), of_entropies.as_ref().map(column));
            start += n;
            let logits = hidden.clone().matmul(head.clone()).div_scalar(temperature);
            let logprobs = log_softmax(logits, 1);
            let probabilities = logprobs.clone().exp();
            let factor = match of_entropies {
                None => of_logprobs.clone(),
                Some(of_entropies) => {
                    let minus_entropies = (probabilities.clone() * logprobs.clone()).sum_dim(1);
                    (logprobs - minus_entropies) * of_entropies + of_logprobs.clone()
                }
            };
            let logits_grad = (probabilities * factor.neg()).scatter(
                1,
                targets.reshape([n, 1]),
                of_logprobs,
                IndexingUpdateOp::Add,
            );
            hidden_grads.push(logits_grad.clone().matmul(head.clone().transpose()));
            // Beside an adapter the head is frozen.
            if head_node.is_some() {
                let of_chunk = hidden.transpose().matmul(logits_grad);
                head_grad = Some(match head_grad {
                    None => of_chunk,
                    Some(sum) => sum + of_chunk,
                });
            }
        }
        if let Some(node) = hidden_node {
            let grad = Tensor::cat(hidden_grads, 0).into_primitive().tensor();
            grads.register::<Backend>(node.id, grad);
        }
        if let (Some(node), Some(grad)) = (head_node, head_grad) {
            grads.register::<Backend>(node.id, grad.into_primitive().tensor());
        }
    }
}

/// Rows whose logits are made at a time: a power of two, at least 16.
pub(crate) fn rows_at_a_time(n_ids: usize) -> usize {
    let rows = (LOGITS_AT_A_TIME / n_ids).max(16);
    1 << rows.ilog2()
}

/// Cuts rows and their targets into chunks whose logits fit the budget.
fn chunks(
    hidden: Tensor<Backend, 2>,
    targets: Tensor<Backend, 1, Int>,
    n_ids: usize,
) -> impl Iterator<Item = (Tensor<Backend, 2>, Tensor<Backend, 1, Int>)> {
    let [n_targets, width] = hidden.dims();
    let chunk = rows_at_a_time(n_ids);
    (0..n_targets).step_by(chunk).map(move |start| {
        let end = n_targets.min(start + chunk);
        (
            hidden.clone().slice([start..end, 0..width]),
            targets.clone().narrow(0, start, end - start),
        )
    })
}

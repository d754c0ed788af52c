//! A line of an objective under entropy control, evaluated in micro-batches.

use std::ops::Range;

use longhand_objective::{
    ControlState, Controls, EntropyControl, EntropyTerm, Metrics, Objective, ScopeTokens,
    TokenBatch, TokenControl, TokenRule,
};

use crate::error::LineError;
use crate::inputs::Inputs;

/// A token rule with what it needs beside the tokens.
#[derive(Default)]
pub(crate) struct Ruled {
    pub(crate) rule: TokenRule,
    pub(crate) state: ControlState,
    pub(crate) seed: u64,
}

impl Ruled {
    pub(crate) fn by(rule: TokenRule) -> Self {
        let control = EntropyControl {
            rule,
            ..EntropyControl::default()
        };
        Ruled {
            rule,
            state: control.initial_state(),
            seed: 0,
        }
    }
}

/// All tokens of a line; one entry per token, but `lengths`, which has one per sequence.
pub(crate) struct Line<'a> {
    pub(crate) lengths: &'a [usize],
    pub(crate) logprobs: &'a [f64],
    pub(crate) old_logprobs: &'a [f64],
    pub(crate) advantages: &'a [f64],
    pub(crate) loss_mask: &'a [bool],
    pub(crate) weights: &'a [f64],
    pub(crate) ref_logprobs: Option<&'a [f64]>,
    pub(crate) rollout_logprobs: Option<&'a [f64]>,
    pub(crate) entropies: Option<&'a [f64]>,
}

/// The sum of a line's micro-batches.
#[derive(Default)]
pub(crate) struct Evaluated {
    pub(crate) loss: f64,
    pub(crate) grad: Vec<f64>,
    pub(crate) entropy_grad: Option<Vec<f64>>,
    pub(crate) selected: Vec<bool>,
    pub(crate) metrics: Metrics,
}

/// Evaluates a line, one micro-batch after the other.
pub(crate) fn evaluate(
    inputs: &Inputs,
    objective: &Objective,
    ruled: &Ruled,
    line: &Line,
) -> Result<Evaluated, LineError> {
    let coef = inputs.number_option("entropy_coef")?;
    let control = EntropyControl {
        rule: ruled.rule,
        top_entropy_fraction: inputs.number_option("top_entropy_fraction")?,
        ..EntropyControl::default()
    };
    if line.entropies.is_none() {
        let fraction = control.top_entropy_fraction;
        for (option, value, is_off) in [
            ("entropy_coef", coef, coef == 0.0),
            ("top_entropy_fraction", fraction, fraction == 1.0),
        ] {
            if !is_off {
                return Err(Inputs::needed_by("entropies", option, &value.to_string()));
            }
        }
    }
    let controls_of = |tokens: Range<usize>, seed: u64| {
        let of_part = line.tokens(tokens.clone());
        control
            .token_controls(&objective.policy_loss, &of_part, &ruled.state, seed)
            .unwrap_or(vec![TokenControl::NEUTRAL; tokens.len()])
    };
    let is_by_micro_batch = inputs.name_option("scope")? == "micro-batch";
    let of_line = controls_of(0..line.logprobs.len(), ruled.seed);

    let mut sum = Evaluated {
        entropy_grad: line.entropies.map(|_| Vec::new()),
        ..Evaluated::default()
    };
    for (part_idx, sequences) in parts(inputs, line.lengths.len())?.into_iter().enumerate() {
        let start: usize = line.lengths[..sequences.start].iter().sum();
        let end: usize = line.lengths[..sequences.end].iter().sum();
        let controls = if is_by_micro_batch {
            // Every scope draws anew.
            controls_of(start..end, ruled.seed.wrapping_add(part_idx as u64))
        } else {
            of_line[start..end].to_vec()
        };
        let found = objective.evaluate_with(
            &line.micro_batch(sequences, start..end),
            &Controls {
                tokens: Some(&controls),
                entropy: line.entropies.map(|entropies| EntropyTerm {
                    coef,
                    entropies: &entropies[start..end],
                }),
            },
        );
        sum.loss += found.loss;
        sum.grad.extend(found.grad);
        if let (Some(sum), Some(found)) = (&mut sum.entropy_grad, found.entropy_grad) {
            sum.extend(found);
        }
        let selected = controls.iter().map(TokenControl::is_selected);
        sum.selected.extend(selected);
        sum.metrics.merge(&found.metrics);
    }
    Ok(sum)
}

impl<'a> Line<'a> {
    fn tokens(&self, tokens: Range<usize>) -> ScopeTokens<'a> {
        ScopeTokens {
            logprobs: &self.logprobs[tokens.clone()],
            old_logprobs: &self.old_logprobs[tokens.clone()],
            advantages: &self.advantages[tokens.clone()],
            loss_mask: &self.loss_mask[tokens.clone()],
            entropies: self.entropies.map(|entropies| &entropies[tokens]),
        }
    }

    fn micro_batch(&self, sequences: Range<usize>, tokens: Range<usize>) -> TokenBatch<'a> {
        let part = |values: &'a [f64]| &values[tokens.clone()];
        TokenBatch {
            lengths: &self.lengths[sequences],
            logprobs: part(self.logprobs),
            old_logprobs: part(self.old_logprobs),
            advantages: part(self.advantages),
            loss_mask: &self.loss_mask[tokens.clone()],
            weights: part(self.weights),
            ref_logprobs: self.ref_logprobs.map(part),
            rollout_logprobs: self.rollout_logprobs.map(part),
        }
    }
}

/// The sequences of each micro-batch.
fn parts(inputs: &Inputs, n_sequences: usize) -> Result<Vec<Range<usize>>, LineError> {
    let counts = inputs.if_given("micro_batches", Inputs::counts)?;
    let counts = counts.unwrap_or(vec![n_sequences]);
    let n_counted: usize = counts.iter().sum();
    if n_counted != n_sequences {
        return Err(LineError::Shape {
            place: "micro_batches, summed,".to_owned(),
            found: n_counted,
            other_place: "logprobs".to_owned(),
            other: n_sequences,
        });
    }
    let mut start = 0;
    let next = |count: usize| {
        let part = start..start + count;
        start = part.end;
        part
    };
    Ok(counts.into_iter().map(next).collect())
}

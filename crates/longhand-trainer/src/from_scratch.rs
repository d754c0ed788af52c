//! A policy with random weights and a tokenizer trained on its task's own texts.

use longhand_config::{Experiment, Family, FromScratch, TokenizerKind};
use longhand_policy::{
    Compute, Initialisation, ModelConfig, Policy, TextTokenizer, train_tokenizer,
};
use longhand_rollout::{Purpose, StreamKey};
use longhand_tasks::{Source, vocabulary_sample};

use crate::error::TrainError;

/// The end token of tokenizers made here.
const END_TOKEN: &str = "<eos>";

/// Trains the tokenizer and draws the weights.
///
/// # Errors
/// When the task cannot be opened or a text cannot be tokenized.
pub fn from_scratch(
    experiment: &Experiment,
    settings: &FromScratch,
    compute: &Compute,
) -> Result<Policy, TrainError> {
    let tokenizer = task_tokenizer(experiment, settings)?;
    let end_id = tokenizer
        .id(END_TOKEN)
        .expect("special tokens are part of every vocabulary");
    let config = ModelConfig {
        family: match settings.family {
            Family::Llama => longhand_policy::Family::Llama,
            Family::Qwen2 => longhand_policy::Family::Qwen2,
            Family::Qwen3 => longhand_policy::Family::Qwen3,
        },
        vocab_size: tokenizer.n_ids(),
        hidden_size: settings.hidden_size,
        intermediate_size: settings.intermediate_size,
        n_layers: settings.n_layers,
        n_heads: settings.n_heads,
        n_kv_heads: settings.n_kv_heads,
        head_dim: settings.head_dim,
        rope_theta: settings.rope_theta,
        rope_scaling: longhand_policy::RopeScaling::Unscaled,
        norm_eps: settings.norm_eps,
        tie_embeddings: settings.tie_embeddings,
        max_positions: settings.max_positions,
        end_ids: vec![end_id],
    };
    let init = Initialisation {
        embedding_std: settings.embedding_std,
        q_norm_gain: settings.q_norm_init.unwrap_or(1.0),
    };
    let key = StreamKey {
        seed: experiment.seed,
        purpose: Purpose::WEIGHTS,
        step: 0,
        problem: 0,
        attempt: 0,
        turn: 0,
    };
    Ok(Policy::from_scratch(
        config,
        tokenizer,
        init,
        &mut key.rng(),
        compute,
    )?)
}

/// The tokenizer alone: special tokens, the marks that the reader's templates use, then what the texts of
/// the experiment's own task call for.
///
/// # Errors
/// When the task cannot be opened.
pub fn task_tokenizer(
    experiment: &Experiment,
    settings: &FromScratch,
) -> Result<TextTokenizer, TrainError> {
    let source = experiment.task.open()?;
    let source: &dyn Source = &*source;
    let mut template_texts = Vec::new();
    experiment.reader.templates.compile(|text| {
        template_texts.push(text.to_string());
        Vec::new()
    });
    let marks = marks(&template_texts.join(" "));
    let mut special = vec!["<pad>", END_TOKEN, "<unk>"];
    special.extend(
        marks
            .iter()
            .map(String::as_str)
            .filter(|mark| !special.contains(mark))
            .collect::<Vec<_>>(),
    );
    let mut texts = template_texts;
    for text in vocabulary_sample(source, experiment.seed, settings.tokenizer.n_samples as u64) {
        texts.push(text?);
    }
    let kind = match settings.tokenizer.kind {
        TokenizerKind::Word => longhand_policy::TokenizerKind::Word,
        TokenizerKind::Bpe => longhand_policy::TokenizerKind::Bpe,
    };
    Ok(train_tokenizer(
        kind,
        texts.into_iter(),
        settings.tokenizer.vocab_size,
        &special,
    )?)
}

/// Marks such as `<q>` that stand in a text, each once, in order.
fn marks(text: &str) -> Vec<String> {
    let mut marks: Vec<String> = Vec::new();
    for candidate in text.split('<').skip(1) {
        let Some((name, _)) = candidate.split_once('>') else {
            continue;
        };
        let is_name = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_/-".contains(c));
        let mark = format!("<{name}>");
        if is_name && !marks.contains(&mark) {
            marks.push(mark);
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::marks;

    #[test]
    fn marks_are_found_once_and_in_order() {
        assert_eq!(
            marks("<q> {question} <c> a < b > c <m> </m> <q>"),
            ["<q>", "<c>", "<m>", "</m>"]
        );
        assert!(marks("no marks, 1 < 2").is_empty());
    }
}

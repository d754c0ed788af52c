//! Files that say what to run: experiments, models, templates.

use std::path::Path;

use longhand_config::{Assumed, Experiment, PolicySource, differences_of_texts};
use longhand_engine::ModelConfig;
use longhand_memory::{Part, TemplateText, TemplatesText, TurnRole};

/// Lines that begin with this, a comment in TOML, are overrides.
const OVERRIDE: &str = "#set ";

/// An experiment file resolves to a file that loads back to the same experiment.
pub(crate) fn experiment(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let overrides = text.lines().filter_map(|line| line.strip_prefix(OVERRIDE));
    let overrides: Vec<String> = overrides.map(str::to_owned).collect();
    let path = Path::new("fuzz.toml");
    let parsed = Experiment::parse(text, path, &overrides);
    let overridden = Experiment::overridden_toml(text, path, &overrides);
    match parsed {
        Ok(experiment) => {
            let overridden = overridden.expect("what was parsed had overrides that apply");
            let again = Experiment::parse(&overridden, path, &[]);
            assert_eq!(again.ok().as_ref(), Some(&experiment), "{overridden}");
            let resolved = experiment.resolved_toml();
            match Experiment::parse(&resolved, path, &[]) {
                Ok(again) => {
                    assert_eq!(again, experiment, "{resolved}");
                    assert_eq!(again.resolved_toml(), resolved);
                }
                Err(error) => panic!("{error}\n{resolved}"),
            }
            let same =
                differences_of_texts(&resolved, &resolved).expect("what was resolved is TOML");
            assert_eq!(same, []);
            check_plan(&experiment);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What a run would cost can be told for every experiment that is accepted.
fn check_plan(experiment: &Experiment) {
    let PolicySource::FromScratch(scratch) = &experiment.policy else {
        return;
    };
    let assumed = Assumed {
        product_bytes: 4,
        reply_share: 1.0,
    };
    let plan = experiment.plan(&scratch.shape(), &assumed);
    assert!(1.0 <= plan.n_parameters && 0.0 <= plan.memory.total());
    let stages = plan.stages.iter().map(|stage| stage.work);
    for work in stages.chain([plan.measurements]) {
        assert!(0.0 <= work.multiply_adds(), "{work:?}");
    }
}

/// A model's `config.json` that is accepted describes a model whose size can be told, and prints as one
/// that reads as the same.
pub(crate) fn model_config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match ModelConfig::from_json(text) {
        Ok(config) => {
            assert_eq!(config.check(), Ok(()));
            assert_ne!(config.n_parameters(), 0);
            let printed = config.to_json();
            assert_eq!(ModelConfig::from_json(&printed), Ok(config), "{printed}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Templates, divided by zero bytes: to read, to answer, the first memory. Their parts print as text that
/// reads as the same parts.
pub(crate) fn templates(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let mut texts = text.splitn(3, '\0');
    let mut next = || texts.next().unwrap_or_default();
    let (read, answer, empty_memory) = (next(), next(), next());
    for (role, text) in [(TurnRole::Read, read), (TurnRole::Answer, answer)] {
        let Ok(template) = TemplateText::parse(role, text) else {
            continue;
        };
        // A template's parts are seen once it is compiled; one id per byte keeps them readable.
        let compiled = template.compile(ids);
        let printed: String = compiled.parts().iter().map(printed).collect();
        assert_eq!(TemplateText::parse(role, &printed), Ok(template));
        let (question, chunk, memory) = ([1; 3], [2; 5], [3; 7]);
        let prompt = compiled.fill(&question, &chunk, &memory);
        assert_eq!(prompt.len(), compiled.filled_length(3, 5, 7));
    }
    if let Ok(templates) = TemplatesText::parse(read, answer, empty_memory) {
        let compiled = templates.compile(ids);
        assert_eq!(compiled.empty_memory, ids(empty_memory));
        let _ = compiled.chunk_before_memory();
    }
}

fn ids(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

fn printed(part: &Part<Vec<u32>>) -> String {
    match part {
        Part::Slot(slot) => format!("{{{slot}}}"),
        Part::Text(ids) => {
            let bytes = ids.iter().map(|id| *id as u8).collect();
            let text = String::from_utf8(bytes).expect("it was compiled from text");
            text.replace('{', "{{").replace('}', "}}")
        }
    }
}

//! An experiment file as serde sees it, section by section, and the table of its keys.

use longhand_tasks::TaskSpec;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{CHECKPOINT, Checkpoint};
use crate::compute::{COMPUTE, ComputeFile};
use crate::data::{DATA, DataFile};
use crate::eval::{EVAL, EvalFile};
use crate::policy::{POLICY, PolicyFile};
use crate::reader::{READER, ReaderFile};
use crate::reward::{REWARD, RewardFile};
use crate::rl::{RL, RlFile};
use crate::schema::{Key, Kind, SEED, Variant, defaults_to, optional, required, section};
use crate::task::TASK;
use crate::warm_start::{WARM_START, WarmStartFile};

/// The keys of a whole file.
pub(crate) static EXPERIMENT: &[Key] = &[
    required(
        "name",
        Kind::Text,
        "name of the experiment; names its run folder",
    ),
    defaults_to(
        "description",
        Kind::Text,
        r#""""#,
        "what it is for, in a sentence",
    ),
    optional(
        "paper",
        Kind::Choice(&[
            "tamtrl", "memagent", "circa", "gdpo", "intuitor", "kl-cov", "stare", "ttrl",
        ]),
        "follows none",
        "the paper whose settings it carries",
    ),
    defaults_to("seed", SEED, "0", "seed of every random stream of training"),
    section(
        "policy",
        POLICY,
        "the model to start from: `path` or `from_scratch`",
    ),
    required("task", Kind::Tagged(TASK), "the task"),
    section("data", DATA, "how problems become documents"),
    section(
        "reader",
        READER,
        "templates, chunks and token budgets of the chunk reader",
    ),
    section("reward", REWARD, "how an answer is scored"),
    required(
        "stage",
        Kind::List(&Kind::Tagged(STAGE)),
        "stages of training, in order",
    ),
    section("eval", EVAL, "what is measured"),
    section("checkpoint", CHECKPOINT, "what is kept"),
    section(
        "compute",
        COMPUTE,
        "which machinery does the arithmetic, with which numbers, on how many threads",
    ),
];

static STAGE: &[Variant] = &[
    Variant {
        name: "warm-start",
        meaning: "supervised imitation of a scripted expert's notes",
        keys: WARM_START,
    },
    Variant {
        name: "rl",
        meaning: "reinforcement learning",
        keys: RL,
    },
];

/// What a complete file says, every default written in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExperimentFile {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) paper: Option<Paper>,
    pub(crate) seed: u64,
    pub(crate) policy: PolicyFile,
    pub(crate) task: TaskSpec,
    pub(crate) data: DataFile,
    pub(crate) reader: ReaderFile,
    pub(crate) reward: RewardFile,
    pub(crate) stage: Vec<StageFile>,
    pub(crate) eval: EvalFile,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) compute: ComputeFile,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub(crate) enum StageFile {
    WarmStart(WarmStartFile),
    Rl(Box<RlFile>),
}

/// The paper whose settings an experiment carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Paper {
    /// TAMTRL, arXiv:2603.21663.
    Tamtrl,
    /// MemAgent, arXiv:2507.02259.
    Memagent,
    /// CIRCA, arXiv:2605.22620.
    Circa,
    /// GDPO, arXiv:2601.05242.
    Gdpo,
    /// Intuitor, arXiv:2505.19590.
    Intuitor,
    /// KL-Cov, arXiv:2505.22617.
    KlCov,
    /// STARE, arXiv:2606.19236.
    Stare,
    /// TTRL, arXiv:2504.16084.
    Ttrl,
}

#[cfg(test)]
mod tests {
    //! The key tables and the serde structs describe the same file, key by key and name by name.

    use std::collections::BTreeSet;

    use super::*;
    use crate::keys::keys;

    /// An experiment with every key given, by its first default or the low end of its range.
    /// Counting `idx` up walks through all variants, choices and combinations of nested ones.
    /// At the path `probe` stands a name that nothing is called.
    fn example(kind: &Kind, path: &str, idx: usize, probe: &str) -> toml::Value {
        if path == probe {
            return "nothing-is-called-this".into();
        }
        match kind {
            Kind::Text => format!("{{question}} {{memory}} {{text}} {path}").into(),
            Kind::Flag => idx.is_multiple_of(2).into(),
            Kind::Integer { low, .. } => (*low).into(),
            Kind::Number(_) => 0.5.into(),
            Kind::NumberOrNone(_) => match idx % 2 {
                0 => 2.5.into(),
                _ => "none".into(),
            },
            Kind::IntegerOrName { low, name, .. } => match idx % 2 {
                0 => (*low).into(),
                _ => (*name).into(),
            },
            Kind::Choice(names) => names[idx % names.len()].into(),
            Kind::Table(keys) | Kind::TextOrTable { keys, .. } => {
                table(keys, path, idx, probe).into()
            }
            Kind::Tagged(variants) => {
                let variant = &variants[idx % variants.len()];
                let path = format!("{path}<{}>", variant.name);
                let mut table = table(variant.keys, &path, idx / variants.len(), probe);
                table.insert("kind".into(), variant.name.into());
                table.into()
            }
            Kind::List(item) => vec![example(item, &format!("{path}.N"), idx, probe)].into(),
            Kind::NamesOrAll { names, name } => match idx % 2 {
                0 => vec![names[idx % names.len()]].into(),
                _ => (*name).into(),
            },
            Kind::FreeTable => toml::Table::from_iter([("any".to_string(), true.into())]).into(),
        }
    }

    fn table(keys: &[Key], path: &str, idx: usize, probe: &str) -> toml::Table {
        let path = |key: &Key| {
            if path.is_empty() {
                key.name.into()
            } else {
                format!("{path}.{}", key.name)
            }
        };
        keys.iter()
            .map(|key| (key.name.into(), example(&key.kind, &path(key), idx, probe)))
            .collect()
    }

    /// 2 stages x 4 credits x 9 rewards x 3 choices, 6 estimators x 3 scales, and 9 tasks x 2 choices, divide this.
    const N_EXAMPLES: usize = 216;

    #[test]
    fn the_structs_take_and_keep_every_key_of_the_tables() {
        for idx in 0..N_EXAMPLES {
            let given = table(EXPERIMENT, "", idx, "none");
            let file: ExperimentFile = serde_path_to_error::deserialize(given.clone())
                .unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(toml::Table::try_from(&file).unwrap(), given);
        }
    }

    #[test]
    fn the_structs_have_no_key_that_the_tables_lack() {
        // A struct with one more field would not load from the tables' keys unless the field is
        // optional; an unknown key makes serde list them all.
        let mut n_tables = 0;
        let listed: BTreeSet<String> = keys().into_iter().map(|key| key.path).collect();
        let parents: BTreeSet<&str> = listed
            .iter()
            .filter_map(|path| path.rsplit_once('.'))
            .map(|(parent, _)| parent)
            .collect();
        for parent in parents {
            let children: BTreeSet<&str> = listed
                .iter()
                .filter_map(|path| path.rsplit_once('.'))
                .filter(|(of, _)| *of == parent)
                .map(|(_, name)| name.split('<').next().unwrap_or(name))
                .filter(|name| *name != "kind" || parent.ends_with("tokenizer"))
                .collect();
            let Some(expected) = fields_in_error(parent) else {
                continue;
            };
            n_tables += 1;
            let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
            // The flat tables of other crates list the keys of all their kinds.
            let foreign = ["estimator<", "policy_loss<"]
                .iter()
                .any(|name| parent.contains(name));
            if foreign {
                assert!(
                    children.is_subset(&expected),
                    "{parent}: {children:?} in {expected:?}"
                );
            } else {
                assert_eq!(children, expected, "{parent}");
            }
        }
        assert_eq!(n_tables, parents_with_keys());
    }

    /// Every table that has keys of its own, the top excepted.
    fn parents_with_keys() -> usize {
        let listed: BTreeSet<String> = keys()
            .into_iter()
            .filter_map(|key| {
                key.path
                    .rsplit_once('.')
                    .map(|(parent, _)| parent.to_string())
            })
            .collect();
        listed.len()
    }

    /// The fields that serde lists when the table at `parent` has an unknown key.
    fn fields_in_error(parent: &str) -> Option<Vec<String>> {
        for idx in 0..N_EXAMPLES {
            let mut file = toml::Value::Table(table(EXPERIMENT, "", idx, "none"));
            let Some(target) = at_path(&mut file, parent) else {
                continue;
            };
            target.insert("nothing-is-called-this".into(), 1.into());
            let error = serde_path_to_error::deserialize::<_, ExperimentFile>(file).unwrap_err();
            let message = error.into_inner().message().to_string();
            assert!(
                message.contains("unknown field `nothing-is-called-this`"),
                "{parent}: {message}"
            );
            return Some(names_in(&message));
        }
        None
    }

    /// The table at a documented path, where this example has that variant.
    fn at_path<'a>(file: &'a mut toml::Value, path: &str) -> Option<&'a mut toml::Table> {
        let mut value = file;
        for segment in path.split('.') {
            let (name, variant) = match segment.split_once('<') {
                Some((name, variant)) => (name, Some(variant.trim_end_matches('>'))),
                None => (segment, None),
            };
            value = match value {
                toml::Value::Array(values) => values.first_mut()?,
                other => other.get_mut(name)?,
            };
            let kind = value.get("kind").and_then(|kind| kind.as_str());
            if variant.is_some() && variant != kind {
                return None;
            }
        }
        value.as_table_mut()
    }

    /// What stands in backticks, the first one (the offender) left out.
    fn names_in(message: &str) -> Vec<String> {
        message
            .split('`')
            .skip(1)
            .step_by(2)
            .skip(1)
            .map(String::from)
            .collect()
    }

    #[test]
    fn the_choices_are_the_names_serde_knows() {
        let mut n_choices = 0;
        for key in keys() {
            // `accepts` reads: one of "a", "b".
            let Some(ours) = key.accepts.strip_prefix("one of ") else {
                continue;
            };
            // Preset names are text to serde; the reader's own tests cover them.
            // So are metrics.
            if ["reader.template.preset", "checkpoint.best_metric"].contains(&key.path.as_str()) {
                continue;
            }
            let ours: Vec<&str> = ours
                .split(", ")
                .map(|name| name.trim_matches('"'))
                .collect();
            let error = (0..N_EXAMPLES).find_map(|idx| {
                let file = table(EXPERIMENT, "", idx, &key.path);
                serde_path_to_error::deserialize::<_, ExperimentFile>(file).err()
            });
            let message = error
                .expect("some example has this key")
                .into_inner()
                .message()
                .to_string();
            assert!(
                message.contains("unknown variant `nothing-is-called-this`"),
                "{}: {message}",
                key.path
            );
            assert_eq!(names_in(&message), ours, "{}", key.path);
            n_choices += 1;
        }
        assert!(20 < n_choices, "{n_choices}");
    }
}

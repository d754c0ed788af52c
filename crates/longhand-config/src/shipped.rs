//! The experiment files that come with the program, embedded in it.

use std::path::Path;

use crate::error::ConfigError;
use crate::experiment::{Experiment, Stage};
use crate::file::Paper;
use crate::policy::PolicySource;

/// One experiment file of `configs/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// The experiment's name, by which the command line knows it: its path with `-` for `/`.
    pub name: &'static str,
    /// Where it lies in the repository.
    pub path: &'static str,
    /// The file, comments included.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal at $path:literal),* $(,)?) => {
        &[$(Shipped {
            name: $name,
            path: concat!("configs/", $path),
            text: include_str!(concat!("../../../configs/", $path)),
        }),*]
    };
}

static SHIPPED: &[Shipped] = shipped![
    "quickstart" at "quickstart.toml",
    "quickstart-memagent" at "quickstart-memagent.toml",
    "quickstart-warm-start" at "quickstart-warm-start.toml",
    "reader-medium" at "reader-medium.toml",
    "smollm2-hotpotqa" at "smollm2-hotpotqa.toml",
    "smollm2-hotpotqa-lora" at "smollm2-hotpotqa-lora.toml",
    "smollm2-gsm8k" at "smollm2-gsm8k.toml",
    "paper-tamtrl" at "paper/tamtrl.toml",
    "paper-memagent" at "paper/memagent.toml",
    "paper-circa-qwen2.5-1.5b" at "paper/circa-qwen2.5-1.5b.toml",
    "paper-circa-qwen2.5-3b" at "paper/circa-qwen2.5-3b.toml",
    "paper-gdpo-qwen2.5-1.5b-gsm8k" at "paper/gdpo-qwen2.5-1.5b-gsm8k.toml",
    "paper-intuitor-qwen2.5-3b" at "paper/intuitor-qwen2.5-3b.toml",
    "paper-intuitor-qwen2.5-7b" at "paper/intuitor-qwen2.5-7b.toml",
    "paper-kl-cov-qwen2.5-7b" at "paper/kl-cov-qwen2.5-7b.toml",
    "paper-kl-cov-qwen2.5-32b" at "paper/kl-cov-qwen2.5-32b.toml",
    "paper-clip-cov-qwen2.5-7b" at "paper/clip-cov-qwen2.5-7b.toml",
    "paper-stare-o1-qwen2.5-math-7b" at "paper/stare-o1-qwen2.5-math-7b.toml",
    "paper-stare-c2-qwen2.5-math-7b" at "paper/stare-c2-qwen2.5-math-7b.toml",
    "paper-ttrl-qwen2.5-math-7b" at "paper/ttrl-qwen2.5-math-7b.toml",
    "rlif-warm-start" at "rlif/warm-start.toml",
    "rlif-grpo" at "rlif/grpo.toml",
    "rlif-dapo" at "rlif/dapo.toml",
    "rlif-grpo-kl-cov" at "rlif/grpo-kl-cov.toml",
    "rlif-grpo-clip-cov" at "rlif/grpo-clip-cov.toml",
    "rlif-grpo-stare-o1" at "rlif/grpo-stare-o1.toml",
    "rlif-grpo-stare-c2" at "rlif/grpo-stare-c2.toml",
    "rlif-grpo-stare-c2-adaptive" at "rlif/grpo-stare-c2-adaptive.toml",
    "rlif-cluster-vote" at "rlif/cluster-vote.toml",
    "rlif-ttrl" at "rlif/ttrl.toml",
    "rlif-intuitor" at "rlif/intuitor.toml",
    "rlif-rent" at "rlif/rent.toml",
    "rlif-raw-sum" at "rlif/raw-sum.toml",
    "rlif-circa-without-kl-cov" at "rlif/circa-without-kl-cov.toml",
    "rlif-circa" at "rlif/circa.toml",
    "smoke-tamtrl" at "smoke/tamtrl.toml",
    "smoke-memagent" at "smoke/memagent.toml",
    "smoke-objectives" at "smoke/objectives.toml",
    "smoke-lora" at "smoke/lora.toml",
    "smoke-rewards" at "smoke/rewards.toml",
];

/// Every experiment file of the repository's `configs/` folder.
pub fn shipped() -> &'static [Shipped] {
    SHIPPED
}

impl Shipped {
    /// The file of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SHIPPED.iter().find(|shipped| shipped.name == name)
    }

    /// The shipped name most like `name`, where one is like it at all.
    pub fn nearest(name: &str) -> Option<&'static str> {
        crate::shape::nearest(name, SHIPPED.iter().map(|shipped| shipped.name))
    }

    /// The experiment, under overrides.
    ///
    /// # Errors
    ///
    /// As [`Experiment::load`]; without overrides there are none.
    pub fn experiment(&self, overrides: &[String]) -> Result<Experiment, ConfigError> {
        Experiment::parse(self.text, Path::new(self.path), overrides)
    }
}

impl Paper {
    /// Its settings as shipped; where it has several models or variants, those of one.
    pub fn shipped(self) -> &'static Shipped {
        let name = match self {
            Self::Tamtrl => "paper-tamtrl",
            Self::Memagent => "paper-memagent",
            Self::Circa => "paper-circa-qwen2.5-3b",
            Self::Gdpo => "paper-gdpo-qwen2.5-1.5b-gsm8k",
            Self::Intuitor => "paper-intuitor-qwen2.5-3b",
            Self::KlCov => "paper-kl-cov-qwen2.5-7b",
            Self::Stare => "paper-stare-o1-qwen2.5-math-7b",
            Self::Ttrl => "paper-ttrl-qwen2.5-math-7b",
        };
        // The test below finds each of them.
        Shipped::find(name).unwrap_or(&SHIPPED[0])
    }

    /// Its name in experiment files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tamtrl => "tamtrl",
            Self::Memagent => "memagent",
            Self::Circa => "circa",
            Self::Gdpo => "gdpo",
            Self::Intuitor => "intuitor",
            Self::KlCov => "kl-cov",
            Self::Stare => "stare",
            Self::Ttrl => "ttrl",
        }
    }
}

impl Experiment {
    /// How large the experiment is, in a line: the policy, and the steps of each stage.
    pub fn rough_size(&self) -> String {
        let policy = match &self.policy {
            PolicySource::Folder(path) => path.display().to_string(),
            PolicySource::FromScratch(scratch) => {
                let n = scratch.n_parameters(scratch.tokenizer.vocab_size);
                format!("{} parameters", rounded(n as f64))
            }
        };
        let stages = self.stages.iter().map(|stage| match stage {
            Stage::WarmStart(stage) => format!("warm start of {} steps", stage.steps),
            Stage::Rl(stage) => {
                let rollouts = stage.problems_per_step as u128 * stage.group_size as u128;
                format!("rl of {} steps x {rollouts} rollouts", stage.steps)
            }
        });
        let mut parts = vec![policy];
        parts.extend(stages);
        parts.push(format!(
            "{} tokens a document",
            rounded(self.data.train_tokens as f64)
        ));
        parts.join(", ")
    }

    /// Keys whose values are paths that start from the working directory, with those paths.
    pub fn relative_paths(&self) -> Vec<(String, String)> {
        let of_place = |(key, value): (String, toml::Value)| {
            let name = key.rsplit('.').next().unwrap_or_default();
            let path = value.as_str()?;
            let is_relative = !Path::new(path).is_absolute();
            let names_file = name == "path" || name.ends_with("_path");
            (names_file && is_relative).then(|| (key, path.to_string()))
        };
        self.flat().into_iter().filter_map(of_place).collect()
    }
}

/// `7.6 G`: a number of up to three digits and a unit.
pub(crate) fn rounded(n: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    for (unit, name) in units {
        // A little below the unit already rounds up to it.
        if 0.9995 * unit <= n {
            let n = n / unit;
            let digits = if n < 9.95 { 1 } else { 0 };
            return format!("{n:.digits$} {name}");
        }
    }
    format!("{n:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_files_are_those_of_the_folder() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut found: Vec<String> = Vec::new();
        for folder in ["configs", "configs/paper", "configs/rlif", "configs/smoke"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.ends_with(".toml") {
                    found.push(format!("{folder}/{name}"));
                }
            }
        }
        let mut embedded: Vec<&str> = shipped().iter().map(|shipped| shipped.path).collect();
        found.sort_unstable();
        embedded.sort_unstable();
        assert_eq!(embedded, found);
        for Shipped { name, path, text } in shipped() {
            assert_eq!(std::fs::read_to_string(root.join(path)).unwrap(), *text);
            let stem = path
                .trim_start_matches("configs/")
                .trim_end_matches(".toml");
            assert_eq!(*name, stem.replace('/', "-"));
        }
    }

    #[test]
    fn every_file_is_known_by_the_name_inside_and_says_what_it_is_for() {
        for shipped in shipped() {
            let experiment = shipped.experiment(&[]).unwrap();
            assert_eq!(experiment.name, shipped.name);
            assert!(!experiment.description.is_empty(), "{}", shipped.name);
            assert_eq!(Shipped::find(shipped.name), Some(shipped));
        }
        assert_eq!(Shipped::find("quickstar"), None);
        assert_eq!(Shipped::nearest("quickstar"), Some("quickstart"));
        assert_eq!(Shipped::nearest("zzz"), None);
        let papers = [
            Paper::Tamtrl,
            Paper::Memagent,
            Paper::Circa,
            Paper::Gdpo,
            Paper::Intuitor,
            Paper::KlCov,
            Paper::Stare,
            Paper::Ttrl,
        ];
        for paper in papers {
            let settings = paper.shipped().experiment(&[]).unwrap();
            assert_eq!(settings.paper, Some(paper));
            // Behind it come the model and the variant, where there are several.
            let start = format!("paper-{}", paper.name());
            assert!(settings.name.starts_with(&start), "{}", settings.name);
        }
        // Each follows one file, and each file that names a paper is the one of that paper.
        let named: Vec<Paper> = shipped()
            .iter()
            .filter(|shipped| shipped.path.starts_with("configs/paper/"))
            .filter_map(|shipped| shipped.experiment(&[]).unwrap().paper)
            .collect();
        assert_eq!(named.len(), papers.len());
        assert!(papers.iter().all(|paper| named.contains(paper)));
    }

    #[test]
    fn sizes_and_paths_are_told() {
        let of = |name: &str| Shipped::find(name).unwrap().experiment(&[]).unwrap();
        assert_eq!(
            of("quickstart").rough_size(),
            "configs/quickstart-policy, rl of 100 steps x 96 rollouts, 192 tokens a document"
        );
        assert_eq!(
            of("quickstart-warm-start").rough_size(),
            "175 k parameters, warm start of 1500 steps, warm start of 60 steps, 192 tokens a document"
        );
        let path = |key: &str, path: &str| (key.to_string(), path.to_string());
        assert_eq!(
            of("paper-memagent").relative_paths(),
            [
                path("policy.path", "Qwen2.5-7B-Instruct"),
                path("task.path", "hotpot_train_v1.1.json"),
                path("task.test_path", "hotpot_dev_distractor_v1.json"),
            ]
        );
        assert_eq!(of("smoke-tamtrl").relative_paths(), []);
    }

    #[test]
    fn numbers_are_rounded_to_a_unit() {
        let check = |n: f64, expected: &str| assert_eq!(rounded(n), expected);
        check(0.0, "0");
        check(192.0, "192");
        check(28_000.0, "28 k");
        check(145_000.0, "145 k");
        check(999_700.0, "1.0 M");
        check(7_615_000_000.0, "7.6 G");
        check(134_500_000.0, "134 M");
    }
}

//! What is measured: the sets, their cases, who takes part in each, and where each printed object holds the figure.

use serde_json::Value;

/// What a case runs. Each phase is timed on its own; a step is all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Generation, scoring and the update of one group.
    Step,
    /// Reading a prompt.
    Prefill,
    /// Log-probabilities of given tokens.
    Score,
    /// Sampling one token after another.
    Decode,
    /// Forward, backward and the update.
    Train,
}

impl Phase {
    /// The phase's name in every program's arguments.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Prefill => "prefill",
            Self::Score => "score",
            Self::Decode => "decode",
            Self::Train => "train",
        }
    }
}

/// A program that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Our own.
    Longhand,
    /// GRPO of the TRL package.
    Trl,
    /// PyTorch with the Llama of the transformers package.
    Torch,
    /// llama.cpp, with the weights of a quantized file.
    LlamaCpp,
}

impl Program {
    /// The name in results and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Longhand => "longhand",
            Self::Trl => "trl",
            Self::Torch => "torch",
            Self::LlamaCpp => "llama.cpp",
        }
    }
}

/// One program at one precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contender {
    /// The program.
    pub program: Program,
    /// The precision as the program names it.
    pub precision: &'static str,
}

/// One shape of one phase, and who runs it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What runs.
    pub phase: Phase,
    /// Sequences at a time; the group's size in a step.
    pub batch: usize,
    /// Tokens of each prompt, or of each sequence where nothing is generated.
    pub prompt: usize,
    /// Tokens generated after each prompt; 0 where nothing is.
    pub completion: usize,
    /// Whether `--quick` runs it.
    pub quick: bool,
    /// Who takes part, ours first.
    pub contenders: Vec<Contender>,
}

impl Case {
    /// The name in results: phase and shape.
    #[must_use]
    pub fn name(&self) -> String {
        let (phase, batch, prompt) = (self.phase.name(), self.batch, self.prompt);
        match self.completion {
            0 => format!("{phase} {batch}x{prompt}"),
            completion => format!("{phase} {batch}x{prompt}+{completion}"),
        }
    }

    /// What its figure counts.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self.phase {
            Phase::Step => "s",
            _ => "tokens/s",
        }
    }
}

/// Cases that share a file of results.
#[derive(Clone, Debug)]
pub struct Set {
    /// The name of the file, without its ending.
    pub name: &'static str,
    /// The cases, in the table's order.
    pub cases: Vec<Case>,
}

const fn of(program: Program, precision: &'static str) -> Contender {
    Contender { program, precision }
}

/// Ours at full precision and at the precision that it chooses for the machine.
const OURS: [Contender; 2] = [of(Program::Longhand, "f32"), of(Program::Longhand, "auto")];
const TORCH: [Contender; 2] = [of(Program::Torch, "f32"), of(Program::Torch, "bf16")];
/// Autocast to bf16 is slower than f32 in a whole step of TRL on a CPU, so its faster form takes part.
const TRL: [Contender; 1] = [of(Program::Trl, "f32")];
const LLAMA_CPP: [Contender; 1] = [of(Program::LlamaCpp, "q4_1")];

fn case(
    phase: Phase,
    [batch, prompt, completion]: [usize; 3],
    quick: bool,
    peers: &[&[Contender]],
) -> Case {
    Case {
        phase,
        batch,
        prompt,
        completion,
        quick,
        contenders: [&OURS]
            .into_iter()
            .flatten()
            .chain(peers.concat().iter())
            .copied()
            .collect(),
    }
}

/// All sets, in the order of measuring.
#[must_use]
pub fn sets() -> Vec<Set> {
    let set = |name, cases| Set { name, cases };
    vec![
        set(
            "step",
            vec![
                case(Phase::Step, [8, 512, 64], true, &[&TRL]),
                // Minutes a step for the peer, and nothing that the shape above does not show.
                case(Phase::Step, [8, 2048, 128], false, &[]),
            ],
        ),
        set(
            "decode",
            vec![
                case(Phase::Decode, [1, 512, 64], true, &[&TORCH, &LLAMA_CPP]),
                case(Phase::Decode, [8, 512, 64], true, &[&TORCH, &LLAMA_CPP]),
                case(Phase::Decode, [32, 512, 64], false, &[&TORCH, &LLAMA_CPP]),
            ],
        ),
        set(
            "forward",
            vec![
                case(Phase::Prefill, [1, 512, 0], true, &[&TORCH, &LLAMA_CPP]),
                case(Phase::Score, [1, 512, 0], true, &[&TORCH]),
            ],
        ),
        set(
            "train",
            vec![case(Phase::Train, [8, 128, 0], true, &[&TORCH])],
        ),
    ]
}

/// The names of all sets.
#[must_use]
pub fn set_names() -> Vec<&'static str> {
    sets().iter().map(|set| set.name).collect()
}

/// The words after the model's path for `contender` in `case`.
#[must_use]
pub fn arguments(case: &Case, contender: &Contender, n_threads: usize, quick: bool) -> Vec<String> {
    let phase = case.phase.name();
    let n_steps = if quick { "1" } else { "2" };
    let [batch, prompt, completion, threads] =
        [case.batch, case.prompt, case.completion, n_threads].map(|number| number.to_string());
    let shape = [
        "--prompt",
        &prompt,
        "--completion",
        &completion,
        "--threads",
        &threads,
    ];
    let precision = ["--precision", contender.precision];
    let own: Vec<&str> = match (contender.program, case.phase) {
        (Program::Longhand, Phase::Step) => [
            &[
                "--phases", phase, "--group", &batch, "--steps", n_steps, "--json",
            ][..],
            &precision,
        ]
        .concat(),
        (Program::Longhand, _) => [
            &["--phases", phase, "--batch", &batch, "--json"][..],
            &precision,
        ]
        .concat(),
        (Program::Trl, _) => [&["--group", &batch, "--steps", n_steps][..], &precision].concat(),
        (Program::Torch, _) => [&[phase, "--batch", &batch][..], &precision].concat(),
        // The precision is that of the file.
        (Program::LlamaCpp, _) => vec![phase, "--batch", &batch],
    };
    own.iter()
        .chain(&shape)
        .map(|word| (*word).to_owned())
        .collect()
}

/// The figure of `case` in what `program` printed: seconds for a step, tokens a second for a phase.
///
/// # Errors
///
/// The object lacks the figure, or it is not a positive number.
pub fn measured(case: &Case, program: Program, printed: &Value) -> Result<f64, String> {
    let key = match (case.phase, program) {
        (Phase::Step, _) => "step_s".to_owned(),
        (phase, Program::Longhand) => format!("{}_tokens_per_s", phase.name()),
        (_, Program::Trl | Program::Torch | Program::LlamaCpp) => "tokens_per_s".to_owned(),
    };
    printed[&key]
        .as_f64()
        .filter(|value| value.is_finite() && 0.0 < *value)
        .ok_or_else(|| format!("printed no positive `{key}`"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_unique_and_ours_takes_part_everywhere() {
        let all: Vec<Case> = sets().into_iter().flat_map(|set| set.cases).collect();
        let names: BTreeSet<String> = all.iter().map(Case::name).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
        for case in &all {
            assert_eq!(case.contenders[..2], OURS, "{}", case.name());
        }
        assert!(names.contains("step 8x512+64") && names.contains("train 8x128"));
    }

    fn check_arguments(set_idx: usize, contender: Contender, expected: &str) {
        let case = &sets()[set_idx].cases[0];
        assert_eq!(arguments(case, &contender, 2, false).join(" "), expected);
    }

    #[test]
    fn each_program_gets_its_own_words() {
        check_arguments(
            0,
            OURS[1],
            "--phases step --group 8 --steps 2 --json --precision auto --prompt 512 --completion 64 --threads 2",
        );
        check_arguments(
            1,
            OURS[0],
            "--phases decode --batch 1 --json --precision f32 --prompt 512 --completion 64 --threads 2",
        );
        check_arguments(
            0,
            TRL[0],
            "--group 8 --steps 2 --precision f32 --prompt 512 --completion 64 --threads 2",
        );
        check_arguments(
            2,
            TORCH[1],
            "prefill --batch 1 --precision bf16 --prompt 512 --completion 0 --threads 2",
        );
        check_arguments(
            2,
            LLAMA_CPP[0],
            "prefill --batch 1 --prompt 512 --completion 0 --threads 2",
        );
    }

    #[test]
    fn the_figure_is_read_from_its_place() {
        let printed = json!({ "step_s": 2.0, "train_tokens_per_s": 3.0, "tokens_per_s": 4.0 });
        let sets = sets();
        let (step, train) = (&sets[0].cases[0], &sets[3].cases[0]);
        assert_eq!(measured(step, Program::Longhand, &printed), Ok(2.0));
        assert_eq!(measured(step, Program::Trl, &printed), Ok(2.0));
        assert_eq!(measured(train, Program::Longhand, &printed), Ok(3.0));
        assert_eq!(measured(train, Program::Torch, &printed), Ok(4.0));
        for broken in [
            json!({}),
            json!({ "step_s": 0.0 }),
            json!({ "step_s": null }),
        ] {
            assert!(
                measured(step, Program::Longhand, &broken).is_err(),
                "{broken}"
            );
        }
    }
}

//! `cargo xtask soak`: a run of many small steps, and whether it needs more memory at its end than early on.
//!
//! What the first steps take is warming up: buffers grow to the largest batch, and allocators keep what they got.
//! So the memory at step 50 is held against the one at the last step, each as the median over the ten steps around
//! it: what leaks grows step by step, what is only noise does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::ci;

/// An experiment file, relative to the repository's root.
const CONFIG: &str = "configs/smoke/tamtrl.toml";
/// Where the run is made, below a folder that git ignores; the last one's makes way.
const RUN: &str = "target/soak";
/// From here on memory may not grow.
const WARM_STEP: usize = 50;
/// Steps over which a median is taken.
const WINDOW: usize = 10;
/// Growth that is let pass, as a share.
const MAX_GROWTH: f64 = 0.03;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Steps of reinforcement learning; at least 100.
    pub n_steps: usize,
    /// A built `longhand` to run instead of the one that cargo builds.
    pub program: Option<PathBuf>,
}

impl Options {
    /// Reads `[--steps N] [--program PATH]`.
    ///
    /// # Errors
    ///
    /// An unknown word, or steps that are too few to say anything.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Options {
            n_steps: 200,
            program: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--steps" => {
                    let steps = words.next().and_then(|number| number.parse().ok());
                    options.n_steps = steps
                        .filter(|steps| 2 * WARM_STEP <= *steps)
                        .ok_or("`--steps` takes a number of at least 100")?;
                }
                "--program" => {
                    let path = words.next().ok_or("`--program` needs a path")?;
                    options.program = Some(PathBuf::from(path));
                }
                unknown => return Err(format!("`soak` has no option `{unknown}`")),
            }
        }
        Ok(options)
    }
}

/// Runs the program and looks at its memory.
///
/// # Errors
///
/// A program that cannot be built or fails, and memory that grew.
pub fn run(root: &Path, options: &Options) -> Result<(), String> {
    let folder = root.join(RUN);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("cannot remove {RUN}: {error}"));
        }
        _ => {}
    }
    let mut command = match &options.program {
        Some(program) => {
            let mut command = Command::new(program);
            command.current_dir(root);
            command
        }
        None => ci::cargo(
            root,
            &[
                "run",
                "--release",
                "--locked",
                "--package",
                "longhand",
                "--",
            ],
        ),
    };
    command.args(["train", CONFIG, "--out", RUN]);
    for set in overrides(options.n_steps) {
        command.args(["--set", &set]);
    }
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
    if !status.success() {
        return Err(format!("the run failed: {status}"));
    }
    let timings = folder.join("timings.jsonl");
    let text = fs::read_to_string(&timings)
        .map_err(|error| format!("cannot read {}: {error}", timings.display()))?;
    let growth = judge(&text, options.n_steps)?;
    for (step, bytes) in &growth.samples {
        println!("step {step:>5}: {:8.2} MiB", bytes / f64::from(1 << 20));
    }
    println!(
        "growth from step {WARM_STEP} on: {:+.2} % (at most {:.0} %)",
        growth.share * 100.0,
        MAX_GROWTH * 100.0
    );
    if MAX_GROWTH < growth.share {
        return Err("the program needs more memory the longer it runs".to_owned());
    }
    Ok(())
}

/// What a long run has besides steps: measurements, checkpoints and several updates a step. Its steps are
/// about alike, so that the largest batch comes early.
fn overrides(n_steps: usize) -> Vec<String> {
    vec![
        format!("stage.1.steps={n_steps}"),
        "stage.1.problems_per_step=64".to_owned(),
        "stage.1.group_size=8".to_owned(),
        "stage.1.generation_batch=256".to_owned(),
        "stage.1.micro_batch_tokens=8192".to_owned(),
        "stage.1.optimizer.lr=1e-4".to_owned(),
        "eval.every=20".to_owned(),
        "checkpoint.every=10".to_owned(),
    ]
}

/// Resident memory on the way.
#[derive(Clone, Debug, PartialEq)]
struct Growth {
    /// Step, and the median of bytes around it.
    samples: Vec<(usize, f64)>,
    /// From the first sample to the last, as a share of the first.
    share: f64,
}

/// Reads the lines of `timings.jsonl`: four samples, or as many quarters of the run as lie behind the warm step.
fn judge(timings: &str, n_steps: usize) -> Result<Growth, String> {
    let mut bytes = Vec::new();
    for line in timings.lines() {
        let line: Value =
            serde_json::from_str(line).map_err(|error| format!("timings.jsonl: {error}"))?;
        if line["stage"] == "rl" {
            let resident = line["resident_bytes"].as_f64();
            bytes.push(resident.ok_or("this system does not say how much memory is resident")?);
        }
    }
    if bytes.len() != n_steps {
        return Err(format!("{} steps of {n_steps} have a line", bytes.len()));
    }
    let span = n_steps - WARM_STEP;
    let samples: Vec<(usize, f64)> = (0..=3)
        .map(|third| WARM_STEP + span * third / 3)
        .map(|step| (step, median_around(&bytes, step)))
        .collect();
    let share = samples[3].1 / samples[0].1 - 1.0;
    Ok(Growth { samples, share })
}

/// The median of the `WINDOW` values around place `step`; at the end, of the last ones.
fn median_around(values: &[f64], step: usize) -> f64 {
    let end = (step + WINDOW / 2).min(values.len());
    let mut window = values[end - WINDOW..end].to_vec();
    window.sort_by(f64::total_cmp);
    (window[WINDOW / 2 - 1] + window[WINDOW / 2]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    /// Lines of a run whose memory is `bytes` of the step, with lines of other kinds between them.
    fn lines(n_steps: usize, bytes: impl Fn(usize) -> f64) -> String {
        let line = |stage: &str, step: usize, bytes: f64| {
            format!("{{\"stage\":\"{stage}\",\"step\":{step},\"resident_bytes\":{bytes}}}\n")
        };
        let mut text = line("warm-start", 0, MIB);
        for step in 0..n_steps {
            text += &line("rl", step, bytes(step));
            if step % 20 == 0 {
                text += &line("eval", step, 900.0 * MIB);
            }
        }
        text
    }

    fn share(n_steps: usize, bytes: impl Fn(usize) -> f64) -> f64 {
        judge(&lines(n_steps, bytes), n_steps).expect("lines").share
    }

    #[test]
    fn what_leaks_is_found_and_what_warms_up_is_not() {
        // A step from 40 to 60 MiB at step 30, and no more.
        assert_eq!(
            share(200, |step| if step < 30 { 40.0 } else { 60.0 } * MIB),
            0.0
        );
        // 20 KiB a step on 60 MiB: 150 steps are 3 MiB and 5 %.
        let leak = share(200, |step| 60.0 * MIB + 20_480.0 * step as f64);
        assert!((0.045..0.055).contains(&leak), "{leak}");
        assert!(MAX_GROWTH < leak);
        // Less is needed at the end.
        assert!(share(200, |step| (100.0 - step as f64 / 10.0) * MIB) < 0.0);
    }

    #[test]
    fn single_steps_that_need_more_say_nothing() {
        let spiky = |step: usize| if [48, 50, 196, 199].contains(&step) { 90.0 } else { 60.0 } * MIB;
        assert_eq!(share(200, spiky), 0.0);
        assert_eq!(
            share(100, |step| if step == 99 { 80.0 } else { 60.0 } * MIB),
            0.0
        );
    }

    #[test]
    fn samples_lie_between_the_warm_step_and_the_last() {
        let growth = judge(&lines(200, |step| step as f64), 200).expect("lines");
        let steps: Vec<usize> = growth.samples.iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, [50, 100, 150, 200]);
        let medians: Vec<f64> = growth.samples.iter().map(|(_, bytes)| *bytes).collect();
        assert_eq!(medians, [49.5, 99.5, 149.5, 194.5]);
    }

    #[test]
    fn lines_that_say_nothing_are_no_good_news() {
        assert!(judge(&lines(199, |_| MIB), 200).is_err());
        assert!(judge("{\"stage\":\"rl\"}\n", 1).is_err_and(|why| why.contains("memory")));
        assert!(judge("{\"stage\":", 1).is_err());
    }

    #[test]
    fn options_are_read() {
        let options = Options::parse(&["--steps", "300", "--program", "p"]);
        let expected = Options {
            n_steps: 300,
            program: Some("p".into()),
        };
        assert_eq!(options, Ok(expected));
        assert!(Options::parse(&["--steps", "99"]).is_err());
        assert!(Options::parse(&["--stepz"]).is_err());
    }
}

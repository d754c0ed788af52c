//! `cargo xtask reproduce`: trains every configuration of a comparison with several seeds and writes a table.
//!
//! A comparison is a folder of `configs/`, each of its files one method; all start from the same policy. Runs that
//! are finished are not made again, so that an interrupted comparison goes on where it was.

mod summary;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use crate::cargo_build;
use summary::Summary;

/// What can be compared: a name, the methods in the order of the table, and a line about it.
const COMPARISONS: &[(&str, &[&str], &str)] = &[(
    "rlif",
    &[
        "grpo",
        "intuitor",
        "rent",
        "ttrl",
        "cluster-vote",
        "raw-sum",
        "circa-without-kl-cov",
        "circa",
        "grpo-kl-cov",
        "grpo-clip-cov",
        "dapo",
        "grpo-stare-o1",
        "grpo-stare-c2",
        "grpo-stare-c2-adaptive",
    ],
    "label-free rewards and entropy control on written-out sums",
)];

/// Where runs and tables go, below a folder that git ignores.
const OUT: &str = "runs/reproduce";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    comparison: &'static str,
    methods: Vec<&'static str>,
    seeds: Vec<u64>,
    /// Runs side by side, each on one core.
    n_jobs: usize,
    /// A built `longhand` to run instead of the one that cargo builds.
    program: Option<PathBuf>,
    /// Overrides of every run.
    sets: Vec<String>,
    /// Where runs and tables go.
    out: String,
}

impl Options {
    /// Reads `NAME [METHOD...] [--seeds 1,2,3] [--jobs N] [--out FOLDER] [--program PATH] [--set KEY=VALUE]...`.
    ///
    /// # Errors
    ///
    /// A comparison, method or option that there is not, and values that cannot be read.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let mut words = words.iter();
        let names = || COMPARISONS.iter().map(|(name, _, _)| *name);
        let known = || names().collect::<Vec<_>>().join(", ");
        let Some(name) = words.next() else {
            return Err(format!("name a comparison: {}", known()));
        };
        let Some((comparison, all, _)) = COMPARISONS.iter().find(|(known, _, _)| known == name)
        else {
            return Err(format!(
                "there is no comparison `{name}`; there is: {}",
                known()
            ));
        };
        let mut options = Self {
            comparison,
            methods: Vec::new(),
            seeds: vec![1, 2, 3],
            n_jobs: std::thread::available_parallelism().map_or(1, usize::from),
            program: None,
            sets: Vec::new(),
            out: OUT.to_owned(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("`{word}` needs a value"));
            match *word {
                "--seeds" => {
                    let seeds = value()?
                        .split(',')
                        .map(str::parse)
                        .collect::<Result<_, _>>();
                    options.seeds = seeds.map_err(|_| "`--seeds` takes numbers, as in 1,2,3")?;
                }
                "--jobs" => {
                    let n = value()?.parse().ok().filter(|n| 0 < *n);
                    options.n_jobs = n.ok_or("`--jobs` takes a number of at least 1")?;
                }
                "--program" => options.program = Some(PathBuf::from(value()?)),
                "--out" => options.out = (*value()?).to_owned(),
                "--set" => options.sets.push((*value()?).to_owned()),
                method => match all.iter().find(|known| **known == method) {
                    Some(method) => options.methods.push(method),
                    None => {
                        let known = all.join(", ");
                        return Err(format!(
                            "`{comparison}` has no method `{method}`; it has: {known}"
                        ));
                    }
                },
            }
        }
        if options.methods.is_empty() {
            options.methods = all.to_vec();
        }
        Ok(options)
    }
}

/// Names of the comparisons.
pub fn names() -> Vec<&'static str> {
    COMPARISONS.iter().map(|(name, _, _)| *name).collect()
}

/// One training of one method.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    method: &'static str,
    seed: u64,
    folder: PathBuf,
}

/// Makes what is missing and writes the table.
///
/// # Errors
///
/// A program that cannot be built, runs that fail, and files that cannot be read or written.
pub fn run(root: &Path, options: &Options) -> Result<(), String> {
    let program = match &options.program {
        Some(program) => program.clone(),
        None => cargo_build::build(root, &["--locked", "--package", "longhand"], "bin")?,
    };
    let out = root.join(&options.out).join(options.comparison);
    fs::create_dir_all(&out)
        .map_err(|error| format!("cannot create {}: {error}", out.display()))?;
    let all: Vec<Run> = options
        .methods
        .iter()
        .flat_map(|method| options.seeds.iter().map(move |seed| (*method, *seed)))
        .map(|(method, seed)| Run {
            method,
            seed,
            folder: out.join(format!("{method}-{seed}")),
        })
        .collect();
    let start = Instant::now();
    let queue = Mutex::new(all.iter());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.n_jobs.min(all.len()) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no run panics").next();
                    let Some(run) = next else { break };
                    let begun = Instant::now();
                    match train(root, &program, options, run) {
                        Ok(Made::Now) => eprintln!(
                            "{}, seed {}: {:.0} s",
                            run.method,
                            run.seed,
                            begun.elapsed().as_secs_f64()
                        ),
                        Ok(Made::Before) => {
                            eprintln!("{}, seed {}: was there", run.method, run.seed);
                        }
                        Err(error) => failures.lock().expect("no run panics").push(error),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no run panics");
    if !failures.is_empty() {
        return Err(failures.join("\n"));
    }
    let mut rows: Vec<(&str, Vec<Summary>)> = Vec::new();
    for method in &options.methods {
        let of_method = all.iter().filter(|run| run.method == *method);
        let summaries = of_method.map(|run| Summary::of(&program, &run.folder));
        rows.push((method, summaries.collect::<Result<_, _>>()?));
    }
    let mut text = table::markdown(&rows);
    text.push_str(&format!(
        "\nRuns: {}, with seeds {}; this call took {:.0} s with {} side by side.\n",
        all.len(),
        options
            .seeds
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        start.elapsed().as_secs_f64(),
        options.n_jobs
    ));
    print!("{text}");
    let file = out.join("table.md");
    fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// When a run was made.
enum Made {
    Now,
    Before,
}

/// Trains, resumes, or finds the run finished.
fn train(root: &Path, program: &Path, options: &Options, run: &Run) -> Result<Made, String> {
    if run.folder.join("checkpoints/final").is_dir() {
        return Ok(Made::Before);
    }
    let mut command = Command::new(program);
    command.current_dir(root).arg("train");
    if run.folder.join("metrics.jsonl").is_file() {
        command.arg("--resume").arg(&run.folder);
    } else {
        command.arg(format!(
            "configs/{}/{}.toml",
            options.comparison, run.method
        ));
        command.arg("--out").arg(&run.folder);
        command.args(["--set", &format!("seed={}", run.seed)]);
        command.args(["--set", "compute.threads=1"]);
        for set in &options.sets {
            command.args(["--set", set]);
        }
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(Made::Now);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().take(3).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(format!(
        "{}, seed {}: {}\n{}",
        run.method,
        run.seed,
        output.status,
        last.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_a_file_and_every_file_a_method() {
        let root = crate::repository_root();
        for (comparison, methods, _) in COMPARISONS {
            let mut found: Vec<String> = fs::read_dir(root.join("configs").join(comparison))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
                .filter(|name| name != "warm-start")
                .collect();
            let mut methods = methods.to_vec();
            found.sort_unstable();
            methods.sort_unstable();
            assert_eq!(found, methods);
        }
    }

    #[test]
    fn words_are_options() {
        let options = Options::parse(&["rlif"]).unwrap();
        assert_eq!((options.comparison, options.methods.len()), ("rlif", 14));
        assert_eq!(options.seeds, [1, 2, 3]);
        let words = [
            "rlif", "circa", "--seeds", "4,5", "--jobs", "1", "grpo", "--set", "a=b",
        ];
        let options = Options::parse(&words).unwrap();
        assert_eq!(options.methods, ["circa", "grpo"]);
        assert_eq!((options.seeds, options.n_jobs), (vec![4, 5], 1));
        assert_eq!(options.sets, ["a=b"]);
        for (words, part) in [
            (&[][..], "name a comparison: rlif"),
            (&["papers"], "no comparison `papers`"),
            (&["rlif", "sarsa"], "no method `sarsa`"),
            (&["rlif", "--seeds", "one"], "1,2,3"),
            (&["rlif", "--seeds"], "needs a value"),
            (&["rlif", "--jobs", "0"], "at least 1"),
        ] {
            let error = Options::parse(words).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}

//! `cargo xtask bench`: measures the program, alone or turn by turn with what others use, and keeps the numbers.
//!
//! Each set of cases becomes `benches/results/SET.json` with every repetition as it was printed, and all sets
//! together become the tables of `benches/results/README.md`. Numbers of one machine say nothing about another's, so
//! a result is held only against the last one of the same machine. Nothing here asserts a time.
//!
//! Knows nothing of how anything is computed: it starts processes that print one JSON object each.

pub mod cases;
pub mod machine;
pub mod model;
pub mod options;
pub mod peers;
pub mod record;
pub mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use cases::{Case, Contender, Program};
use machine::Machine;
use options::Options;
use peers::Peers;
use record::{Row, SetRecord};

/// Where kept results lie, from the repository's root.
pub const RESULTS: &str = "benches/results";
/// Where `--quick` puts its results: below a folder that git ignores.
pub const QUICK_RESULTS: &str = "target/bench";

/// Measures what `options` ask for and writes the results.
///
/// # Errors
///
/// The model or a result cannot be written, or our own program failed in a case; a peer that fails is a line in the
/// table instead.
pub fn run(root: &Path, options: &Options) -> Result<(), String> {
    let machine = Machine::here(options.n_threads);
    build(root, options)?;
    let model = model::prepare(root)?;
    let peers = if options.peers {
        Peers::prepare(root)
    } else {
        Peers::none()
    };
    let kept = root.join(RESULTS);
    let folder = root.join(if options.quick {
        QUICK_RESULTS
    } else {
        RESULTS
    });
    fs::create_dir_all(&folder)
        .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;

    let mut failures = Vec::new();
    for set in cases::sets()
        .into_iter()
        .filter(|set| options.includes(set.name))
    {
        // A run of ours alone must not take away what was measured side by side.
        let name = format!("{}{}", set.name, if options.peers { "-peers" } else { "" });
        let previous = record::read(&kept.join(format!("{name}.json")))?;
        let mut rows = Vec::new();
        for case in set.cases.iter().filter(|case| !options.quick || case.quick) {
            rows.extend(measure(root, options, &model, &peers, case));
        }
        failures.extend(
            rows.iter()
                .filter(|row| row.program == Program::Longhand.name())
                .filter_map(|row| Some(format!("{}: {}", row.case, row.missing.as_ref()?))),
        );
        let record = SetRecord {
            set: name.clone(),
            date: machine::utc_now(),
            commit: machine::commit(root),
            machine: machine.clone(),
            n_repetitions: options.n_repetitions,
            rows,
        };
        let document = record.to_json(previous.as_ref());
        record::write(&folder.join(format!("{name}.json")), &document)?;
    }
    let page = table::page(&record::read_all(&folder)?);
    let path = folder.join("README.md");
    fs::write(&path, &page).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    print!("{page}");
    match failures.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(format!(
            "{} measurements of our own failed, first {first}",
            failures.len()
        )),
    }
}

/// The rows of one case. Programs take turns, repetition by repetition, so that what else the machine does meets
/// all of them alike; one that fails is not started again.
fn measure(root: &Path, options: &Options, model: &Path, peers: &Peers, case: &Case) -> Vec<Row> {
    let contenders: Vec<&Contender> = case
        .contenders
        .iter()
        .filter(|contender| options.peers || contender.program == Program::Longhand)
        .collect();
    let mut rows: Vec<Row> = contenders
        .iter()
        .map(|contender| Row::new(case, contender))
        .collect();
    for repetition in 0..options.n_repetitions {
        for (row, contender) in rows.iter_mut().zip(&contenders) {
            if row.missing.is_some() {
                continue;
            }
            let load = machine::load();
            let printed = command(root, options, model, peers, case, contender)
                .and_then(|mut command| one_object(&mut command))
                .and_then(|object| {
                    let value = cases::measured(case, contender.program, &object)?;
                    Ok((value, object))
                });
            match printed {
                Ok((value, object)) => {
                    eprintln!(
                        "{} {} {} {}/{}: {value:.4} {}",
                        case.name(),
                        row.program,
                        row.precision,
                        repetition + 1,
                        options.n_repetitions,
                        case.unit()
                    );
                    row.values.push(value);
                    row.raw
                        .push(json!({ "load_before": load, "printed": object }));
                }
                Err(reason) => {
                    eprintln!(
                        "{} {} {}: {reason}",
                        case.name(),
                        row.program,
                        row.precision
                    );
                    row.missing = Some(reason);
                }
            }
        }
    }
    rows
}

/// The process of one repetition, or why there is none.
fn command(
    root: &Path,
    options: &Options,
    model: &Path,
    peers: &Peers,
    case: &Case,
    contender: &Contender,
) -> Result<Command, String> {
    let mut command = match contender.program {
        Program::Longhand => own_program(root, options.program.as_deref()),
        Program::Trl | Program::Torch => peers.python(root, contender.program)?,
        Program::LlamaCpp => peers.node(root)?,
    };
    let model: PathBuf = match contender.program {
        Program::LlamaCpp => peers.quantized_model()?,
        Program::Longhand | Program::Trl | Program::Torch => model.to_owned(),
    };
    if contender.program == Program::Longhand {
        command.arg("bench");
    }
    command.arg(model).args(cases::arguments(
        case,
        contender,
        options.n_threads,
        options.quick,
    ));
    Ok(command)
}

/// Has cargo build the program, with its progress on the screen: a measurement hides what it prints.
fn build(root: &Path, options: &Options) -> Result<(), String> {
    if options.program.is_some() {
        return Ok(());
    }
    let status = own_program(root, None)
        .arg("--help")
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`longhand` cannot be built and started: {status}"))
    }
}

/// `longhand`, built by cargo where no program is named.
fn own_program(root: &Path, program: Option<&Path>) -> Command {
    let Some(program) = program else {
        return crate::ci::cargo(
            root,
            &[
                "run",
                "--release",
                "--locked",
                "--package",
                "longhand",
                "--",
            ],
        );
    };
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}

/// Runs `command` and reads the JSON object in the last line that it prints.
fn one_object(command: &mut Command) -> Result<Value, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}", output.status, last_line(&complaint)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // What is kept says nothing of where the repository lies.
    let text = match command.get_current_dir() {
        Some(root) => text.replace(&format!("{}/", root.display()), ""),
        None => text.into_owned(),
    };
    serde_json::from_str(last_line(&text))
        .map_err(|error| format!("printed no JSON object: {error}"))
}

/// The last line of `text` that holds anything, or an empty one.
fn last_line(text: &str) -> &str {
    text.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that plays a program: prints noise, then one object, or fails.
    fn shell(script: &str) -> Result<Value, String> {
        one_object(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn the_last_line_is_the_result_and_a_failure_says_why() {
        assert_eq!(
            shell("echo warming up; echo '{\"step_s\": 2.5}'; echo"),
            Ok(json!({ "step_s": 2.5 }))
        );
        assert!(shell("echo no result").is_err());
        let complaint = shell("echo first >&2; echo 'torch is missing' >&2; exit 3");
        assert!(
            complaint.is_err_and(|reason| reason.ends_with("torch is missing")),
            "the last line of a complaint is its reason"
        );
    }

    /// A program that prints what `longhand bench` prints, with figures of its own.
    const FAKE: &str = r#"#!/bin/sh
echo '{"model":"m","steps":[{"step_s":3.0},{"step_s":2.0}],"step_s":2.5,"prefill_tokens_per_s":900.0,
"score_tokens_per_s":800.0,"decode_tokens_per_s":70.0,"train_tokens_per_s":400.0,"peak_rss_bytes":1000000}' | tr -d '\n'
"#;

    #[test]
    fn our_program_is_measured_in_every_case_and_a_broken_one_is_reported() {
        let folder = tempfolder("fake");
        let options = Options {
            n_repetitions: 2,
            n_threads: 1,
            program: Some(PathBuf::from("sh")),
            ..Options::default()
        };
        let script = folder.join("fake.sh");
        fs::write(&script, FAKE).expect("script");
        for set in cases::sets() {
            for case in &set.cases {
                // `sh bench MODEL …`: the script stands in the place of the word `bench`.
                fs::copy(&script, folder.join("bench")).expect("copy");
                let rows = measure(&folder, &options, Path::new("model"), &Peers::none(), case);
                assert_eq!(rows.len(), 2, "f32 and auto of {}", case.name());
                for row in &rows {
                    assert_eq!((row.values.len(), &row.missing), (2, &None));
                }
                fs::write(folder.join("bench"), "echo no such phase >&2; exit 2").expect("broken");
                let rows = measure(&folder, &options, Path::new("model"), &Peers::none(), case);
                assert!(
                    rows.iter()
                        .all(|row| row.values.is_empty() && row.missing.is_some())
                );
            }
        }
        fs::remove_dir_all(&folder).expect("remove");
    }

    fn tempfolder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("longhand-bench-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        folder
    }
}

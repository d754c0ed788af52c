//! `cargo xtask COMMAND`: reads the arguments, runs the chore, and turns its result into an exit code.
//!
//! 0: done. 1: the chore found something or failed. 2: a command that does not exist.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = xtask::repository_root();
    let outcome = match args.as_slice() {
        ["tidy"] => xtask::tidy::run(&root),
        ["ci", steps @ ..] => match xtask::ci::select(steps) {
            Ok(steps) => xtask::ci::run(&root, &steps),
            Err(unknown) => return usage(&unknown),
        },
        ["bench", words @ ..] => match xtask::bench::options::Options::parse(words) {
            Ok(options) => xtask::bench::run(&root, &options),
            Err(problem) => return usage(&problem),
        },
        ["fuzz", words @ ..] => match xtask::fuzz::Options::parse(words) {
            Ok(options) => xtask::fuzz::run(&root, &options),
            Err(problem) => return usage(&problem),
        },
        ["soak", words @ ..] => match xtask::soak::Options::parse(words) {
            Ok(options) => xtask::soak::run(&root, &options),
            Err(problem) => return usage(&problem),
        },
        ["compare-transformers", words @ ..] => match xtask::compare::Options::parse(words) {
            Ok(options) => xtask::compare::run(&root, &options),
            Err(problem) => return usage(&problem),
        },
        ["reproduce", words @ ..] => match xtask::reproduce::Options::parse(words) {
            Ok(options) => xtask::reproduce::run(&root, &options),
            Err(problem) => return usage(&problem),
        },
        ["fetch", name] => xtask::fetch::run(&root, name),
        ["fetch"] => {
            return usage(&format!("name a model: {}", xtask::fetch::names()));
        }
        ["sanitize"] => xtask::sanitize::run(&root),
        ["help" | "--help" | "-h"] => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        [] => return usage("no command given"),
        [command, ..] => {
            return usage(&format!(
                "cannot run `{command}` with {} arguments",
                args.len() - 1
            ));
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn usage(problem: &str) -> ExitCode {
    eprint!("xtask: {problem}\n\n{}", help());
    ExitCode::from(2)
}

fn help() -> String {
    let mut text = String::from("usage: cargo xtask COMMAND\n\n");
    for (name, line) in xtask::COMMANDS {
        text.push_str(&format!("  {name:<20} {line}\n"));
    }
    text.push_str(&format!(
        "\nsteps of the gate: {}\nsets of measurements: {}\ncomparisons: {}\n",
        xtask::ci::step_names().join(" "),
        xtask::bench::cases::set_names().join(" "),
        xtask::reproduce::names().join(" ")
    ));
    text
}

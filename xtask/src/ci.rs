//! `cargo xtask ci`: the gate, step by step with timings. `.ci/run` and the GitHub workflow call it,
//! so the list below is the only one.
//!
//! Cheap failures come first. Everything stays in the dev profile: a second profile would build
//! burn a second time.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::readme;

/// One step of the gate.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The name by which `cargo xtask ci NAME` runs this step alone.
    pub name: &'static str,
    action: Action,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// A cargo command.
    Cargo(&'static [&'static str]),
    /// The house rules.
    Tidy,
    /// A tiny run of every experiment in `configs/smoke` through the command line.
    Smoke,
    /// burn's wgpu backend against the CPU engine, on any Vulkan driver.
    WgpuTest,
}

/// The gate. `--locked` because a lock file that does not match the manifests is a defect as well.
const STEPS: &[Step] = &[
    Step {
        name: "format",
        action: Action::Cargo(&["fmt", "--all", "--check"]),
    },
    Step {
        name: "tidy",
        action: Action::Tidy,
    },
    // Layers, map, pages and experiment files, before anything that needs burn.
    Step {
        name: "layers",
        action: Action::Cargo(&["test", "--locked", "--package", "longhand-tests"]),
    },
    Step {
        name: "test",
        action: Action::Cargo(&["test", "--locked", "--workspace"]),
    },
    // Asking for tests as well keeps cargo's choice of features the same as in the step before:
    // only the program is linked, and burn is not built again.
    Step {
        name: "build",
        action: Action::Cargo(&["build", "--locked", "--workspace", "--tests", "--bins"]),
    },
    Step {
        name: "smoke",
        action: Action::Smoke,
    },
    Step {
        name: "clippy",
        action: Action::Cargo(&[
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]),
    },
    Step {
        name: "cuda",
        action: Action::Cargo(&[
            "check",
            "--locked",
            "--package",
            "longhand",
            "--features",
            "cuda",
        ]),
    },
    Step {
        name: "wgpu",
        action: Action::Cargo(&[
            "check",
            "--locked",
            "--package",
            "longhand",
            "--features",
            "wgpu",
        ]),
    },
    Step {
        name: "hub",
        action: Action::Cargo(&[
            "test",
            "--locked",
            "--package",
            "longhand-hub",
            "--features",
            "hub",
        ]),
    },
];

/// Steps that are run only when they are named: what they need is not on every machine, or takes long to
/// build. The GitHub workflow gives each a job of its own.
const EXTRA_STEPS: &[Step] = &[Step {
    name: "wgpu-test",
    action: Action::WgpuTest,
}];

/// The names of all steps, in order.
#[must_use]
pub fn step_names() -> Vec<&'static str> {
    let all = STEPS.iter().chain(EXTRA_STEPS);
    all.map(|step| step.name).collect()
}

/// The steps called `names`, in the gate's order; all but the extra ones where no name is given.
///
/// # Errors
///
/// A name that no step has.
pub fn select(names: &[&str]) -> Result<Vec<Step>, String> {
    if let Some(unknown) = names.iter().find(|name| !step_names().contains(name)) {
        return Err(format!("the gate has no step `{unknown}`"));
    }
    if names.is_empty() {
        return Ok(STEPS.to_vec());
    }
    let all = STEPS.iter().chain(EXTRA_STEPS);
    Ok(all
        .filter(|step| names.contains(&step.name))
        .copied()
        .collect())
}

/// Runs `steps` up to the first that fails, then prints what each of them took.
///
/// # Errors
///
/// A step failed.
pub fn run(root: &Path, steps: &[Step]) -> Result<(), String> {
    let mut timings: Vec<(&str, Duration)> = Vec::new();
    let mut outcome = Ok(());
    for step in steps {
        eprintln!("\n== {}", step.name);
        let start = Instant::now();
        let result = match step.action {
            Action::Cargo(args) => run_command(&mut cargo(root, args)),
            Action::Tidy => crate::tidy::run(root),
            Action::Smoke => smoke(root),
            Action::WgpuTest => wgpu_test(root),
        };
        timings.push((step.name, start.elapsed()));
        if let Err(message) = result {
            outcome = Err(format!("step `{}` failed: {message}", step.name));
            break;
        }
    }
    eprintln!();
    for (name, taken) in &timings {
        eprintln!("{name:<9} {:>8.1} s", taken.as_secs_f64());
    }
    let total: Duration = timings.iter().map(|(_, taken)| *taken).sum();
    eprintln!("{:<9} {:>8.1} s", "total", total.as_secs_f64());
    outcome
}

/// A cargo command, run in `root`.
pub(crate) fn cargo(root: &Path, args: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(root).args(args);
    // `cargo run` describes xtask's package to xtask; the inner cargo must not pass that on, or
    // build scripts that look at it would run again with every change of the caller.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// Runs `command` with this program's own output.
pub(crate) fn run_command(command: &mut Command) -> Result<(), String> {
    let line = describe(command);
    eprintln!("{line}");
    let status = command
        .status()
        .map_err(|error| format!("cannot start `{line}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}`: {status}"))
    }
}

pub(crate) fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Trains every experiment in `configs/smoke` with the program that the step `build` linked, and
/// asks it for help on every sub-command that the newcomer's page names.
fn smoke(root: &Path) -> Result<(), String> {
    let program = program_path()?;
    let configs = smoke_configs(root)?;
    let page = fs::read_to_string(root.join(readme::PATH))
        .map_err(|error| format!("{}: {error}", readme::PATH))?;
    for line in readme::commands(&page) {
        if let Some([subcommand, ..]) = line.longhand_args() {
            let help = Command::new(&program)
                .current_dir(root)
                .args([subcommand.as_str(), "--help"])
                .output();
            let help =
                help.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
            if !help.status.success() {
                return Err(format!(
                    "{}:{}: `longhand {subcommand}` does not exist",
                    readme::PATH,
                    line.line
                ));
            }
        }
    }

    let folder = std::env::temp_dir().join(format!("longhand-smoke-{}", std::process::id()));
    fs::create_dir_all(&folder)
        .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    for config in &configs {
        // Each run gets a folder that does not exist yet: a run never writes over another.
        let out = folder.join(config.file_stem().unwrap_or_default());
        let mut train = Command::new(&program);
        train
            .current_dir(root)
            .arg("train")
            .arg(config)
            .arg("--out")
            .arg(&out);
        run_command(&mut train)?;
        check_run(&out)
            .map_err(|problem| format!("{}: {problem}; see {}", config.display(), out.display()))?;
    }
    fs::remove_dir_all(&folder)
        .map_err(|error| format!("cannot remove {}: {error}", folder.display()))
}

/// Where Vulkan's loader looks for drivers.
const VULKAN_DRIVERS: [&str; 4] = [
    "/etc/vulkan/icd.d",
    "/usr/share/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/usr/local/etc/vulkan/icd.d",
];

/// Builds the policy's tests for wgpu and runs the few that compare it with the CPU engine. Mesa's
/// software driver will do, and is installed where there is none; where that is not possible either, the
/// tests are only built.
fn wgpu_test(root: &Path) -> Result<(), String> {
    let mut test = cargo(
        root,
        &[
            "test",
            "--locked",
            "--package",
            "longhand-policy",
            "--no-default-features",
            "--features",
            "wgpu",
            "--test",
            "policy",
        ],
    );
    // The backend's generic code ends up in our crate: optimising it takes five minutes, and the tests
    // spend their time in the driver. What we depend on is optimised as ever.
    test.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        test.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    let is_there = || has_vulkan_driver(&VULKAN_DRIVERS.map(Path::new));
    if is_there() || (install_vulkan_driver() && is_there()) {
        test.arg("on_device");
    } else {
        eprintln!("no Vulkan driver is here, nor can one be installed: the run is skipped");
        test.arg("--no-run");
    }
    run_command(&mut test)
}

/// Whether one of these folders, or the environment, names a driver.
fn has_vulkan_driver(folders: &[&Path]) -> bool {
    let names_driver = |folder: &&Path| {
        fs::read_dir(folder).is_ok_and(|entries| {
            let mut paths = entries.flatten().map(|entry| entry.path());
            paths.any(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "json")
            })
        })
    };
    ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
        || folders.iter().any(names_driver)
}

/// Mesa's driver and Vulkan's loader, where packages are Debian's and we may install them.
fn install_vulkan_driver() -> bool {
    let install = ["install", "-y", "mesa-vulkan-drivers", "libvulkan1"];
    let as_whom: [&[&str]; 2] = [&["apt-get"], &["sudo", "-n", "apt-get"]];
    as_whom.iter().any(|apt| {
        let run = |args: &[&str]| {
            let mut command = Command::new(apt[0]);
            run_command(command.args(&apt[1..]).args(args)).is_ok()
        };
        run(&["update"]) && run(&install)
    })
}

/// The dev-profile program, beside this one.
fn program_path() -> Result<PathBuf, String> {
    let own = std::env::current_exe()
        .map_err(|error| format!("cannot find the folder of builds: {error}"))?;
    let program = own.with_file_name(format!("longhand{}", std::env::consts::EXE_SUFFIX));
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!(
            "{} is missing; the step `build` makes it",
            program.display()
        ))
    }
}

/// The smoke experiments, relative to `root` and sorted.
fn smoke_configs(root: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = Path::new("configs").join("smoke");
    let entries = fs::read_dir(root.join(&folder))
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut configs = Vec::new();
    for entry in entries {
        let name = entry
            .map_err(|error| format!("{}: {error}", folder.display()))?
            .file_name();
        if Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            configs.push(folder.join(name));
        }
    }
    configs.sort();
    // A gate that trains nothing would pass whatever the trainer does.
    if configs.is_empty() {
        Err(format!("no experiment in {}", folder.display()))
    } else {
        Ok(configs)
    }
}

/// A finished run has metrics, one JSON object a line, and a checkpoint with its tokenizer.
fn check_run(out: &Path) -> Result<(), String> {
    let path = out.join("metrics.jsonl");
    let metrics =
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if metrics.is_empty() {
        return Err("metrics.jsonl is empty".to_owned());
    }
    if let Some(idx) = metrics
        .lines()
        .position(|line| !(line.starts_with('{') && line.ends_with('}')))
    {
        return Err(format!(
            "line {} of metrics.jsonl is no JSON object",
            idx + 1
        ));
    }
    let checkpoints = checkpoints(out).map_err(|error| format!("{}: {error}", out.display()))?;
    if checkpoints.is_empty() {
        let layouts = LAYOUTS.map(|layout| layout.join(", "));
        return Err(format!(
            "no folder holds a checkpoint: {}",
            layouts.join("; or ")
        ));
    }
    Ok(())
}

/// Files of a whole model in Hugging Face layout, and of an adapter in PEFT's.
const LAYOUTS: [&[&str]; 2] = [
    &["model.safetensors", "config.json", "tokenizer.json"],
    &["adapter_model.safetensors", "adapter_config.json"],
];

/// Folders under `folder` that hold a whole checkpoint in one of the [`LAYOUTS`].
fn checkpoints(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let holds = |layout: &&[&str]| layout.iter().all(|name| folder.join(name).is_file());
    if LAYOUTS.iter().any(holds) {
        found.push(folder.to_owned());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(checkpoints(&entry.path())?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a run folder of the given files, and removes it when the test ends.
    struct RunFolder(PathBuf);

    impl RunFolder {
        fn with(test: &str, files: &[(&str, &str)]) -> Self {
            let folder =
                std::env::temp_dir().join(format!("longhand-xtask-{test}-{}", std::process::id()));
            for (path, text) in files {
                let path = folder.join(path);
                fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folder");
                fs::write(path, text).expect("file");
            }
            Self(folder)
        }
    }

    impl Drop for RunFolder {
        fn drop(&mut self) {
            // Nothing to do if this fails: the system clears its temporary folder.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const CHECKPOINT: [(&str, &str); 3] = [
        ("final/model.safetensors", "x"),
        ("final/config.json", "{}"),
        ("final/tokenizer.json", "{}"),
    ];

    #[test]
    fn a_whole_run_passes() {
        let mut files = vec![("metrics.jsonl", "{\"step\": 0}\n{\"step\": 1}\n")];
        files.extend(CHECKPOINT);
        assert_eq!(check_run(&RunFolder::with("whole", &files).0), Ok(()));
    }

    #[test]
    fn a_run_of_an_adapter_passes_when_the_adapter_is_whole() {
        let run = |name: &str, files: &[&str]| {
            let mut all = vec![("metrics.jsonl", "{\"step\": 0}\n")];
            all.extend(files.iter().map(|file| (*file, "x")));
            check_run(&RunFolder::with(name, &all).0)
        };
        let (weights, settings) = (
            "final/adapter_model.safetensors",
            "final/adapter_config.json",
        );
        assert_eq!(run("adapter", &[weights, settings]), Ok(()));
        assert!(
            run("half", &[weights])
                .unwrap_err()
                .contains("adapter_config.json")
        );
    }

    #[test]
    fn a_run_without_metrics_or_checkpoint_fails() {
        for (name, metrics) in [
            ("empty", ""),
            ("torn", "{\"step\": 0}\n{\"st\n"),
            ("text", "step 0\n"),
        ] {
            let mut files = vec![("metrics.jsonl", metrics)];
            files.extend(CHECKPOINT);
            assert!(
                check_run(&RunFolder::with(name, &files).0).is_err(),
                "{name}"
            );
        }
        assert!(check_run(&RunFolder::with("none", &CHECKPOINT).0).is_err());
        for missing in 0..CHECKPOINT.len() {
            let mut files = vec![("metrics.jsonl", "{\"step\": 0}\n")];
            files.extend(
                CHECKPOINT
                    .iter()
                    .enumerate()
                    .filter(|(idx, _)| *idx != missing)
                    .map(|(_, file)| *file),
            );
            assert!(
                check_run(&RunFolder::with(&format!("part{missing}"), &files).0).is_err(),
                "{missing}"
            );
        }
    }

    #[test]
    fn a_vulkan_driver_is_a_manifest_in_one_of_the_folders() {
        // Where the environment names a driver there always is one.
        if has_vulkan_driver(&[]) {
            return;
        }
        let with = RunFolder::with("driver", &[("lvp_icd.json", "{}")]);
        let without = RunFolder::with("no-driver", &[("README", "no driver")]);
        assert!(!has_vulkan_driver(&[&without.0, Path::new("missing")]));
        assert!(has_vulkan_driver(&[&without.0, &with.0]));
    }

    #[test]
    fn steps_are_chosen_by_name_in_the_gates_order() {
        let names = |steps: Vec<Step>| steps.iter().map(|step| step.name).collect::<Vec<_>>();
        let extra: Vec<_> = EXTRA_STEPS.iter().map(|step| step.name).collect();
        let by_default: Vec<_> = step_names()
            .into_iter()
            .filter(|name| !extra.contains(name))
            .collect();
        assert_eq!(select(&[]).map(names), Ok(by_default));
        assert_eq!(select(&["wgpu-test"]).map(names), Ok(vec!["wgpu-test"]));
        assert_eq!(
            select(&["clippy", "tidy"]).map(names),
            Ok(vec!["tidy", "clippy"])
        );
        assert!(select(&["tidy", "tydi"]).is_err());
    }
}

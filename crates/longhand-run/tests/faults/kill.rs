//! A run that is killed again and again, also while it writes a checkpoint, ends as one that never was.
//!
//! The run is this test's own program, started with a folder in its environment: a few lines of a
//! computation whose state is a number, so that a lost or a repeated step would change all that
//! follow. It reports what it has finished, and all of that must be found afterwards.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use longhand_run::{RunDir, verify_checkpoint};
use serde_json::json;

use crate::names_in;

/// Names the run's folder to the program that is to be killed.
const FOLDER: &str = "LONGHAND_RUN_TEST_FOLDER";
const N_STEPS: u64 = 150;
const SAVE_EVERY: u64 = 3;
const N_KILLS: u64 = 50;

/// One step of the computation.
fn next(state: u64) -> u64 {
    state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}

/// Tells the watching process; `print!` would be kept back by the tests' own output.
fn say(what: &str) {
    if std::env::var_os(FOLDER).is_some() {
        // Whoever watched may have gone.
        let _ = writeln!(io::stdout(), "\n@{what}");
    }
}

/// Goes on with the run in `folder`, or begins it, to the last step.
fn work(folder: &Path) {
    let begun = RunDir::is_run(folder);
    let run = if begun {
        RunDir::open_to_write(folder).expect("nobody holds it")
    } else {
        let run = RunDir::create(folder).expect("made");
        run.write_config("seed = 1\n").expect("written");
        run
    };
    let restored = run.newest_whole_checkpoint::<(u64, u64)>().expect("whole");
    let ((first, mut state), ends) = restored.map_or(((0, 1), (0, 0)), |restored| {
        assert_eq!(restored.damaged, []);
        let state = restored.state;
        (state.body, (state.metrics_bytes, state.timings_bytes))
    });
    let (mut lines, _) = run.resume_lines(ends.0, ends.1).expect("resumed");
    say("begun");
    for step in first..N_STEPS {
        state = next(state);
        lines
            .metrics(&json!({"step": step, "state": state}))
            .expect("appended");
        // As long as the process's own number: other lengths in every attempt.
        let note = "x".repeat(std::process::id() as usize % 7);
        lines
            .timings(&json!({"step": step, "note": note}))
            .expect("appended");
        run.write_transcripts("rl", step, &[]).expect("written");
        if (step + 1) % SAVE_EVERY == 0 {
            let name = format!("rl-{step:06}");
            run.save_checkpoint(&name, &(step + 1, state), &lines, |place| {
                let half = state.to_le_bytes().repeat(4096);
                fs::write(place.join("model.safetensors"), &half)?;
                say("half");
                fs::write(place.join("optimizer.safetensors"), &half)
            })
            .expect("saved");
            say(&format!("saved {name}"));
            run.prune("rl-", 2).expect("pruned");
        }
    }
    say("done");
}

/// Starts this test again as the run in `folder`.
fn start(folder: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    command.args([
        "--exact",
        "kill::a_run_that_is_killed_again_and_again_ends_as_one_that_was_not",
    ]);
    command.args(["--test-threads", "1"]).env(FOLDER, folder);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
    let stdout = child.stdout.take().expect("a pipe");
    (child, BufReader::new(stdout))
}

/// What the run in `folder` says until it ends.
fn rest(stdout: &mut BufReader<ChildStdout>) -> Vec<String> {
    let lines = stdout.lines().map_while(Result::ok);
    lines
        .filter_map(|line| line.strip_prefix('@').map(str::to_owned))
        .collect()
}

fn read_until(stdout: &mut BufReader<ChildStdout>, said: &str) -> Vec<String> {
    let mut all = Vec::new();
    for line in stdout.lines().map_while(Result::ok) {
        if let Some(line) = line.strip_prefix('@') {
            all.push(line.to_owned());
            if line == said {
                break;
            }
        }
    }
    all
}

/// Everything that was finished before a kill is there, and whole.
fn check_nothing_is_lost(folder: &Path, said: &[String]) {
    let run = RunDir::open(folder).expect("a run");
    let mut saved = said.iter().filter_map(|line| line.strip_prefix("saved "));
    let restored = run.newest_whole_checkpoint::<(u64, u64)>().expect("whole");
    let name = restored.as_ref().map(|restored| restored.name.as_str());
    if let Some(last) = saved.next_back() {
        assert!(Some(last) <= name, "{last} was saved, {name:?} was found");
    }
    for path in run.checkpoints().expect("listed") {
        assert_eq!(verify_checkpoint(&path), Ok(()));
    }
    if let Some(restored) = restored {
        let (lines, _) = run.read_metrics_so_far().expect("readable");
        let n_steps = usize::try_from(restored.state.body.0).expect("small");
        assert!(n_steps <= lines.len(), "lines before a checkpoint are lost");
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_was_not() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        work(Path::new(&folder));
        return;
    }
    let root = tempfile::tempdir().expect("a folder");
    let (killed, whole) = (root.path().join("killed"), root.path().join("whole"));
    let (mut random, mut n_kills, mut n_in_a_save) = (7, 0, 0);
    // How long this machine takes to begin, under its load of now.
    let mut beginning = Duration::from_millis(5);
    for kill in 0..N_KILLS {
        let begun_at = Instant::now();
        let (mut child, mut stdout) = start(&killed);
        let mut said = Vec::new();
        random = next(random);
        let part = (random >> 40) as f64 / (1_u64 << 24) as f64;
        if kill % 3 == 1 {
            // Perhaps before it has opened the run, or while it goes back to a checkpoint.
            thread::sleep(beginning.mul_f64(1.5 * part));
        } else {
            said.extend(read_until(&mut stdout, "begun"));
            beginning = begun_at.elapsed();
            // Looked at without the patience of those who open a run: meanwhile it would come to its end.
            let lock = File::open(killed.join("lock")).expect("readable");
            assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
            let holder = fs::read_to_string(killed.join("lock")).expect("readable");
            assert_eq!(holder.trim_end().parse(), Ok(child.id()));
            // In the middle of the first checkpoint of this attempt or the second, or soon after.
            let on_way_at = Instant::now();
            said.extend(read_until(&mut stdout, "half"));
            let way = on_way_at.elapsed();
            if kill % 2 == 1 {
                said.extend(read_until(&mut stdout, "half"));
            }
            thread::sleep(way.mul_f64(part));
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        said.extend(rest(&mut stdout));
        n_in_a_save += u32::from(said.last().is_some_and(|line| line == "half"));
        check_nothing_is_lost(&killed, &said);
        n_kills = kill + 1;
        if said.last().is_some_and(|line| line == "done") {
            break;
        }
    }
    assert!(15 < n_kills, "the steps are too few for this machine");
    assert!(5 < n_in_a_save, "hardly a kill met a checkpoint");
    let (mut child, mut stdout) = start(&killed);
    assert_eq!(rest(&mut stdout).last().map(String::as_str), Some("done"));
    assert!(child.wait().expect("ended").success());

    work(&whole);
    for name in ["metrics.jsonl", "config.toml"] {
        let text = |run: &Path| fs::read(run.join(name)).expect("readable");
        assert_eq!(text(&killed), text(&whole), "{name}");
    }
    let names = |run: &Path| names_in(&run.join("transcripts"));
    assert_eq!(names(&killed), names(&whole));
    let checkpoints = names_in(&killed.join("checkpoints"));
    assert_eq!(checkpoints, ["latest", "order", "rl-000146", "rl-000149"]);
    let model = |run: &Path| fs::read(run.join("checkpoints/rl-000149/model.safetensors")).ok();
    assert_eq!(model(&killed), model(&whole));
}

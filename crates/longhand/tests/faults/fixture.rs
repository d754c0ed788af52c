//! The built program as a process that can be signalled, and what its runs leave behind.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use longhand_run::{RunDir, verify_checkpoint};
use tempfile::TempDir;

/// A run of a second with everything in it that a resume must keep: a warm start, RL with a KL reference and
/// several updates a step, RL that leaves groups out, measurements between steps and checkpoints after each.
const EVENTFUL: &[&str] = &[
    "checkpoint.every=1",
    "checkpoint.best_metric=\"accuracy\"",
    "eval.every=2",
    "eval.n_documents=3",
    "stage.0.steps=5",
    "stage.1.steps=3",
    "stage.1.objective.kl={ estimator = \"k3\", coef = 0.01 }",
    "stage.2.steps=3",
    "stage.2.skip_equal_outcomes=false",
    "stage.2.optimizer.weight_decay=0.01",
];

/// What a call printed, and its exit code; none where a signal ended it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Call {
    /// Checks the exit code, and that standard error holds all of `texts`.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for text in texts {
            assert!(self.err.contains(text), "no {text:?} in {}", self.err);
        }
    }

    /// Checks that the call went well, and returns what it printed.
    #[track_caller]
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }
}

/// The program while it runs. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    #[cfg(unix)]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for `is_so`. Returns false if the program ended before.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) -> bool {
        let start = Instant::now();
        while !is_so() {
            if self.is_over() {
                return is_so();
            }
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "a minute passed without {what}"
            );
            thread::sleep(Duration::from_micros(300));
        }
        true
    }

    /// Sends a signal by its name, such as `TERM`.
    #[cfg(unix)]
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("the program kill").success(), "{name}");
    }

    /// Halts it where it is; [`Running::go_on`] lets it run again.
    #[cfg(unix)]
    pub(crate) fn halt(&self) {
        self.signal("STOP");
        // Delivered to every thread, at the latest when its system call returns.
        thread::sleep(Duration::from_millis(60));
    }

    #[cfg(unix)]
    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    /// Ends it with SIGKILL. Returns how it ended, since it may have been done already.
    #[cfg(unix)]
    pub(crate) fn kill(mut self) -> Call {
        self.child.kill().expect("killed");
        self.wait()
    }

    /// Waits for its end. It never panics.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Call {
        let status = self.child.wait().expect("a child");
        let text = |path: &Path| fs::read_to_string(path).expect("UTF-8");
        let call = Call {
            code: status.code(),
            out: text(&self.out),
            err: text(&self.err),
        };
        assert!(
            !call.err.contains("panicked") && call.code != Some(101),
            "{call:?}"
        );
        call
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is over already, except where a test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that is removed at the end, in which the program is called.
pub(crate) struct Place {
    folder: TempDir,
    n_calls: Cell<usize>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for the test"),
            n_calls: Cell::new(0),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts `longhand` with these arguments.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longhand"));
        command.args(arguments);
        self.spawn(command)
    }

    /// Starts `command`, with what it prints in files.
    pub(crate) fn spawn(&self, mut command: Command) -> Running {
        let n = self.n_calls.replace(self.n_calls.get() + 1);
        let out = self.path(&format!(".call-{n}.out"));
        let err = self.path(&format!(".call-{n}.err"));
        let file = |path: &Path| File::create(path).expect("a file of the test");
        let child = command
            .current_dir(self.folder.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(file(&out))
            .stderr(file(&err))
            .spawn()
            .expect("the program starts");
        Running { child, out, err }
    }

    /// Calls `longhand` with these arguments, split at spaces.
    #[track_caller]
    pub(crate) fn longhand(&self, arguments: &str) -> Call {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        self.start(&arguments).wait()
    }

    /// Starts an eventful run in the folder `out`, with `sets` replaced.
    pub(crate) fn train(&self, out: &Path, sets: &[&str]) -> Running {
        let arguments = train_arguments(out, sets);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.start(&arguments)
    }

    /// Starts to go on with the run in the folder `run`.
    pub(crate) fn resume(&self, run: &Path) -> Running {
        self.start(&["train", "--quiet", "--resume", text(run)])
    }

    /// A run from beginning to end, in the folder `whole`.
    #[track_caller]
    pub(crate) fn whole(&self, sets: &[&str]) -> PathBuf {
        let out = self.path("whole");
        self.train(&out, sets).wait().succeeds();
        out
    }

    /// Goes on with a run to its end, which is that of `whole`, and says nothing on the way.
    #[track_caller]
    pub(crate) fn finish(&self, run: &Path, whole: &Path) {
        let call = self.resume(run).wait();
        assert_eq!(call.err, "");
        call.succeeds();
        assert_same_end(whole, run);
    }
}

/// `train` with an eventful configuration, for the folder `out`, with `sets` replaced.
pub(crate) fn train_arguments(out: &Path, sets: &[&str]) -> Vec<String> {
    let config = smoke("objectives");
    let mut arguments: Vec<String> = ["train", &config, "--quiet", "--out", text(out)]
        .map(String::from)
        .to_vec();
    for set in EVENTFUL.iter().chain(sets) {
        arguments.extend(["--set".into(), set.to_string()]);
    }
    arguments
}

/// The path of a smoke experiment.
pub(crate) fn smoke(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/smoke");
    let folder = folder
        .canonicalize()
        .expect("the smoke configurations are there");
    folder.join(format!("{name}.toml")).display().to_string()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Whole lines that a run's metrics have so far.
pub(crate) fn n_lines(run: &Path) -> usize {
    let bytes = fs::read(run.join("metrics.jsonl")).unwrap_or_default();
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Whole lines of RL that a run's metrics have so far.
pub(crate) fn n_rl_lines(run: &Path) -> usize {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let is_rl = |line: &&str| line.starts_with("{\"stage\":\"rl\"");
    whole.lines().filter(is_rl).count()
}

/// Every file of a folder by its path within it.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn add(folder: &Path, prefix: &str, all: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            let name = format!("{prefix}{name}");
            if path.is_dir() {
                add(&path, &format!("{name}/"), all);
            } else {
                all.insert(name, fs::read(&path).expect("readable"));
            }
        }
    }
    let mut all = BTreeMap::new();
    add(folder, "", &mut all);
    all
}

/// Whether a file is a function of configuration and seed alone. The clock's are not, and neither are
/// the order of checkpoints and who held the lock.
fn is_computed(name: &str) -> bool {
    let of_the_clock = ["lock", "timings.jsonl", "checkpoints/order"];
    !of_the_clock.contains(&name) && !name.starts_with("tensorboard/")
}

/// What is computed of a run that came to its end undisturbed is in the other one, byte for byte.
#[track_caller]
pub(crate) fn assert_same_end(whole: &Path, run: &Path) {
    let (expected, found) = (files(whole), files(run));
    assert!(expected.contains_key("checkpoints/final/model.safetensors"));
    assert!(expected.contains_key("checkpoints/stage-1/model.safetensors"));
    assert!(expected.contains_key("transcripts/rl-000001.jsonl.zst"));
    for (name, bytes) in &expected {
        assert!(
            !is_computed(name) || found.get(name) == Some(bytes),
            "{name} of {} is not as in the undisturbed run ({} bytes, expected {})",
            run.display(),
            found.get(name).map_or(0, Vec::len),
            bytes.len()
        );
    }
    assert_eq!(
        lines_of(&found["timings.jsonl"]),
        lines_of(&found["metrics.jsonl"]),
        "each line has its timing"
    );
}

fn lines_of(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Nothing that a run has published can be anything but whole, whenever it was ended. Only the last line of
/// metrics and timings may be torn.
#[track_caller]
pub(crate) fn assert_whole(folder: &Path) {
    for name in ["metrics.jsonl", "timings.jsonl"] {
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        // Empty, or torn.
        lines.pop();
        for line in lines {
            let parsed: Result<serde_json::Value, _> = serde_json::from_slice(line);
            assert!(parsed.is_ok_and(|value| value.is_object()), "{name}");
        }
    }
    let run = RunDir::open(folder).expect("a run");
    for path in run.checkpoints().expect("readable") {
        verify_checkpoint(&path).expect("whole");
    }
    if let Some(latest) = run.latest_checkpoint().expect("readable") {
        verify_checkpoint(&latest).expect("whole");
    }
    for file in run.transcript_files().expect("readable") {
        let records = run.read_transcripts(&file.stage, file.step);
        assert!(!records.expect("readable").is_empty());
    }
    toml::from_str::<toml::Table>(&run.experiment_text().expect("readable")).expect("TOML");
}

#[cfg(unix)]
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let path = entry.expect("readable").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).expect("copied");
        }
    }
}

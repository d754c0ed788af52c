//! Folders of runs that others have written, or that a kill left behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use longhand_run::{RunDir, Transcript, verify_checkpoint};
use longhand_tensorboard::scalars_of;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A folder with a run that is nearly empty, and something beside it that no run may touch.
struct Scene {
    folder: tempfile::TempDir,
    run: RunDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("beside"), b"not the run's").expect("a file");
        let path = folder.path().join("run");
        fs::create_dir_all(path.join("checkpoints/a")).expect("a folder");
        fs::write(path.join("config.toml"), b"").expect("a file");
        Scene {
            run: RunDir::open(&path).expect("a run"),
            folder,
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.run.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
}

/// Lines that are all read are also what is read so far, appending keeps them, and numbers have tags.
pub(crate) fn metric_lines(bytes: &[u8]) {
    let scene = Scene::new();
    scene.put("metrics.jsonl", bytes);
    let so_far = scene.run.read_metrics_so_far();
    match scene.run.read_metrics() {
        Ok(lines) => {
            let (so_far, torn) = so_far.expect("a part of what can be read");
            assert_eq!((&so_far, torn), (&lines, false));
            for (tag, value) in lines.iter().flat_map(scalars_of) {
                assert!(!tag.is_empty() && value.is_finite());
            }
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(
                !matches!(so_far, Ok((_, false))),
                "only a torn line is no error"
            );
        }
    }
}

/// The step of transcripts that are written again reads as the same. The first byte says whether what
/// follows is compressed already.
pub(crate) fn transcripts(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let scene = Scene::new();
    let compressed = match first {
        b'z' => rest.to_vec(),
        _ => zstd::encode_all(rest, 1).expect("memory takes all"),
    };
    scene.put("transcripts/rl-000012.jsonl.zst", &compressed);
    let files = scene.run.transcript_files().expect("a folder");
    assert_eq!((files.len(), files[0].step), (1, 12));
    let Ok(read) = scene.run.read_transcripts("rl", 12) else {
        return;
    };
    let writable = RunDir::open_to_write(scene.run.path()).expect("nobody else writes");
    let transcripts: Vec<Transcript> = read;
    writable
        .write_transcripts("rl", 13, &transcripts)
        .expect("what was JSON is finite");
    let again = writable.read_transcripts("rl", 13).expect("just written");
    assert_eq!(again, transcripts);
}

/// A state with right digests is refused or loads; what loads gives places in files.
pub(crate) fn checkpoint_state(bytes: &[u8]) {
    let scene = Scene::new();
    scene.put("checkpoints/a/state.json", bytes);
    scene.put("checkpoints/a/weights", b"1234");
    let sums = [("state.json", bytes), ("weights", b"1234")].map(|(name, bytes)| {
        let digest = Sha256::digest(bytes);
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digits}  {name}\n")
    });
    scene.put("checkpoints/a/SHA256SUMS", sums.concat().as_bytes());
    let loaded = scene.run.load_checkpoint::<Value>("a");
    let newest = scene.run.newest_whole_checkpoint::<Value>();
    match (loaded, newest) {
        (Ok(loaded), Ok(Some(newest))) => {
            assert_eq!(loaded, newest.state);
            assert_eq!(verify_checkpoint(&newest.path), Ok(()));
        }
        (Err(error), Err(_)) => assert!(!error.to_string().is_empty()),
        (loaded, newest) => panic!("{loaded:?} but {newest:?}"),
    }
}

/// Digests of the user's making are refused or are right, and name no file outside of the checkpoint.
pub(crate) fn checkpoint_sums(bytes: &[u8]) {
    let scene = Scene::new();
    let state = json!({
        "format": 1, "program": "fuzz", "config_sha256": "", "metrics_bytes": 0, "timings_bytes": 0,
        "files": {}, "body": null,
    });
    scene.put("checkpoints/a/state.json", state.to_string().as_bytes());
    scene.put("checkpoints/a/SHA256SUMS", bytes);
    match verify_checkpoint(&scene.run.checkpoints_folder().join("a")) {
        Ok(()) => {
            let digest = Sha256::digest(state.to_string());
            let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(String::from_utf8_lossy(bytes).contains(&digits));
        }
        Err(damage) => {
            assert!(!damage.to_string().is_empty());
            assert!(!damage.file.contains(".."), "{damage}");
        }
    }
}

/// Between the files of a run's folder.
const DIVIDER: &str = "\n--\n";
/// In this order; a file that the bytes do not reach is absent.
const FILES: &[&str] = &[
    "config.toml",
    "lock",
    "metrics.jsonl",
    "timings.jsonl",
    "checkpoints/latest",
    "checkpoints/best",
    "checkpoints/order",
    "checkpoints/a/state.json",
    "checkpoints/a/SHA256SUMS",
    "superseded/metrics-1.jsonl",
];

/// A whole folder: reading changes nothing, writing keeps every line, and nothing beside it is touched.
pub(crate) fn run_folder(bytes: &[u8]) {
    let scene = Scene::new();
    let text = String::from_utf8_lossy(bytes);
    for (name, text) in FILES.iter().zip(text.split(DIVIDER)) {
        scene.put(name, text.as_bytes());
    }
    let before = contents(scene.run.path());
    look_at(&scene.run);
    assert_eq!(
        contents(scene.run.path()),
        before,
        "reading changed the run"
    );
    if let Ok(run) = RunDir::open_to_write(scene.run.path()) {
        if let Ok(mut lines) = run.lines() {
            let n_lines = run.read_metrics().map(|lines| lines.len());
            lines.metrics(&json!({"step": 1})).expect("a line");
            if let Ok(n_lines) = n_lines {
                let all = run.read_metrics().expect("one line more");
                assert_eq!(
                    (all.len(), all.last()),
                    (n_lines + 1, Some(&json!({"step": 1})))
                );
            }
        }
        if run.resume_lines(0, 0).is_ok() {
            let left = fs::read(run.metrics_path()).expect("a file");
            assert_eq!(left, b"", "everything was behind the place");
        }
        let _ = run.set_best("a");
        let _ = run.prune("", 0);
        look_at(&run);
    }
    let beside = fs::read(scene.folder.path().join("beside")).expect("nobody removes it");
    assert_eq!(beside, b"not the run's");
    let n_entries = fs::read_dir(scene.folder.path()).expect("a folder").count();
    assert_eq!(n_entries, 2, "something was written beside the run");
}

/// Calls everything that reads.
fn look_at(run: &RunDir) {
    let folder = run.checkpoints_folder();
    let _ = (run.experiment_text(), run.read_metrics_so_far());
    let _ = (run.read_timings(), run.read_timings_so_far());
    let _ = run.newest_whole_checkpoint::<Value>();
    for named in [run.latest_checkpoint(), run.best_checkpoint()] {
        if let Ok(Some(path)) = named {
            assert_eq!(path.parent(), Some(folder.as_path()), "{}", path.display());
        }
    }
    for path in run.checkpoints().unwrap_or_default() {
        assert_eq!(path.parent(), Some(folder.as_path()), "{}", path.display());
        assert!(path.is_dir(), "{}", path.display());
        let _ = verify_checkpoint(&path);
    }
}

/// Every file below `folder`, with its bytes.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            let bytes = fs::read(&path).expect("a file");
            files.insert(path.display().to_string(), bytes);
        }
    }
    files
}

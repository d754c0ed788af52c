//! Repositories of a hub on this machine, into caches that are as other tools leave them, and offline.

mod server;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use longhand_hub::{Event, HubError, HubSettings, ModelArg};
use server::{COMMIT, Hub, State};

const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];
const INDEX: &str = "model.safetensors.index.json";

/// Everything around a search: the hub, the cache and what was heard.
struct Fixture {
    hub: Hub,
    settings: HubSettings,
    home: tempfile::TempDir,
    heard: Vec<String>,
}

fn bytes(n: usize, seed: u8) -> Vec<u8> {
    (0..n)
        .map(|i| (i as u8).wrapping_mul(31) ^ seed ^ (i >> 8) as u8)
        .collect()
}

/// A model in one file, with things that nobody may download.
fn model() -> State {
    let mut state = State::default();
    for name in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
        "pytorch_model.bin",
        "modeling.py",
    ] {
        state
            .files
            .insert(name.into(), format!("{{\"name\":\"{name}\"}}").into_bytes());
    }
    state
        .files
        .insert("model.safetensors".into(), bytes(300_000, 1));
    state.large = vec!["model.safetensors".into()];
    state
}

fn sharded_model() -> State {
    let mut state = model();
    state.files.remove("model.safetensors");
    let index = format!(
        r#"{{"metadata":{{}},"weight_map":{{"a":"{}","b":"{}","c":"{}"}}}}"#,
        SHARDS[1], SHARDS[0], SHARDS[1]
    );
    state.files.insert(INDEX.into(), index.into_bytes());
    state.large.clear();
    for (shard, seed) in SHARDS.into_iter().zip(1..) {
        state.files.insert(shard.into(), bytes(200_000, seed));
        state.large.push(shard.into());
    }
    state
}

impl Fixture {
    fn new(state: State) -> Self {
        let hub = Hub::start(state);
        let home = tempfile::tempdir().unwrap();
        let settings = HubSettings {
            cache: home.path().join("hub"),
            endpoint: Some(format!("{}/", hub.endpoint)),
            token: None,
            is_offline: false,
            patience: Duration::from_secs(5),
            retry_pause: Duration::from_millis(1),
        };
        Self {
            hub,
            settings,
            home,
            heard: Vec::new(),
        }
    }

    fn find(&mut self, arg: &str) -> Result<PathBuf, HubError> {
        let heard = &mut self.heard;
        heard.clear();
        let mut progress = |event: Event<'_>| match event {
            Event::File {
                name,
                n_done,
                n_bytes,
            } if n_done == n_bytes => heard.push(format!("whole {name}")),
            Event::File { n_done: 0, .. } => {}
            Event::File { name, n_done, .. }
                if heard.last().is_none_or(|last| !last.ends_with(name)) =>
            {
                heard.push(format!("at {n_done} {name}"));
            }
            Event::File { .. } => {}
            Event::Retry { name, .. } => heard.push(format!("retry {name}")),
            Event::Waiting { name } => heard.push(format!("waiting {name}")),
            Event::Offline {
                commit,
                unconfirmed,
                ..
            } => heard.push(format!("offline {commit} {unconfirmed:?}")),
            other => heard.push(format!("{other:?}")),
        };
        let arg: ModelArg = arg.parse().unwrap();
        arg.folder_with(&self.settings, &mut progress)
    }

    #[track_caller]
    fn found(&mut self, arg: &str) -> PathBuf {
        self.find(arg).unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    fn fails(&mut self, arg: &str, parts: &[&str]) {
        let error = self.find(arg).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "no {part:?} in: {error}");
        }
    }

    /// The snapshot has these files with the hub's contents, and no others.
    #[track_caller]
    fn check_whole(&self, folder: &Path, names: &[&str]) {
        assert_eq!(folder, self.repository().join("snapshots").join(COMMIT));
        let mut found: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        let mut names = names.to_vec();
        names.sort_unstable();
        assert_eq!(found, names);
        self.hub.change(|state| {
            for name in names {
                assert!(
                    fs::read(folder.join(name)).unwrap() == state.files[name],
                    "{name}"
                );
            }
        });
    }

    fn repository(&self) -> PathBuf {
        self.settings.cache.join("models--o--n")
    }

    fn stop_network(&mut self) {
        // Nobody listens on the port of a listener that is gone.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        self.settings.endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
    }

    fn blobs(&self, extension: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.repository().join("blobs")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect()
    }
}

const MODEL: [&str; 4] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
];

#[test]
fn a_model_is_downloaded_once_and_only_what_is_read() {
    let mut at = Fixture::new(model());
    let folder = at.found("hf:o/n");
    at.check_whole(&folder, &MODEL);
    let log = at.hub.take_log().join("\n");
    for unwanted in ["bin", ".py", "README"] {
        assert!(!log.contains(unwanted), "{log}");
    }
    assert_eq!(at.heard.last().unwrap(), "whole model.safetensors");
    assert_eq!(
        fs::read_to_string(at.repository().join("refs/main")).unwrap(),
        COMMIT
    );

    // A branch is asked for again, its files are not.
    at.found("hf:o/n");
    assert_eq!(at.hub.take_log(), ["GET /api/models/o/n/revision/main"]);
    // A commit is not asked for at all.
    assert_eq!(at.found(&format!("hf:o/n@{COMMIT}")), folder);
    assert_eq!(at.hub.take_log(), [""; 0]);
    // Another name of the same commit shares the files.
    at.found("hf:o/n@refs/pr/1");
    assert_eq!(
        at.hub.take_log(),
        ["GET /api/models/o/n/revision/refs%2Fpr%2F1"]
    );
}

#[test]
fn a_model_in_several_files_is_whole_with_all_of_them() {
    let mut at = Fixture::new(sharded_model());
    let names = [
        "config.json",
        INDEX,
        SHARDS[0],
        SHARDS[1],
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let folder = at.found("hf:o/n@v1");
    at.check_whole(&folder, &names);

    // Offline it is used while it is whole.
    at.stop_network();
    assert_eq!(at.found("hf:o/n@v1"), folder);
    assert_eq!(at.heard, [format!("offline {COMMIT} []")]);
    fs::remove_file(folder.join(SHARDS[1])).unwrap();
    at.fails(
        "hf:o/n@v1",
        &[
            "cannot reach the hub for `hf:o/n@v1`",
            "by hand",
            "models--o--n",
        ],
    );
}

#[test]
fn an_index_that_names_what_is_not_there_is_refused() {
    let mut state = sharded_model();
    state.files.remove(SHARDS[0]);
    let mut at = Fixture::new(state);
    at.fails(
        "hf:o/n",
        &["`o/n`", "`main`", SHARDS[0], "index.json names"],
    );
    at.hub.change(|state| {
        let index = br#"{"weight_map":{"a":"../../../x.safetensors"}}"#;
        state.files.insert(INDEX.into(), index.to_vec());
    });
    fs::remove_dir_all(&at.settings.cache).unwrap();
    at.fails("hf:o/n", &["makes no sense", "../../../x.safetensors"]);
}

#[test]
fn an_adapter_is_a_model_without_weights() {
    let mut state = State::default();
    for name in [
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
    ] {
        state.files.insert(name.into(), name.into());
    }
    let mut at = Fixture::new(state);
    let folder = at.found("hf:o/n");
    at.check_whole(
        &folder,
        &["adapter_config.json", "adapter_model.safetensors"],
    );
}

#[test]
fn a_repository_without_an_essential_file_is_refused_before_the_download() {
    for (name, said) in [
        ("config.json", "has no config.json"),
        ("tokenizer.json", "only tokenizers in this form"),
        ("model.safetensors", "pickles"),
    ] {
        let mut state = model();
        state.files.remove(name);
        let mut at = Fixture::new(state);
        at.fails("hf:o/n@v2", &["`o/n`", "`v2`", said]);
        assert_eq!(at.hub.take_log().len(), 1);
    }
}

#[test]
fn a_listed_file_that_is_gone_is_named() {
    let mut at = Fixture::new(model());
    at.hub
        .change(|state| state.gone.push("tokenizer.json".into()));
    at.fails(
        "hf:o/n",
        &[
            "`o/n`",
            "`main`",
            "tokenizer.json",
            "although the hub lists it",
        ],
    );
    assert!(!at.repository().join("refs/main").exists());
}

#[test]
fn an_unknown_revision_is_named() {
    let mut at = Fixture::new(model());
    at.hub.change(|state| state.has_no_branch = true);
    at.fails("hf:o/n@v9", &["no model `o/n` at revision `v9`"]);
    at.found(&format!("hf:o/n@{COMMIT}"));
}

#[test]
fn a_download_that_breaks_off_is_continued() {
    let mut at = Fixture::new(model());
    at.hub.change(|state| {
        state
            .cuts
            .insert("model.safetensors".into(), vec![100_000, 50_000]);
    });
    let folder = at.found("hf:o/n");
    at.check_whole(&folder, &MODEL);
    let log = at.hub.take_log();
    let ranges: Vec<&String> = log.iter().filter(|line| line.contains(" from ")).collect();
    assert_eq!(ranges.len(), 2, "{log:?}");
    assert_eq!(ranges[0], "GET /blobs/model.safetensors from 100000");
    assert_eq!(ranges[1], "GET /blobs/model.safetensors from 150000");
    assert_eq!(
        at.heard
            .iter()
            .filter(|line| line.starts_with("retry"))
            .count(),
        2
    );
    assert_eq!(at.blobs("part"), [""; 0].map(PathBuf::from));
}

#[test]
fn a_download_that_keeps_breaking_off_is_an_error_and_no_file() {
    for hides_length in [false, true] {
        let mut at = Fixture::new(model());
        at.hub.change(|state| {
            state.hides_length = hides_length;
            state.cuts.insert(
                "model.safetensors".into(),
                [vec![123_456], vec![0; 9]].concat(),
            );
        });
        at.fails(
            "hf:o/n",
            &[
                "`o/n`",
                "`main`",
                "model.safetensors",
                "goes on from where it stopped",
            ],
        );
        assert!(
            !at.repository()
                .join("snapshots")
                .join(COMMIT)
                .join("model.safetensors")
                .exists()
        );
        assert!(!at.repository().join("refs/main").exists());
        assert_eq!(
            at.heard
                .iter()
                .filter(|line| line.starts_with("retry"))
                .count(),
            4
        );
        let parts = at.blobs("part");
        assert_eq!(fs::metadata(&parts[0]).unwrap().len(), 123_456);

        // Offline the half is nothing; with the hub again it is half the way.
        let endpoint = at.settings.endpoint.clone();
        at.stop_network();
        at.fails("hf:o/n", &["cannot reach the hub"]);
        at.settings.endpoint = endpoint;
        at.hub.change(|state| state.cuts.clear());
        at.hub.take_log();
        let folder = at.found("hf:o/n");
        at.check_whole(&folder, &MODEL);
        assert!(
            at.hub
                .take_log()
                .contains(&"GET /blobs/model.safetensors from 123456".into())
        );
    }
}

#[test]
fn a_small_file_that_breaks_off_is_continued_too() {
    let mut at = Fixture::new(model());
    at.hub.change(|state| {
        state.cuts.insert("config.json".into(), vec![3]);
    });
    let folder = at.found("hf:o/n");
    at.check_whole(&folder, &MODEL);
}

#[test]
fn a_server_without_ranges_sends_the_whole_file_again() {
    let mut at = Fixture::new(model());
    at.hub.change(|state| {
        state.ignores_ranges = true;
        // Without a digest nobody would notice a file with its beginning twice.
        state.cuts.insert("config.json".into(), vec![9]);
        state.cuts.insert("model.safetensors".into(), vec![200_000]);
    });
    let folder = at.found("hf:o/n");
    at.check_whole(&folder, &MODEL);
}

#[test]
fn wrong_bytes_are_downloaded_again() {
    let mut at = Fixture::new(model());
    at.hub
        .change(|state| state.damages = vec!["model.safetensors".into()]);
    let folder = at.found("hf:o/n");
    at.check_whole(&folder, &MODEL);
    assert!(at.heard.contains(&"retry model.safetensors".into()));

    fs::remove_dir_all(&at.settings.cache).unwrap();
    at.hub
        .change(|state| state.damages = vec!["model.safetensors".into(); 99]);
    at.fails("hf:o/n", &["model.safetensors", "SHA-256"]);
    assert!(!folder.join("model.safetensors").exists());
}

#[test]
fn a_part_of_any_length_does_no_harm() {
    for n in [0, 1, 299_999, 300_000, 300_001] {
        let mut at = Fixture::new(model());
        let folder = at.found("hf:o/n");
        let blob = fs::canonicalize(folder.join("model.safetensors")).unwrap();
        let mut part = bytes(300_000, 1);
        part.resize(n, 7);
        fs::write(blob.with_extension("part"), part).unwrap();
        // The link to nothing stays.
        fs::remove_file(&blob).unwrap();
        assert_eq!(at.found("hf:o/n"), folder);
        at.check_whole(&folder, &MODEL);
    }
}

#[test]
fn a_part_that_another_file_left_is_noticed() {
    let mut at = Fixture::new(model());
    let folder = at.found("hf:o/n");
    let blob = fs::canonicalize(folder.join("model.safetensors")).unwrap();
    fs::rename(&blob, blob.with_extension("part")).unwrap();
    fs::write(blob.with_extension("part"), bytes(1000, 9)).unwrap();
    at.found("hf:o/n");
    at.check_whole(&folder, &MODEL);
}

#[test]
fn a_refused_reader_is_told_what_to_do() {
    let mut at = Fixture::new(model());
    at.hub.change(|state| state.token = Some("hf_right".into()));
    at.fails("hf:o/n", &["refuses `o/n`", "401", "gated", "set HF_TOKEN"]);
    at.settings.token = Some("hf_wrong".into());
    at.fails("hf:o/n", &["401", "the token (HF_TOKEN) is wrong"]);
    assert!(
        !at.find("hf:o/n")
            .unwrap_err()
            .to_string()
            .contains("hf_wrong")
    );
    at.settings.token = Some("hf_right".into());
    let folder = at.found("hf:o/n");
    at.check_whole(&folder, &MODEL);
    assert_eq!(at.hub.leaks(), [""; 0]);
}

#[test]
fn without_a_network_the_cache_must_be_whole() {
    let mut at = Fixture::new(model());
    at.stop_network();
    let advice = [
        "`hf:o/n`",
        "by hand into a folder",
        "tokenizer.json",
        "model.safetensors",
    ];
    at.fails("hf:o/n", &advice);
    at.settings.is_offline = true;
    at.fails("hf:o/n", &["HF_HUB_OFFLINE is set"]);
    assert_eq!(fs::read_dir(at.home.path()).unwrap().count(), 0);
}

#[test]
fn a_hub_out_of_order_is_no_hub() {
    let mut at = Fixture::new(model());
    let folder = at.found("hf:o/n");
    at.hub.change(|state| state.status = Some(503));
    assert_eq!(at.found("hf:o/n"), folder);
    assert_eq!(at.heard, [format!("offline {COMMIT} []")]);
    at.fails("hf:o/n@v2", &["HTTP 503", "by hand"]);
}

#[test]
fn a_cache_that_another_tool_filled_is_completed() {
    let mut at = Fixture::new(model());
    let folder = at.repository().join("snapshots").join(COMMIT);
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(at.repository().join("refs")).unwrap();
    fs::write(at.repository().join("refs/main"), COMMIT).unwrap();
    at.hub.change(|state| {
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            fs::write(folder.join(name), &state.files[name]).unwrap();
        }
    });
    // Offline it does, with a word on what it may lack.
    at.settings.is_offline = true;
    assert_eq!(at.found("hf:o/n"), folder);
    assert!(
        at.heard[0].contains("tokenizer_config.json"),
        "{:?}",
        at.heard
    );
    // With the hub what lacks is downloaded, for a commit too.
    at.settings.is_offline = false;
    at.found(&format!("hf:o/n@{COMMIT}"));
    at.check_whole(&folder, &MODEL);
    assert!(at.heard.contains(&"whole tokenizer_config.json".into()));
    assert!(!at.heard.contains(&"whole model.safetensors".into()));
}

#[test]
fn answers_that_lead_out_of_the_cache_are_refused() {
    let mut at = Fixture::new(model());
    at.hub
        .change(|state| state.etag = Some("../../../x".into()));
    at.fails("hf:o/n", &["makes no sense", "ETag"]);
    at.hub.change(|state| {
        state.etag = None;
        state.is_circular = true;
    });
    at.fails("hf:o/n", &["redirects without end"]);
}

#[test]
fn two_processes_download_a_file_once() {
    let mut at = Fixture::new(model());
    let folder = at.found("hf:o/n");
    let blob = fs::canonicalize(folder.join("model.safetensors")).unwrap();
    fs::remove_file(&blob).unwrap();
    at.hub.take_log();
    // The other process holds the lock, and lets go with the file in place.
    let lock = File::create(blob.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        fs::write(&blob, bytes(300_000, 1)).unwrap();
        drop(lock);
    });
    at.found("hf:o/n");
    other.join().unwrap();
    assert_eq!(at.heard, ["waiting model.safetensors"]);
    assert!(!at.hub.take_log().join("\n").contains("GET /blobs"));
    at.check_whole(&folder, &MODEL);
}

#[test]
fn a_hub_that_cannot_prove_who_it_is_is_not_reached() {
    let mut at = Fixture::new(model());
    at.settings.endpoint = Some(at.hub.endpoint.replace("http:", "https:"));
    at.fails("hf:o/n", &["cannot reach the hub"]);
}

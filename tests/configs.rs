//! Every experiment file in `configs/` loads, knows all of its keys, and makes sense as a whole.

use longhand_config::Experiment;
use xtask::{files, repository_root};

#[test]
fn every_experiment_file_makes_sense() {
    let root = repository_root();
    let paths = files::project_files(&root).expect("the repository is readable");
    let configs: Vec<&String> = paths
        .iter()
        .filter(|path| path.starts_with("configs/") && path.ends_with(".toml"))
        .collect();
    assert!(
        configs
            .iter()
            .any(|path| *path == "configs/quickstart.toml"),
        "not among {configs:#?}"
    );
    assert!(
        configs
            .iter()
            .any(|path| path.starts_with("configs/smoke/")),
        "no smoke run in {configs:#?}"
    );
    let failures: Vec<String> = configs
        .iter()
        .filter_map(|path| {
            Experiment::load(&root.join(path), &[])
                .err()
                .map(|error| format!("{path}: {error}"))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

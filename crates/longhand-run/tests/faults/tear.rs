//! A file of lines torn at any byte: what a checkpoint knew of stays, and everything behind it is kept
//! in `superseded/`.

use std::fs;

use longhand_run::RunDir;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::new_run;

/// Both files' bytes.
fn texts(run: &RunDir) -> [Vec<u8>; 2] {
    [run.metrics_path(), run.timings_path()].map(|path| fs::read(path).expect("readable"))
}

fn superseded(run: &RunDir, kind: &str, number: u32) -> Vec<u8> {
    let path = run
        .superseded_folder()
        .join(format!("{kind}-{number}.jsonl"));
    // A file with nothing behind its place has none.
    fs::read(path).unwrap_or_default()
}

/// Lines of every length, with line ends and quotes inside their text.
fn notes() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-z\n\"é]{0,12}", 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_kept_and_what_was_moved_are_all_there_was(
        notes in notes(),
        saved_at in any::<prop::sample::Index>(),
        torn_at in any::<[prop::sample::Index; 2]>(),
    ) {
        let (_root, run) = new_run();
        let mut lines = run.lines().expect("opened");
        // Where both files ended behind each line, and before the first.
        let mut ends = vec![[0, 0]];
        for (step, note) in notes.iter().enumerate() {
            lines.metrics(&json!({"step": step, "note": note})).expect("appended");
            lines.timings(&json!({"note": note})).expect("appended");
            ends.push(texts(&run).map(|text| text.len()));
        }
        drop(lines);
        let all = texts(&run);
        let n_kept = saved_at.index(ends.len());
        let kept = ends[n_kept];
        // A kill tears the tail of each file; what a checkpoint knew of had been synchronised.
        let mut torn = all.clone();
        for idx in 0..2 {
            torn[idx].truncate(kept[idx] + torn_at[idx].index(all[idx].len() - kept[idx] + 1));
        }
        fs::write(run.metrics_path(), &torn[0]).expect("written");
        fs::write(run.timings_path(), &torn[1]).expect("written");

        let (mut lines, gone) = run
            .resume_lines(kept[0] as u64, kept[1] as u64)
            .expect("resumed");
        prop_assert_eq!(texts(&run), [&all[0][..kept[0]], &all[1][..kept[1]]]);
        prop_assert_eq!(&superseded(&run, "metrics", 1)[..], &torn[0][kept[0]..]);
        prop_assert_eq!(&superseded(&run, "timings", 1)[..], &torn[1][kept[1]..]);
        let step = |line: &Value| line["step"].as_u64().expect("a step") as usize;
        let n_whole = ends.iter().filter(|end| end[0] <= torn[0].len()).count() - 1;
        let steps: Vec<usize> = gone.iter().map(step).collect();
        prop_assert_eq!(steps, (n_kept..n_whole).collect::<Vec<_>>());

        // The same lines again make the same file.
        for (step, note) in notes.iter().enumerate().skip(n_kept) {
            lines.metrics(&json!({"step": step, "note": note})).expect("appended");
            lines.timings(&json!({"note": note})).expect("appended");
        }
        prop_assert_eq!(texts(&run), all);
    }

    #[test]
    fn nothing_is_lost_whatever_the_places(places in prop::collection::vec((0_u64..40, 0_u64..40), 1..6)) {
        let (_root, run) = new_run();
        fs::write(run.metrics_path(), "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\nto").expect("written");
        fs::write(run.timings_path(), "{}\n{}\n{}\n{}\n{}\n").expect("written");
        let all = texts(&run);
        for (metrics, timings) in places {
            // Most places are refused, and then nothing has changed.
            let _ = run.resume_lines(metrics, timings);
        }
        for (idx, kind) in ["metrics", "timings"].into_iter().enumerate() {
            // Each resume took the end of what the one before it had left.
            let mut found = texts(&run)[idx].clone();
            for number in (1..=6).rev() {
                found.extend(superseded(&run, kind, number));
            }
            prop_assert_eq!(&found, &all[idx]);
        }
    }
}

//! SIGINT and SIGTERM end a run in order, two of them at once; either way it goes on.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use longhand_run::RunDir;

use crate::fixture::{Place, assert_whole, n_lines, n_rl_lines};

/// Many documents in small batches: a measurement is long enough to be met.
const LONG_MEASUREMENTS: &[&str] = &["eval.n_documents=150", "eval.batch=5", "eval.every=100"];

/// Bytes of metrics at the latest checkpoint.
fn metrics_of_latest(run: &Path) -> u64 {
    let latest = RunDir::open(run).unwrap().latest_checkpoint().unwrap();
    let state = fs::read(latest.unwrap().join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    state["metrics_bytes"].as_u64().unwrap()
}

#[test]
fn a_signal_ends_a_run_in_order_wherever_it_comes() {
    let place = Place::new();
    let whole = place.whole(LONG_MEASUREMENTS);
    type Moment = fn(&Path) -> bool;
    let before: Moment = |run| n_lines(run) == 5 && run.join("checkpoints/stage-0").is_dir();
    let between_steps: Moment = |run| 2 <= n_rl_lines(run);
    let after: Moment = |run| n_rl_lines(run) == 6 && run.join("checkpoints/stage-2").is_dir();
    let moments = [
        ("before", before),
        ("between-steps", between_steps),
        ("after", after),
    ];
    for (name, moment) in moments {
        for (signal, code) in [("INT", 130), ("TERM", 143)] {
            let what = format!("{name}-{signal}");
            let run = place.path(&what);
            let mut running = place.train(&run, LONG_MEASUREMENTS);
            assert!(running.until(&what, || moment(&run)));
            running.signal(signal);
            let call = running.wait();
            assert_eq!(call.code, Some(code), "{what}: {call:?}");
            let go_on = format!("Go on with: longhand train --resume {}\n", run.display());
            assert!(call.out.ends_with(&go_on), "{what}: {call:?}");
            assert!(
                call.out
                    .contains(&format!("Stopped by signal {}", code - 128)),
                "{call:?}"
            );
            let metrics = fs::read(run.join("metrics.jsonl")).unwrap();
            assert!(metrics.ends_with(b"\n"), "{what}");
            assert_eq!(metrics_of_latest(&run), metrics.len() as u64, "{what}");
            let after_the_step = match name {
                "before" => Some(5),
                "after" => Some(5 + 1 + 6),
                _ => None,
            };
            // A measurement that was broken off left nothing.
            assert!(
                after_the_step.is_none_or(|n| n == n_lines(&run)),
                "{what}: {}",
                n_lines(&run)
            );
            assert_whole(&run);
            place.finish(&run, &whole);
        }
    }
}

#[test]
fn two_signals_end_a_run_at_once() {
    let place = Place::new();
    // One step of some seconds: nobody waits for its end.
    let sets = [
        "stage.1.steps=2",
        "stage.1.problems_per_step=96",
        "stage.1.group_size=16",
    ];
    let whole = place.whole(&sets);
    for (first, second, code) in [
        ("INT", "INT", 130),
        ("TERM", "TERM", 143),
        ("INT", "TERM", 143),
    ] {
        let run = place.path(&format!("{first}-{second}"));
        let mut running = place.train(&run, &sets);
        let before_rl = || run.join("metrics.jsonl").is_file() && n_lines(&run) == 6;
        assert!(running.until("the measurement before RL", before_rl));
        thread::sleep(Duration::from_millis(30));
        running.signal(first);
        thread::sleep(Duration::from_millis(30));
        assert!(!running.is_over(), "the first signal waits for the step");
        let start = Instant::now();
        running.signal(second);
        let call = running.wait();
        println!("ended after {:?}", start.elapsed());
        assert_eq!(call.code, Some(code), "{call:?}");
        assert!(!call.out.contains("Go on with"), "{call:?}");
        assert_eq!(n_rl_lines(&run), 0, "the step was not waited for");
        assert_whole(&run);
        place.finish(&run, &whole);
    }
}

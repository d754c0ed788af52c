//! A second process on the run of another one.

use crate::fixture::{Place, assert_same_end, files, n_rl_lines, text, train_arguments};

#[test]
fn a_second_process_is_refused_and_harms_nothing() {
    let place = Place::new();
    let whole = place.whole(&[]);
    let run = place.path("held");
    let mut running = place.train(&run, &[]);
    assert!(running.until("a step of RL", || 1 <= n_rl_lines(&run)));
    running.halt();
    let held = files(&run);
    let pid = running.pid();
    place.resume(&run).wait().fails(
        1,
        &[
            text(&run),
            &format!("another process (number {pid})"),
            "wait until it ends",
        ],
    );
    let arguments = train_arguments(&run, &[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    place
        .start(&arguments)
        .wait()
        .fails(1, &[text(&run), "never overwrites", "choose another --out"]);
    assert!(files(&run) == held, "the refused ones changed something");
    running.go_on();
    running.wait().succeeds();
    assert_same_end(&whole, &run);
}

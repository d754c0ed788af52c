//! Judges that are real programs: good, slow, dying, babbling and stubborn ones.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use longhand_reward_judge::{Judge, JudgeError, JudgeSettings, MAX_REPLY_BYTES, Question};
use proptest::prelude::*;

/// Far more than any program here needs, on a busy machine too.
const LONG: Duration = Duration::from_secs(120);

/// For programs that do not answer.
const SHORT: Duration = Duration::from_millis(400);

/// A shell program that reads requests into `line`, their ids into `id`, and does `body` for each.
fn shell(body: &str) -> Vec<String> {
    let script = format!(
        "while IFS= read -r line; do id=${{line#*\\\"id\\\":}}; id=${{id%%,*}}; {body}\ndone"
    );
    ["sh", "-c", &script].map(str::to_owned).to_vec()
}

/// What a good program does for each request.
const ANSWER: &str = r#"echo "{\"id\":$id,\"reward\":0.5}""#;

fn settings(command: Vec<String>, timeout: Duration, retries: usize) -> JudgeSettings {
    JudgeSettings {
        command,
        timeout,
        processes: 1,
        retries,
    }
}

fn ask(judge: &mut Judge, answers: &[&str]) -> Vec<Result<f64, JudgeError>> {
    let expected = ["Ada Lovelace".to_owned(), "a b c d".to_owned()];
    let questions: Vec<Question<'_>> = answers
        .iter()
        .map(|answer| Question {
            problem_id: "train-3",
            question: "Who wrote\n\"it\"?",
            expected: &expected,
            answer,
        })
        .collect();
    judge.rewards(&questions)
}

/// The program does `body` for an answer `odd` and is a good one otherwise; the error of `odd` has the
/// reason, and its message the part. What comes before and after is not touched.
#[track_caller]
fn check_odd(body: &str, timeout: Duration, reason: &str, part: &str) -> JudgeError {
    let command = shell(&format!(
        "case $line in *odd*) {body} ;; *) {ANSWER} ;; esac"
    ));
    let mut judge = Judge::start(settings(command, timeout, 1)).unwrap();
    let mut results = ask(&mut judge, &["one", "odd", "two"]);
    assert_eq!(results[0], Ok(0.5));
    assert_eq!(results[2], Ok(0.5));
    let error = results.swap_remove(1).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.reason(), reason, "{message}");
    assert!(message.contains(part), "{message}");
    assert!(message.contains("judge `sh -c while IFS="), "{message}");
    assert!(error.record().starts_with(&format!("{reason}: ")));
    assert!(!message.contains('\n'));
    assert_eq!(ask(&mut judge, &["three"]), [Ok(0.5)]);
    error
}

/// The example, which cargo builds beside the tests.
fn word_judge() -> Vec<String> {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let program = folder.join("examples").join("word_judge");
    assert!(
        program.exists(),
        "{} is not built: run `cargo build --examples` first",
        program.display()
    );
    vec![program.to_str().unwrap().to_owned()]
}

/// Neither running nor waiting to be waited for by us: gone, or a zombie of the system's first process.
fn is_dead(pid: &str) -> bool {
    let exists = Command::new("sh")
        .args(["-c", &format!("kill -0 {pid}")])
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let our_zombie = format!("Z {} ", std::process::id());
    !exists || (fields.starts_with("Z ") && !fields.starts_with(&our_zombie))
}

/// Waits for the lines of a file that programs write their numbers to.
fn pids(file: &Path, n_lines: usize) -> Vec<String> {
    let started = Instant::now();
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        let pids: Vec<String> = text.lines().map(str::to_owned).collect();
        if n_lines <= pids.len() && text.ends_with('\n') {
            return pids;
        }
        assert!(started.elapsed() < LONG, "only {pids:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn file_in(folder: &tempfile::TempDir, name: &str) -> (PathBuf, String) {
    let path = folder.path().join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

#[test]
fn nothing_to_ask_asks_nobody() {
    let mut judge = Judge::start(settings(shell("exit 1"), LONG, 0)).unwrap();
    assert_eq!(ask(&mut judge, &[]), []);
}

#[test]
fn a_program_is_told_everything_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = file_in(&folder, "requests");
    let body = format!("printf '%s\\n' \"$line\" >> '{file}'; {ANSWER}");
    let mut judge = Judge::start(settings(shell(&body), LONG, 0)).unwrap();
    assert_eq!(ask(&mut judge, &["it was\tÄda"]), [Ok(0.5)]);
    // Ids go on from call to call.
    assert_eq!(ask(&mut judge, &[""]), [Ok(0.5)]);
    let rest = r#""problem_id":"train-3","question":"Who wrote\n\"it\"?","expected":["Ada Lovelace","a b c d"],"answer":"#;
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        format!("{{\"id\":0,{rest}\"it was\\tÄda\"}}\n{{\"id\":1,{rest}\"\"}}\n")
    );
}

#[test]
fn blank_lines_are_passed_over() {
    // One write each, so that the blank lines come together with the reply.
    let body = r#"printf '\n \r\n{"id":%s,"reward":0.5}\n\n' "$id""#;
    let mut judge = Judge::start(settings(shell(body), LONG, 0)).unwrap();
    assert_eq!(ask(&mut judge, &["x", "y"]), [Ok(0.5), Ok(0.5)]);
}

#[test]
fn requests_are_open_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = file_in(&folder, "here");
    // Each waits until both have been asked.
    let body = format!(
        "echo $id >> '{file}'; until grep -q 0 '{file}' && grep -q 1 '{file}'; do sleep 0.01; done; {ANSWER}"
    );
    let two = JudgeSettings {
        processes: 2,
        ..settings(shell(&body), LONG, 0)
    };
    let mut judge = Judge::start(two).unwrap();
    assert_eq!(ask(&mut judge, &["x", "y"]), [Ok(0.5), Ok(0.5)]);
    assert_eq!(pids(&path, 2).len(), 2);
}

#[test]
fn a_late_reply_is_a_timeout_and_its_process_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = file_in(&folder, "pids");
    let body = format!(
        "echo thinking >&2; printf '{{\"id'; sleep 1000 & echo $$ >> '{file}'; echo $! >> '{file}'; wait"
    );
    let error = check_odd(
        &body,
        Duration::from_secs(3),
        "judge-timeout",
        "only the unfinished line `{\"id`; the process: killed while it was running; its standard \
         error ends: thinking; give it more time",
    );
    assert_eq!(
        error.record(),
        "judge-timeout: no reply to request 1 within 3s"
    );
    for pid in pids(&path, 2) {
        assert!(is_dead(&pid), "{pid} lives");
    }
}

#[test]
fn a_program_that_does_not_read_is_a_timeout_even_for_a_long_request() {
    let sleeper = ["sleep", "1000"].map(str::to_owned).to_vec();
    let mut judge = Judge::start(settings(sleeper, SHORT, 3)).unwrap();
    let long = "x".repeat(4_000_000);
    let reasons: Vec<_> = ask(&mut judge, &[&long, "y"])
        .into_iter()
        .map(|result| result.unwrap_err().reason())
        .collect();
    assert_eq!(reasons, ["judge-timeout"; 2]);
}

#[test]
fn a_program_that_floods_its_output_does_not_stop_the_clock() {
    let flood = ["sh", "-c", "yes ''"].map(str::to_owned).to_vec();
    let mut judge = Judge::start(settings(flood, SHORT, 0)).unwrap();
    let results = ask(&mut judge, &["x"]);
    assert_eq!(results[0].as_ref().unwrap_err().reason(), "judge-timeout");
}

#[test]
fn a_program_that_ends_is_a_failure_with_its_status_and_last_words() {
    let error = check_odd(
        "echo first >&2; echo no memory >&2; exit 7",
        LONG,
        "judge-failure",
        "the process: exit status: 7; its standard error ends: first | no memory; run it by hand",
    );
    assert_eq!(
        error.record(),
        "judge-failure: the program ended (exit status: 7) before it replied to request 1, in try 2"
    );
}

#[test]
fn a_program_that_closes_its_output_has_ended() {
    let error = check_odd("exec >&-; sleep 1000", LONG, "judge-failure", "in try 2");
    assert_eq!(
        error.program().exit.as_deref(),
        Some("killed while it was running")
    );
}

#[test]
fn what_a_dead_process_had_open_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (_, file) = file_in(&folder, "asked");
    let dies_once = format!("[ -e '{file}' ] || {{ : > '{file}'; exit 1; }}; {ANSWER}");
    let mut judge = Judge::start(settings(shell(&dies_once), LONG, 1)).unwrap();
    assert_eq!(ask(&mut judge, &["x"]), [Ok(0.5)]);

    fs::remove_file(&file).unwrap();
    let mut judge = Judge::start(settings(shell(&dies_once), LONG, 0)).unwrap();
    let results = ask(&mut judge, &["x", "y"]);
    assert_eq!(results[0].as_ref().unwrap_err().reason(), "judge-failure");
    assert_eq!(results[1], Ok(0.5));
}

#[test]
fn a_process_that_ends_with_nothing_open_fails_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = file_in(&folder, "pids");
    let body = format!("echo $$ >> '{file}'; {ANSWER}");
    let mut judge = Judge::start(settings(shell(&body), LONG, 0)).unwrap();
    assert_eq!(ask(&mut judge, &["x"]), [Ok(0.5)]);
    let first = pids(&path, 1).remove(0);
    let kill = format!("kill -9 {first}");
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    // Until somebody waits for it, it is our zombie: only the next request finds that it has ended.
    thread::sleep(Duration::from_millis(500));
    assert_eq!(ask(&mut judge, &["y"]), [Ok(0.5)]);
    assert_eq!(pids(&path, 2).len(), 2);
    assert!(is_dead(&first));
}

#[test]
fn a_request_starts_at_most_one_process_more_than_retries() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = file_in(&folder, "starts");
    let script = format!("echo started >> '{file}'; exit 1");
    let dying = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let mut judge = Judge::start(settings(dying, LONG, 2)).unwrap();
    // The first process may be found dead before the request, and then it was no try.
    assert!(ask(&mut judge, &["x"])[0].is_err());
    let n_first = pids(&path, 1).len();
    assert!((3..=4).contains(&n_first), "{n_first} starts");
    assert!(ask(&mut judge, &["y"])[0].is_err());
    assert_eq!(pids(&path, 1).len(), n_first + 3);
}

#[test]
fn a_program_that_cannot_be_started_is_a_failure_at_once() {
    #[track_caller]
    fn check(settings: JudgeSettings, part: &str) {
        let error = Judge::start(settings).err().unwrap();
        assert_eq!(error.reason(), "judge-failure");
        assert!(error.to_string().contains(part), "{error}");
    }
    let missing = vec!["/nowhere/judge".to_owned(), "--fast".to_owned()];
    check(
        settings(missing, LONG, 5),
        "judge `/nowhere/judge --fast`: the program cannot be started: ",
    );
    check(settings(Vec::new(), LONG, 0), "no program is named");
    check(settings(shell(""), Duration::ZERO, 0), "set a timeout");
    let none = JudgeSettings {
        processes: 0,
        ..settings(shell(""), LONG, 0)
    };
    check(none, "set at least 1");
}

#[test]
fn a_program_that_disappears_is_a_failure_of_each_request() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = file_in(&folder, "sh");
    std::os::unix::fs::symlink("/bin/sh", &path).unwrap();
    let mut command = shell(&format!("case $line in *odd*) exit 1 ;; esac; {ANSWER}"));
    command[0] = file;
    let mut judge = Judge::start(settings(command, LONG, 1)).unwrap();
    fs::remove_file(path).unwrap();
    let results = ask(&mut judge, &["one", "odd", "two"]);
    assert_eq!(results[0], Ok(0.5));
    for result in &results[1..] {
        let error = result.as_ref().unwrap_err();
        assert_eq!(error.reason(), "judge-failure");
        assert!(error.to_string().contains("cannot be started"), "{error}");
    }
}

#[test]
fn what_is_no_reply_is_a_bad_reply_and_never_a_0() {
    let check = |body: &str, part: &str| {
        check_odd(body, LONG, "judge-bad-reply", part);
    };
    check("echo nonsense", "is no JSON object");
    check(
        "echo Loading the model...; sleep 1000",
        "`Loading the model...`",
    );
    check(r#"echo "{\"id\":$id,\"reward\":NaN}""#, "is no JSON object");
    check(
        r#"echo "{\"id\":$id,\"reward\":Infinity}""#,
        "is no JSON object",
    );
    check(
        r#"echo "{\"id\":$id,\"reward\":2}""#,
        "2, which is not within 0 and 1",
    );
    check(r#"echo "{\"id\":$id}""#, "neither `reward` nor `error`");
    check(r#"echo "{\"id\":$id,\"reward\":\"1\"}""#, "no number");
    check(
        r#"echo "{\"id\":999,\"reward\":1}""#,
        "the id 999 of no open request",
    );
    check(
        r#"echo "{\"id\":0,\"reward\":1}""#,
        "the id 0 of no open request",
    );
    check(r#"echo "{\"reward\":1}""#, "has no `id`");
}

#[test]
fn a_bad_reply_does_not_become_the_next_ones() {
    // The reply to `odd` comes late, after the line that was bad.
    check_odd(
        &format!("echo nonsense; {ANSWER}"),
        LONG,
        "judge-bad-reply",
        "`nonsense`",
    );
}

#[test]
fn a_bad_reward_does_not_cost_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = file_in(&folder, "pids");
    let body = format!(r#"echo $$ >> '{file}'; echo "{{\"id\":$id,\"reward\":2}}""#);
    let mut judge = Judge::start(settings(shell(&body), LONG, 1)).unwrap();
    assert!(ask(&mut judge, &["x", "y"]).iter().all(Result::is_err));
    let pids = pids(&path, 2);
    assert_eq!(pids[0], pids[1]);
}

#[test]
fn a_torn_line_is_a_bad_reply() {
    check_odd(
        r#"printf '{"id":1,"rew'; exit 0"#,
        LONG,
        "judge-bad-reply",
        r#"is torn: the output ended within the line, in try 2: `{"id":1,"rew`; the process: exit status: 0"#,
    );
}

#[test]
fn a_line_without_an_end_is_cut_off() {
    let error = check_odd(
        "yes xxxxxxxxxxxxxxx | tr -d '\\n'",
        LONG,
        "judge-bad-reply",
        &format!("is longer than the bound of {MAX_REPLY_BYTES} bytes: `xxx"),
    );
    assert!(error.to_string().len() < 1500);
}

#[test]
fn a_programs_own_reason_is_a_failure() {
    let error = check_odd(
        r#"echo "{\"id\":$id,\"error\":\"no quota\"}""#,
        LONG,
        "judge-failure",
        "the program has no reward for request 1: no quota",
    );
    assert_eq!(error.program().exit, None);
}

#[test]
fn dropping_a_judge_ends_its_processes_and_leaves_no_zombies() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = file_in(&folder, "pids");
    let body = format!("sleep 1000 & echo $$ >> '{file}'; echo $! >> '{file}'; {ANSWER}");
    let three = JudgeSettings {
        processes: 3,
        ..settings(shell(&body), LONG, 0)
    };
    let mut judge = Judge::start(three).unwrap();
    ask(&mut judge, &["x"; 12]);
    let polite = pids(&path, 24);
    drop(judge);

    let (path, file) = file_in(&folder, "stubborn");
    let script = format!("trap '' TERM HUP; echo $$ >> '{file}'; while :; do sleep 1000; done");
    let stubborn = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let judge = Judge::start(settings(stubborn, LONG, 0)).unwrap();
    let stubborn = pids(&path, 1);
    drop(judge);

    for pid in polite.iter().chain(&stubborn) {
        assert!(is_dead(pid), "{pid} lives");
    }
}

#[test]
fn programs_may_end_their_work_side_by_side_when_their_input_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = file_in(&folder, "saved");
    let script = format!("while read -r line; do :; done; sleep 0.8; echo saved >> '{file}'");
    let saving = ["sh", "-c", &script].map(str::to_owned).to_vec();
    // One after the other would take longer than they have together.
    let three = JudgeSettings {
        processes: 3,
        ..settings(saving, LONG, 0)
    };
    drop(Judge::start(three).unwrap());
    assert_eq!(fs::read_to_string(path).unwrap(), "saved\n".repeat(3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    // The example's reward is the larger of the shares of `Ada Lovelace` and of `a b c d`.
    #[test]
    fn rewards_are_in_order_whoever_gives_them(
        processes in 1_usize..5,
        batches in prop::collection::vec(prop::collection::vec(0_usize..5, 0..12), 1..4),
    ) {
        let settings = JudgeSettings { processes, ..settings(word_judge(), LONG, 0) };
        let mut judge = Judge::start(settings).unwrap();
        for batch in batches {
            let answers: Vec<&str> = batch.iter().map(|n| &"a b c d"[..(2 * n).saturating_sub(1)]).collect();
            let expected: Vec<_> = batch.iter().map(|n| Ok(*n as f64 / 4.0)).collect();
            prop_assert_eq!(ask(&mut judge, &answers), expected);
        }
    }
}

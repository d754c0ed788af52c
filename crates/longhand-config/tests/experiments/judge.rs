//! The `[reward.judge]` table: a program that scores instead of the checker.

use longhand_config::JudgeSettings;

use crate::{BASE, check, check_set, load};

#[test]
fn a_judge_needs_no_more_than_its_command() {
    assert_eq!(load(BASE, &[]).unwrap().judge, None);
    let judge = |text: &str| {
        load(BASE, &[&format!("reward.judge={text}")])
            .unwrap()
            .judge
    };
    let defaults = JudgeSettings {
        command: vec!["python3".into(), "judge.py".into()],
        timeout_seconds: 30.0,
        processes: 2,
        retries: 1,
        max_failed_share: 0.5,
    };
    let command = "command = [\"python3\", \"judge.py\"]";
    assert_eq!(judge(&format!("{{ {command} }}")), Some(defaults));
    assert_eq!(
        judge(
            "{ command = [\"a\"], timeout_seconds = 0.25, processes = 7, retries = 0, max_failed_share = 1 }"
        ),
        Some(JudgeSettings {
            command: vec!["a".into()],
            timeout_seconds: 0.25,
            processes: 7,
            retries: 0,
            max_failed_share: 1.0,
        })
    );
}

#[test]
fn a_judge_that_cannot_be_asked_is_refused() {
    let with = |lines: &str| format!("[reward.judge]\n{lines}\n[task]");
    let missing = "a.toml:8:9: `reward.judge.command`: missing key: the program and its arguments, one text each \
                   (a list, each entry text in quotes)";
    check("[task]", &with("retries = 2"), Err(missing));
    let judge = "reward.judge={ command = [\"a\"] }";
    for (given, expected) in [
        (
            "command=[]",
            "command`: the list is empty; expected at least one entry, text in quotes",
        ),
        (
            "command=[\" \"]",
            "command`: the program's name is empty; write it first, then its arguments",
        ),
        (
            "command=[1]",
            "command.0`: expected text in quotes, found 1",
        ),
        (
            "timeout_seconds=0",
            "timeout_seconds`: expected a number above 0 to 1000000, found 0",
        ),
        (
            "timeout_seconds=1e300",
            "timeout_seconds`: expected a number above 0 to 1000000, found 1e300",
        ),
        (
            "processes=0",
            "processes`: expected a whole number from 1 to 4096, found 0",
        ),
        (
            "retries=-1",
            "retries`: expected a whole number from 0 to 1000000000, found -1",
        ),
        (
            "max_failed_share=1.5",
            "max_failed_share`: expected a number from 0 to 1, found 1.5",
        ),
    ] {
        let given = format!("reward.judge.{given}");
        check_set(
            &[judge, &given],
            Err(&format!("--set {given}: `reward.judge.{expected}")),
        );
    }
}

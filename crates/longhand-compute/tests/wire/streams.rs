//! Many lines: one answer each, in order, whatever they hold.

use longhand_compute::{Kind, Summary, run};
use proptest::prelude::*;
use serde_json::Value;

fn answers(kind: Kind, input: &[u8]) -> (Summary, Vec<Value>) {
    let mut output = Vec::new();
    let summary = run(input, &mut output, kind).unwrap();
    let text = String::from_utf8(output).unwrap();
    let answers = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (summary, answers.collect())
}

#[test]
fn nothing_in_is_nothing_out() {
    assert_eq!(answers(Kind::Reward, b""), (Summary::default(), vec![]));
}

#[test]
fn a_bad_line_does_not_stop_the_others() {
    let good = br#"{"estimator": "rloo", "rewards": [[1, 0]]}"#;
    let lines: [&[u8]; 6] = [
        good,
        b"{",
        b"\xff\xfe",
        b"",
        b"{\"estimator\": \"rloo\"}",
        good,
    ];
    // Windows line ends, and no line end behind the last line.
    for line_end in [b"\n".as_slice(), b"\r\n"] {
        let (summary, found) = answers(Kind::Advantage, &lines.join(line_end));
        assert_eq!(
            summary,
            Summary {
                lines: 6,
                failed: 4
            }
        );
        for idx in [0, 5] {
            assert_eq!(found[idx]["advantages"], serde_json::json!([[1.0, -1.0]]));
        }
        for answer in &found[1..5] {
            assert!(answer["error"].is_string(), "{answer}");
        }
        assert!(
            found[2]["error"]
                .as_str()
                .unwrap()
                .contains("UTF-8 from byte 0")
        );
    }
}

#[test]
fn lines_of_ten_megabytes() {
    let ten_megabytes = 10 << 20;
    let n = ten_megabytes / 4;
    let rewards = vec!["0.5"; n].join(",");
    let text = "x y ".repeat(n);
    let checks = [
        (
            Kind::Advantage,
            format!(r#"{{"estimator": "grpo", "rewards": [[1,{rewards}]]}}"#),
            true,
        ),
        (
            Kind::Advantage,
            format!(r#"{{"estimator": "grpo", "rewards": [[1,{rewards}]"#),
            false,
        ),
        (
            Kind::Advantage,
            format!(r#"{{"estimator": "{text}"}}"#),
            false,
        ),
        (
            Kind::Reward,
            format!(r#"{{"reward": "token-f1", "prediction": "{text}", "answers": ["x"]}}"#),
            true,
        ),
        (Kind::Reward, format!(r#"{{"reward": "{text}": 1}}"#), false),
    ];
    for (kind, line, is_good) in checks {
        let (summary, found) = answers(kind, format!("{line}\n{{}}\n").as_bytes());
        assert_eq!(summary.lines, 2);
        assert_eq!(found[0].get("error").is_none(), is_good, "{}", &line[..60]);
        assert!(found[1]["error"].is_string());
    }
}

#[test]
fn numbers_survive_the_way_there_and_back() {
    let numbers = [
        0.1,
        1.0 / 3.0,
        5e-324,
        f64::MAX / 3.0,
        2.225_073_858_507_201e-308,
        9007199254740993.0,
        1e23,
    ];
    for number in numbers {
        // CISPO's derivative at ratio 1 is minus the advantage.
        let line = format!(
            r#"{{"objective": "cispo", "logprobs": [[0]], "old_logprobs": [[0]], "advantages": [[{number:?}]], "loss_mask": [[1]]}}"#
        );
        let (_, found) = answers(Kind::Objective, line.as_bytes());
        assert_eq!(found[0]["grad"][0][0].as_f64(), Some(-number));
    }
}

/// One good line of each kind, to be damaged.
const GOOD: [(Kind, &str); 5] = [
    (
        Kind::Advantage,
        r#"{"estimator": "gae", "rewards": [[0,0,1]], "values": [[0.5,0.6,0.7]], "loss_mask": [[1,true,0]], "options": {"gamma": 1}}"#,
    ),
    (
        Kind::Advantage,
        r#"{"estimator": "tamtrl", "turn_scores": [[[0.2],[0.4,0.6]],[[0.5]]], "outcomes": [[1,1],[1]]}"#,
    ),
    (
        Kind::Objective,
        r#"{"objective": "gspo", "logprobs": [[-1,-2],[]], "old_logprobs": [[-1,-1],[]], "advantages": [[1,-1],[]], "loss_mask": [[1,1],[]], "options": {"dual_clip": 3}}"#,
    ),
    (
        Kind::Reward,
        r#"{"reward": "boxed", "prediction": "\\boxed{\\frac12}", "answers": ["1/2"], "options": {"last_chars": 30}}"#,
    ),
    (
        Kind::Reward,
        r#"{"reward": "overlong", "lengths": [1, 2], "options": {"max": 10, "buffer": 4}}"#,
    ),
];

proptest! {
    #[test]
    fn damaged_lines_get_one_answer_each(
        which in 0..GOOD.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..6),
    ) {
        let (kind, line) = GOOD[which];
        let mut bytes = line.as_bytes().to_vec();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        let n_lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        let (summary, found) = answers(kind, &bytes);
        prop_assert_eq!(summary.lines, found.len());
        prop_assert!(n_lines <= found.len());
        let failed = found.iter().filter(|answer| answer.get("error").is_some()).count();
        prop_assert_eq!(summary.failed, failed);
    }

    #[test]
    fn swapped_values_get_one_answer_each(
        which in 0..GOOD.len(),
        field in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![
            "null", "true", "0", "-1", "1e308", "\"x\"", "[]", "{}", "[[]]", "[[[]]]", "[1]", "[[1]]",
            "[[1e308,-1e308,1e308]]", "[[-1e308,1e308],[]]", "[[[1e308,-1e308]]]", "[[true]]", "[\"x\"]", "[[],[],[]]",
        ]),
    ) {
        let (kind, line) = GOOD[which];
        let mut object: Value = serde_json::from_str(line).unwrap();
        let object_fields = object.as_object_mut().unwrap();
        let name = object_fields.keys().nth(field.index(object_fields.len())).unwrap().clone();
        object_fields.insert(name, serde_json::from_str(value).unwrap());
        let (summary, found) = answers(kind, object.to_string().as_bytes());
        prop_assert_eq!(summary.lines, 1);
        prop_assert_eq!(found.len(), 1);
    }
}

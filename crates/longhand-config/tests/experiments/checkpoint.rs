//! The `[checkpoint]` table: its defaults, its values, and metrics that no line will have.

use longhand_config::{BestIs, Checkpoint, METRIC_KEYS};

use crate::{BASE, check, check_set, load};

#[test]
fn a_run_is_checkpointed_unless_asked() {
    let expected = Checkpoint {
        every: 20,
        keep_last: 2,
        best_metric: None,
        best_is: BestIs::Highest,
    };
    assert_eq!(load(BASE, &[]).unwrap().checkpoint, expected);
    let given = [
        "checkpoint={ every = 3, keep_last = 1, best_metric = \"approx_kl\", best_is = \"lowest\" }",
    ];
    let expected = Checkpoint {
        every: 3,
        keep_last: 1,
        best_metric: Some("approx_kl".into()),
        best_is: BestIs::Lowest,
    };
    assert_eq!(load(BASE, &given).unwrap().checkpoint, expected);
}

#[test]
fn every_metric_is_taken_where_some_stage_has_it() {
    let reference = "stage.1.objective.kl.estimator=k3";
    for metric in METRIC_KEYS {
        let best = format!("checkpoint.best_metric={metric}");
        check_set(&[reference, &best], Ok(()));
    }
}

#[test]
fn what_cannot_be_kept_is_refused() {
    check(
        "[task]",
        "[checkpoint]\nkeep_last = 0\n[task]",
        Err(
            "a.toml:9:13: `checkpoint.keep_last`: expected a whole number from 1 to 1000000000, found 0",
        ),
    );
    let text = BASE.replace("[task]", "[checkpoint]\nbest_metric = \"acuracy\"\n[task]");
    let message = load(&text, &[]).unwrap_err().to_string();
    let expected = "a.toml:9:15: `checkpoint.best_metric`: unknown name \"acuracy\", did you mean \"accuracy\"? \
                    expected one of \"step\", ";
    assert!(message.starts_with(expected), "{message}");
    assert!(message.contains("\"max_logprob_difference\""), "{message}");
}

#[test]
fn a_metric_that_no_line_will_have_says_what_it_needs() {
    let refuse = |text: &str, overrides: &[&str], metric: &str, needed: &str| {
        let best = format!("checkpoint.best_metric={metric}");
        let overrides = [overrides, &[best.as_str()]].concat();
        assert_eq!(
            load(text, &overrides).unwrap_err().to_string(),
            format!(
                "--set {best}: `checkpoint.best_metric`: no line of this run will have \"{metric}\": it needs \
                 {needed}; use \"accuracy\" or another metric"
            )
        );
    };
    refuse(BASE, &[], "ref_kl", "an rl stage with objective.kl");
    let outcome = ["stage.1.credit=outcome"];
    for metric in ["teacher_lowest", "teacher_highest", "teacher_gap"] {
        refuse(
            BASE,
            &outcome,
            metric,
            "an rl stage with credit \"tamtrl\" or a reward \"teacher\"",
        );
    }
    let (warm_start, _) = BASE.split_once("[[stage]]\nkind = \"rl\"").unwrap();
    refuse(warm_start, &[], "reward", "an rl stage");
    assert!(load(warm_start, &["checkpoint.best_metric=accuracy"]).is_ok());
}

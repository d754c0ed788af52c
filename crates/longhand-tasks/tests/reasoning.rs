//! What holds for tasks without a document: answers and steps are true, and the splits never meet.

use std::collections::BTreeSet;

use longhand_tasks::{
    Algebra, Arithmetic, CodeTrace, NumberRange, Operators, Problem, Reasoning, Source, Spelling,
    Split, TaskError, TaskSpec, run_program, vocabulary_sample,
};
use proptest::prelude::*;

fn open(spec: &TaskSpec) -> Box<dyn Source + Send + Sync> {
    spec.open().expect("the options of this test are in range")
}

fn problem(spec: &TaskSpec, split: Split, seed: u64, idx: u64) -> Problem {
    open(spec).problem(split, seed, idx, 0, &str::len).unwrap()
}

/// Every task with its defaults and with everything it can do, in both spellings.
fn specs() -> Vec<TaskSpec> {
    let mut specs = Vec::new();
    for spelling in [Spelling::Words, Spelling::Text] {
        let (numbers, operators) = (NumberRange::Integer, Operators::AddSubtractMultiply);
        let plain = Arithmetic {
            spelling,
            ..Arithmetic::default()
        };
        let wild = Arithmetic {
            min_operations: 1,
            max_operations: 9,
            max_operand: 40,
            max_value: 80,
            operators,
            bracket_share: 0.7,
            numbers,
            spelling,
        };
        let no_overflow = Arithmetic {
            numbers: NumberRange::Natural,
            ..wild.clone()
        };
        specs.extend([plain, wild, no_overflow].map(TaskSpec::Arithmetic));
        let plain = Algebra {
            spelling,
            ..Algebra::default()
        };
        let wild = Algebra {
            max_difficulty: 4,
            max_factor: 12,
            max_term: 50,
            max_solution: 30,
            numbers,
            ..plain.clone()
        };
        let natural = Algebra {
            numbers: NumberRange::Natural,
            ..wild.clone()
        };
        specs.extend([plain, wild, natural].map(TaskSpec::Algebra));
        let plain = CodeTrace {
            spelling,
            ..CodeTrace::default()
        };
        let wild = CodeTrace {
            n_variables: 4,
            min_statements: 1,
            max_statements: 9,
            loop_share: 0.6,
            max_turns: 9,
            operators,
            numbers,
            ..plain.clone()
        };
        let one = CodeTrace {
            n_variables: 1,
            loop_share: 1.0,
            ..plain.clone()
        };
        specs.extend([plain, wild, one].map(TaskSpec::CodeTrace));
    }
    specs
}

/// Whole numbers of a text, digits that stand apart being joined.
fn numbers(text: &str) -> Vec<i64> {
    let joined: String = text
        .split(|c: char| !c.is_ascii_digit() && c != ' ')
        .map(|run| run.replace(' ', "") + " ")
        .collect();
    joined
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect()
}

/// Options whose kind of numbers, and whose largest value, are looked at from outside.
fn largest_value(spec: &TaskSpec) -> Option<i64> {
    match spec {
        TaskSpec::Arithmetic(options) => Some(options.max_value),
        TaskSpec::CodeTrace(options) => Some(options.max_value),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn answers_follow_from_questions_and_every_step_is_true(
        idx in any::<u64>(), seed in any::<u64>(), test in any::<bool>(),
    ) {
        let split = if test { Split::Test } else { Split::Train };
        for spec in specs() {
            let problem = problem(&spec, split, seed, idx);
            let solution = problem.solution.unwrap();
            let kind = spec.reasoning().unwrap();
            let verdict = kind.verify(&problem.question, &solution, 500);
            let verdict = verdict.map_err(|e| TestCaseError::fail(format!("{e}: {}", problem.question)))?;
            prop_assert_eq!(&problem.answers[0], &verdict.truth.to_string(), "{}", problem.question);
            for answer in &problem.answers {
                prop_assert_eq!(answer.replace(' ', ""), verdict.truth.to_string());
            }
            let last = problem.answers.last().unwrap();
            prop_assert!(solution.replace("{ ", "{").contains(&format!("{{{last}")), "{}", solution);
            prop_assert_eq!(verdict.answered, Some(verdict.truth), "{}", &solution);
            prop_assert_eq!(verdict.n_steps, problem.n_facts);
            prop_assert_eq!(verdict.n_true_steps, problem.n_facts, "{}", &solution);
            prop_assert!(problem.paragraphs.is_empty() && 0 < problem.n_facts);
            if let Some(largest) = largest_value(&spec) {
                let most = numbers(&solution).into_iter().max();
                prop_assert!(most <= Some(largest), "{}", solution);
            }
        }
    }

    #[test]
    fn the_same_key_gives_the_same_problem_and_another_seed_another(
        idx in any::<u64>(), seed in any::<u64>(), target in 0_usize..1000,
    ) {
        for spec in specs() {
            let source = open(&spec);
            let first = problem(&spec, Split::Train, seed, idx);
            source.problem(Split::Test, seed, idx, 0, &str::len).unwrap();
            let again = source.problem(Split::Train, seed, idx, target, &|_| 0).unwrap();
            prop_assert_eq!(&first, &again);
        }
    }
}

#[test]
fn no_question_is_in_both_splits_and_seeds_bring_others() {
    for spec in specs() {
        let source = open(&spec);
        let questions = |split, seed| -> BTreeSet<String> {
            let problem = |idx| source.problem(split, seed, idx, 0, &str::len).unwrap();
            (0..600).map(|idx| problem(idx).question).collect()
        };
        let train = questions(Split::Train, 0);
        assert!(train.is_disjoint(&questions(Split::Test, 0)), "{spec:?}");
        assert!(train.is_disjoint(&questions(Split::Test, 1)), "{spec:?}");
        assert_ne!(train, questions(Split::Train, 1), "{spec:?}");
        // The one-variable loop has the fewest: 9 first values, then 2 or 3 of a few assignments.
        assert!(150 < train.len(), "{spec:?}: {}", train.len());
    }
}

#[test]
fn both_spellings_ask_the_same() {
    let all = specs();
    let (words, text) = all.split_at(all.len() / 2);
    for (words, text) in words.iter().zip(text) {
        for idx in 0..50 {
            let [words, text] = [words, text].map(|spec| problem(spec, Split::Test, 3, idx));
            assert_eq!(words.answers[0], text.answers[0]);
            assert_eq!(text.answers.len(), 1);
            let asked = text.question.rsplit("\n\n").next().unwrap();
            let bare = |text: &str| text.replace([' ', '\n', ';'], "");
            assert_eq!(bare(&words.question), bare(asked));
            // But for brackets around negative operands.
            let bare = |text: Option<String>| bare(&text.unwrap()).replace(['(', ')'], "");
            assert_eq!(bare(words.solution), bare(text.solution));
        }
    }
}

#[test]
fn words_are_those_of_the_closed_vocabulary_and_every_one_is_used() {
    for spec in specs() {
        let source = open(&spec);
        let Some(words) = source.closed_vocabulary() else {
            let first = vocabulary_sample(source.as_ref(), 0, 1).next();
            assert!(first.unwrap().unwrap().contains(":\n\n") || spec.kind() == "code-trace");
            continue;
        };
        let words: BTreeSet<String> = words.into_iter().collect();
        assert!(words.len() < 50, "{}", words.len());
        let mut seen = BTreeSet::new();
        for idx in 0..400 {
            let problem = problem(&spec, Split::Train, 0, idx);
            let texts = [problem.question, problem.solution.unwrap()];
            let used = texts.iter().flat_map(|text| text.split(' '));
            seen.extend(used.map(str::to_owned));
        }
        assert_eq!(seen, words, "{spec:?}");
        // Nor does a tokenizer meet any other word.
        for text in vocabulary_sample(source.as_ref(), 0, 20) {
            let text = text.unwrap();
            assert!(text.split(' ').all(|word| words.contains(word)), "{text}");
        }
    }
}

#[track_caller]
fn check(kind: &str, spelling: Spelling, question: &str, solution: &str, answers: &[&str]) {
    let options = serde_json::json!({"kind": kind, "spelling": spelling});
    let spec: TaskSpec = serde_json::from_value(options).unwrap();
    let problem = problem(&spec, Split::Train, 1, 1);
    assert_eq!(problem.question, question);
    assert_eq!(problem.solution.as_deref(), Some(solution));
    assert_eq!(problem.answers, answers);
}

/// Worked out by hand from the questions. A change of these is a change of every experiment's data.
#[test]
fn the_second_problems_of_seed_one_are_these() {
    let (words, text) = (Spelling::Words, Spelling::Text);
    check(
        "arithmetic",
        words,
        "9 + 3 - 4 - 3 + 2",
        "9 + 3 = 1 2 ; 1 2 - 4 = 8 ; 8 - 3 = 5 ; 5 + 2 = 7 ; \\boxed{ 7 }",
        &["7"],
    );
    check(
        "arithmetic",
        text,
        "Compute the value of this expression:\n\n9 + 3 - 4 - 3 + 2",
        "9 + 3 = 12\n12 - 4 = 8\n8 - 3 = 5\n5 + 2 = 7\n\\boxed{7}",
        &["7"],
    );
    check(
        "algebra",
        words,
        "6 x + 1 = 1",
        "6 x = 1 - 1 = 0 ; x = 0 / 6 = 0 ; \\boxed{ 0 }",
        &["0"],
    );
    check(
        "algebra",
        text,
        "Solve this equation for x:\n\n6x + 1 = 1",
        "6x = 1 - 1 = 0\nx = 0 / 6 = 0\n\\boxed{0}",
        &["0"],
    );
    check(
        "code-trace",
        words,
        "a = 7 ; b = 4 ; repeat 3 : b = b + 4 ; end ; a = b + 1 ; print a",
        "a = 7 ; b = 4 ; b = 4 + 4 = 8 ; b = 8 + 4 = 1 2 ; b = 1 2 + 4 = 1 6 ; a = 1 6 + 1 = 1 7 ; \
         \\boxed{ 1 7 }",
        &["17", "1 7"],
    );
    check(
        "code-trace",
        text,
        "Which number does this program print?\n\na = 7\nb = 4\nrepeat 3:\n  b = b + 4\nend\na = b + \
         1\nprint a",
        "a = 7\nb = 4\nb = 4 + 4 = 8\nb = 8 + 4 = 12\nb = 12 + 4 = 16\na = 16 + 1 = 17\n\\boxed{17}",
        &["17"],
    );
}

#[test]
fn results_stay_natural_unless_integers_are_asked_for() {
    for (range, expected) in [(NumberRange::Natural, false), (NumberRange::Integer, true)] {
        let specs = [
            TaskSpec::Arithmetic(Arithmetic {
                numbers: range,
                ..Arithmetic::default()
            }),
            TaskSpec::Algebra(Algebra {
                numbers: range,
                max_difficulty: 4,
                ..Algebra::default()
            }),
            TaskSpec::CodeTrace(CodeTrace {
                numbers: range,
                ..CodeTrace::default()
            }),
        ];
        for spec in specs {
            let has_negative = |idx| {
                let solution = problem(&spec, Split::Train, 0, idx).solution.unwrap();
                // A sign at the start of a side or of the box.
                solution.contains("= - ") || solution.contains("{ - ")
            };
            let found = (0..300).any(has_negative);
            assert_eq!(found, expected, "{spec:?}");
        }
    }
}

#[test]
fn a_difficulty_by_itself_has_its_own_equations() {
    for difficulty in 1..=4 {
        let spec = TaskSpec::Algebra(Algebra {
            min_difficulty: difficulty,
            max_difficulty: difficulty,
            ..Algebra::default()
        });
        for idx in 0..100 {
            let problem = problem(&spec, Split::Train, 0, idx);
            let question = problem.question;
            let steps = problem.n_facts;
            match difficulty {
                1 => assert_eq!(steps, 1, "{question}"),
                2 => assert_eq!(steps, 2, "{question}"),
                3 => assert!(
                    question.contains('(') && (2..=3).contains(&steps),
                    "{question}"
                ),
                // The last division is spared where one `x` is left.
                _ => {
                    assert_eq!(question.matches('x').count(), 2, "{question}");
                    assert!((2..=3).contains(&steps), "{question}");
                }
            }
        }
    }
}

#[test]
fn more_operations_and_statements_make_longer_solutions() {
    for n in [1, 4, 8] {
        let arithmetic = TaskSpec::Arithmetic(Arithmetic {
            min_operations: n,
            max_operations: n,
            ..Arithmetic::default()
        });
        let code = TaskSpec::CodeTrace(CodeTrace {
            min_statements: n,
            max_statements: n,
            loop_share: 0.0,
            ..CodeTrace::default()
        });
        for idx in 0..50 {
            assert_eq!(problem(&arithmetic, Split::Train, 0, idx).n_facts, n);
            assert_eq!(problem(&code, Split::Train, 0, idx).n_facts, n + 2);
        }
    }
}

#[test]
fn programs_of_the_task_run_far_below_a_small_budget() {
    let spec = TaskSpec::CodeTrace(CodeTrace {
        max_statements: 32,
        loop_share: 1.0,
        max_turns: 9,
        numbers: NumberRange::Integer,
        ..CodeTrace::default()
    });
    for idx in 0..100 {
        let problem = problem(&spec, Split::Train, 0, idx);
        let run = run_program(&problem.question, 1000).unwrap();
        assert_eq!(run.printed.len(), 1);
        assert!(Reasoning::CodeTrace.solve(&problem.question, 20).is_err());
    }
}

#[test]
fn options_out_of_range_are_refused_with_their_numbers() {
    for (json, message) in [
        (
            r#"{"kind": "arithmetic", "min_operations": 5}"#,
            "task `arithmetic`: option `min_operations` is 5, give 1 to 4",
        ),
        (
            r#"{"kind": "arithmetic", "max_value": 19}"#,
            "task `arithmetic`: option `max_value` is 19, give 20 to 999999",
        ),
        (
            r#"{"kind": "arithmetic", "bracket_share": 1.5}"#,
            "task `arithmetic`: option `bracket_share` is 1.5, give 0 to 1",
        ),
        (
            r#"{"kind": "algebra", "max_difficulty": 5}"#,
            "task `algebra`: option `max_difficulty` is 5, give 1 to 4",
        ),
        (
            r#"{"kind": "algebra", "max_factor": 1}"#,
            "task `algebra`: option `max_factor` is 1, give 2 to 99",
        ),
        (
            r#"{"kind": "code-trace", "n_variables": 9}"#,
            "task `code-trace`: option `n_variables` is 9, give 1 to 8",
        ),
        (
            r#"{"kind": "code-trace", "max_turns": 1}"#,
            "task `code-trace`: option `max_turns` is 1, give 2 to 9",
        ),
        (
            r#"{"kind": "arithmetic", "min_operations": 1, "max_operations": 1, "max_operand": 1,
                "max_value": 20}"#,
            "task `arithmetic` found no test problem in 200 draws: its options allow too few \
             different ones; raise them",
        ),
    ] {
        let spec: TaskSpec = serde_json::from_str(json).expect("the options have the right types");
        let error = spec.open().err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(message));
    }
    let error = TaskSpec::Algebra(Algebra {
        max_term: 0,
        ..Algebra::default()
    });
    assert!(matches!(
        error.open().err(),
        Some(TaskError::BadOption {
            option: "max_term",
            ..
        })
    ));
}

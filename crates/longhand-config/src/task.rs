//! `[task]`: the keys of every task.
//!
//! The values themselves are a [`TaskSpec`], which `longhand-tasks` defines; the tests below hold
//! the keys and ranges listed here against it.

use longhand_tasks::{DEFAULT_TEST_FRACTION, HotpotQa, Jsonl, TaskError, TaskSpec};

use crate::checks::Checks;
use crate::schema::{
    Bound, COUNT, Interval, Key, Kind, SHARE, Variant, defaults_to, optional, required, section,
};

pub(crate) static TASK: &[Variant] = &[
    Variant {
        name: "class-notes",
        meaning: "note the items of the asked classes (closed vocabulary)",
        keys: CLASS_NOTES,
    },
    Variant {
        name: "lookup",
        meaning: "look somebody up by name, over one or two hops (closed vocabulary)",
        keys: LOOKUP,
    },
    Variant {
        name: "needle",
        meaning: "find one fact about one name",
        keys: NEEDLE,
    },
    Variant {
        name: "multi-needle",
        meaning: "find facts about several names, or several of one name",
        keys: MULTI_NEEDLE,
    },
    Variant {
        name: "variable-tracking",
        meaning: "follow a value from variable to variable",
        keys: VARIABLE_TRACKING,
    },
    Variant {
        name: "multi-hop",
        meaning: "follow relations between people, firms and towns",
        keys: MULTI_HOP,
    },
    Variant {
        name: "counting",
        meaning: "count how often something happened",
        keys: COUNTING,
    },
    Variant {
        name: "arithmetic",
        meaning: "work out the value of an expression (no document)",
        keys: ARITHMETIC,
    },
    Variant {
        name: "algebra",
        meaning: "solve an equation of one unknown (no document)",
        keys: ALGEBRA,
    },
    Variant {
        name: "code-trace",
        meaning: "say which number a tiny program prints (no document)",
        keys: CODE_TRACE,
    },
    Variant {
        name: "hotpotqa",
        meaning: "questions of HotpotQA over documents composed of its paragraphs",
        keys: HOTPOTQA,
    },
    Variant {
        name: "jsonl",
        meaning: "questions and documents from a file of one's own",
        keys: JSONL,
    },
];

const fn up_to(high: i64) -> Kind {
    Kind::Integer { low: 1, high }
}

const DIGITS: Kind = up_to(18);
const HUNDRED: Kind = Kind::Integer { low: 0, high: 100 };
const WEIGHT: Kind = Kind::Number(Interval {
    low: Bound::Closed(0.0),
    high: Bound::Closed(1e6),
});
const NAME_SPLIT: Kind = Kind::Choice(&["disjoint", "shared"]);
const VALUE: Kind = Kind::Choice(&["number", "words"]);
const ORDER: Kind = Kind::Choice(&["any", "forward"]);

const OPERATORS: Kind = Kind::Choice(&["add-subtract", "add-subtract-multiply"]);
const NUMBERS: Kind = Kind::Choice(&["natural", "integer"]);
const SPELLING: Kind = Kind::Choice(&["words", "text"]);

const OPERATIONS: &str = "which operations there are";
const SIGNS: &str = "whether numbers on the way to an answer may be negative";
const SPELT: &str = "digits and marks as words of their own, for policies from scratch, or plain text with an instruction";
const DISTRACTORS: &str =
    "share of paragraphs beside the needed ones that look like them; the others are filler";
const CONTEXT: &str =
    "filler sentences around each fact; 0 makes a paragraph of one sentence without a title";
const NAMES: &str = "whether test problems use names that no training problem uses";

static CLASS_NOTES: &[Key] = &[
    defaults_to(
        "n_classes",
        Kind::Integer { low: 3, high: 10 },
        "6",
        "classes of items",
    ),
    defaults_to("items_per_class", up_to(16), "8", "items in each class"),
    defaults_to("n_subjects", up_to(64), "24", "subjects of sentences"),
    defaults_to("n_verbs", up_to(24), "12", "verbs of sentences"),
    defaults_to(
        "two_fact_share",
        SHARE,
        "0.5",
        "share of problems that ask for two classes; the others ask for one",
    ),
];

static LOOKUP: &[Key] = &[
    defaults_to(
        "n_people",
        Kind::Integer { low: 2, high: 96 },
        "32",
        "people",
    ),
    defaults_to("n_places", up_to(48), "16", "places"),
    defaults_to("n_things", up_to(32), "16", "things"),
    defaults_to(
        "two_hop_share",
        SHARE,
        "0.5",
        "share of problems with two hops",
    ),
    defaults_to(
        "order",
        ORDER,
        "\"forward\"",
        "whether the first fact of two hops comes first in the document",
    ),
    defaults_to(
        "notes",
        Kind::Choice(&["sentence", "names"]),
        "\"sentence\"",
        "what the scripted expert notes: the sentence, or its two names",
    ),
];

static NEEDLE: &[Key] = &[
    defaults_to("value", VALUE, "\"number\"", "what values look like"),
    defaults_to("value_digits", DIGITS, "5", "digits of a number"),
    defaults_to("distractor_share", SHARE, "0.5", DISTRACTORS),
    defaults_to("context_sentences", HUNDRED, "2", CONTEXT),
    defaults_to("names", NAME_SPLIT, "\"disjoint\"", NAMES),
];

static MULTI_NEEDLE: &[Key] = &[
    defaults_to("n_keys", up_to(100), "2", "names asked for"),
    defaults_to("values_per_key", up_to(100), "1", "values of each name"),
    defaults_to("value", VALUE, "\"number\"", "what values look like"),
    defaults_to("value_digits", DIGITS, "5", "digits of a number"),
    defaults_to("distractor_share", SHARE, "0.5", DISTRACTORS),
    defaults_to("context_sentences", HUNDRED, "2", CONTEXT),
    defaults_to("names", NAME_SPLIT, "\"disjoint\"", NAMES),
];

static VARIABLE_TRACKING: &[Key] = &[
    defaults_to("n_hops", HUNDRED, "2", "how often a value is handed on"),
    defaults_to(
        "ask",
        Kind::Choice(&["value", "variables"]),
        "\"value\"",
        "asked for: the last variable's value, or all variables of the chain",
    ),
    defaults_to(
        "value_digits",
        Kind::Integer { low: 3, high: 18 },
        "5",
        "digits of a value",
    ),
    defaults_to(
        "distractor_share",
        SHARE,
        "0.5",
        "how often the document goes on with a whole other chain rather than filler",
    ),
    defaults_to("context_sentences", HUNDRED, "0", CONTEXT),
    defaults_to(
        "names",
        NAME_SPLIT,
        "\"disjoint\"",
        "whether test problems use variables that no training problem uses",
    ),
];

static MULTI_HOP: &[Key] = &[
    defaults_to("n_hops", up_to(20), "2", "facts to be joined"),
    defaults_to(
        "order",
        ORDER,
        "\"any\"",
        "order of those facts in the document",
    ),
    section(
        "tiers",
        TIERS,
        "how distractors are spread over their tiers",
    ),
    defaults_to(
        "context_sentences",
        HUNDRED,
        "1",
        "filler sentences around each fact",
    ),
    defaults_to("names", NAME_SPLIT, "\"disjoint\"", NAMES),
];

static TIERS: &[Key] = &[
    defaults_to(
        "same_relation",
        WEIGHT,
        "1.0",
        "weight of relations of the question, told of others",
    ),
    defaults_to(
        "same_entity",
        WEIGHT,
        "1.0",
        "weight of other relations of entities on the path",
    ),
    defaults_to(
        "unrelated",
        WEIGHT,
        "1.0",
        "weight of other relations of others",
    ),
];

static COUNTING: &[Key] = &[
    defaults_to("min_count", HUNDRED, "1", "smallest count"),
    defaults_to(
        "max_count",
        HUNDRED,
        "6",
        "largest count; at least `min_count`",
    ),
    defaults_to("distractor_share", SHARE, "0.5", DISTRACTORS),
    defaults_to("context_sentences", HUNDRED, "1", CONTEXT),
    defaults_to("names", NAME_SPLIT, "\"disjoint\"", NAMES),
];

static ARITHMETIC: &[Key] = &[
    defaults_to(
        "min_operations",
        up_to(32),
        "2",
        "fewest operations; at most `max_operations`",
    ),
    defaults_to("max_operations", up_to(32), "4", "most operations"),
    defaults_to(
        "max_operand",
        up_to(999),
        "9",
        "largest number of a question; the smallest is 1",
    ),
    defaults_to(
        "max_value",
        Kind::Integer {
            low: 20,
            high: 999_999,
        },
        "99",
        "largest result of an operation; at least twice `max_operand`",
    ),
    defaults_to("operators", OPERATORS, "\"add-subtract\"", OPERATIONS),
    defaults_to(
        "bracket_share",
        SHARE,
        "0.0",
        "how often a second operand may be an operation itself",
    ),
    defaults_to("numbers", NUMBERS, "\"natural\"", SIGNS),
    defaults_to("spelling", SPELLING, "\"words\"", SPELT),
];

static ALGEBRA: &[Key] = &[
    defaults_to(
        "min_difficulty",
        up_to(4),
        "1",
        "easiest equations; at most `max_difficulty`",
    ),
    defaults_to(
        "max_difficulty",
        up_to(4),
        "2",
        "hardest equations: 1 one move, 2 two moves, 3 brackets, 4 the unknown on both sides",
    ),
    defaults_to(
        "max_factor",
        Kind::Integer { low: 2, high: 99 },
        "9",
        "largest factor of x or of a bracket",
    ),
    defaults_to(
        "max_term",
        up_to(999),
        "9",
        "largest number added or subtracted",
    ),
    defaults_to("max_solution", up_to(999), "9", "largest solution"),
    defaults_to("numbers", NUMBERS, "\"natural\"", SIGNS),
    defaults_to("spelling", SPELLING, "\"words\"", SPELT),
];

static CODE_TRACE: &[Key] = &[
    defaults_to("n_variables", up_to(8), "2", "variables"),
    defaults_to(
        "min_statements",
        up_to(32),
        "2",
        "fewest assignments and loops behind the first values; at most `max_statements`",
    ),
    defaults_to(
        "max_statements",
        up_to(32),
        "3",
        "most assignments and loops behind the first values",
    ),
    defaults_to("loop_share", SHARE, "0.3", "share of loops among them"),
    defaults_to(
        "max_turns",
        Kind::Integer { low: 2, high: 9 },
        "3",
        "most turns of a loop; the fewest are 2",
    ),
    defaults_to(
        "max_number",
        up_to(999),
        "9",
        "largest number of a program; the smallest is 1",
    ),
    defaults_to(
        "max_value",
        Kind::Integer {
            low: 20,
            high: 999_999,
        },
        "99",
        "largest value of a variable; at least twice `max_number`",
    ),
    defaults_to("operators", OPERATORS, "\"add-subtract\"", OPERATIONS),
    defaults_to("numbers", NUMBERS, "\"natural\"", SIGNS),
    defaults_to("spelling", SPELLING, "\"words\"", SPELT),
];

static HOTPOTQA: &[Key] = &[
    required(
        "path",
        Kind::Text,
        "the data: the official JSON list or one JSON object per line; relative to the working directory",
    ),
    optional(
        "num_docs",
        COUNT,
        "documents grow to the length asked for",
        "paragraphs of a document, whatever its length in tokens",
    ),
    defaults_to(
        "pool",
        Kind::Choice(&["repeat", "once"]),
        "\"repeat\"",
        "whether a document longer than all paragraphs of the file may repeat some",
    ),
    optional(
        "test_path",
        Kind::Text,
        "test problems are held out of `path`",
        TEST_PATH,
    ),
    optional("test_fraction", SHARE, HELD_OUT, TEST_FRACTION),
    defaults_to(
        "max_line_bytes",
        COUNT,
        MAX_LINE_BYTES,
        "longest record of the file",
    ),
];

static JSONL: &[Key] = &[
    required(
        "path",
        Kind::Text,
        "the data, one problem per line; relative to the working directory",
    ),
    defaults_to(
        "format",
        Kind::Choice(&["auto", "longhand", "longbench", "gsm8k", "verl"]),
        "\"auto\"",
        "whose records these are; `auto` tells it from the fields of the first one",
    ),
    optional(
        "test_path",
        Kind::Text,
        "test problems are held out of `path`",
        TEST_PATH,
    ),
    optional("test_fraction", SHARE, HELD_OUT, TEST_FRACTION),
    defaults_to(
        "max_line_bytes",
        COUNT,
        MAX_LINE_BYTES,
        "longest record of the file",
    ),
];

const TEST_PATH: &str = "a second file, with the test problems";
const TEST_FRACTION: &str =
    "share of the problems of `path` that is held out; not together with `test_path`";
const HELD_OUT: &str = "0.2 without `test_path`";
/// [`longhand_tasks::DEFAULT_MAX_LINE_BYTES`] as TOML.
const MAX_LINE_BYTES: &str = "8388608";

/// Writes in the values that follow from others.
pub(crate) fn resolve(task: &mut TaskSpec) {
    match task {
        TaskSpec::Hotpotqa(HotpotQa {
            test_path: None,
            test_fraction,
            ..
        })
        | TaskSpec::Jsonl(Jsonl {
            test_path: None,
            test_fraction,
            ..
        }) => {
            test_fraction.get_or_insert(DEFAULT_TEST_FRACTION);
        }
        _ => {}
    }
}

/// Why documents have the length they have, where a length in tokens cannot be asked for.
fn fixed_length(task: &TaskSpec) -> Option<&'static str> {
    match task {
        TaskSpec::Hotpotqa(HotpotQa {
            num_docs: Some(_), ..
        }) => Some("with `task.num_docs` documents have the same length whatever is asked for"),
        TaskSpec::Jsonl(_) => Some("documents of a file of one's own are taken as they are"),
        spec if spec.reasoning().is_some() => Some("problems of this task have no document"),
        _ => None,
    }
}

/// Refuses to ask for several lengths where every document has its own.
pub(crate) fn check_lengths(
    task: &TaskSpec,
    lengths: &[usize],
    key: &str,
    checks: &mut Checks<'_>,
) {
    if let Some(reason) = fixed_length(task) {
        checks.require(lengths.len() == 1, key, || {
            format!("{} lengths, but {reason}; give one length", lengths.len())
        });
    }
}

/// Refuses templates that show no document of a task that asks about one, and the other way round. What a
/// file of one's own asks about is not known here.
pub(crate) fn check_templates(task: &TaskSpec, is_direct: bool, checks: &mut Checks<'_>) {
    let kind = task.kind();
    let is_either = matches!(task, TaskSpec::Jsonl(_));
    let has_document = task.reasoning().is_none();
    checks.require(
        is_either || has_document != is_direct,
        "reader.template",
        || {
            if is_direct {
                format!(
                    "the prompt shows the question alone, but {kind} asks about a document; use a \
                     template that reads, such as `longhand` or `marks`"
                )
            } else {
                format!(
                    "the prompts show a document, but {kind} has none; use `direct-marks`, `direct`, \
                     or `answer` alone"
                )
            }
        },
    );
}

/// Refuses options that do not go together. Files are opened when training starts, not here.
pub(crate) fn check(task: &TaskSpec, checks: &mut Checks<'_>) {
    match task {
        TaskSpec::Hotpotqa(HotpotQa {
            test_path,
            test_fraction,
            ..
        })
        | TaskSpec::Jsonl(Jsonl {
            test_path,
            test_fraction,
            ..
        }) => {
            checks.require(
                test_path.is_none() || test_fraction.is_none(),
                "task.test_fraction",
                || "with `test_path` nothing is held out of `path`; remove one of the two".into(),
            );
        }
        generated => match generated.open() {
            Ok(_) => {}
            Err(TaskError::BadOption {
                option,
                value,
                mend,
                ..
            }) => {
                checks.fail(&format!("task.{option}"), format!("{value}: {mend}"));
            }
            Err(error) => checks.fail("task", error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use longhand_tasks::{DEFAULT_MAX_LINE_BYTES, TaskSpec};

    use super::*;
    use crate::schema::Default;

    #[test]
    fn the_formats_are_those_of_the_task() {
        let format = JSONL.iter().find(|key| key.name == "format").unwrap();
        let Kind::Choice(choices) = format.kind else {
            panic!("a choice");
        };
        for choice in choices {
            let table = format!("kind = \"jsonl\"\npath = \"a\"\nformat = \"{choice}\"");
            let spec: TaskSpec = toml_table(&table).try_into().unwrap();
            assert!(toml::Table::try_from(&spec).unwrap()["format"].as_str() == Some(choice));
        }
        let spec: TaskSpec = toml_table("kind = \"jsonl\"\npath = \"a\"")
            .try_into()
            .unwrap();
        let TaskSpec::Jsonl(options) = spec else {
            panic!("a jsonl task");
        };
        assert_eq!(options.format, longhand_tasks::RecordFormat::Auto);
    }

    fn toml_table(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    /// The tasks that need no file.
    fn generated() -> impl Iterator<Item = &'static Variant> {
        let of_files = ["hotpotqa", "jsonl"];
        TASK.iter()
            .filter(move |variant| !of_files.contains(&variant.name))
    }

    /// The options under which a single option is tried.
    fn base(variant: &Variant) -> toml::Table {
        let mut table = match variant.name {
            // The smallest count may be anything up to the largest.
            "counting" => toml_table("max_count = 100\nmin_count = 0"),
            // The same for pairs of which one bounds the other.
            "arithmetic" => toml_table(
                "min_operations = 1\nmax_operations = 32\nmax_operand = 9\nmax_value = 999_999",
            ),
            "algebra" => toml_table("min_difficulty = 1\nmax_difficulty = 4"),
            "code-trace" => toml_table(
                "min_statements = 1\nmax_statements = 32\nmax_number = 9\nmax_value = 999_999",
            ),
            _ => toml_table(""),
        };
        table.insert("kind".into(), variant.name.into());
        table
    }

    fn opens(table: toml::Table) -> bool {
        let spec: Result<TaskSpec, _> = table.try_into();
        spec.is_ok_and(|spec| spec.open().is_ok())
    }

    #[test]
    fn the_kinds_are_those_of_the_tasks() {
        assert_eq!(
            TASK.iter().map(|variant| variant.name).collect::<Vec<_>>(),
            TaskSpec::KINDS
        );
        assert_eq!(MAX_LINE_BYTES, DEFAULT_MAX_LINE_BYTES.to_string());
    }

    #[test]
    fn defaults_are_those_of_the_tasks() {
        for variant in generated() {
            let table = toml::Table::from_iter([("kind".into(), variant.name.into())]);
            let spec: TaskSpec = table.clone().try_into().unwrap();
            let mut ours = table;
            let literals = |keys: &'static [Key]| {
                keys.iter().filter_map(|key| match key.default {
                    Default::Literal(literal) => Some(format!("{} = {literal}\n", key.name)),
                    _ => None,
                })
            };
            ours.extend(toml_table(&literals(variant.keys).collect::<String>()));
            if variant.name == "multi-hop" {
                ours.insert(
                    "tiers".into(),
                    toml_table(&literals(TIERS).collect::<String>()).into(),
                );
            }
            assert_eq!(
                toml::Table::try_from(&spec).unwrap(),
                ours,
                "{}",
                variant.name
            );
        }
    }

    #[test]
    fn ranges_are_those_of_the_tasks() {
        let mut n_ends = 0;
        for variant in generated() {
            for key in variant.keys {
                let (inside, outside): (Vec<toml::Value>, Vec<toml::Value>) = match key.kind {
                    Kind::Integer { low, high } => (
                        vec![low.into(), high.into()],
                        vec![(low - 1).into(), (high + 1).into()],
                    ),
                    Kind::Number(_) => (
                        vec![0.0.into(), 1.0.into()],
                        vec![(-0.1).into(), 1.1.into()],
                    ),
                    _ => continue,
                };
                let with = |value: toml::Value| {
                    let mut table = base(variant);
                    table.insert(key.name.into(), value);
                    table
                };
                for value in inside {
                    assert!(
                        opens(with(value.clone())),
                        "{}.{} = {value}",
                        variant.name,
                        key.name
                    );
                }
                for value in outside {
                    // `max_count` below `min_count` and `min_count` above 100 are refused as well.
                    assert!(
                        !opens(with(value.clone())),
                        "{}.{} = {value}",
                        variant.name,
                        key.name
                    );
                    n_ends += 1;
                }
            }
        }
        assert_eq!(n_ends, 2 * (27 + 5 + 5 + 7));
    }
}

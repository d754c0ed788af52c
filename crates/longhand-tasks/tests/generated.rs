//! What holds for every generated task: the ground truth is true, and the document hides it well.

use std::collections::{BTreeSet, HashMap};

use longhand_tasks::{
    ClassNotes, Counting, FactOrder, Lookup, MultiHop, MultiNeedle, Needle, NeedleValue, NoteForm,
    Paragraph, Problem, Source, Split, TaskError, TaskSpec, TierWeights, VariableQuestion,
    VariableTracking, vocabulary_sample,
};
use proptest::prelude::*;

/// Words and marks, each line end counting as one more: different from the number of words alone.
fn count_tokens(text: &str) -> usize {
    text.split_whitespace().count() + text.matches('\n').count()
}

fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn specs() -> Vec<TaskSpec> {
    vec![
        TaskSpec::ClassNotes(ClassNotes::default()),
        TaskSpec::Lookup(Lookup::default()),
        TaskSpec::Lookup(Lookup {
            n_people: 2,
            n_places: 1,
            n_things: 1,
            two_hop_share: 1.0,
            order: FactOrder::Any,
            notes: NoteForm::Names,
        }),
        TaskSpec::Needle(Needle::default()),
        TaskSpec::Needle(Needle {
            value: NeedleValue::Words,
            distractor_share: 1.0,
            context_sentences: 0,
            ..Needle::default()
        }),
        TaskSpec::MultiNeedle(MultiNeedle::default()),
        TaskSpec::MultiNeedle(MultiNeedle {
            n_keys: 3,
            values_per_key: 2,
            ..MultiNeedle::default()
        }),
        TaskSpec::VariableTracking(VariableTracking::default()),
        TaskSpec::VariableTracking(VariableTracking {
            n_hops: 4,
            ask: VariableQuestion::Variables,
            context_sentences: 1,
            ..VariableTracking::default()
        }),
        TaskSpec::MultiHop(MultiHop::default()),
        TaskSpec::MultiHop(MultiHop {
            n_hops: 4,
            order: FactOrder::Forward,
            tiers: TierWeights {
                same_relation: 0.0,
                same_entity: 5.0,
                unrelated: 1.0,
            },
            context_sentences: 0,
            ..MultiHop::default()
        }),
        TaskSpec::Counting(Counting::default()),
        TaskSpec::Counting(Counting {
            min_count: 0,
            max_count: 14,
            distractor_share: 1.0,
            context_sentences: 0,
            ..Counting::default()
        }),
    ]
}

fn open(spec: &TaskSpec) -> Box<dyn Source + Send + Sync> {
    spec.open().expect("the options of this test are in range")
}

fn problem(source: &dyn Source, split: Split, idx: u64, target_tokens: usize) -> Problem {
    source
        .problem(split, 7, idx, target_tokens, &count_tokens)
        .expect("the target has room for what is needed")
}

// ---- Solvers: each reads paragraphs as a person would, knowing nothing of how they were made. ----

/// The answer that these paragraphs give, or `None` if they give none or more than one.
fn solve(spec: &TaskSpec, question: &str, paragraphs: &[&Paragraph]) -> Option<String> {
    let sentences: Vec<&str> = paragraphs
        .iter()
        .flat_map(|paragraph| paragraph.text.split_inclusive(['.', '?']))
        .map(|sentence| sentence.trim().trim_end_matches('.').trim())
        .collect();
    match spec {
        TaskSpec::ClassNotes(_) => solve_class_notes(question, &sentences),
        TaskSpec::Lookup(_) => solve_lookup(question, &sentences),
        TaskSpec::Needle(_) | TaskSpec::MultiNeedle(_) => solve_needles(question, &sentences),
        TaskSpec::VariableTracking(_) => solve_variables(question, &sentences),
        TaskSpec::MultiHop(_) => solve_multi_hop(question, &sentences),
        TaskSpec::Counting(_) => solve_counting(question, &sentences),
        other => panic!("no solver for {}", other.kind()),
    }
}

/// The one element, if all elements are equal and there is one.
fn only<'a>(mut found: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

const FRUIT: [&str; 8] = [
    "pear", "plum", "peach", "cherry", "lemon", "mango", "melon", "fig",
];
const TOOLS: [&str; 8] = [
    "hammer", "chisel", "drill", "wrench", "spade", "rake", "hoe", "trowel",
];
const ANIMALS: [&str; 8] = [
    "horse", "cow", "goat", "sheep", "rabbit", "badger", "tiger", "camel",
];
const GARMENTS: [&str; 8] = [
    "coat", "hat", "scarf", "shirt", "glove", "sock", "shoe", "belt",
];
const INSTRUMENTS: [&str; 8] = [
    "piano", "violin", "flute", "drum", "harp", "trumpet", "guitar", "cello",
];
const TREES: [&str; 8] = [
    "maple", "birch", "willow", "pine", "cedar", "beech", "poplar", "spruce",
];

fn solve_class_notes(question: &str, sentences: &[&str]) -> Option<String> {
    let asked = question
        .strip_prefix("which ")?
        .strip_suffix(" was noted ?")?;
    let (first, last) = asked.split_once(" and ")?;
    let item_of = |class: &str| {
        let items = match class {
            "fruit" => FRUIT,
            "tool" => TOOLS,
            "animal" => ANIMALS,
            "garment" => GARMENTS,
            "instrument" => INSTRUMENTS,
            "tree" => TREES,
            other => panic!("unknown class {other}"),
        };
        let mut found = sentences
            .iter()
            .filter_map(|sentence| sentence.rsplit(' ').next())
            .filter(|word| items.contains(word));
        let item = found.next()?;
        // Exactly one in the whole document: not even the same item twice.
        found.next().is_none().then_some(item)
    };
    let (first_item, last_item) = (item_of(first)?, item_of(last)?);
    Some(if first == last {
        first_item.to_owned()
    } else {
        format!("{first_item} {last_item}")
    })
}

fn solve_lookup(question: &str, sentences: &[&str]) -> Option<String> {
    let words: Vec<&str> = question.split(' ').collect();
    let (whom, verb) = match words[2..] {
        ["the", "boss", "of", person, verb, ..] => (vec![person, "works for"], verb),
        [person, verb, ..] => (vec![person], verb),
        _ => return None,
    };
    let value = |person: &str, middle: &str| {
        let start = format!("{person} {middle} ");
        only(
            sentences
                .iter()
                .filter_map(|sentence| sentence.strip_prefix(start.as_str())),
        )
    };
    let person = match whom[..] {
        [person, relation] => value(person, relation)?,
        _ => whom[0],
    };
    let middle = match verb {
        "live" => "lives in",
        "own" => "owns a",
        "work" => "works for",
        _ => return None,
    };
    value(person, middle).map(str::to_owned)
}

fn solve_needles(question: &str, sentences: &[&str]) -> Option<String> {
    let question = question.trim_end_matches('?');
    let question = question.split(", in the order in which").next()?;
    let is_one = question.starts_with("What is ");
    let (attribute, people) = question
        .trim_start_matches("What is the ")
        .trim_start_matches("What are all the ")
        .trim_start_matches("What are the ")
        .split_once(" of ")?;
    let attribute = if is_one {
        attribute
    } else {
        attribute.strip_suffix('s')?
    };
    let people: Vec<&str> = people
        .split(", ")
        .flat_map(|part| part.split(" and "))
        .collect();
    let values: Vec<&str> = people
        .iter()
        .flat_map(|person| {
            let start = format!("The {attribute} of {person} is ");
            sentences
                .iter()
                .filter_map(move |sentence| sentence.strip_prefix(start.as_str()))
        })
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn solve_variables(question: &str, sentences: &[&str]) -> Option<String> {
    // One pass in reading order, as a program would run.
    let mut value_of: HashMap<&str, &str> = HashMap::new();
    let mut set_in_order = Vec::new();
    for sentence in sentences {
        let Some(assignment) = sentence.strip_prefix("The variable ") else {
            continue;
        };
        let (variable, value) =
            if let Some((variable, value)) = assignment.split_once(" starts at ") {
                (variable, value)
            } else {
                let (variable, source) = assignment.split_once(" gets the value of ")?;
                (variable, *value_of.get(source)?)
            };
        value_of.insert(variable, value);
        set_in_order.push(variable);
    }
    if let Some(rest) = question.strip_prefix("Which variables have the value ") {
        let (wanted, _) = rest.split_once(',')?;
        let holders: Vec<&str> = set_in_order
            .into_iter()
            .filter(|variable| value_of[variable] == wanted)
            .collect();
        return Some(holders.join(", "));
    }
    let variable = question
        .strip_prefix("What is the value of the variable ")?
        .strip_suffix('?')?;
    value_of.get(variable).map(|value| (*value).to_owned())
}

fn solve_multi_hop(question: &str, sentences: &[&str]) -> Option<String> {
    let path = question
        .strip_prefix("Who or what is the ")?
        .strip_suffix('?')?;
    let mut steps: Vec<&str> = path.split(" of the ").collect();
    let (last_relation, subject) = steps.pop()?.split_once(" of ")?;
    steps.push(last_relation);
    steps
        .iter()
        .rev()
        .try_fold(subject.to_owned(), |entity, relation| {
            let start = format!("The {relation} of {entity} is ");
            only(
                sentences
                    .iter()
                    .filter_map(|sentence| sentence.strip_prefix(start.as_str())),
            )
            .map(str::to_owned)
        })
}

fn solve_counting(question: &str, sentences: &[&str]) -> Option<String> {
    let (thing, person) = question
        .strip_prefix("How many ")?
        .strip_suffix(" buy?")?
        .split_once("s did ")?;
    let count = sentences
        .iter()
        .filter_map(|sentence| sentence.split_once(" bought "))
        .filter(|(buyer, bought)| {
            let bought = bought.trim_start_matches("an ").trim_start_matches("a ");
            *buyer == person && bought.split(" in ").next() == Some(thing)
        })
        .count();
    Some(count.to_string())
}

// ---- Ground truth ----

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_answer_follows_from_the_relevant_paragraphs_and_from_the_document(
        idx in any::<u64>(), seed in any::<u64>(), target in 500_usize..2_000, test in any::<bool>(),
    ) {
        let split = if test { Split::Test } else { Split::Train };
        for spec in specs() {
            let problem = open(&spec).problem(split, seed, idx, target, &count_tokens).unwrap();
            let relevant: Vec<&Paragraph> =
                problem.paragraphs.iter().filter(|paragraph| paragraph.relevant).collect();
            let all: Vec<&Paragraph> = problem.paragraphs.iter().collect();
            let answer = Some(problem.answers[0].clone());
            prop_assert_eq!(solve(&spec, &problem.question, &relevant), answer.clone(), "{:?}", spec);
            prop_assert_eq!(solve(&spec, &problem.question, &all), answer, "{:?}", spec);
            prop_assert_eq!(problem.n_facts, relevant.len());
        }
    }

    /// Each needed fact is needed: without any one of them the answer does not follow.
    #[test]
    fn no_relevant_paragraph_is_superfluous(idx in any::<u64>()) {
        for spec in specs() {
            let problem = problem(open(&spec).as_ref(), Split::Train, idx, 600);
            for left_out in 0..problem.n_facts {
                let kept: Vec<&Paragraph> = problem
                    .paragraphs
                    .iter()
                    .filter(|paragraph| paragraph.relevant)
                    .enumerate()
                    .filter_map(|(relevant_idx, p)| (relevant_idx != left_out).then_some(p))
                    .collect();
                let found = solve(&spec, &problem.question, &kept);
                prop_assert_ne!(found.as_deref(), Some(problem.answers[0].as_str()), "{:?}", spec);
            }
        }
    }

    #[test]
    fn the_same_key_gives_the_same_problem_whatever_was_asked_before(
        idx in any::<u64>(), seed in any::<u64>(), other in any::<u64>(),
    ) {
        for spec in specs() {
            let source = open(&spec);
            let ask = |source: &dyn Source, split, seed, idx, target| {
                source.problem(split, seed, idx, target, &count_tokens).unwrap()
            };
            let first = ask(source.as_ref(), Split::Train, seed, idx, 700);
            let _ = ask(source.as_ref(), Split::Test, other, other, 900);
            prop_assert_eq!(&ask(source.as_ref(), Split::Train, seed, idx, 700), &first);
            prop_assert_eq!(&ask(open(&spec).as_ref(), Split::Train, seed, idx, 700), &first);

            // A longer document asks the same question.
            let longer = ask(source.as_ref(), Split::Train, seed, idx, 2_000);
            prop_assert_eq!(&longer.question, &first.question);
            prop_assert_eq!(&longer.answers, &first.answers);
            prop_assert!(first.paragraphs.len() < longer.paragraphs.len());
        }
    }

    #[test]
    fn documents_fill_their_target_and_never_exceed_it(idx in any::<u64>(), target in 500_usize..3_000) {
        for spec in specs() {
            let problem = problem(open(&spec).as_ref(), Split::Test, idx, target);
            let sizes: Vec<usize> =
                problem.paragraphs.iter().map(|paragraph| count_tokens(&paragraph.rendered())).collect();
            let total: usize = sizes.iter().sum();
            prop_assert_eq!(count_tokens(&problem.document()), total);
            // No paragraph of these tasks has more than 60 tokens, so less than that is left over.
            prop_assert!(total <= target && target < total + 60, "{} of {} in {:?}", total, target, spec);
        }
    }
}

#[test]
fn every_relevant_paragraph_has_a_note_and_no_other_has() {
    for spec in specs() {
        let source = open(&spec);
        for idx in 0..20 {
            for paragraph in problem(source.as_ref(), Split::Train, idx, 600).paragraphs {
                assert_eq!(
                    paragraph.relevant,
                    paragraph.note.is_some(),
                    "{spec:?}: {paragraph:?}"
                );
                let note = paragraph.note.unwrap_or_default();
                for word in note.split_whitespace() {
                    assert!(
                        paragraph.text.contains(word),
                        "{word} is not in {:?}",
                        paragraph.text
                    );
                }
            }
        }
    }
}

/// Fixed slots would let a policy learn where to look instead of what to look for.
#[test]
fn needed_paragraphs_are_spread_evenly_over_the_document() {
    for spec in specs() {
        let source = open(&spec);
        let mut in_quarter = [0_usize; 4];
        let mut n_relevant = 0;
        for idx in 0..400 {
            let problem = problem(source.as_ref(), Split::Train, idx, 800);
            let n_paragraphs = problem.paragraphs.len();
            for (place, paragraph) in problem.paragraphs.iter().enumerate() {
                if paragraph.relevant {
                    in_quarter[place * 4 / n_paragraphs] += 1;
                    n_relevant += 1;
                }
            }
        }
        // Of at least 400 needed paragraphs a quarter is expected in each quarter, with a standard
        // deviation of at most 2.2 points where they stand independently; facts that keep their
        // order do so in pairs or more, which widens this. 7 points are beyond chance in either case.
        for count in in_quarter {
            let share = count as f64 / n_relevant as f64;
            assert!((share - 0.25).abs() < 0.07, "{spec:?}: {in_quarter:?}");
        }
    }
}

#[test]
fn facts_in_any_order_come_in_both_orders_and_forward_ones_in_one() {
    let mut reversed_in_any = 0;
    for idx in 0..100 {
        for order in [FactOrder::Any, FactOrder::Forward] {
            let spec = TaskSpec::MultiHop(MultiHop {
                order,
                ..MultiHop::default()
            });
            let problem = problem(open(&spec).as_ref(), Split::Train, idx, 600);
            let relevant: Vec<&Paragraph> = problem
                .paragraphs
                .iter()
                .filter(|paragraph| paragraph.relevant)
                .collect();
            let is_forward = problem.question.contains(&relevant[0].title);
            match order {
                FactOrder::Any => reversed_in_any += usize::from(!is_forward),
                FactOrder::Forward => assert!(is_forward, "{problem:?}"),
            }
        }
    }
    // Binomial with n = 100, p = 0.5: standard deviation 5.
    assert!((30..70).contains(&reversed_in_any), "{reversed_in_any}");
}

// ---- Names and splits ----

/// Capitalised words and variables, of questions and of paragraphs that hold facts.
fn made_up_names(spec: &TaskSpec, problem: &Problem) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in problem
        .paragraphs
        .iter()
        .map(|p| p.text.as_str())
        .chain([problem.question.as_str()])
    {
        let words: Vec<&str> = text
            .split_whitespace()
            .map(|word| word.trim_matches(['.', ',', '?']))
            .collect();
        for pair in words.windows(2) {
            let is_name = match spec {
                TaskSpec::VariableTracking(_) => pair[0] == "variable",
                // A capitalised word after another word of a sentence: a surname, a town or a firm.
                _ => pair[1].len() > 4 && pair[1].starts_with(char::is_uppercase),
            };
            if is_name {
                names.insert(pair[1].to_owned());
            }
        }
    }
    names
}

/// How many of 100 test problems ask about a name that 300 long train problems told of.
fn n_known_names(spec: &TaskSpec) -> usize {
    let source = open(spec);
    let mut of_train = BTreeSet::new();
    for idx in 0..300 {
        of_train.extend(made_up_names(
            spec,
            &problem(source.as_ref(), Split::Train, idx, 3_000),
        ));
    }
    (0..100)
        .filter(|&idx| {
            let problem = problem(source.as_ref(), Split::Test, idx, 600);
            let asked = problem.question.trim_end_matches('?');
            let name = match spec {
                TaskSpec::Counting(_) => asked.trim_end_matches(" buy").rsplit(' ').next(),
                TaskSpec::MultiHop(_) => made_up_part(asked),
                _ => asked.rsplit(' ').next(),
            };
            of_train.contains(name.unwrap_or_else(|| panic!("no name in {asked:?}")))
        })
        .count()
}

#[test]
fn test_problems_use_names_that_train_problems_never_use() {
    for kind in [
        "needle",
        "multi-needle",
        "variable-tracking",
        "multi-hop",
        "counting",
    ] {
        let known = |names: &str| {
            let json = format!(r#"{{"kind": "{kind}", "names": "{names}"}}"#);
            n_known_names(&serde_json::from_str(&json).expect("a task with an option"))
        };
        assert_eq!(known("disjoint"), 0, "{kind}");
        // The same count, where names may be known, shows that it can find them.
        assert!(10 < known("shared"), "{kind}: {}", known("shared"));
    }
}

/// The made-up word of `... of Clara Kelbeck`, `... of Kelbeck Mills` or `... of Oakford`.
fn made_up_part(question: &str) -> Option<&str> {
    let entity = question.rsplit(" of ").next()?;
    const FIRMS: [&str; 24] = [
        "Bakery",
        "Bank",
        "Books",
        "Boatyard",
        "Brewery",
        "Carriers",
        "Clocks",
        "Dairy",
        "Forge",
        "Foundry",
        "Glassworks",
        "Hotels",
        "Instruments",
        "Laundry",
        "Mills",
        "Mines",
        "Nurseries",
        "Potteries",
        "Press",
        "Quarries",
        "Ropeworks",
        "Stores",
        "Tannery",
        "Toys",
    ];
    match entity.split_once(' ') {
        Some((surname, firm)) if FIRMS.contains(&firm) => Some(surname),
        Some((_, surname)) => Some(surname),
        None => Some(entity),
    }
}

#[test]
fn splits_of_closed_tasks_are_different_problems_over_the_same_words() {
    for spec in [
        TaskSpec::ClassNotes(ClassNotes::default()),
        TaskSpec::Lookup(Lookup::default()),
    ] {
        let source = open(&spec);
        let words: BTreeSet<String> = source
            .closed_vocabulary()
            .expect("the vocabulary is closed")
            .into_iter()
            .collect();
        let mut seen = BTreeSet::new();
        for idx in 0..100 {
            let train = problem(source.as_ref(), Split::Train, idx, 500);
            let test = problem(source.as_ref(), Split::Test, idx, 500);
            assert_ne!(train.paragraphs, test.paragraphs);
            for problem in [train, test] {
                let texts = [
                    problem.document(),
                    problem.question,
                    problem.answers.join(" "),
                ];
                for word in texts.iter().flat_map(|text| text.split_whitespace()) {
                    assert!(words.contains(word), "{word} is not in the vocabulary");
                    seen.insert(word.to_owned());
                }
            }
        }
        assert_eq!(seen, words, "every word of the vocabulary is used");
    }
}

#[test]
fn a_vocabulary_sample_begins_with_all_words_of_a_closed_task() {
    let source = open(&TaskSpec::ClassNotes(ClassNotes::default()));
    let texts: Vec<String> = vocabulary_sample(source.as_ref(), 0, 3)
        .collect::<Result<_, _>>()
        .expect("no errors");
    // Section 1.1 of the trial: 105 with its 7 marks; `.` and `?` are among the words here.
    // 8 function words and marks + 6 classes + 48 items + 24 subjects + 12 verbs.
    assert_eq!(texts[0].split(' ').count(), 98);
    assert!(texts.iter().any(|text| text.starts_with("which ")));
    assert!(texts.len() > 3 * (500 / 6));

    let tight = open(&TaskSpec::MultiNeedle(MultiNeedle {
        n_keys: 50,
        ..MultiNeedle::default()
    }));
    assert!(
        vocabulary_sample(tight.as_ref(), 0, 2).all(|text| text.is_ok()),
        "longer than 500 words"
    );
}

// ---- Class-keyed notes, exactly ----

#[test]
fn class_notes_have_eight_sentences_of_six_words_for_each_chunk_of_48() {
    let source = open(&TaskSpec::ClassNotes(ClassNotes::default()));
    let mut n_with_two = 0;
    for n_chunks in [1, 4, 64] {
        for idx in 0..100 {
            let problem = source
                .problem(Split::Train, 0, idx, 48 * n_chunks, &count_words)
                .expect("a chunk has room for two sentences");
            assert_eq!(problem.paragraphs.len(), 8 * n_chunks);
            for paragraph in &problem.paragraphs {
                let words: Vec<&str> = paragraph.text.split(' ').collect();
                assert!(matches!(words[..], ["the", _, _, "a", _, "."]), "{words:?}");
                assert_eq!(paragraph.title, "");
                assert!(
                    paragraph
                        .note
                        .as_deref()
                        .is_none_or(|note| note == words[4])
                );
            }
            let words: Vec<&str> = problem.question.split(' ').collect();
            let ["which", first, "and", last, "was", "noted", "?"] = words[..] else {
                panic!("{words:?}");
            };
            assert_eq!(problem.n_facts, if first == last { 1 } else { 2 });
            n_with_two += problem.n_facts - 1;
        }
    }
    // The question does not depend on the length, so this is three times a binomial with n = 100.
    assert!((90..210).contains(&n_with_two), "{n_with_two}");
}

/// What was recorded with this version: if it changes, every recorded run changes with it.
#[test]
fn a_recorded_problem_is_made_again() {
    let source = open(&TaskSpec::ClassNotes(ClassNotes::default()));
    let problem = source
        .problem(Split::Test, 1, 2, 24, &count_words)
        .expect("four sentences");
    let told: Vec<String> = problem
        .paragraphs
        .iter()
        .map(|p| format!("{}{}", if p.relevant { "* " } else { "" }, p.text))
        .collect();
    assert_eq!(problem.id, "class-notes-test-1-2");
    assert_eq!(problem.question, "which tool and instrument was noted ?");
    assert_eq!(
        told,
        [
            "the singer liked a plum .",
            "the dancer bought a hat .",
            "* the miller found a hammer .",
            "* the weaver wanted a flute .",
        ]
    );
    assert_eq!(problem.answers, ["hammer flute"]);
}

// ---- Edges ----

#[test]
fn a_document_that_cannot_hold_its_facts_is_an_error_with_both_lengths() {
    for spec in specs() {
        let source = open(&spec);
        let needs_nothing = |idx| problem(source.as_ref(), Split::Train, idx, 900).n_facts == 0;
        let idx = (0..).find(|&idx| !needs_nothing(idx)).unwrap_or_default();
        for target in [0, 3] {
            let error = source
                .problem(Split::Train, 7, idx, target, &count_tokens)
                .unwrap_err();
            let TaskError::TooShort {
                target_tokens,
                needed_tokens,
                ..
            } = &error
            else {
                panic!("{spec:?}: {error}");
            };
            assert_eq!(*target_tokens, target);
            // Exactly what it says is enough.
            let fits = source
                .problem(Split::Train, 7, idx, *needed_tokens, &count_tokens)
                .unwrap();
            assert!(fits.paragraphs.iter().all(|paragraph| paragraph.relevant));
        }
    }
}

#[test]
fn a_counter_that_counts_nothing_is_an_error_and_no_endless_document() {
    for spec in specs() {
        let error = open(&spec)
            .problem(Split::Train, 0, 0, 100, &|_| 0)
            .unwrap_err();
        assert!(matches!(error, TaskError::NoTokens { .. }), "{error}");
    }
}

#[test]
fn options_out_of_range_are_named_with_what_is_allowed() {
    for (json, message) in [
        (
            r#"{"kind": "class-notes", "n_classes": 2}"#,
            "task `class-notes`: option `n_classes` is 2, give 3 to 10",
        ),
        (
            r#"{"kind": "class-notes", "items_per_class": 17}"#,
            "task `class-notes`: option `items_per_class` is 17, give 1 to 16",
        ),
        (
            r#"{"kind": "lookup", "n_people": 1}"#,
            "task `lookup`: option `n_people` is 1, give 2 to 96",
        ),
        (
            r#"{"kind": "needle", "distractor_share": 1.5}"#,
            "task `needle`: option `distractor_share` is 1.5, give 0 to 1",
        ),
        (
            r#"{"kind": "needle", "value_digits": 0}"#,
            "task `needle`: option `value_digits` is 0, give 1 to 18",
        ),
        (
            r#"{"kind": "multi-needle", "n_keys": 0}"#,
            "task `multi-needle`: option `n_keys` is 0, give 1 to 100",
        ),
        (
            r#"{"kind": "variable-tracking", "n_hops": 101}"#,
            "task `variable-tracking`: option `n_hops` is 101, give 0 to 100",
        ),
        (
            r#"{"kind": "multi-hop", "n_hops": 0}"#,
            "task `multi-hop`: option `n_hops` is 0, give 1 to 20",
        ),
        (
            r#"{"kind": "multi-hop", "tiers": {"same_relation": 0, "same_entity": 0, "unrelated": 0}}"#,
            "task `multi-hop`: option `tiers` is all 0, give at least one tier a weight above 0",
        ),
        (
            r#"{"kind": "counting", "min_count": 7}"#,
            "task `counting`: option `min_count` is 7, give 0 to 6",
        ),
    ] {
        let spec: TaskSpec = serde_json::from_str(json).expect("the options have the right types");
        let error = spec.open().err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(message));
    }
}

#[test]
fn a_spec_knows_its_kind_and_refuses_what_it_does_not_know() {
    for spec in specs() {
        let written = serde_json::to_value(&spec).expect("a spec is plain data");
        assert_eq!(written["kind"], spec.kind());
        assert!(TaskSpec::KINDS.contains(&spec.kind()));
        assert_eq!(serde_json::from_value::<TaskSpec>(written).ok(), Some(spec));
    }
    for kind in TaskSpec::KINDS {
        let path = if ["hotpotqa", "jsonl"].contains(&kind) {
            r#", "path": "data.jsonl""#
        } else {
            ""
        };
        let json = format!(r#"{{"kind": "{kind}"{path}}}"#);
        let spec: TaskSpec = serde_json::from_str(&json).expect("all other options have defaults");
        assert_eq!(spec.kind(), kind);
        let json = format!(r#"{{"kind": "{kind}"{path}, "n_clases": 6}}"#);
        let error = serde_json::from_str::<TaskSpec>(&json)
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown field `n_clases`"), "{error}");
    }
    let error = serde_json::from_str::<TaskSpec>(r#"{"kind": "nedle"}"#)
        .unwrap_err()
        .to_string();
    assert!(error.contains("unknown variant `nedle`"), "{error}");
}

#[test]
fn a_count_of_zero_needs_no_fact_and_is_answered_in_digits_and_words() {
    let spec = TaskSpec::Counting(Counting {
        min_count: 0,
        max_count: 0,
        ..Counting::default()
    });
    let problem = problem(open(&spec).as_ref(), Split::Train, 0, 300);
    assert_eq!(problem.answers, ["0", "zero"]);
    assert_eq!(problem.n_facts, 0);
    assert!(
        problem
            .paragraphs
            .iter()
            .all(|paragraph| !paragraph.relevant)
    );
}

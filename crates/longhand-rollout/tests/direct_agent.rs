//! Questions without a document, from the task to the shared prefix: one turn for every attempt.

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;

use longhand_memory::{ChunkOptions, Document, ReaderLimits, TemplatesText};
use longhand_rollout::{
    CollectOptions, Completion, DocumentFormat, EncodedProblem, Example, Group, PrefixTree,
    Prompts, Purpose, ReaderSetup, Request, Sampling, StopReason, StreamBase, TeacherScope,
    TurnKind, collect, contexts, expert_walk, prefix_groups,
};
use longhand_tasks::{Algebra, Arithmetic, CodeTrace, Problem, Split, TaskSpec};

const END: u32 = 0;
const MAX_ANSWER: usize = 120;

/// One id a word, in the order in which words are first met; 0 is the end token.
struct Words(RefCell<Vec<String>>);

impl Words {
    fn new() -> Self {
        Words(RefCell::new(vec!["<eos>".to_owned()]))
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let mut known = self.0.borrow_mut();
        let mut id = |word: &str| {
            let place = known.iter().position(|other| other == word);
            let place = place.unwrap_or_else(|| {
                known.push(word.to_owned());
                known.len() - 1
            });
            u32::try_from(place).unwrap()
        };
        text.split_whitespace().map(&mut id).collect()
    }

    fn decode(&self, ids: &[u32]) -> String {
        let known = self.0.borrow();
        let words: Vec<&str> = ids.iter().map(|id| &*known[*id as usize]).collect();
        words.join(" ")
    }

    fn setup(&self) -> ReaderSetup {
        let templates = TemplatesText::preset("direct-marks").unwrap();
        ReaderSetup {
            chunks: ChunkOptions::new(1, 0, None).unwrap(),
            templates: Arc::new(templates.compile(|text| self.encode(text))),
            limits: ReaderLimits {
                max_question_tokens: 80,
                max_memory_tokens: 1,
                max_answer_tokens: MAX_ANSWER,
                window: Some(2 + 80 + MAX_ANSWER),
            },
            end_ids: vec![END],
        }
    }

    fn encoded(&self, problem: &Problem) -> EncodedProblem {
        let format = DocumentFormat::parse("{text} ", " ").unwrap();
        EncodedProblem::new(problem, &format, &|text| self.encode(text))
    }
}

fn specs() -> Vec<TaskSpec> {
    vec![
        TaskSpec::Arithmetic(Arithmetic::default()),
        TaskSpec::Algebra(Algebra::default()),
        TaskSpec::CodeTrace(CodeTrace::default()),
    ]
}

fn problems(spec: &TaskSpec) -> Vec<Problem> {
    let source = spec.open().unwrap();
    let problem = |idx| source.problem(Split::Train, 2, idx, 0, &str::len).unwrap();
    (0..10).map(problem).collect()
}

#[test]
fn the_experts_only_turn_is_the_solution_after_the_question() {
    let words = Words::new();
    let streams = StreamBase {
        seed: 1,
        purpose: Purpose::EXPERT,
        step: 0,
    };
    for spec in specs() {
        for problem in problems(&spec) {
            let encoded = words.encoded(&problem);
            let mut rng = streams.key(0, 0, 0).rng();
            // There is nothing to forget.
            let walk = expert_walk(&encoded, &words.setup(), 1.0, &mut rng).unwrap();
            let [
                Example {
                    kind: TurnKind::Answer,
                    prompt,
                    target,
                },
            ] = &walk[..]
            else {
                panic!("{walk:?}");
            };
            assert_eq!(
                words.decode(prompt),
                format!("<q> {} <a>", problem.question)
            );
            let solution = problem.solution.unwrap();
            assert_eq!(words.decode(target), format!("{solution} <eos>"));
            let verdict = spec.reasoning().unwrap();
            let verdict = verdict.verify(&problem.question, &solution, 500).unwrap();
            assert_eq!(problem.answers[0], verdict.truth.to_string());
        }
    }
}

/// Attempts 0, 3, ... write the solution, 1, 4, ... one wrong word, and 2, 5, ... never end.
fn scripted(words: &Words, problems: &[Problem], request: &Request) -> Completion {
    let problem = &problems[usize::try_from(request.key.problem).unwrap()];
    let (ids, stop_reason) = match request.key.attempt % 3 {
        0 => {
            let mut ids = words.encode(problem.solution.as_ref().unwrap());
            ids.push(END);
            (ids, StopReason::EndToken)
        }
        1 => (vec![words.encode("7")[0], END], StopReason::EndToken),
        _ => (
            vec![words.encode("+")[0]; request.max_tokens],
            StopReason::MaxTokens,
        ),
    };
    Completion {
        logprobs: vec![-0.5; ids.len()],
        ids,
        stop_reason,
    }
}

fn collected(words: &Words, problems: &[Problem], max_batch: usize) -> Vec<Group> {
    let encoded: Vec<_> = (0..)
        .zip(problems)
        .map(|(idx, problem)| (idx, Arc::new(words.encoded(problem))))
        .collect();
    let options = CollectOptions {
        group_size: 6,
        sampling: Sampling::at(1.0),
        streams: StreamBase {
            seed: 3,
            purpose: Purpose::ROLLOUT,
            step: 0,
        },
        max_batch,
        // Nothing is read, so that a teacher has nothing to know better.
        teacher: Some(TeacherScope::Document),
    };
    let mut generate = |requests: &[Request], _: &Sampling| {
        let completions = requests
            .iter()
            .map(|request| scripted(words, problems, request));
        Ok::<_, Infallible>(completions.collect::<Vec<_>>())
    };
    collect(&mut generate, &encoded, &words.setup(), &options).unwrap()
}

#[test]
fn every_attempt_is_one_turn_and_a_group_shares_its_prompt() {
    let words = Words::new();
    for spec in specs() {
        let problems = problems(&spec);
        let groups = collected(&words, &problems, 7);
        assert_eq!(groups, collected(&words, &problems, 100));
        for (group, problem) in groups.iter().zip(&problems) {
            for (attempt, trajectory) in group.trajectories.iter().enumerate() {
                let [turn] = &trajectory.turns[..] else {
                    panic!("{trajectory:?}");
                };
                assert_eq!((turn.kind, &turn.teacher_prompt), (TurnKind::Answer, &None));
                let question = format!("<q> {} <a>", problem.question);
                assert_eq!(words.decode(&turn.prompt), question);
                let answer = words.decode(&trajectory.answer);
                match attempt % 3 {
                    0 => assert_eq!(Some(&answer), problem.solution.as_ref()),
                    1 => assert_eq!(answer, "7"),
                    _ => {
                        assert_eq!(trajectory.answer.len(), MAX_ANSWER);
                        assert_eq!(turn.stop_reason, StopReason::MaxTokens);
                    }
                }
            }
        }

        let contexts: Vec<_> = contexts(&groups, Prompts::Student)
            .into_iter()
            .map(|(_, context)| context)
            .collect();
        assert_eq!(contexts.len(), 60);
        let n_prompt = |group: &Group| group.trajectories[0].turns[0].prompt.len();
        let n_shared: usize = groups.iter().map(|group| 5 * n_prompt(group)).sum();
        let tree = PrefixTree::new(&contexts);
        // Five of six prompts at least; alike attempts, and prompts that begin alike, save more.
        assert!(tree.n_shared() + n_shared <= tree.n_unshared);
        assert_eq!(prefix_groups(&contexts).groups.len(), problems.len());
    }
}

#[test]
fn a_problem_with_a_document_is_refused_by_name() {
    let words = Words::new();
    let problem = &problems(&specs()[0])[0];
    let encoded = EncodedProblem {
        document: Arc::new(Document::new(vec![1, 2, 3], vec![]).unwrap()),
        ..words.encoded(problem)
    };
    let error = words.setup().reader(&encoded).unwrap_err().to_string();
    let expected = format!(
        "problem {} cannot be read: there is a document of 3 tokens",
        problem.id
    );
    assert!(error.starts_with(&expected), "{error}");
}

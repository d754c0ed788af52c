//! HotpotQA (arXiv:1809.09600) over long documents composed the RULER way (arXiv:2404.06654).
//!
//! A document is the question's own paragraphs (two gold, eight that look alike) among random
//! paragraphs of other questions of the same file, as in MemAgent's data (arXiv:2507.02259, 4.1 and
//! its code); gold are the paragraphs whose title the supporting facts name.
//!
//! Differences: every problem is shuffled with a key of its own. A fixed seed on lists of equal
//! length, as in the original code, would put the own paragraphs into the same places of every
//! document, where a policy could learn to look. Paragraphs of other questions are left out if they
//! carry a title of the own ones. Paragraphs are written as title, line break, text, without a
//! "Document i" heading.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    Paragraph, Problem, Source, Split, TaskError,
    data_file::{
        DEFAULT_MAX_LINE_BYTES, FileFormat, MEND_EMPTY_SPLIT, checked_test_fraction, is_held_out,
        load_problems,
    },
    generator::Budget,
    stream::{ProblemKey, Purpose},
};

/// What happens when every paragraph of the pool is in the document and it is still too short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolUse {
    /// The pool begins again in a new order, without the question's own paragraphs: a small file
    /// gives long documents, in which some paragraphs of other questions come more than once.
    #[default]
    Repeat,
    /// That is an error: no paragraph comes twice.
    Once,
}

/// Options of the task `hotpotqa`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HotpotQa {
    /// The file: the official JSON list, or one JSON object per line.
    pub path: PathBuf,
    /// A second file that holds the test problems, with a pool of its own. Without it, test problems
    /// are taken from `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_path: Option<PathBuf>,
    /// The share of the problems of `path` that is held out for testing, chosen by a hash of their
    /// id; 0.2 if left out. Not together with `test_path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
    /// How many paragraphs a document has, whatever its length in tokens. Without it, documents grow
    /// to the length asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_docs: Option<usize>,
    /// Whether a document longer than the whole pool may repeat paragraphs of other questions.
    #[serde(default)]
    pub pool: PoolUse,
    /// How long one record may be.
    #[serde(default = "default_max_line_bytes")]
    pub max_line_bytes: usize,
}

fn default_max_line_bytes() -> usize {
    DEFAULT_MAX_LINE_BYTES
}

const KIND: &str = "hotpotqa";

/// One file: its questions, and every different paragraph once.
#[derive(Debug)]
struct Shelf {
    path: PathBuf,
    pool: Vec<PoolParagraph>,
    questions: Vec<Question>,
}

#[derive(Debug)]
struct PoolParagraph {
    title: String,
    text: String,
}

#[derive(Debug)]
struct Question {
    id: String,
    question: String,
    answers: Vec<String>,
    own: Vec<OwnParagraph>,
}

/// A paragraph of a question: its place in the pool, and what only this question knows of it.
#[derive(Debug)]
struct OwnParagraph {
    pool_idx: usize,
    relevant: bool,
    note: Option<String>,
}

impl Shelf {
    fn read(path: &Path, max_line_bytes: usize) -> Result<Self, TaskError> {
        let mut shelf = Self {
            path: path.to_owned(),
            pool: Vec::new(),
            questions: Vec::new(),
        };
        let mut place_in_pool: HashMap<String, usize> = HashMap::new();
        load_problems(path, FileFormat::Hotpotqa, max_line_bytes, |problem| {
            let own = problem
                .paragraphs
                .into_iter()
                .map(|paragraph| {
                    let pool_idx = *place_in_pool
                        .entry(paragraph.rendered())
                        .or_insert(shelf.pool.len());
                    if pool_idx == shelf.pool.len() {
                        shelf.pool.push(PoolParagraph {
                            title: paragraph.title,
                            text: paragraph.text,
                        });
                    }
                    OwnParagraph {
                        pool_idx,
                        relevant: paragraph.relevant,
                        note: paragraph.note,
                    }
                })
                .collect();
            shelf.questions.push(Question {
                id: problem.id,
                question: problem.question,
                answers: problem.answers,
                own,
            });
        })?;
        Ok(shelf)
    }

    /// Paragraphs of other questions in random order, none under a title of `question`'s own.
    fn strangers<'a>(
        &'a self,
        question: &Question,
        pool_use: PoolUse,
        rng: &'a mut ChaCha8Rng,
    ) -> impl Iterator<Item = Paragraph> + 'a {
        let own_titles: HashSet<&str> = question
            .own
            .iter()
            .map(|own| self.pool[own.pool_idx].title.as_str())
            .collect();
        let mut pool_idxs: Vec<usize> = (0..self.pool.len()).collect();
        let (mut n_drawn, mut n_given) = (0, 0);
        std::iter::from_fn(move || {
            loop {
                if n_drawn == pool_idxs.len() {
                    if pool_use == PoolUse::Once || n_given == 0 {
                        return None;
                    }
                    n_drawn = 0;
                }
                // One step of a Fisher-Yates shuffle: a short document needs a few draws only.
                let swap = rng.random_range(n_drawn..pool_idxs.len());
                pool_idxs.swap(n_drawn, swap);
                let pool_idx = pool_idxs[n_drawn];
                n_drawn += 1;
                if !own_titles.contains(self.pool[pool_idx].title.as_str()) {
                    n_given += 1;
                    return Some(self.pool_paragraph(pool_idx));
                }
            }
        })
    }

    fn own_paragraph(&self, own: &OwnParagraph) -> Paragraph {
        Paragraph {
            relevant: own.relevant,
            note: own.note.clone(),
            ..self.pool_paragraph(own.pool_idx)
        }
    }

    fn pool_paragraph(&self, pool_idx: usize) -> Paragraph {
        let PoolParagraph { title, text } = &self.pool[pool_idx];
        Paragraph {
            title: title.clone(),
            text: text.clone(),
            relevant: false,
            note: None,
        }
    }
}

/// HotpotQA, opened.
#[derive(Debug)]
pub(crate) struct HotpotQaSource {
    num_docs: Option<usize>,
    pool_use: PoolUse,
    train_shelf: Shelf,
    /// `None` if the test problems stand on the train shelf.
    test_shelf: Option<Shelf>,
    train: Vec<usize>,
    test: Vec<usize>,
}

pub(crate) fn open(options: HotpotQa) -> Result<HotpotQaSource, TaskError> {
    if options.num_docs == Some(0) {
        return Err(TaskError::BadOption {
            kind: KIND,
            option: "num_docs",
            value: "0".to_owned(),
            mend: "give at least as many as a question has paragraphs (10), or leave it out"
                .to_owned(),
        });
    }
    let test_fraction =
        checked_test_fraction(KIND, options.test_path.as_deref(), options.test_fraction)?;
    let train_shelf = Shelf::read(&options.path, options.max_line_bytes)?;
    let test_shelf = match &options.test_path {
        Some(path) => Some(Shelf::read(path, options.max_line_bytes)?),
        None => None,
    };
    let (test, train) = match test_fraction {
        Some(share) => (0..train_shelf.questions.len())
            .partition(|&idx| is_held_out(&train_shelf.questions[idx].id, share)),
        None => (
            test_shelf
                .iter()
                .flat_map(|shelf| 0..shelf.questions.len())
                .collect(),
            (0..train_shelf.questions.len()).collect(),
        ),
    };
    Ok(HotpotQaSource {
        num_docs: options.num_docs,
        pool_use: options.pool,
        train_shelf,
        test_shelf,
        train,
        test,
    })
}

impl HotpotQaSource {
    fn question(&self, split: Split, idx: u64) -> Result<(&Shelf, &Question), TaskError> {
        let (shelf, question_idxs) = match split {
            Split::Train => (&self.train_shelf, &self.train),
            Split::Test => (
                self.test_shelf.as_ref().unwrap_or(&self.train_shelf),
                &self.test,
            ),
        };
        if question_idxs.is_empty() {
            return Err(TaskError::NoProblems {
                path: shelf.path.clone(),
                split,
                mend: MEND_EMPTY_SPLIT,
            });
        }
        let question_idx = question_idxs[(idx % question_idxs.len() as u64) as usize];
        Ok((shelf, &shelf.questions[question_idx]))
    }
}

impl Source for HotpotQaSource {
    /// From `n_problems` on the questions begin again, each in a new document.
    fn problem(
        &self,
        split: Split,
        seed: u64,
        idx: u64,
        target_tokens: usize,
        count_tokens: &dyn Fn(&str) -> usize,
    ) -> Result<Problem, TaskError> {
        let (shelf, question) = self.question(split, idx)?;
        let key = ProblemKey {
            kind: KIND,
            split,
            seed,
            idx,
        };
        let mut rng = key.rng(Purpose::Filler);
        let (mut paragraphs, mut others): (Vec<Paragraph>, Vec<Paragraph>) = question
            .own
            .iter()
            .map(|own| shelf.own_paragraph(own))
            .partition(|paragraph| paragraph.relevant);
        let n_facts = paragraphs.len();
        others.shuffle(&mut rng);

        // Its own paragraphs come first, being the harder ones; then the pool in random order.
        let strangers = shelf.strangers(question, self.pool_use, &mut rng);
        let exhausted = |paragraphs: &[Paragraph], n_tokens, wanted| TaskError::PoolExhausted {
            id: question.id.clone(),
            path: shelf.path.clone(),
            n_paragraphs: paragraphs.len(),
            n_tokens,
            wanted,
        };

        if let Some(num_docs) = self.num_docs {
            let n_own = question.own.len();
            if num_docs < n_own {
                return Err(TaskError::TooFewDocs {
                    id: question.id.clone(),
                    n_own,
                    num_docs,
                });
            }
            paragraphs.append(&mut others);
            paragraphs.extend(strangers.take(num_docs - n_own));
            if paragraphs.len() < num_docs {
                let n_tokens = paragraphs.iter().map(|p| count_tokens(&p.rendered())).sum();
                return Err(exhausted(
                    &paragraphs,
                    n_tokens,
                    format!("`num_docs` = {num_docs}"),
                ));
            }
        } else {
            let mut budget = Budget::new(target_tokens, count_tokens);
            budget.take_needed(&question.id, paragraphs.iter())?;
            let mut is_full = false;
            for paragraph in others.into_iter().chain(strangers) {
                is_full = !budget.take(&paragraph)?;
                if is_full {
                    break;
                }
                paragraphs.push(paragraph);
            }
            if !is_full && budget.used_tokens() < target_tokens {
                let wanted = format!("{target_tokens} tokens");
                return Err(exhausted(&paragraphs, budget.used_tokens(), wanted));
            }
        }
        paragraphs.shuffle(&mut key.rng(Purpose::Placement));
        Ok(Problem {
            classes: Vec::new(),
            id: question.id.clone(),
            question: question.question.clone(),
            paragraphs,
            answers: question.answers.clone(),
            solution: None,
            n_facts,
        })
    }

    fn n_problems(&self, split: Split) -> Option<usize> {
        Some(match split {
            Split::Train => self.train.len(),
            Split::Test => self.test.len(),
        })
    }

    /// The question over its own paragraphs alone.
    fn sample_problem(&self, _seed: u64, idx: u64) -> Result<Problem, TaskError> {
        let (shelf, question) = self.question(Split::Train, idx)?;
        Ok(Problem {
            classes: Vec::new(),
            id: question.id.clone(),
            question: question.question.clone(),
            paragraphs: question
                .own
                .iter()
                .map(|own| shelf.own_paragraph(own))
                .collect(),
            answers: question.answers.clone(),
            solution: None,
            n_facts: question.own.iter().filter(|own| own.relevant).count(),
        })
    }
}

//! The expert walks through a generated task: spans, notes and prompts fit together.

use std::cell::RefCell;
use std::sync::Arc;

use longhand_memory::{ChunkOptions, ReaderLimits, TemplatesText};
use longhand_rollout::{
    DocumentFormat, EncodedProblem, Purpose, ReaderSetup, StreamBase, TurnKind, expert_walk,
};
use longhand_tasks::{ClassNotes, Split, TaskSpec};

/// One id a word, in the order in which words are first met; 0 is the end token.
struct Words(RefCell<Vec<String>>);

impl Words {
    fn encode(&self, text: &str) -> Vec<u32> {
        let mut known = self.0.borrow_mut();
        let mut id = |word: &str| {
            let place = known
                .iter()
                .position(|other| other == word)
                .unwrap_or_else(|| {
                    known.push(word.to_owned());
                    known.len() - 1
                });
            u32::try_from(place).unwrap()
        };
        text.split_whitespace().map(&mut id).collect()
    }
}

#[test]
fn the_notes_of_class_notes_lead_to_its_answers_in_four_chunks() {
    let words = Words(RefCell::new(vec!["<eos>".to_owned()]));
    let encode = |text: &str| words.encode(text);
    let setup = ReaderSetup {
        chunks: ChunkOptions::new(48, 0, None).unwrap(),
        templates: Arc::new(TemplatesText::preset("marks").unwrap().compile(encode)),
        limits: ReaderLimits {
            max_question_tokens: 7,
            max_memory_tokens: 12,
            max_answer_tokens: 3,
            window: Some(48 + 7 + 4 + 12 + 12),
        },
        end_ids: vec![0],
    };
    let format = DocumentFormat::parse("{text} ", " ").unwrap();
    let streams = StreamBase {
        seed: 1,
        purpose: Purpose::EXPERT,
        step: 0,
    };
    let source = TaskSpec::ClassNotes(ClassNotes::default()).open().unwrap();
    for idx in 0..20 {
        let count = |text: &str| text.split_whitespace().count();
        let problem = source.problem(Split::Train, 5, idx, 192, &count).unwrap();
        let encoded = EncodedProblem::new(&problem, &format, &encode);
        assert_eq!(encoded.document.ids.len(), 192);

        let relevant = problem
            .paragraphs
            .iter()
            .filter(|paragraph| paragraph.relevant);
        let texts: Vec<_> = relevant.map(|paragraph| encode(&paragraph.text)).collect();
        let spans = encoded.document.relevant.iter();
        let found: Vec<_> = spans
            .map(|span| encoded.document.ids[span.clone()].to_vec())
            .collect();
        assert_eq!(found, texts);
        assert_eq!(texts.len(), problem.n_facts);

        let mut rng = streams.key(idx, 0, 0).rng();
        let walk = expert_walk(&encoded, &setup, 0.0, &mut rng).unwrap();
        assert_eq!(walk.len(), 5);
        assert_eq!(walk[4].kind, TurnKind::Answer);
        assert_eq!(walk[4].target, [&encoded.answer[..], &[0]].concat());
        // The last memory holds the answer's words, in whichever order they were read.
        let sorted = |ids: &[u32]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        assert_eq!(sorted(&walk[3].target), sorted(&walk[4].target));
        for example in &walk[..4] {
            assert_eq!(example.prompt[57], encode("<m>")[0]);
        }
    }
}

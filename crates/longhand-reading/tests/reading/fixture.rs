//! A generator that makes up replies, and readers to ask it.

use std::{
    cell::Cell,
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use longhand_memory::{
    ChunkOptions, Document, Reader, ReaderError, ReaderLimits, StopReason, TemplatesText,
};
use longhand_reading::{DecodeError, Ended, Event, ReadError, Reading, ReadingId, Turn};
use longhand_rollout::{Completion, Generate, Request, Sampling};
use serde_json::{Map, Value};

/// Ends a reply, and has no text.
pub(crate) const END: u32 = 0;
/// What ids are in text; some are parts of characters.
const TOKENS: [&[u8]; 10] = [
    b"",
    b"a",
    b" b",
    b"\n",
    b"\xc3",
    b"\xa9",
    b"\xf0\x9f",
    b"\x98\x80",
    b" ",
    b"\"\\",
];

pub(crate) fn decode(ids: &[u32]) -> Result<String, DecodeError> {
    let mut bytes = Vec::new();
    for id in ids {
        let token = TOKENS.get(*id as usize).ok_or(format!("no token {id}"))?;
        bytes.extend_from_slice(token);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Replies that depend on nothing but prompt and stream, as those of a model do.
pub(crate) struct Scripted<'a> {
    /// Set before the token is told that this counts down to.
    pub(crate) stop: &'a AtomicBool,
    pub(crate) tokens_until_stop: Cell<Option<usize>>,
    /// Longest `prompt + max_tokens` that was asked for.
    pub(crate) longest: usize,
}

impl<'a> Scripted<'a> {
    pub(crate) fn new(stop: &'a AtomicBool, tokens_until_stop: Option<usize>) -> Self {
        Self {
            stop,
            tokens_until_stop: Cell::new(tokens_until_stop),
            longest: 0,
        }
    }
}

impl Generate for Scripted<'_> {
    type Error = Infallible;

    fn generate(
        &mut self,
        requests: &[Request],
        _: &Sampling,
    ) -> Result<Vec<Completion>, Infallible> {
        let reply = |request: &Request| {
            self.longest = self.longest.max(request.prompt.len() + request.max_tokens);
            let mut state = request.key.seed ^ u64::from(request.key.turn);
            for id in &request.prompt {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(u64::from(*id) + 1);
            }
            let mut ids = Vec::new();
            while ids.len() < request.max_tokens && ids.last() != Some(&END) {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                ids.push((state >> 33) as u32 % TOKENS.len() as u32);
            }
            Completion {
                stop_reason: match ids.last() {
                    Some(&END) => StopReason::EndToken,
                    _ => StopReason::MaxTokens,
                },
                logprobs: vec![-1.0; ids.len()],
                ids,
            }
        };
        Ok(requests.iter().map(reply).collect())
    }

    fn stream(
        &mut self,
        request: &Request,
        sampling: &Sampling,
        on_token: &mut dyn FnMut(u32) -> std::ops::ControlFlow<()>,
    ) -> Result<Completion, Infallible> {
        let mut completion = self
            .generate(std::slice::from_ref(request), sampling)?
            .remove(0);
        for (idx, id) in completion.ids.clone().into_iter().enumerate() {
            match self.tokens_until_stop.get() {
                Some(0) => self.stop.store(true, Ordering::Relaxed),
                Some(n) => self.tokens_until_stop.set(Some(n - 1)),
                None => {}
            }
            if on_token(id).is_break() {
                completion.break_off_after(idx + 1);
                break;
            }
        }
        Ok(completion)
    }
}

/// What a reading reads and how.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) n_tokens: usize,
    pub(crate) chunk_size: usize,
    pub(crate) memory_size: usize,
    pub(crate) answer_size: usize,
    pub(crate) window: Option<usize>,
    pub(crate) seed: u64,
    pub(crate) question: &'static str,
    pub(crate) max_chunks: Option<usize>,
    pub(crate) model: u64,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            n_tokens: 10,
            chunk_size: 4,
            memory_size: 5,
            answer_size: 3,
            window: None,
            seed: 1,
            question: "why",
            max_chunks: None,
            model: 7,
        }
    }
}

impl Setting {
    pub(crate) fn chunks(&self) -> ChunkOptions {
        ChunkOptions {
            chunk_size: self.chunk_size,
            overlap: 0,
            max_chunks: self.max_chunks,
        }
    }

    pub(crate) fn reader(&self) -> Result<Reader, ReaderError> {
        let ids = |text: &str| text.bytes().map(u32::from).collect();
        let text =
            TemplatesText::parse("Q{question}C{chunk}M{memory}W", "Q{question}M{memory}", "-");
        let templates = Arc::new(text?.compile(ids));
        let document = Document {
            ids: (0..self.n_tokens as u32).map(|idx| 1 + idx % 9).collect(),
            relevant: Vec::new(),
        };
        let limits = ReaderLimits {
            max_question_tokens: 100,
            max_memory_tokens: self.memory_size,
            max_answer_tokens: self.answer_size,
            window: self.window,
        };
        let question: Vec<u32> = ids(self.question);
        Reader::new(
            &question,
            Arc::new(document),
            &self.chunks(),
            templates,
            limits,
            &[END],
        )
    }

    pub(crate) fn id(&self) -> ReadingId {
        let reader = self.reader().unwrap();
        let model: Map<String, Value> = [("layers".to_owned(), Value::from(self.model))]
            .into_iter()
            .collect();
        ReadingId::new(
            &reader,
            self.question,
            &self.chunks(),
            &Sampling::GREEDY,
            self.seed,
            model,
        )
    }

    pub(crate) fn reading(&self) -> Reading<'static> {
        Reading::new(self.reader().unwrap(), Sampling::GREEDY, self.seed, &decode)
    }
}

/// Turns that were done and pieces that were shown.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) turns: Vec<Turn>,
    /// One text for every turn that was asked.
    pub(crate) texts: Vec<String>,
}

impl Seen {
    pub(crate) fn see(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Asked { .. } => self.texts.push(String::new()),
            Event::Text(piece) => self.texts.last_mut().unwrap().push_str(piece),
            Event::Done { turn, .. } => self.turns.push(turn.clone()),
        }
        Ok(())
    }
}

/// Runs a reading that is told to stop before its `tokens`-th token, if any.
pub(crate) fn run(
    reading: &mut Reading<'_>,
    tokens: Option<usize>,
    seen: &mut Seen,
) -> Result<Ended, ReadError> {
    let stop = AtomicBool::new(false);
    let mut generator = Scripted::new(&stop, tokens);
    reading.run(&mut generator, &stop, &mut |event| seen.see(event))
}

/// The turns of a reading that nothing interrupts.
pub(crate) fn whole(setting: &Setting) -> Seen {
    let mut seen = Seen::default();
    let ended = run(&mut setting.reading(), None, &mut seen).unwrap();
    assert_eq!(ended, Ended::Answered);
    seen
}

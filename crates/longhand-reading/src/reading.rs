//! The loop over the turns of one reading, with whatever generates.
//!
//! ```text
//! while there is something to ask:
//!     check that prompt and reply fit the window
//!     stream the reply, showing its text; drop the turn when told to stop
//!     take the reply as the new memory, write the notes file
//! ```
//!
//! What a turn leaves behind is its memory: prompts and replies of earlier turns are not kept, so a
//! document of any length is read in the space of its ids and one turn.

use std::error::Error;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use longhand_memory::{Reader, StopReason, TurnKind};
use longhand_rollout::{Generate, Purpose, Request, Sampling, StreamBase};

use crate::circles::end_of_first_circle;
use crate::detokenizer::{Decode, DecodeError, Detokenizer, text_of};
use crate::notes::{Answer, NotesError, NotesFile, Place};
use crate::progress::{Pace, Progress};

/// One turn that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its number, from 0; the answer's is the number of chunks.
    pub turn_idx: usize,
    /// What it was for.
    pub kind: TurnKind,
    /// Tokens of its prompt.
    pub n_prompt: usize,
    /// The sampled ids, the end token included.
    pub ids: Vec<u32>,
    /// Their text, without white space at its ends.
    pub text: String,
    /// Why sampling ended.
    pub stop_reason: StopReason,
    /// Whether the reply went in circles and was cut after the first one.
    pub is_cut: bool,
}

/// What happens while a document is read.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A turn begins: its prompt is being read, which takes the longest.
    Asked {
        /// What it is for.
        kind: TurnKind,
        /// Tokens of its prompt.
        n_prompt: usize,
        /// Where the reading stands before it.
        progress: Progress,
    },
    /// The next piece of its reply. All pieces together are the turn's text, and the circles that were cut
    /// from it.
    Text(&'a str),
    /// The turn is done, and written to the notes file if there is one.
    Done {
        /// The turn.
        turn: &'a Turn,
        /// Where the reading stands after it.
        progress: Progress,
    },
}

/// How a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The answer is given.
    Answered,
    /// It was told to stop; the turn under way, if there was one, is dropped.
    Interrupted,
}

/// Why a reading broke down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A turn does not fit the window. [`Reader::new`] has refused such sizes already.
    #[error(
        "turn {turn_idx} has a prompt of {n_prompt} tokens and may sample {max_tokens} more, over the \
         window of {window}"
    )]
    OverWindow {
        /// Which turn.
        turn_idx: usize,
        /// Tokens of its prompt.
        n_prompt: usize,
        /// Tokens to sample.
        max_tokens: usize,
        /// The window.
        window: usize,
    },
    /// The generator failed.
    #[error("cannot sample turn {turn_idx}: {source}")]
    Generate {
        /// Which turn.
        turn_idx: usize,
        /// What the generator said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Ids have no text.
    #[error("what was sampled has no text: {0}")]
    Decode(#[source] DecodeError),
    /// The notes file.
    #[error(transparent)]
    Notes(#[from] NotesError),
    /// Whoever shows the events cannot.
    #[error("cannot show what was read: {0}")]
    Show(#[source] io::Error),
}

/// One document being read.
pub struct Reading<'a> {
    reader: Reader,
    sampling: Sampling,
    seed: u64,
    decode: &'a Decode<'a>,
    place: Place,
    notes: Option<NotesFile>,
    cuts_circles: bool,
}

impl<'a> Reading<'a> {
    /// A reading at its first turn. `reader` has had no reply yet, and its limits name the window:
    /// the model's, or a smaller one.
    pub fn new(reader: Reader, sampling: Sampling, seed: u64, decode: &'a Decode<'a>) -> Self {
        Self {
            reader,
            sampling,
            seed,
            decode,
            place: Place::default(),
            notes: None,
            cuts_circles: true,
        }
    }

    /// Lets replies go in circles until they are full: by default, one that says the same over and over
    /// ends there and keeps it once.
    #[must_use]
    pub fn with_circles(self) -> Self {
        Self {
            cuts_circles: false,
            ..self
        }
    }

    /// Goes on from the notes in this file if it is there, and writes it after every turn from now on.
    /// A new file is written at once, so that a place that cannot be written is found before anything is
    /// sampled.
    ///
    /// # Errors
    /// [`ReadError::Notes`], and [`ReadError::Decode`] for a memory that has no text.
    pub fn keep_notes(&mut self, notes: NotesFile) -> Result<(), ReadError> {
        match notes.load()? {
            None => notes.save(&self.place)?,
            Some(place) => self.go_on(&notes, place)?,
        }
        self.notes = Some(notes);
        Ok(())
    }

    fn go_on(&mut self, notes: &NotesFile, place: Place) -> Result<(), ReadError> {
        let path = || notes.path().to_owned();
        let answer = place.answer.as_ref();
        let mut reader = self.reader.clone();
        reader
            .go_on(
                place.n_turns,
                &place.memory,
                answer.map(|answer| &answer.ids[..]),
            )
            .map_err(|source| NotesError::NoPlace {
                path: path(),
                source,
            })?;
        let memory = ("memory", &place.memory, &place.text);
        let answer = answer.map(|answer| ("answer", &answer.ids, &answer.text));
        for (what, ids, text) in [Some(memory), answer].into_iter().flatten() {
            if text_of(ids, self.decode).map_err(ReadError::Decode)? != *text {
                return Err(NotesError::Edited { path: path(), what }.into());
            }
        }
        (self.reader, self.place) = (reader, place);
        Ok(())
    }

    /// Where the reading stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The reader.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Reads on to the answer, or until `stop` is set, which is looked at before each turn and at each
    /// token. Afterwards it can be called again, to go on.
    ///
    /// The stream of a turn is named by the turn's number, so a reading that was interrupted goes on as
    /// if it had not been.
    ///
    /// # Errors
    /// [`ReadError`]; the reading then stands after its last whole turn.
    pub fn run<G: Generate>(
        &mut self,
        generator: &mut G,
        stop: &AtomicBool,
        on_event: &mut dyn FnMut(Event<'_>) -> io::Result<()>,
    ) -> Result<Ended, ReadError> {
        let mut pace = Pace::default();
        while let Some(ask) = self.reader.ask() {
            if stop.load(Ordering::Relaxed) {
                return Ok(Ended::Interrupted);
            }
            let turn_idx = self.reader.n_turns_done();
            let (n_prompt, max_tokens) = (ask.prompt.len(), ask.max_tokens);
            self.check_window(turn_idx, n_prompt, max_tokens)?;
            on_event(Event::Asked {
                kind: ask.kind,
                n_prompt,
                progress: self.progress(&pace),
            })
            .map_err(ReadError::Show)?;
            let request = Request {
                prompt: ask.prompt,
                max_tokens,
                group: 0,
                key: self.streams().key(0, 0, turn_idx as u32),
            };
            let mut reply = Reply {
                end_ids: self.reader.end_ids(),
                max_tokens,
                decode: self.decode,
                stop,
                on_event,
                detokenizer: Some(Detokenizer::default()),
                ids: self.cuts_circles.then(Vec::new),
                cut_at: None,
                n_told: 0,
                broken_off: None,
            };
            let start = Instant::now();
            let (mut first, mut last) = (None, start);
            let mut completion = generator
                .stream(&request, &self.sampling, &mut |id| {
                    last = Instant::now();
                    first.get_or_insert(last);
                    reply.token(id)
                })
                .map_err(|error| ReadError::Generate {
                    turn_idx,
                    source: Box::new(error),
                })?;
            drop(request);
            let cut_at = reply.cut_at;
            if let Some(broken_off) = reply.end()? {
                return Ok(broken_off);
            }
            let first = first.unwrap_or(last);
            pace.add(n_prompt, first - start, completion.ids.len(), last - first);
            completion.ids.truncate(cut_at.unwrap_or(usize::MAX));

            let stop_reason = self.reader.reply(&completion.ids, completion.stop_reason);
            let turn = Turn {
                turn_idx,
                kind: ask.kind,
                n_prompt,
                text: self.take_place(ask.kind)?,
                ids: completion.ids,
                stop_reason,
                is_cut: cut_at.is_some(),
            };
            if let Some(notes) = &self.notes {
                notes.save(&self.place)?;
            }
            on_event(Event::Done {
                turn: &turn,
                progress: self.progress(&pace),
            })
            .map_err(ReadError::Show)?;
        }
        Ok(Ended::Answered)
    }

    fn streams(&self) -> StreamBase {
        StreamBase {
            seed: self.seed,
            purpose: Purpose::EVALUATION,
            step: 0,
        }
    }

    fn check_window(
        &self,
        turn_idx: usize,
        n_prompt: usize,
        max_tokens: usize,
    ) -> Result<(), ReadError> {
        match self.reader.limits().window {
            Some(window) if window < n_prompt.saturating_add(max_tokens) => {
                Err(ReadError::OverWindow {
                    turn_idx,
                    n_prompt,
                    max_tokens,
                    window,
                })
            }
            _ => Ok(()),
        }
    }

    /// Puts what the reader has taken as a reply on record and returns its text.
    fn take_place(&mut self, kind: TurnKind) -> Result<String, ReadError> {
        let ids = match kind {
            TurnKind::Read { .. } => self.reader.memory(),
            TurnKind::Answer => self.reader.answer().unwrap_or_default(),
        };
        let text = text_of(ids, self.decode).map_err(ReadError::Decode)?;
        let (ids, kept) = (ids.to_vec(), text.clone());
        match kind {
            TurnKind::Read { .. } => (self.place.memory, self.place.text) = (ids, kept),
            TurnKind::Answer => self.place.answer = Some(Answer { ids, text: kept }),
        }
        self.place.n_turns = self.reader.n_turns_done();
        Ok(text)
    }

    fn progress(&self, pace: &Pace) -> Progress {
        let reader = &self.reader;
        let (n_chunks, n_done) = (reader.n_chunks(), reader.n_turns_done());
        let (n_question, n_memory) = (reader.question().len(), reader.memory().len());
        let templates = reader.templates();
        let chunks = reader.chunk_spans().iter().skip(n_done);
        let reads = chunks.map(|span| {
            templates
                .read
                .filled_length(n_question, span.len(), n_memory)
        });
        let answers = usize::from(n_done <= n_chunks);
        let answer = templates.answer.filled_length(n_question, 0, n_memory);
        let n_prompt = reads.sum::<usize>() + answers * answer;
        let n_turns = reader.n_turns() - n_done;
        Progress {
            n_chunks_read: n_done.min(n_chunks),
            n_chunks,
            read_rate: pace.read_rate(),
            write_rate: pace.write_rate(),
            left: if n_turns == 0 {
                Some(Duration::ZERO)
            } else {
                pace.left(n_prompt, n_turns)
            },
        }
    }
}

/// The reply to one turn, as its tokens come.
struct Reply<'a, 'b> {
    end_ids: &'a [u32],
    max_tokens: usize,
    decode: &'a Decode<'a>,
    stop: &'a AtomicBool,
    on_event: &'b mut dyn FnMut(Event<'_>) -> io::Result<()>,
    /// None once the reply has ended: what comes then is not carried, and not shown.
    detokenizer: Option<Detokenizer>,
    /// What was said so far; none where circles may be said to the end.
    ids: Option<Vec<u32>>,
    /// Where a reply that goes in circles ends.
    cut_at: Option<usize>,
    n_told: usize,
    broken_off: Option<Result<Ended, ReadError>>,
}

impl Reply<'_, '_> {
    fn token(&mut self, id: u32) -> ControlFlow<()> {
        if self.stop.load(Ordering::Relaxed) {
            self.broken_off = Some(Ok(Ended::Interrupted));
            return ControlFlow::Break(());
        }
        if self.end_ids.contains(&id) || self.n_told == self.max_tokens {
            self.finish();
        }
        self.n_told += 1;
        if let Some(detokenizer) = &mut self.detokenizer {
            let piece = detokenizer.push(id, self.decode);
            self.show(piece);
            if let Some(ids) = &mut self.ids {
                ids.push(id);
                self.cut_at = end_of_first_circle(ids);
            }
        }
        if self.cut_at.is_some() {
            return ControlFlow::Break(());
        }
        match self.broken_off {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    fn finish(&mut self) {
        if let Some(detokenizer) = self.detokenizer.take() {
            let piece = detokenizer.finish(self.decode);
            self.show(piece);
        }
    }

    fn show(&mut self, piece: Result<String, DecodeError>) {
        let shown = match piece {
            Ok(piece) if piece.is_empty() => Ok(()),
            Ok(piece) => (self.on_event)(Event::Text(&piece)).map_err(ReadError::Show),
            Err(error) => Err(ReadError::Decode(error)),
        };
        if let Err(error) = shown {
            self.broken_off = Some(Err(error));
        }
    }

    /// How the reading ends here, if it does.
    fn end(mut self) -> Result<Option<Ended>, ReadError> {
        if self.broken_off.is_none() {
            self.finish();
        }
        self.broken_off.transpose()
    }
}

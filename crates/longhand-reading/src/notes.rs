//! The notes file: where a reading stands after its last whole turn, so that another can go on there.
//!
//! The file is JSON and takes its name by a rename, so it is always whole: it says what was read by
//! which model with which settings, how many turns are done, and the memory as ids and as text. Prompts
//! are made of the ids; the text is for people, and must be that of the ids.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use longhand_memory::{ChunkOptions, Part, Reader, ReaderError, Slot, Templates};
use longhand_rollout::Sampling;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::Xxh3;

const FORMAT: &str = "longhand-notes";
const VERSION: u32 = 1;
/// Longest file that is read: a memory of a million tokens.
const MAX_BYTES: u64 = 32 << 20;

/// What a reading reads, and how. Two readings of which this is the same ask the same at every turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingId {
    /// What is asked.
    pub question: String,
    /// Tokens of the document, before any are cut.
    pub n_tokens: usize,
    /// Digest of the document's ids as they are read.
    pub document: String,
    /// Digest of the prompts' fixed ids, the question's ids and the ids that end a reply.
    pub prompts: String,
    /// Tokens per chunk.
    pub chunk_size: usize,
    /// Tokens that a chunk repeats.
    pub overlap: usize,
    /// Most chunks.
    pub max_chunks: Option<usize>,
    /// Cap of a memory.
    pub memory_size: usize,
    /// Cap of the answer.
    pub answer_size: usize,
    /// Sampling temperature.
    pub temperature: f32,
    /// Share of the most probable tokens that is kept.
    pub top_p: f32,
    /// Number of the most probable tokens that is kept.
    pub top_k: usize,
    /// Seed of sampling.
    pub seed: u64,
    /// What tells the model from others, by names: its sizes, a digest of its weights.
    pub model: Map<String, Value>,
}

impl ReadingId {
    /// The id of what this reader reads.
    pub fn new(
        reader: &Reader,
        question: &str,
        chunks: &ChunkOptions,
        sampling: &Sampling,
        seed: u64,
        model: Map<String, Value>,
    ) -> Self {
        let limits = reader.limits();
        let mut prompts = Digest::default();
        prompts.templates(reader.templates());
        prompts.ids(reader.question());
        prompts.ids(reader.end_ids());
        let mut document = Digest::default();
        document.ids(&reader.document().ids);
        Self {
            question: question.to_owned(),
            n_tokens: reader.document().ids.len() + reader.dropped_tokens(),
            document: document.hex(),
            prompts: prompts.hex(),
            chunk_size: chunks.chunk_size,
            overlap: chunks.overlap,
            max_chunks: chunks.max_chunks,
            memory_size: limits.max_memory_tokens,
            answer_size: limits.max_answer_tokens,
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            seed,
            model,
        }
    }

    /// What differs from `notes`, in words; empty if nothing does.
    fn differences(&self, notes: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |name: &str, there: &dyn ToString, here: &dyn ToString| {
            let (there, here) = (there.to_string(), here.to_string());
            if there != here {
                differences.push(format!("{name} ({there} in the notes, {here} here)"));
            }
        };
        let quoted = |text: &str| Value::from(text);
        compare(
            "the question",
            &quoted(&notes.question),
            &quoted(&self.question),
        );
        compare(
            "the tokens of the document",
            &notes.n_tokens,
            &self.n_tokens,
        );
        compare("the chunk size", &notes.chunk_size, &self.chunk_size);
        compare("the overlap", &notes.overlap, &self.overlap);
        let most = |most: Option<usize>| most.map_or("all".to_owned(), |most| most.to_string());
        compare(
            "the most chunks",
            &most(notes.max_chunks),
            &most(self.max_chunks),
        );
        compare("the memory size", &notes.memory_size, &self.memory_size);
        compare("the answer size", &notes.answer_size, &self.answer_size);
        compare("the temperature", &notes.temperature, &self.temperature);
        compare("top_p", &notes.top_p, &self.top_p);
        compare("top_k", &notes.top_k, &self.top_k);
        compare("the seed", &notes.seed, &self.seed);
        let names = notes.model.keys().chain(self.model.keys());
        let mut names: Vec<&String> = names.collect();
        names.sort();
        names.dedup();
        for name in names {
            let value = |of: &Map<String, Value>| of.get(name).cloned().unwrap_or(Value::Null);
            let (there, here) = (value(&notes.model), value(&self.model));
            compare(&format!("the model's {name}"), &there, &here);
        }
        // Digests say nothing to people, and nothing new where something above differs.
        if differences.is_empty() && notes.document != self.document {
            differences.push("the document (as long, with another text)".to_owned());
        }
        if differences.is_empty() && notes.prompts != self.prompts {
            differences.push(
                "the prompts (another template, message of the system, tokenizer or end token)"
                    .to_owned(),
            );
        }
        differences
    }
}

#[derive(Default)]
struct Digest(Xxh3);

impl Digest {
    /// Ids, with their number: two lists are not one list cut elsewhere.
    fn ids(&mut self, ids: &[u32]) {
        self.0.update(&(ids.len() as u64).to_le_bytes());
        for id in ids {
            self.0.update(&id.to_le_bytes());
        }
    }

    fn templates(&mut self, templates: &Templates) {
        for template in [&templates.read, &templates.answer] {
            self.ids(&[template.parts().len() as u32]);
            for part in template.parts() {
                match part {
                    Part::Text(ids) => self.ids(ids),
                    Part::Slot(slot) => self.0.update(match slot {
                        Slot::Question => b"q",
                        Slot::Chunk => b"c",
                        Slot::Memory => b"m",
                    }),
                }
            }
        }
        self.ids(&templates.empty_memory);
    }

    fn hex(&self) -> String {
        format!("{:032x}", self.0.digest128())
    }
}

/// Where a reading stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Turns that are done.
    pub n_turns: usize,
    /// The memory after them, without end tokens.
    pub memory: Vec<u32>,
    /// Its text.
    pub text: String,
    /// The answer, once it is given.
    pub answer: Option<Answer>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Its ids, without end tokens.
    pub ids: Vec<u32>,
    /// Its text.
    pub text: String,
}

/// Why there are no notes to go on from, or none to be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotesError {
    /// The file cannot be read.
    #[error("cannot read the notes {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the notes to {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} holds no notes of a reading: {reason}; name another file for them", path = path.display())]
    NotNotes {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by another version.
    #[error("{path} has notes of format version {version}; this program reads version {VERSION}", path = path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The notes were taken in another reading.
    #[error(
        "{path} has the notes of another reading: {what} differs; give what it was read with, or name \
         another file",
        path = path.display()
    )]
    Differs {
        /// The file.
        path: PathBuf,
        /// What differs, separated by commas.
        what: String,
    },
    /// The notes stand where no reading ever stands.
    #[error("{path}: {source}", path = path.display())]
    NoPlace {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReaderError,
    },
    /// Ids and text of the notes are not the same.
    #[error("{path}: the text of the {what} is not that of its ids; edit neither", path = path.display())]
    Edited {
        /// The file.
        path: PathBuf,
        /// The memory or the answer.
        what: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Serialize)]
struct ToWrite<'a> {
    #[serde(flatten)]
    head: Head,
    reading: &'a ReadingId,
    place: &'a Place,
}

#[derive(Deserialize)]
struct AsRead {
    reading: ReadingId,
    place: Place,
}

/// The notes file of a reading.
#[derive(Clone, Debug)]
pub struct NotesFile {
    path: PathBuf,
    id: ReadingId,
}

impl NotesFile {
    /// The file of this name for this reading. Nothing is read or written yet.
    pub fn new(path: &Path, id: ReadingId) -> Self {
        Self {
            path: path.to_owned(),
            id,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the reading stands; none if there is no file. That a reader can stand there, and that text
    /// and ids agree, is for the caller to see.
    ///
    /// # Errors
    /// [`NotesError`]: a file that cannot be read, is no notes file, or belongs to another reading.
    pub fn load(&self) -> Result<Option<Place>, NotesError> {
        let path = &self.path;
        let unreadable = |source| NotesError::Read {
            path: path.clone(),
            source,
        };
        let not_notes = |reason: String| NotesError::NotNotes {
            path: path.clone(),
            reason,
        };
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => {}
            // Opening a pipe would wait for its other end.
            Ok(_) => return Err(not_notes("it is no plain file".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(unreadable(source)),
        }
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        if MAX_BYTES < bytes.len() as u64 {
            return Err(not_notes(format!("it is longer than {MAX_BYTES} bytes")));
        }
        let head: Head = serde_json::from_slice(&bytes).map_err(|e| not_notes(e.to_string()))?;
        if head.format != FORMAT {
            return Err(not_notes(format!("its format is not `{FORMAT}`")));
        }
        if head.version != VERSION {
            return Err(NotesError::Version {
                path: path.clone(),
                version: head.version,
            });
        }
        let AsRead { reading, place } =
            serde_json::from_slice(&bytes).map_err(|e| not_notes(e.to_string()))?;
        let differences = self.id.differences(&reading);
        if !differences.is_empty() {
            return Err(NotesError::Differs {
                path: path.clone(),
                what: differences.join(", "),
            });
        }
        Ok(Some(place))
    }

    /// Writes where the reading stands, in one step.
    ///
    /// # Errors
    /// [`NotesError::Write`]; what the file held is then still there.
    pub fn save(&self, place: &Place) -> Result<(), NotesError> {
        let head = Head {
            format: FORMAT.to_owned(),
            version: VERSION,
        };
        let file = ToWrite {
            head,
            reading: &self.id,
            place,
        };
        let written = serde_json::to_vec_pretty(&file)
            .map_err(io::Error::from)
            .and_then(|bytes| write_in_one_step(&self.path, &bytes));
        written.map_err(|source| NotesError::Write {
            path: self.path.clone(),
            source,
        })
    }
}

/// Writes a hidden sibling, brings it to the disk and gives it the name.
fn write_in_one_step(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        let reason = "the path has no file name";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    };
    let mut hidden = std::ffi::OsString::from(".unfinished-");
    hidden.push(name);
    let unfinished = path.with_file_name(hidden);
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(bytes)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    });
    if written.is_err() {
        // The first error is the one to tell; a leftover harms nobody.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

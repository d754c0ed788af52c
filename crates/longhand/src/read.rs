//! `longhand read`.

use std::{
    io::{self, IsTerminal as _, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use longhand_memory::{Document, Reader, TurnKind};
use longhand_policy::Policy;
use longhand_reading::{
    ChatChoice, ChatOptions, DecodeError, Ended, Event, Joined, JsonReport, Library, NotesFile,
    Place, Progress, Reading, ReadingId,
};
use longhand_rollout::Sampling;
use serde_json::{Map, Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    bad_usage,
    load::{Loaded, LoadedReader, ReaderArgs, load},
};

/// Arguments of `longhand read`.
#[derive(clap::Args)]
#[command(
    after_help = "Ctrl-C (SIGINT) and SIGTERM end the reading at the next token and print the notes so far; a \
                  second one ends it at once. With --notes the same command goes on from there.\n\n\
                  Exit codes: 0 done, 1 failed, 2 bad usage, 130 stopped by SIGINT, 143 by SIGTERM."
)]
pub(crate) struct Args {
    /// Folder of a run, or of a model in Hugging Face layout
    run_or_model: PathBuf,
    /// Documents to read, one after another: text, Markdown or HTML
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    document: Vec<PathBuf>,
    /// What to ask
    #[arg(long)]
    question: String,
    /// Keep the notes in this file after every chunk, and go on from it if it is there
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// Sampling temperature; 0 takes the most probable token
    #[arg(
        long,
        default_value_t = 0.0,
        allow_negative_numbers = true,
        value_name = "NUMBER"
    )]
    temperature: f32,
    /// Seed of sampling
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    reader: ReaderArgs,
    /// Put prompts into the model's chat template: auto (where it has one), always or never [default: the
    /// run's, else auto]
    #[arg(long, value_name = "WHEN")]
    chat: Option<ChatChoice>,
    /// A value that the chat template may look at, such as `enable_thinking=true`; may be repeated
    #[arg(long, value_name = "KEY=JSON")]
    chat_variable: Vec<String>,
    /// A message of the system before the prompt, in the chat template
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Let a reply that says the same over and over go on until it is full, instead of cutting it after the
    /// first time
    #[arg(long)]
    keep_circles: bool,
    /// Print one JSON document instead of the notes as they are written
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let sampling = Sampling::at(args.temperature);
    sampling.check().map_err(|e| bad_usage(e.to_string()))?;
    let library = Library::read(&args.document)?;
    let loaded = load(&args.run_or_model)?;
    let LoadedReader {
        settings,
        templates,
        is_chat,
    } = reader(args, &loaded)?;

    let tokenizer = loaded.policy.tokenizer();
    let question = tokenizer.encode_plain(&args.question)?;
    let Joined { ids, documents } = library.encode(|text| tokenizer.encode_plain(text))?;
    let n_tokens = ids.len();
    let document = Document {
        ids,
        relevant: Vec::new(),
    };
    let reader = Reader::new(
        &question,
        Arc::new(document),
        &settings.chunks,
        Arc::new(templates),
        settings.limits,
        &loaded.policy.config().end_ids,
    )
    .map_err(|error| {
        bad_usage(format!(
            "{error}; sizes are set with --question-size, --chunk-size, --memory-size and --answer-size"
        ))
    })?;

    let stop = Stop::on_signals()?;
    let decode = |ids: &[u32]| -> Result<String, DecodeError> { Ok(tokenizer.decode(ids)?) };
    let id = ReadingId::new(
        &reader,
        &args.question,
        &settings.chunks,
        &sampling,
        args.seed,
        model_sizes(&loaded.policy),
    );
    let mut reading = Reading::new(reader, sampling, args.seed, &decode);
    if args.keep_circles {
        reading = reading.with_circles();
    }
    if let Some(path) = &args.notes {
        reading.keep_notes(NotesFile::new(path, id))?;
    }

    let reader = reading.reader();
    let (n_chunks, dropped_tokens) = (reader.n_chunks(), reader.dropped_tokens());
    let n_before = reading.place().n_turns;
    let out = io::stdout();
    let report = if args.json {
        let names: Vec<String> = args
            .document
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let documents: Vec<Value> = documents
            .iter()
            .zip(&names)
            .map(|(one, name)| json!({"path": name, "title": one.title, "n_tokens": one.n_tokens}))
            .collect();
        let head = json!({
            "question": args.question,
            "document": names.join(", "),
            "documents": documents,
            "n_tokens": n_tokens,
            "n_chunks": n_chunks,
            "dropped_tokens": dropped_tokens,
            "n_turns_before": n_before,
            "chat": is_chat,
            "window": settings.limits.window,
            "chunk_size": settings.chunks.chunk_size,
        });
        let head = head.as_object().cloned().unwrap_or_default();
        Some(JsonReport::begin(&out, &head)?)
    } else {
        let chunks = if n_chunks == 1 { "chunk" } else { "chunks" };
        writeln!(
            &out,
            "{n_tokens} tokens in {n_chunks} {chunks}, {dropped_tokens} tokens cut from the centre"
        )?;
        if 0 < n_before {
            write_place(&mut &out, "going on: ", reading.place(), n_chunks)?;
        }
        None
    };

    let mut show = Show::new(report, n_chunks);
    let mut generator = loaded.policy.generator();
    let ended = reading.run(&mut generator, &stop.asked, &mut |event| show.event(event));
    show.end_line()?;
    let told = ended.as_ref().map_err(ToString::to_string);
    if let Some(report) = show.report {
        let told = told.as_ref().map(|ended| **ended).map_err(String::as_str);
        let closed = report.end(reading.place(), told);
        // A reading that failed says why itself.
        if ended.is_ok() {
            closed?;
        }
    }
    match ended? {
        Ended::Answered => {
            if n_before == n_chunks + 1 && !args.json {
                writeln!(&out, "{} has the answer already", notes_name(args))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Ended::Interrupted => {
            if !args.json {
                write_place(&mut &out, "interrupted; ", reading.place(), n_chunks)?;
            }
            tell_how_to_go_on(args);
            Ok(ExitCode::from(stop.exit_code()))
        }
    }
}

/// The reader's settings and prompts, with the command line's chat.
fn reader(args: &Args, loaded: &Loaded) -> Result<LoadedReader> {
    let (mut choice, mut options) = loaded.chat();
    choice = args.chat.unwrap_or(choice);
    change_chat(args, &mut options)?;
    let reader = loaded.reader_in(&args.reader, choice, &options)?;
    if !reader.is_chat && (args.system.is_some() || !args.chat_variable.is_empty()) {
        return Err(bad_usage(
            "--system and --chat-variable have no effect: the prompts stand in no chat template",
        ));
    }
    Ok(reader)
}

fn change_chat(args: &Args, options: &mut ChatOptions) -> Result<()> {
    if args.system.is_some() {
        options.system.clone_from(&args.system);
    }
    for text in &args.chat_variable {
        let wrong = |what: &str| {
            bad_usage(format!(
                "--chat-variable {text}: {what}; write KEY=JSON, such as enable_thinking=false or \
                 date_string='\"1 May 2025\"'"
            ))
        };
        let (name, value) = text.split_once('=').ok_or_else(|| wrong("it has no `=`"))?;
        let value = serde_json::from_str(value).map_err(|_| wrong("the value is not JSON"))?;
        options.variables.insert(name.trim().to_owned(), value);
    }
    Ok(())
}

/// What tells the model from others in a notes file.
fn model_sizes(policy: &Policy) -> Map<String, Value> {
    let config = policy.config();
    let sizes = [
        ("vocab_size", config.vocab_size),
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("n_layers", config.n_layers),
        ("n_heads", config.n_heads),
        ("n_kv_heads", config.n_kv_heads),
        ("head_dim", config.head_dim),
    ];
    let mut values: Map<String, Value> = sizes
        .into_iter()
        .map(|(name, size)| (name.to_owned(), size.into()))
        .collect();
    let digest = policy.weights_id().digest_hex();
    values.insert("weights".to_owned(), digest.into());
    values
}

/// Shows events: text on standard output, progress on standard error.
struct Show<W: Write> {
    report: Option<JsonReport<W>>,
    n_chunks: usize,
    /// Only where standard error is a terminal.
    bar: Option<ProgressBar>,
    /// Whether notes on standard output would run into the bar.
    is_shared: bool,
    kind: TurnKind,
    is_line_open: bool,
}

impl<W: Write> Show<W> {
    fn new(report: Option<JsonReport<W>>, n_chunks: usize) -> Self {
        Self {
            is_shared: report.is_none() && io::stdout().is_terminal(),
            report,
            n_chunks,
            bar: None,
            kind: TurnKind::Answer,
            is_line_open: false,
        }
    }

    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Asked {
                kind,
                n_prompt,
                progress,
            } => {
                self.kind = kind;
                self.show_bar(format!("{progress}: reading {n_prompt} tokens"));
                Ok(())
            }
            Event::Text(piece) => {
                if self.report.is_some() {
                    return Ok(());
                }
                self.open_line()?;
                let mut out = io::stdout();
                write!(out, "{piece}")?;
                out.flush()
            }
            Event::Done { turn, progress } => {
                match &mut self.report {
                    Some(report) => report.turn(turn)?,
                    None => {
                        self.open_line()?;
                        self.end_line()?;
                        if turn.is_cut {
                            writeln!(
                                io::stdout(),
                                "(it went in circles: kept up to the first, {} tokens)",
                                turn.ids.len()
                            )?;
                        }
                    }
                }
                self.tell(&progress);
                Ok(())
            }
        }
    }

    fn show_bar(&mut self, message: String) {
        if io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(ProgressBar::new_spinner);
            bar.set_message(message);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    fn hide_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Begins the line of a turn.
    fn open_line(&mut self) -> io::Result<()> {
        if self.is_line_open {
            return Ok(());
        }
        if self.is_shared {
            self.hide_bar();
        }
        self.is_line_open = true;
        let mut out = io::stdout();
        match self.kind {
            TurnKind::Read { chunk_idx } => {
                write!(
                    out,
                    "notes after chunk {}/{}: ",
                    chunk_idx + 1,
                    self.n_chunks
                )
            }
            TurnKind::Answer => write!(out, "answer: "),
        }
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.hide_bar();
        if std::mem::take(&mut self.is_line_open) {
            writeln!(io::stdout())?;
        }
        Ok(())
    }

    /// A line for those who cannot see the bar. Where standard error is closed nobody listens.
    fn tell(&self, progress: &Progress) {
        if !io::stderr().is_terminal() {
            let _ = writeln!(io::stderr(), "{progress}");
        }
    }
}

fn write_place(out: &mut impl Write, how: &str, place: &Place, n_chunks: usize) -> io::Result<()> {
    match place.n_turns.min(n_chunks) {
        0 => writeln!(out, "{how}no chunk was read")?,
        n_read => writeln!(
            out,
            "{how}notes after chunk {n_read}/{n_chunks}: {}",
            place.text
        )?,
    }
    match &place.answer {
        Some(answer) => writeln!(out, "answer: {}", answer.text),
        None => Ok(()),
    }
}

fn notes_name(args: &Args) -> String {
    let path = args.notes.as_ref();
    path.map_or_else(|| "the file".to_owned(), |path| path.display().to_string())
}

fn tell_how_to_go_on(args: &Args) {
    let how = match &args.notes {
        Some(_) => format!(
            "the same command goes on from the notes in {}",
            notes_name(args)
        ),
        None => "with --notes FILE a reading can go on where it was interrupted".to_owned(),
    };
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "{how}");
}

/// Set by the first SIGINT or SIGTERM; the second ends the process.
struct Stop {
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Stop {
    fn on_signals() -> Result<Self> {
        let stop = Self {
            asked: Arc::default(),
            signal: Arc::default(),
        };
        for signal in [SIGINT, SIGTERM] {
            let (asked, number) = (&stop.asked, signal as usize);
            // The order matters: the end at once is armed by the signal before.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, asked.clone())
                .and_then(|_| {
                    signal_hook::flag::register_usize(signal, stop.signal.clone(), number)
                })
                .and_then(|_| signal_hook::flag::register(signal, asked.clone()))
                .context("cannot listen for signals")?;
        }
        Ok(stop)
    }

    /// What shells expect of a process that a signal ended.
    fn exit_code(&self) -> u8 {
        128 + self.signal.load(Ordering::Relaxed) as u8
    }
}

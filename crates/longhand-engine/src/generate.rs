//! Continuous batching: sequences join and leave between two tokens, and share what they begin with.
//!
//! Every turn of the loop runs, in one flat batch, the prompts of those that join and the last token of
//! those that are open. A prompt is run only from where it parts with the others: with those that join
//! beside it, or with a sequence of its group whose keys are still there.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use longhand_kernels::{PAGE, argmax, draw};
use longhand_rollout::{
    Completion, Context, Generate, PrefixTree, Request, Sampling, ServeError, StopReason,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use crate::{
    cache::Cache,
    head::HeadBuffers,
    packed_model::Model,
    rows::Rows,
    sample::draw_from_top,
    trunk::{LayerBuffers, Scratch, embed, layer_forward},
};

/// Rows that are run at once.
const ROWS_AT_ONCE: usize = 2048;
/// Prompt tokens that may join before the open sequences get their next token.
const JOINING_TOKENS: usize = 8192;
/// Pages that are kept for sequences to come, after those they were made for have ended.
const SPARE_PAGES: usize = 1024;

/// Samples completions from one version of a policy's weights.
#[derive(Clone)]
pub struct Generator {
    model: Arc<Model>,
}

/// A request that cannot be sampled.
#[derive(Debug, Error, PartialEq)]
pub enum GenerateError {
    /// A prompt without tokens has nothing to continue.
    #[error("request {request_idx} has an empty prompt")]
    EmptyPrompt {
        /// Its place in the call.
        request_idx: usize,
    },
    /// The prompt and the tokens to come exceed the model's window.
    #[error(
        "request {request_idx} needs {n_prompt} + {max_tokens} tokens, the model's window holds {window}"
    )]
    OverWindow {
        /// Its place in the call.
        request_idx: usize,
        /// Tokens of the prompt.
        n_prompt: usize,
        /// Tokens asked for.
        max_tokens: usize,
        /// Tokens the model was made for.
        window: usize,
    },
    /// An id is not in the embedding.
    #[error("request {request_idx} has token id {id}, the model has {vocab_size} ids")]
    UnknownId {
        /// Its place in the call.
        request_idx: usize,
        /// The id.
        id: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// The model produced a NaN or only infinities.
    #[error(
        "the logits of request {request_idx} at token {token_idx} are not finite: the weights are broken"
    )]
    NotFinite {
        /// Its place in the call.
        request_idx: usize,
        /// Which sampled token.
        token_idx: usize,
    },
}

/// Refuses a request that a model of these sizes cannot sample from; `request_idx` is named in the error.
///
/// # Errors
/// [`GenerateError`], but never [`GenerateError::NotFinite`].
pub fn check_request(
    config: &crate::ModelConfig,
    request_idx: usize,
    request: &Request,
) -> Result<(), GenerateError> {
    let (vocab_size, window) = (config.vocab_size, config.max_positions);
    let (n_prompt, max_tokens) = (request.prompt.len(), request.max_tokens);
    if n_prompt == 0 {
        return Err(GenerateError::EmptyPrompt { request_idx });
    }
    if let Some(&id) = request.prompt.iter().find(|id| vocab_size <= **id as usize) {
        return Err(GenerateError::UnknownId {
            request_idx,
            id,
            vocab_size,
        });
    }
    if window < n_prompt + max_tokens {
        return Err(GenerateError::OverWindow {
            request_idx,
            n_prompt,
            max_tokens,
            window,
        });
    }
    Ok(())
}

impl Generator {
    /// A sampler over these weights.
    pub fn new(model: Arc<Model>) -> Self {
        Self { model }
    }
}

impl Generate for Generator {
    type Error = GenerateError;

    fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, GenerateError> {
        let mut completions: Vec<Option<Completion>> = vec![None; requests.len()];
        let served = self.serve(requests.to_vec(), sampling, &mut |number, completion| {
            completions[number] = Some(completion);
            ControlFlow::Continue(Vec::new())
        });
        match served {
            Ok(()) => Ok(completions.into_iter().flatten().collect()),
            Err(ServeError::Generate(error)) => Err(error),
            Err(ServeError::CompletionCount { .. }) => {
                unreachable!("requests are answered one by one")
            }
        }
    }

    fn serve(
        &mut self,
        first: Vec<Request>,
        sampling: &Sampling,
        on_finished: &mut dyn FnMut(usize, Completion) -> ControlFlow<(), Vec<Request>>,
    ) -> Result<(), ServeError<GenerateError>> {
        let mut server = Server::new(&self.model, *sampling);
        server.hand_in(first).map_err(ServeError::Generate)?;
        while server.has_work() {
            for (number, completion) in server.advance().map_err(ServeError::Generate)? {
                match on_finished(number, completion) {
                    ControlFlow::Continue(more) => {
                        server.hand_in(more).map_err(ServeError::Generate)?;
                    }
                    ControlFlow::Break(()) => return Ok(()),
                }
            }
        }
        Ok(())
    }

    fn stream(
        &mut self,
        request: &Request,
        sampling: &Sampling,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Completion, GenerateError> {
        let mut server = Server::new(&self.model, *sampling);
        server.hand_in(vec![request.clone()])?;
        loop {
            if let Some((_, mut completion)) = server.advance()?.pop() {
                let last = completion.ids.last().map(|id| on_token(*id));
                if last.is_some_and(|told| told.is_break()) {
                    completion.break_off_after(completion.ids.len());
                }
                return Ok(completion);
            }
            // What is open has the stop reason of what is broken off.
            let completion = &server.open[0].completion;
            if let Some(&id) = completion.ids.last()
                && on_token(id).is_break()
            {
                return Ok(completion.clone());
            }
        }
    }
}

/// Sequences in progress.
struct Server<'a> {
    model: &'a Model,
    sampling: Sampling,
    /// Of the distribution whose log-probabilities are recorded.
    temperature: f32,
    cache: Cache,
    n_handed_in: usize,
    waiting: VecDeque<(usize, Request)>,
    open: Vec<Sequence>,
    /// Ended sequences whose keys may serve others of their group, the oldest first.
    spare: VecDeque<Resident>,
    buffers: Buffers,
}

#[derive(Default)]
struct Buffers {
    x: Vec<f32>,
    layer: LayerBuffers,
    scratch: Scratch,
    head: HeadBuffers,
    hidden: Vec<f32>,
}

/// Tokens whose keys and values are in the cache.
struct Resident {
    group: usize,
    ids: Vec<u32>,
    table: Vec<u32>,
}

struct Sequence {
    number: usize,
    resident: Resident,
    rng: ChaCha8Rng,
    max_tokens: usize,
    completion: Completion,
}

impl<'a> Server<'a> {
    fn new(model: &'a Model, sampling: Sampling) -> Self {
        let temperature = if sampling.temperature == 0.0 {
            1.0
        } else {
            sampling.temperature
        };
        Self {
            model,
            sampling,
            temperature,
            cache: Cache::new(model.base.head_shape(), model.base.layers.len()),
            n_handed_in: 0,
            waiting: VecDeque::new(),
            open: Vec::new(),
            spare: VecDeque::new(),
            buffers: Buffers::default(),
        }
    }

    fn hand_in(&mut self, requests: Vec<Request>) -> Result<(), GenerateError> {
        for request in requests {
            check_request(self.model.config(), self.n_handed_in, &request)?;
            self.waiting.push_back((self.n_handed_in, request));
            self.n_handed_in += 1;
        }
        Ok(())
    }

    fn has_work(&self) -> bool {
        !(self.waiting.is_empty() && self.open.is_empty())
    }

    /// One token for every open sequence and every one that joins; returns those that ended.
    fn advance(&mut self) -> Result<Vec<(usize, Completion)>, GenerateError> {
        let mut rows = Rows::default();
        let mut last_rows = Vec::with_capacity(self.open.len());
        for sequence in &mut self.open {
            let Resident { ids, table, .. } = &mut sequence.resident;
            let Some(&last) = sequence.completion.ids.last() else {
                continue;
            };
            self.cache.slot_for_next(table, ids.len());
            last_rows.push(rows.n_rows());
            rows.push(&[last], ids.len(), table);
            ids.push(last);
        }
        self.join(&mut rows, &mut last_rows);
        self.run(&rows, &last_rows);
        self.sample()
    }

    /// Takes in waiting requests: appends what has to be run of their prompts and the rows of their last
    /// tokens, and opens them.
    fn join(&mut self, rows: &mut Rows, last_rows: &mut Vec<usize>) {
        let mut fresh: Vec<(usize, Request)> = Vec::new();
        let mut n_tokens = 0;
        while let Some((number, request)) = self.waiting.pop_front() {
            n_tokens += request.prompt.len();
            match self.fork(&request) {
                Some(mut table) => {
                    let n_shared = table.1;
                    let pages = request.prompt.len().div_ceil(PAGE);
                    while table.0.len() < pages {
                        table.0.push(self.cache.allocate());
                    }
                    self.cache.make_room();
                    rows.push(&request.prompt[n_shared..], n_shared, &table.0);
                    last_rows.push(rows.n_rows() - 1);
                    self.open_sequence(number, request, table.0);
                }
                None => fresh.push((number, request)),
            }
            if JOINING_TOKENS <= n_tokens {
                break;
            }
        }
        if fresh.is_empty() {
            return;
        }
        // The place that predicts a first token is the end of its prompt, whatever the token.
        let contexts: Vec<Context<'_>> = fresh
            .iter()
            .map(|(_, request)| Context {
                group: request.group,
                prompt: &request.prompt,
                completion: &[0],
            })
            .collect();
        let tree = PrefixTree::new(&contexts);
        let placed = rows.push_tree(&tree, &mut self.cache);
        for ((number, request), targets) in fresh.into_iter().zip(&tree.targets) {
            let place = &placed[targets[0].segment];
            last_rows.push(place.first_row + targets[0].offset);
            let table = place.table[..request.prompt.len().div_ceil(PAGE)].to_vec();
            self.cache.retain(&table);
            self.open_sequence(number, request, table);
        }
        for place in placed {
            self.cache.release(&place.table);
        }
    }

    fn open_sequence(&mut self, number: usize, request: Request, table: Vec<u32>) {
        self.open.push(Sequence {
            number,
            rng: request.key.rng(),
            max_tokens: request.max_tokens,
            completion: Completion {
                ids: Vec::new(),
                logprobs: Vec::new(),
                stop_reason: StopReason::MaxTokens,
            },
            resident: Resident {
                group: request.group,
                ids: request.prompt,
                table,
            },
        });
    }

    /// The table of the longest beginning that a sequence of the same group has run already, and its
    /// length; none when that is less than a page. The prompt's last token is never part of it. Only
    /// sequences whose keys are there are asked, not those that join in the same turn.
    fn fork(&mut self, request: &Request) -> Option<(Vec<u32>, usize)> {
        let prompt = &request.prompt[..request.prompt.len() - 1];
        let shared = |resident: &Resident| {
            let pairs = resident.ids.iter().zip(prompt);
            pairs.take_while(|(a, b)| a == b).count()
        };
        let open = self
            .open
            .iter()
            .filter(|sequence| !sequence.completion.ids.is_empty())
            .map(|sequence| &sequence.resident);
        let mates = open
            .chain(&self.spare)
            .filter(|resident| resident.group == request.group);
        let (n_shared, mate) = mates
            .map(|mate| (shared(mate), mate))
            .max_by_key(|(n_shared, _)| *n_shared)?;
        if n_shared < PAGE {
            return None;
        }
        // The last token of an open mate may be run in this very turn: its key is not there yet.
        let n_shared = n_shared.min(mate.ids.len() - 1);
        let mut table = mate.table[..n_shared / PAGE].to_vec();
        let partly = (!n_shared.is_multiple_of(PAGE)).then(|| mate.table[n_shared / PAGE]);
        self.cache.retain(&table);
        if let Some(page) = partly {
            let own = self.cache.allocate();
            self.cache.make_room();
            for layer in &mut self.cache.layers {
                layer.copy_page(page, own);
            }
            table.push(own);
        }
        Some((table, n_shared))
    }

    /// Runs all rows and leaves the hidden states of `last_rows` in the buffers, in their order.
    fn run(&mut self, rows: &Rows, last_rows: &[usize]) {
        let (model, base) = (self.model, &*self.model.base);
        let hidden = base.config.hidden_size;
        let Buffers {
            x,
            layer: of_layer,
            scratch,
            hidden: of_last,
            ..
        } = &mut self.buffers;
        of_last.resize(last_rows.len() * hidden, 0.0);
        for (start, part) in rows.parts(ROWS_AT_ONCE) {
            embed(base, &part, x);
            for (layer, pages) in model.layers(None).zip(&mut self.cache.layers) {
                layer_forward(base, layer, pages, &part, x, of_layer, scratch);
            }
            let here = start..start + part.n_rows();
            for (place, row) in last_rows.iter().enumerate() {
                if here.contains(row) {
                    of_last[place * hidden..][..hidden]
                        .copy_from_slice(&x[(row - start) * hidden..][..hidden]);
                }
            }
        }
    }

    /// The next token of every open sequence; those that end leave.
    fn sample(&mut self) -> Result<Vec<(usize, Completion)>, GenerateError> {
        let base = &*self.model.base;
        let (buffers, n_ids) = (&mut self.buffers, base.n_ids);
        let all: Vec<u32> = (0..self.open.len() as u32).collect();
        buffers
            .head
            .logits_of(base, &buffers.hidden, &all, self.temperature);
        let (sampling, temperature) = (&self.sampling, self.temperature);
        let cuts = 0 < sampling.top_k && sampling.top_k < n_ids || sampling.top_p < 1.0;
        for (i, sequence) in self.open.iter_mut().enumerate() {
            let logits = &buffers.head.logits[i * n_ids..][..n_ids];
            let stats = &buffers.head.stats[i];
            let completion = &mut sequence.completion;
            if !stats.is_finite {
                return Err(GenerateError::NotFinite {
                    request_idx: sequence.number,
                    token_idx: completion.ids.len(),
                });
            }
            let id = if sampling.temperature == 0.0 {
                argmax(&base.cpu, logits)
            } else {
                // One draw a token, whatever the settings, so that streams stay aligned.
                let u: f64 = sequence.rng.random();
                if cuts {
                    draw_from_top(logits, sampling, u)
                } else {
                    draw(&base.cpu, logits, 1.0 / temperature, stats, u)
                }
            };
            completion.ids.push(id as u32);
            completion
                .logprobs
                .push(stats.logprob(logits[id], 1.0 / temperature));
        }
        Ok(self.take_ended())
    }

    fn take_ended(&mut self) -> Vec<(usize, Completion)> {
        let end_ids = &self.model.config().end_ids;
        let mut ended = Vec::new();
        for mut sequence in std::mem::take(&mut self.open) {
            let completion = &mut sequence.completion;
            let is_end = completion.ids.last().is_some_and(|id| end_ids.contains(id));
            if is_end {
                completion.stop_reason = StopReason::EndToken;
            }
            if is_end || completion.ids.len() == sequence.max_tokens {
                ended.push((sequence.number, sequence.completion));
                self.keep_spare(sequence.resident);
            } else {
                self.open.push(sequence);
            }
        }
        ended
    }

    /// Keeps an ended sequence for those to come, one a group, while there is room.
    fn keep_spare(&mut self, resident: Resident) {
        if let Some(older) = self
            .spare
            .iter()
            .position(|spare| spare.group == resident.group)
            && let Some(older) = self.spare.remove(older)
        {
            self.cache.release(&older.table);
        }
        self.spare.push_back(resident);
        let mut n_pages: usize = self.spare.iter().map(|spare| spare.table.len()).sum();
        while SPARE_PAGES < n_pages
            && let Some(oldest) = self.spare.pop_front()
        {
            n_pages -= oldest.table.len();
            self.cache.release(&oldest.table);
        }
    }
}

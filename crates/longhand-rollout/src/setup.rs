//! Everything a reader needs besides its problem, decided once for a run.

use std::sync::Arc;

use longhand_memory::{ChunkOptions, Reader, ReaderLimits, Templates};

use crate::{EncodedProblem, RolloutError};

/// Chunking, templates, budgets and end tokens of all readers of a run.
#[derive(Debug, Clone)]
pub struct ReaderSetup {
    /// How documents are cut.
    pub chunks: ChunkOptions,
    /// How prompts are made.
    pub templates: Arc<Templates>,
    /// Token budgets.
    pub limits: ReaderLimits,
    /// Ids that end a completion; the first one is what an expert writes.
    pub end_ids: Vec<u32>,
}

impl ReaderSetup {
    /// A reader at the first turn of this problem.
    ///
    /// # Errors
    /// [`RolloutError::Reader`], which names the problem.
    pub fn reader(&self, problem: &EncodedProblem) -> Result<Reader, RolloutError> {
        let document = Arc::clone(&problem.document);
        let templates = Arc::clone(&self.templates);
        let (chunks, end_ids) = (&self.chunks, &self.end_ids);
        Reader::new(
            &problem.question,
            document,
            chunks,
            templates,
            self.limits,
            end_ids,
        )
        .map_err(|source| RolloutError::Reader {
            id: problem.id.clone(),
            source,
        })
    }
}

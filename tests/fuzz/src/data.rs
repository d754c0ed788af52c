//! Files of problems, and documents with what is relevant in them.

use std::fs;
use std::path::Path;

use longhand_memory::{ChunkOptions, Document, chunk_spans, relevant_in};
use longhand_tasks::{
    FileFormat, HotpotQa, Jsonl, PoolUse, Problem, RecordFormat, Split, TaskSpec, check_file,
    write_jsonl,
};

/// Short enough that a fuzzer reaches it.
const MAX_LINE_BYTES: usize = 2048;

/// Three numbers (chunk size, overlap, most chunks), then pairs of them for relevant spans. A document that
/// is accepted stays one when its centre is cut, and chunks cover it.
pub(crate) fn document(bytes: &[u8]) {
    let mut numbers = bytes.iter().map(|byte| usize::from(*byte));
    let mut next = || numbers.next().unwrap_or_default();
    let (n_tokens, chunk_size, overlap, max_chunks) = (next(), next(), next(), next());
    let rest: Vec<usize> = numbers.collect();
    let spans = rest.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
    let ids = (0..n_tokens as u32).collect();
    let Ok(document) = Document::new(ids, spans) else {
        return;
    };
    let max_chunks = (max_chunks != 255).then_some(max_chunks);
    let Ok(options) = ChunkOptions::new(chunk_size, overlap, max_chunks) else {
        return;
    };
    let max_tokens = options.max_tokens().unwrap_or(usize::MAX);
    let (cut, n_dropped) = document.truncate_centre(max_tokens);
    assert_eq!(cut.check(), Ok(()));
    assert_eq!(cut.ids.len() + n_dropped, n_tokens);
    assert_eq!(cut.ids.len(), n_tokens.min(max_tokens));
    assert!(cut.n_relevant() <= document.n_relevant());
    let chunks = chunk_spans(cut.ids.len(), &options);
    assert!(chunks.len() <= max_chunks.unwrap_or(usize::MAX));
    let mut reached = 0;
    for chunk in &chunks {
        assert!(chunk.start <= reached && reached < chunk.end);
        reached = chunk.end;
        for span in relevant_in(&cut.relevant, chunk) {
            assert!(chunk.start <= span.start && span.start < span.end && span.end <= chunk.end);
        }
    }
    assert_eq!(reached, cut.ids.len());
}

/// Our own format: the problems of a sound file, written and read again, are the same.
pub(crate) fn jsonl_records(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data.jsonl");
    fs::write(&path, bytes).expect("a file");
    let Some(n_problems) = sound_problems(&path, FileFormat::Jsonl) else {
        return;
    };
    let problems = opened(&path, n_problems);
    let copy = folder.path().join("copy.jsonl");
    let written = write_jsonl(&copy, problems.iter().cloned().map(Ok)).expect("a file");
    assert_eq!(written, n_problems);
    // A line grows where an escape gets longer, and the copy gives every problem's facts.
    let again = check_file(&copy, FileFormat::Jsonl, 100 * MAX_LINE_BYTES).expect("a sound file");
    assert_eq!((again.n_problems, again.bad_records), (n_problems, vec![]));
    assert_eq!(opened(&copy, n_problems), problems);
}

/// All problems of a sound file of our own.
fn opened(path: &Path, n_problems: usize) -> Vec<Problem> {
    let spec = TaskSpec::Jsonl(Jsonl {
        path: path.to_owned(),
        format: RecordFormat::Longhand,
        test_path: Some(path.to_owned()),
        test_fraction: None,
        max_line_bytes: 100 * MAX_LINE_BYTES,
    });
    let source = spec.open().expect("a sound file opens");
    assert_eq!(source.n_problems(Split::Train), Some(n_problems));
    let problem = |idx| source.problem(Split::Train, 0, idx, 100, &|text| text.len());
    let problems = (0..n_problems as u64).map(problem);
    problems
        .map(|problem| problem.expect("a problem"))
        .collect()
}

/// HotpotQA's format: every problem of a sound file can be made, with all of its relevant paragraphs.
pub(crate) fn hotpotqa_records(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data.json");
    fs::write(&path, bytes).expect("a file");
    let Some(n_problems) = sound_problems(&path, FileFormat::Hotpotqa) else {
        return;
    };
    let spec = TaskSpec::Hotpotqa(HotpotQa {
        path: path.clone(),
        test_path: Some(path),
        test_fraction: None,
        num_docs: None,
        pool: PoolUse::Once,
        max_line_bytes: MAX_LINE_BYTES,
    });
    let source = spec.open().expect("a sound file opens");
    for idx in 0..n_problems as u64 {
        for n_tokens in [0, 200] {
            let made = source.problem(Split::Train, 1, idx, n_tokens, &|text| text.len());
            let again = source.problem(Split::Train, 1, idx, n_tokens, &|text| text.len());
            match (made, again) {
                (Ok(made), Ok(again)) => {
                    assert_eq!(made, again);
                    assert!(made.document().len() <= n_tokens);
                    assert!(!made.answers.is_empty());
                }
                (Err(made), Err(again)) => assert_eq!(made.to_string(), again.to_string()),
                (made, again) => panic!("{made:?}, then {again:?}"),
            }
        }
    }
}

/// How many problems a file has if none of its records is broken.
fn sound_problems(path: &Path, format: FileFormat) -> Option<usize> {
    // The fields may be those of no format.
    let _ = FileFormat::of(path);
    let report = check_file(path, format, MAX_LINE_BYTES).ok()?;
    assert!(report.n_relevant <= report.n_paragraphs);
    for record in &report.bad_records {
        assert!(!record.to_string().is_empty());
    }
    (report.bad_records.is_empty() && 0 < report.n_problems).then_some(report.n_problems)
}

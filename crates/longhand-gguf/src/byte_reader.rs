//! Little-endian numbers and strings from a file, never more than is left of it.

use std::{
    fs::File,
    io::{BufReader, Read as _},
    path::{Path, PathBuf},
};

use crate::GgufError;

/// Bytes that everything before the tensors may take: the largest vocabularies need a quarter.
const LARGEST_HEADER: u64 = 64 << 20;

/// Reads the header of a file from its start and knows how much of it is left.
#[derive(Debug)]
pub(crate) struct ByteReader {
    path: PathBuf,
    bytes: BufReader<File>,
    position: u64,
    file_length: u64,
}

impl ByteReader {
    pub(crate) fn open(path: &Path) -> Result<Self, GgufError> {
        let io = |source| GgufError::Io {
            path: path.to_owned(),
            action: "read",
            source,
        };
        let file = File::open(path).map_err(io)?;
        let about = file.metadata().map_err(io)?;
        if !about.is_file() {
            return Err(io(std::io::Error::other("it is not a file")));
        }
        Ok(Self {
            path: path.to_owned(),
            bytes: BufReader::with_capacity(1 << 16, file),
            position: 0,
            file_length: about.len(),
        })
    }

    /// The file, read up to somewhere, and its path.
    pub(crate) fn into_file(self) -> (File, PathBuf) {
        (self.bytes.into_inner(), self.path)
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn file_length(&self) -> u64 {
        self.file_length
    }

    /// The error of a file that contradicts the format.
    pub(crate) fn damaged(&self, place: &str, reason: impl Into<String>) -> GgufError {
        GgufError::Damaged {
            path: self.path.clone(),
            place: place.to_owned(),
            reason: reason.into(),
        }
    }

    /// The error of a file that asks for something we do not have.
    pub(crate) fn unsupported(&self, place: String, reason: impl Into<String>) -> GgufError {
        GgufError::Unsupported {
            path: self.path.clone(),
            place,
            reason: reason.into(),
        }
    }

    /// `n` things of at least `n_bytes` bytes each fit into what is left, or the file is damaged.
    pub(crate) fn check_left(&self, place: &str, n: u64, n_bytes: u64) -> Result<(), GgufError> {
        let left = self.file_length - self.position;
        let needed = n.saturating_mul(n_bytes);
        if left < needed {
            let reason = format!(
                "{needed} bytes are announced and {left} are left of the file; is the download complete?"
            );
            return Err(self.damaged(place, reason));
        }
        if LARGEST_HEADER < self.position + needed {
            let reason = format!(
                "the keys and names before the tensors take more than {LARGEST_HEADER} bytes"
            );
            return Err(self.damaged(place, reason));
        }
        Ok(())
    }

    pub(crate) fn array<const N: usize>(&mut self, place: &str) -> Result<[u8; N], GgufError> {
        self.check_left(place, 1, N as u64)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self, place: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(place)?))
    }

    pub(crate) fn u64(&mut self, place: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(place)?))
    }

    /// A length and that many bytes of UTF-8.
    pub(crate) fn string(&mut self, place: &str, longest: u64) -> Result<String, GgufError> {
        let n_bytes = self.u64(place)?;
        self.check_left(place, n_bytes, 1)?;
        if longest < n_bytes {
            let reason = format!("a text of {n_bytes} bytes; at most {longest} make sense here");
            return Err(self.damaged(place, reason));
        }
        // It fits into memory: the header's bound was checked above.
        let mut bytes = vec![0; n_bytes as usize];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.damaged(place, "a text that is not UTF-8"))
    }

    /// Passes over bytes that are known to be left.
    pub(crate) fn skip(&mut self, place: &str, n: u64, n_bytes: u64) -> Result<(), GgufError> {
        self.check_left(place, n, n_bytes)?;
        let n_bytes = n * n_bytes;
        let step = i64::try_from(n_bytes).expect("at most the header's bound");
        self.bytes
            .seek_relative(step)
            .map_err(|source| self.read_error(source))?;
        self.position += n_bytes;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), GgufError> {
        self.bytes
            .read_exact(bytes)
            .map_err(|source| self.read_error(source))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn read_error(&self, source: std::io::Error) -> GgufError {
        GgufError::Io {
            path: self.path.clone(),
            action: "read",
            source,
        }
    }
}

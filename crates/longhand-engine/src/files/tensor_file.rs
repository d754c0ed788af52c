//! One safetensors file, of which tensors are read when they are asked for.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::{
    error::WeightsError,
    header::{Header, MAX_HEADER_BYTES, TensorInfo},
    numbers::extend_from_bytes,
};

/// Numbers that are read at once, at least one row of them.
const NUMBERS_AT_ONCE: usize = 1 << 18;

/// A file whose header fits it.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    header: Header,
    /// Where the tensors' bytes begin.
    start: u64,
}

impl TensorFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// When it cannot be read, is no safetensors file, or lacks bytes that its header promises.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let io = WeightsError::io(path);
        let format = |reason: String| WeightsError::Format {
            path: path.to_owned(),
            reason,
        };
        let (mut file, length) = open_file(path).map_err(&io)?;
        let mut n_header = [0; 8];
        if length < 8 {
            return Err(format(format!("it has {length} bytes, a header has more")));
        }
        file.read_exact(&mut n_header).map_err(&io)?;
        let n_header = u64::from_le_bytes(n_header);
        if length - 8 < n_header {
            return Err(format(format!(
                "its header claims {n_header} bytes, the file has {length}"
            )));
        }
        if MAX_HEADER_BYTES < n_header {
            return Err(format(format!(
                "its header has {n_header} bytes, more than {MAX_HEADER_BYTES} are not read"
            )));
        }
        let mut json = vec![0; n_header as usize];
        file.read_exact(&mut json).map_err(&io)?;
        let start = 8 + n_header;
        Ok(Self {
            path: path.to_owned(),
            file,
            header: Header::parse(&json, length - start).map_err(format)?,
            start,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One line of the header's notes.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.header.notes.get(key).map(String::as_str)
    }

    /// Its tensors, by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        let tensors = self.header.tensors.iter();
        tensors.map(|(name, info)| (name.as_str(), info))
    }

    /// What the header says of a tensor; none when the file lacks it.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.header.tensors.get(name)
    }

    /// The numbers of a tensor, in the file's order.
    ///
    /// # Errors
    /// When the file lacks it, cannot be read, or has it in numbers that are not read.
    pub fn read(&mut self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let mut values = Vec::new();
        self.read_pieces(name, 1, |n_values, _, piece| {
            values.try_reserve_exact(n_values - values.len())?;
            values.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(values)
    }

    /// The transpose of a matrix `[rows, columns]`: `[columns, rows]`.
    ///
    /// # Errors
    /// As [`TensorFile::read`].
    ///
    /// # Panics
    /// When the tensor is no matrix.
    pub fn read_turned(&mut self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let [n_rows, n_columns] = match self.info(name) {
            None => [0, 0],
            Some(info) => info.shape[..].try_into().expect("a matrix"),
        };
        let mut values = Vec::new();
        self.read_pieces(name, n_columns, |n_values, first, piece| {
            if values.is_empty() {
                values.try_reserve_exact(n_values)?;
                values.resize(n_values, 0.0);
            }
            let (first_row, n_now) = (first / n_columns, piece.len() / n_columns);
            for column in 0..n_columns {
                let out = &mut values[column * n_rows + first_row..][..n_now];
                for (row, value) in out.iter_mut().enumerate() {
                    *value = piece[row * n_columns + column];
                }
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// The numbers of a tensor, of a matrix its transpose where `is_turned`; all of them finite.
    pub(crate) fn read_finite(
        &mut self,
        name: &str,
        is_turned: bool,
    ) -> Result<Vec<f32>, WeightsError> {
        let values = if is_turned {
            self.read_turned(name)?
        } else {
            self.read(name)?
        };
        if values.iter().all(|value| value.is_finite()) {
            return Ok(values);
        }
        // Looked for again in the order of the file, of which the place is said.
        let mut idx = 0;
        let mut found = None;
        self.read_pieces(name, 1, |_, first, piece| {
            let broken = piece.iter().position(|value| !value.is_finite());
            if let (None, Some(place)) = (found, broken) {
                found = Some(piece[place]);
                idx = first + place;
            }
            Ok(())
        })?;
        Err(WeightsError::NotFinite {
            path: self.path.clone(),
            name: name.to_owned(),
            idx,
            value: found.unwrap_or(f32::NAN),
        })
    }

    /// Hands over a tensor's numbers in pieces of whole rows of this width, with the number of all and the
    /// place of the first of the piece.
    fn read_pieces(
        &mut self,
        name: &str,
        width: usize,
        mut take: impl FnMut(usize, usize, &[f32]) -> io::Result<()>,
    ) -> Result<(), WeightsError> {
        let missing = || WeightsError::Missing {
            path: self.path.clone(),
            name: name.to_owned(),
        };
        let info = self.header.tensors.get(name).ok_or_else(missing)?;
        let Some(n_bytes_each) = info.number_type.width() else {
            return Err(WeightsError::Type {
                path: self.path.clone(),
                name: name.to_owned(),
                found: info.number_type.name().to_owned(),
            });
        };
        let io = WeightsError::io(&self.path);
        let n_values: usize = info.shape.iter().product();
        let at_once = (NUMBERS_AT_ONCE / width.max(1)).max(1) * width.max(1);
        self.file
            .seek(SeekFrom::Start(self.start + info.start))
            .map_err(&io)?;
        let (mut bytes, mut piece) = (Vec::new(), Vec::new());
        let mut first = 0;
        while first < n_values {
            let n_now = at_once.min(n_values - first);
            bytes.resize(n_now * n_bytes_each, 0);
            self.file.read_exact(&mut bytes).map_err(&io)?;
            piece.clear();
            extend_from_bytes(info.number_type, &bytes, &mut piece);
            take(n_values, first, &piece).map_err(&io)?;
            first += n_now;
        }
        Ok(())
    }
}

/// Opens a file, a real one, and says how long it is: a pipe or a device would never end.
fn open_file(path: &Path) -> io::Result<(File, u64)> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// Reads a file of at most so many bytes.
pub(crate) fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let (file, length) = open_file(path)?;
    if max_bytes < length {
        let reason = format!("it has {length} bytes, more than {max_bytes} are not read");
        return Err(io::Error::other(reason));
    }
    let mut bytes = Vec::new();
    // It may have grown since.
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

//! A GGUF file: its keys, the places of its tensors, and their bytes.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use crate::{GgufError, Metadata, TensorType, byte_reader::ByteReader, metadata::Value};

/// Bytes of a tensor's name: llama.cpp allows 64.
const LONGEST_NAME: u64 = 256;
/// Where tensors begin unless the file says otherwise.
const DEFAULT_ALIGNMENT: u64 = 32;

/// Where a tensor lies and how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorPlace {
    /// The storage of its numbers.
    pub tensor_type: TensorType,
    /// Sizes from the outermost to the innermost, as Hugging Face writes them: `[rows, columns]` or `[n]`.
    /// GGUF itself writes them the other way round.
    pub shape: Vec<usize>,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Bytes.
    pub n_bytes: u64,
}

impl TensorPlace {
    /// Numbers of one row: the innermost size, a whole number of blocks.
    pub fn row_length(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.row_length() / self.tensor_type.block_size() * self.tensor_type.block_bytes()
    }
}

/// An open GGUF file whose header has been checked against the file's length.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    tensors: BTreeMap<String, TensorPlace>,
}

impl Gguf {
    /// Reads and checks everything before the tensors' numbers.
    ///
    /// # Errors
    /// [`GgufError`] for a file that cannot be read, is not GGUF of version 2 or 3 in little-endian order,
    /// is cut off, has overlapping tensors, or stores one in a type that we do not read.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let mut bytes = ByteReader::open(path)?;
        let magic: [u8; 4] = bytes.array("the first four bytes")?;
        if &magic != b"GGUF" {
            let reason = format!(
                "a GGUF file begins with GGUF, this one with {:?}",
                magic.escape_ascii().to_string()
            );
            return Err(bytes.damaged("the first four bytes", reason));
        }
        match bytes.u32("version")? {
            2 | 3 => {}
            1 => {
                let hint = "versions 2 and 3 are; convert the model anew with a current llama.cpp";
                return Err(bytes.unsupported("version 1".to_owned(), hint));
            }
            version if matches!(version.swap_bytes(), 1..=3) => {
                let hint =
                    "little-endian files are; convert the model anew on a little-endian machine";
                return Err(bytes.unsupported("big-endian order".to_owned(), hint));
            }
            version => {
                let hint = "versions 2 and 3 are";
                return Err(bytes.unsupported(format!("version {version}"), hint));
            }
        }
        let n_tensors = bytes.u64("number of tensors")?;
        let n_keys = bytes.u64("number of keys")?;
        // A name's length, a number of sizes, one size, a type and an offset are the least.
        bytes.check_left("number of tensors", n_tensors, 32)?;
        let metadata = Metadata::read(&mut bytes, path, n_keys)?;
        if let Some(part) = metadata.get("split.count")
            && !matches!(part, Value::Integer(0 | 1))
        {
            let hint = "join the parts with llama.cpp's `llama-gguf-split --merge` first";
            return Err(bytes.unsupported("key `split.count`".to_owned(), hint));
        }
        bytes.check_left("number of tensors", n_tensors, 32)?;
        let mut tensors = BTreeMap::new();
        for tensor_idx in 0..n_tensors {
            let name = bytes.string(&format!("name of tensor {tensor_idx}"), LONGEST_NAME)?;
            let place = format!("tensor `{name}`");
            let tensor = read_place(&mut bytes, &place)?;
            if tensors.insert(name, tensor).is_some() {
                return Err(bytes.damaged(&place, "it stands twice"));
            }
        }
        place_tensors(&bytes, &metadata, &mut tensors)?;
        let (file, path) = bytes.into_file();
        Ok(Self {
            path,
            file,
            metadata,
            tensors,
        })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors by the file's own names.
    pub fn tensors(&self) -> &BTreeMap<String, TensorPlace> {
        &self.tensors
    }

    /// Reads rows of a tensor as they are stored, into `bytes`.
    ///
    /// # Errors
    /// [`GgufError::Io`] where the file cannot be read, for example because it has become shorter.
    ///
    /// # Panics
    /// When the rows are not all in the tensor.
    pub fn read_rows(
        &mut self,
        tensor: &TensorPlace,
        first_row: usize,
        n_rows: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), GgufError> {
        let row_bytes = tensor.row_bytes();
        let start = first_row as u64 * row_bytes as u64;
        let n_bytes = n_rows * row_bytes;
        assert!(
            start + n_bytes as u64 <= tensor.n_bytes,
            "rows {first_row}..{} of {tensor:?}",
            first_row + n_rows
        );
        bytes.resize(n_bytes, 0);
        let read = self
            .file
            .seek(SeekFrom::Start(tensor.offset + start))
            .and_then(|_| self.file.read_exact(bytes));
        read.map_err(|source| GgufError::Io {
            path: self.path.clone(),
            action: "read",
            source,
        })
    }
}

/// One entry of the list of tensors; its offset is still counted from the first tensor.
fn read_place(bytes: &mut ByteReader, place: &str) -> Result<TensorPlace, GgufError> {
    let n_sizes = bytes.u32(place)?;
    if !(1..=4).contains(&n_sizes) {
        return Err(bytes.damaged(place, format!("{n_sizes} dimensions; 1 to 4 make sense")));
    }
    let mut shape = Vec::new();
    for _ in 0..n_sizes {
        let size = bytes.u64(place)?;
        let size = usize::try_from(size)
            .ok()
            .filter(|size| (1..=i32::MAX as usize).contains(size));
        shape
            .push(size.ok_or_else(|| bytes.damaged(place, "a size must be from 1 to 2147483647"))?);
    }
    let tensor_type = TensorType::from_number(bytes.u32(place)?).map_err(|found| {
        let known = format!("supported types are {}", TensorType::names());
        bytes.unsupported(format!("{place} of type {found}"), known)
    })?;
    let offset = bytes.u64(place)?;
    let block_size = tensor_type.block_size();
    if !shape[0].is_multiple_of(block_size) {
        let reason = format!(
            "rows of {} numbers are no whole number of blocks of {block_size} ({})",
            shape[0],
            tensor_type.name()
        );
        return Err(bytes.damaged(place, reason));
    }
    let n_blocks = shape[1..]
        .iter()
        .try_fold((shape[0] / block_size) as u64, |n, &size| {
            n.checked_mul(size as u64)
        });
    let n_bytes = n_blocks.and_then(|n| n.checked_mul(tensor_type.block_bytes() as u64));
    let n_bytes = n_bytes.ok_or_else(|| bytes.damaged(place, "more than 2^64 bytes"))?;
    shape.reverse();
    Ok(TensorPlace {
        tensor_type,
        shape,
        offset,
        n_bytes,
    })
}

/// Counts offsets from the start of the file; every tensor must lie inside of it, and apart.
fn place_tensors(
    bytes: &ByteReader,
    metadata: &Metadata,
    tensors: &mut BTreeMap<String, TensorPlace>,
) -> Result<(), GgufError> {
    let alignment = match metadata.count("general.alignment")? {
        0 => DEFAULT_ALIGNMENT,
        n if n.is_multiple_of(8) && n <= 1 << 20 => n,
        n => {
            let reason = format!("{n}; a multiple of 8 up to 2^20 is needed");
            return Err(bytes.damaged("key `general.alignment`", reason));
        }
    };
    let first = bytes.position().next_multiple_of(alignment);
    for (name, tensor) in tensors.iter_mut() {
        let place = format!("tensor `{name}`");
        if !tensor.offset.is_multiple_of(alignment) {
            let reason = format!("its offset {} is no multiple of {alignment}", tensor.offset);
            return Err(bytes.damaged(&place, reason));
        }
        let offset = first.checked_add(tensor.offset);
        let end = offset.and_then(|offset| offset.checked_add(tensor.n_bytes));
        let (Some(offset), Some(_)) = (offset, end.filter(|end| *end <= bytes.file_length()))
        else {
            let reason = format!(
                "{} bytes from {} after the header reach beyond the file's {} bytes; is the download complete?",
                tensor.n_bytes,
                tensor.offset,
                bytes.file_length()
            );
            return Err(bytes.damaged(&place, reason));
        };
        tensor.offset = offset;
    }
    let mut in_file: Vec<(&String, &TensorPlace)> = tensors.iter().collect();
    in_file.sort_by_key(|(_, tensor)| tensor.offset);
    for pair in in_file.windows(2) {
        let [(name, tensor), (next_name, next)] = pair else {
            continue;
        };
        if next.offset < tensor.offset + tensor.n_bytes {
            let reason = format!("it begins inside of tensor `{name}`");
            return Err(bytes.damaged(&format!("tensor `{next_name}`"), reason));
        }
    }
    Ok(())
}

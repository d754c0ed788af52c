//! `model.safetensors`, written a few rows at a time: no tensor is ever whole in memory.

use std::io::{self, Write};

use serde_json::{Map, Value as Json, json};

use crate::{
    Gguf, GgufError, dequantise,
    tensor_plan::{PlannedTensor, RowOrder},
};

/// Numbers that are dequantised at once, at least one row or one head of them.
const NUMBERS_AT_ONCE: usize = 1 << 20;

/// How numbers are stored in `model.safetensors`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// 32-bit floats: exactly the numbers of the file.
    #[default]
    F32,
    /// Their upper halves, rounded to nearest, ties to even.
    Bf16,
}

impl Storage {
    /// The name that PyTorch and `config.json` use.
    pub(crate) fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
        }
    }

    fn width(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    fn append(self, numbers: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes())),
            Self::Bf16 => bytes.extend(numbers.iter().flat_map(|x| bf16(*x).to_le_bytes())),
        }
    }
}

/// The upper half of a float, rounded to nearest, ties to even; NaN stays NaN.
fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    let odd = bits >> 16 & 1;
    (bits.wrapping_add(0x7fff + odd) >> 16) as u16
}

/// Why the weights could not be written: the file that is read, or the one that is written.
pub(crate) enum WriteError {
    Source(GgufError),
    Target(io::Error),
}

impl From<GgufError> for WriteError {
    fn from(error: GgufError) -> Self {
        Self::Source(error)
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Target(error)
    }
}

/// Writes the header and the numbers of all tensors.
pub(crate) fn write_weights(
    gguf: &mut Gguf,
    tensors: &[PlannedTensor],
    storage: Storage,
    out: &mut impl Write,
) -> Result<(), WriteError> {
    let header = header(tensors, storage);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for tensor in tensors {
        write_tensor(gguf, tensor, storage, out)?;
    }
    Ok(())
}

/// The header: names, shapes and places; padded so that numbers begin at a multiple of 8 bytes.
fn header(tensors: &[PlannedTensor], storage: Storage) -> Vec<u8> {
    let mut object = Map::new();
    // `transformers` refuses files that do not name a framework.
    object.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut start = 0;
    for tensor in tensors {
        let n_numbers: u64 = tensor
            .source
            .shape
            .iter()
            .map(|size| *size as u64)
            .product();
        let end = start + n_numbers * storage.width();
        let entry = json!({
            "dtype": storage.name(),
            "shape": tensor.source.shape,
            "data_offsets": [start, end],
        });
        object.insert(tensor.name.clone(), entry);
        start = end;
    }
    let mut header = Json::Object(object).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

fn write_tensor(
    gguf: &mut Gguf,
    tensor: &PlannedTensor,
    storage: Storage,
    out: &mut impl Write,
) -> Result<(), WriteError> {
    let PlannedTensor {
        source, row_order, ..
    } = tensor;
    let row_length = source.row_length();
    let n_rows: usize = source.shape[..source.shape.len() - 1].iter().product();
    let rows_at_once = match row_order {
        RowOrder::Same => (NUMBERS_AT_ONCE / row_length).max(1),
        RowOrder::HalvesTakeTurns { head_dim } => *head_dim,
    };
    let (mut stored, mut numbers, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let mut first_row = 0;
    while first_row < n_rows {
        let n_now = rows_at_once.min(n_rows - first_row);
        gguf.read_rows(source, first_row, n_now, &mut stored)?;
        numbers.resize(n_now * row_length, 0.0);
        dequantise(source.tensor_type, &stored, &mut numbers);
        bytes.clear();
        for row_idx in 0..n_now {
            let source_row = match row_order {
                RowOrder::Same => row_idx,
                RowOrder::HalvesTakeTurns { head_dim } => source_row(row_idx, *head_dim),
            };
            let row = &numbers[source_row * row_length..][..row_length];
            storage.append(row, &mut bytes);
        }
        out.write_all(&bytes)?;
        first_row += n_now;
    }
    Ok(())
}

/// Where a head's row stands in a file in which the halves take turns: row `i` of the first half at `2i`,
/// row `i` of the second at `2i + 1`.
fn source_row(row_idx: usize, head_dim: usize) -> usize {
    let half = head_dim / 2;
    row_idx % half * 2 + row_idx / half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_to_even() {
        // torch.tensor(x).bfloat16().view(torch.int16): 1.00390625 and 1.01171875 lie halfway.
        for (x, expected) in [
            (1.003_906_3, 0x3f80),
            (1.011_718_8, 0x3f82),
            (1.003_906_4, 0x3f81),
            (-0.0, 0x8000),
            (f32::MAX, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
        ] {
            assert_eq!(bf16(x), expected, "{x}");
        }
        assert!(f32::from_bits(u32::from(bf16(f32::from_bits(0x7f80_0001))) << 16).is_nan());
    }

    #[test]
    fn rows_of_a_head_come_back() {
        // llama.cpp: w.reshape(n_head, 2, 3, cols).swapaxes(1, 2) gives rows 0 3 1 4 2 5 of a head of 6.
        let in_file = [0, 3, 1, 4, 2, 5];
        let back: Vec<i32> = (0..6)
            .map(|row_idx| in_file[source_row(row_idx, 6)])
            .collect();
        assert_eq!(back, [0, 1, 2, 3, 4, 5]);
    }
}

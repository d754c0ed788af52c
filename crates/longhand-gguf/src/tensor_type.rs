//! How the numbers of a tensor are stored: the block types of GGUF.

/// The storage of a tensor's numbers, block by block along its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    /// 32-bit floats.
    F32,
    /// 16-bit IEEE floats.
    F16,
    /// The upper half of 32-bit floats.
    Bf16,
    /// 8 bits and a scale per 32 numbers.
    Q8_0,
    /// 4 bits and a scale per 32 numbers.
    Q4_0,
    /// 4 bits, a scale and a minimum per 32 numbers.
    Q4_1,
    /// 5 bits and a scale per 32 numbers.
    Q5_0,
    /// 5 bits, a scale and a minimum per 32 numbers.
    Q5_1,
    /// 4 bits; scales and minima of 6 bits per 32 of 256 numbers.
    Q4K,
    /// 5 bits; scales and minima of 6 bits per 32 of 256 numbers.
    Q5K,
    /// 6 bits; scales of 8 bits per 16 of 256 numbers.
    Q6K,
}

/// The types that we read: (number in the file, name in llama.cpp, numbers a block, bytes a block).
const READ: &[(TensorType, u32, &str, usize, usize)] = &[
    (TensorType::F32, 0, "F32", 1, 4),
    (TensorType::F16, 1, "F16", 1, 2),
    (TensorType::Q4_0, 2, "Q4_0", 32, 18),
    (TensorType::Q4_1, 3, "Q4_1", 32, 20),
    (TensorType::Q5_0, 6, "Q5_0", 32, 22),
    (TensorType::Q5_1, 7, "Q5_1", 32, 24),
    (TensorType::Q8_0, 8, "Q8_0", 32, 34),
    (TensorType::Q4K, 12, "Q4_K", 256, 144),
    (TensorType::Q5K, 13, "Q5_K", 256, 176),
    (TensorType::Q6K, 14, "Q6_K", 256, 210),
    (TensorType::Bf16, 30, "BF16", 1, 2),
];

/// Types that others write and we do not read, so that an error can say their names.
const UNREAD: &[(u32, &str)] = &[
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
];

impl TensorType {
    /// The type that a file calls `number`; otherwise the number, with its name where it has one.
    pub(crate) fn from_number(number: u32) -> Result<Self, String> {
        if let Some(row) = READ.iter().find(|row| row.1 == number) {
            return Ok(row.0);
        }
        let name = UNREAD.iter().find(|row| row.0 == number);
        Err(name.map_or_else(|| format!("{number}"), |row| row.1.to_owned()))
    }

    /// The names of all types that are read, as an error lists them.
    pub(crate) fn names() -> String {
        let names: Vec<&str> = READ.iter().map(|row| row.2).collect();
        names.join(", ")
    }

    /// The name in llama.cpp.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Numbers that one block holds.
    pub fn block_size(self) -> usize {
        self.row().3
    }

    /// Bytes that one block takes.
    pub fn block_bytes(self) -> usize {
        self.row().4
    }

    fn row(self) -> &'static (Self, u32, &'static str, usize, usize) {
        let row = READ.iter().find(|row| row.0 == self);
        row.expect("the table has a row for every type")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_or_named() {
        assert_eq!(TensorType::from_number(14), Ok(TensorType::Q6K));
        assert_eq!(TensorType::from_number(10), Err("Q2_K".to_owned()));
        assert_eq!(
            TensorType::from_number(4_000_000),
            Err("4000000".to_owned())
        );
        assert!(
            READ.iter()
                .all(|row| UNREAD.iter().all(|other| other.0 != row.1))
        );
    }
}

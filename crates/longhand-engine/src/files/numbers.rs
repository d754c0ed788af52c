//! Numbers as they stand in files, and the way between them and f32.

/// What the numbers of a stored tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    /// 32-bit floats.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper halves of 32-bit floats.
    Bf16,
    /// One that is not read, by its name in files.
    Other(&'static str),
}

/// The types of the format that are not read, with their bits per number.
const OTHERS: [(&str, u64); 18] = [
    ("BOOL", 8),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("I32", 32),
    ("U32", 32),
    ("I64", 64),
    ("U64", 64),
    ("F64", 64),
];

impl NumberType {
    /// The type that a file calls so, with its bits per number.
    pub(crate) fn parse(name: &str) -> Option<(Self, u64)> {
        match name {
            "F32" => Some((Self::F32, 32)),
            "F16" => Some((Self::F16, 16)),
            "BF16" => Some((Self::Bf16, 16)),
            // Two floats a number.
            "C64" => Some((Self::Other("C64"), 64)),
            _ => {
                let other = OTHERS.iter().find(|(known, _)| *known == name);
                other.map(|(known, n_bits)| (Self::Other(known), *n_bits))
            }
        }
    }

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Other(name) => name,
        }
    }

    /// Bytes of one number, where the type is read.
    pub(crate) fn width(self) -> Option<usize> {
        match self {
            Self::F32 => Some(4),
            Self::F16 | Self::Bf16 => Some(2),
            Self::Other(_) => None,
        }
    }
}

/// Appends the numbers that stand in `bytes`; nothing for a type that is not read.
pub(crate) fn extend_from_bytes(number_type: NumberType, bytes: &[u8], values: &mut Vec<f32>) {
    let halves = || bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b));
    match number_type {
        NumberType::F32 => {
            values.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)));
        }
        NumberType::F16 => values.extend(halves().map(f16_to_f32)),
        NumberType::Bf16 => {
            values.extend(halves().map(|half| f32::from_bits(u32::from(half) << 16)));
        }
        NumberType::Other(_) => {}
    }
}

fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10 & 0x1f);
    let fraction = u32::from(half & 0x3ff);
    let magnitude = match exponent {
        // A multiple of 2^-24, which f32 has as a normal number.
        0 => return f32::from_bits((fraction as f32 * 2.0_f32.powi(-24)).to_bits() | sign),
        0x1f => 0x7f80_0000 | fraction << 13,
        // The biases differ by 127 - 15.
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// How numbers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// 32-bit floats: read back, they are the same to the bit.
    #[default]
    F32,
    /// Their upper halves, rounded to nearest, ties to even.
    Bf16,
}

impl Numbers {
    /// The name that PyTorch and `config.json` use.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }

    pub(crate) fn number_type(self) -> NumberType {
        match self {
            Self::F32 => NumberType::F32,
            Self::Bf16 => NumberType::Bf16,
        }
    }

    /// Bytes of one number.
    pub(crate) fn width(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    pub(crate) fn extend_bytes(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(values.iter().flat_map(|x| x.to_le_bytes())),
            Self::Bf16 => bytes.extend(values.iter().flat_map(|x| f32_to_bf16(*x).to_le_bytes())),
        }
    }
}

fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        // Its payload may be in the half that is dropped: a quiet NaN stays one.
        return (bits >> 16) as u16 | 0x40;
    }
    let is_odd = bits >> 16 & 1;
    ((bits + 0x7fff + is_odd) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(number_type: NumberType, bytes: &[u8]) -> Vec<f32> {
        let mut values = Vec::new();
        extend_from_bytes(number_type, bytes, &mut values);
        values
    }

    #[test]
    fn every_half_is_what_the_standard_says() {
        for bits in 0..=u16::MAX {
            let found = read(NumberType::F16, &bits.to_le_bytes())[0];
            let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
            let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
            let expected = match exponent {
                0 => sign * fraction / 1024.0 * 2.0_f64.powi(-14),
                31 if fraction == 0.0 => sign * f64::INFINITY,
                31 => f64::NAN,
                _ => sign * (1.0 + fraction / 1024.0) * 2.0_f64.powi(exponent - 15),
            };
            if expected.is_nan() {
                assert!(found.is_nan(), "{bits:#x}");
            } else {
                assert_eq!(f64::from(found).to_bits(), expected.to_bits(), "{bits:#x}");
            }
        }
    }

    #[test]
    fn bf16_rounds_to_the_nearest_and_ties_to_even() {
        // torch.tensor(x).bfloat16().view(torch.int16): 1.00390625 and 1.01171875 lie halfway.
        for (x, expected) in [
            (1.003_906_3, 0x3f80),
            (1.011_718_8, 0x3f82),
            (1.003_906_4, 0x3f81),
            (-1.011_718_8, 0xbf82),
            (-0.0, 0x8000),
            (f32::MAX, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
        ] {
            let mut bytes = Vec::new();
            Numbers::Bf16.extend_bytes(&[x], &mut bytes);
            assert_eq!(bytes, u16::to_le_bytes(expected), "{x}");
        }
        assert!(f32::from_bits(u32::from(f32_to_bf16(f32::from_bits(0x7f80_0001))) << 16).is_nan());
        assert!(f32::from_bits(u32::from(f32_to_bf16(f32::from_bits(u32::MAX))) << 16).is_nan());
    }

    #[test]
    fn what_bf16_holds_comes_back() {
        for half in 0..=u16::MAX {
            let value = read(NumberType::Bf16, &half.to_le_bytes())[0];
            if !value.is_nan() {
                assert_eq!(f32_to_bf16(value), half);
            }
        }
    }

    #[test]
    fn types_that_are_not_read_have_a_name_and_give_nothing() {
        let (number_type, n_bits) = NumberType::parse("I64").unwrap();
        assert_eq!((number_type.name(), n_bits), ("I64", 64));
        assert_eq!(number_type.width(), None);
        assert!(read(number_type, &[1; 16]).is_empty());
        assert_eq!(NumberType::parse("f32"), None);
    }
}

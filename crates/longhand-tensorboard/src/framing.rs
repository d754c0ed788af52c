//! The frame of a record in an event file: its length and its bytes, each followed by a checksum.
//!
//! `length: u64, masked(length): u32, data: [u8; length], masked(data): u32`, all little-endian, where
//! `masked(x) = rotate_right(crc32c(x), 15) + 0xa282ead8`: a file that holds checksums of its own parts
//! would otherwise have a checksum that says nothing.

use crc::{CRC_32_ISCSI, Crc};

/// CRC-32C: the Castagnoli polynomial.
static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// `data` in its frame: 16 bytes more than it had.
pub(crate) fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked_crc32c(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc32c(data).to_le_bytes());
    record
}

fn masked_crc32c(bytes: &[u8]) -> u32 {
    CRC32C
        .checksum(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// The data of the records in `bytes`, and how many bytes at the end are no whole record; says which
/// checksum is wrong, as a reader does.
#[cfg(test)]
pub(crate) fn unframed(mut bytes: &[u8]) -> Result<(Vec<&[u8]>, usize), &'static str> {
    let mut records = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<8>() {
        let Some((crc, rest)) = rest.split_first_chunk::<4>() else {
            break;
        };
        if u32::from_le_bytes(*crc) != masked_crc32c(length) {
            return Err("length");
        }
        let Some((data, rest)) = rest.split_at_checked(u64::from_le_bytes(*length) as usize) else {
            break;
        };
        let Some((crc, rest)) = rest.split_first_chunk::<4>() else {
            break;
        };
        if u32::from_le_bytes(*crc) != masked_crc32c(data) {
            return Err("data");
        }
        records.push(data);
        bytes = rest;
    }
    Ok((records, bytes.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard_and_of_tensorboard() {
        // The check value of CRC-32C, and the first example of RFC 3720, B.4.
        assert_eq!(CRC32C.checksum(b"123456789"), 0xe306_9283);
        assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
        // from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c  # 2.21.0
        // hex(masked_crc32c(b"123456789"))
        assert_eq!(masked_crc32c(b"123456789"), 0xc78a_b0e5);
    }

    proptest! {
        #[test]
        fn a_record_comes_back_and_a_flipped_bit_is_seen(
            data in prop::collection::vec(any::<u8>(), 0..64),
            position in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let record = framed(&data);
            prop_assert_eq!(unframed(&record), Ok((vec![&data[..]], 0)));
            let mut flipped = record;
            let position = position.index(flipped.len());
            flipped[position] ^= 1_u8 << bit;
            let part = if position < 12 { "length" } else { "data" };
            prop_assert_eq!(unframed(&flipped), Err(part));
        }

        #[test]
        fn a_record_that_is_cut_off_is_left_over(
            data in prop::collection::vec(any::<u8>(), 0..64),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut file = framed(b"whole");
            let whole = file.len();
            let second = framed(&data);
            let cut = cut.index(second.len());
            file.extend(&second[..cut]);
            prop_assert_eq!(unframed(&file), Ok((vec![&b"whole"[..]], cut)));
            prop_assert_eq!(file.len(), whole + cut);
        }
    }
}

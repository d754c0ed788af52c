//! Numbers out of blocks: the layouts that GGUF's quantised types have in llama.cpp.
//!
//! Every product and sum is rounded once in 32 bits and in llama.cpp's order, so that the numbers are its
//! numbers to the bit. `d` is a block's scale, `m` its minimum, `q` the stored integer:
//! `x = d q`, or `x = d q + m`, or within the 256 of the `K` types `x = (d s) q - (m t)` with the small
//! scales `s` and `t` of a sub-block.

use crate::TensorType;

/// Writes the numbers of whole blocks into `numbers`.
///
/// # Panics
/// When `bytes` are not the blocks of exactly `numbers.len()` numbers.
pub fn dequantise(tensor_type: TensorType, bytes: &[u8], numbers: &mut [f32]) {
    let (size, n_bytes) = (tensor_type.block_size(), tensor_type.block_bytes());
    assert!(
        numbers.len().is_multiple_of(size) && numbers.len() / size * n_bytes == bytes.len(),
        "{} bytes for {} numbers of {}",
        bytes.len(),
        numbers.len(),
        tensor_type.name()
    );
    let block = match tensor_type {
        TensorType::F32 => f32_block,
        TensorType::F16 => f16_block,
        TensorType::Bf16 => bf16_block,
        TensorType::Q8_0 => q8_0_block,
        TensorType::Q4_0 => q4_0_block,
        TensorType::Q4_1 => q4_1_block,
        TensorType::Q5_0 => q5_0_block,
        TensorType::Q5_1 => q5_1_block,
        TensorType::Q4K => q4_k_block,
        TensorType::Q5K => q5_k_block,
        TensorType::Q6K => q6_k_block,
    };
    for (bytes, numbers) in bytes
        .chunks_exact(n_bytes)
        .zip(numbers.chunks_exact_mut(size))
    {
        block(bytes, numbers);
    }
}

/// The value of a 16-bit float.
fn half(bytes: &[u8]) -> f32 {
    let bits = u32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    let sign = (bits & 0x8000) << 16;
    let (exponent, fraction) = (bits >> 10 & 0x1f, bits & 0x3ff);
    let magnitude = match exponent {
        // Nought and the numbers below 2^-14: exact multiples of 2^-24.
        0 => (fraction as f32 / 16_777_216.0).to_bits(),
        31 => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

fn f32_block(bytes: &[u8], numbers: &mut [f32]) {
    numbers[0] = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
}

fn f16_block(bytes: &[u8], numbers: &mut [f32]) {
    numbers[0] = half(bytes);
}

fn bf16_block(bytes: &[u8], numbers: &mut [f32]) {
    numbers[0] = f32::from_le_bytes([0, 0, bytes[0], bytes[1]]);
}

fn q8_0_block(bytes: &[u8], numbers: &mut [f32]) {
    let d = half(bytes);
    for (number, q) in numbers.iter_mut().zip(&bytes[2..]) {
        *number = d * f32::from(q.cast_signed());
    }
}

/// The 4-bit integers of 32 numbers: the lower halves of 16 bytes, then the upper ones.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let lower = bytes.iter().map(|byte| byte & 15);
    lower.chain(bytes.iter().map(|byte| byte >> 4))
}

/// The fifth bits of 32 numbers, in their place.
fn fifth_bits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    (0..32).map(|idx| (bytes[idx / 8] >> (idx % 8) & 1) << 4)
}

fn q4_0_block(bytes: &[u8], numbers: &mut [f32]) {
    let d = half(bytes);
    for (number, q) in numbers.iter_mut().zip(nibbles(&bytes[2..])) {
        *number = d * (f32::from(q) - 8.0);
    }
}

fn q4_1_block(bytes: &[u8], numbers: &mut [f32]) {
    let (d, m) = (half(bytes), half(&bytes[2..]));
    for (number, q) in numbers.iter_mut().zip(nibbles(&bytes[4..])) {
        *number = d * f32::from(q) + m;
    }
}

fn q5_0_block(bytes: &[u8], numbers: &mut [f32]) {
    let d = half(bytes);
    let integers = nibbles(&bytes[6..]).zip(fifth_bits(&bytes[2..6]));
    for (number, (low, high)) in numbers.iter_mut().zip(integers) {
        *number = d * (f32::from(low | high) - 16.0);
    }
}

fn q5_1_block(bytes: &[u8], numbers: &mut [f32]) {
    let (d, m) = (half(bytes), half(&bytes[2..]));
    let integers = nibbles(&bytes[8..]).zip(fifth_bits(&bytes[4..8]));
    for (number, (low, high)) in numbers.iter_mut().zip(integers) {
        *number = d * f32::from(low | high) + m;
    }
}

/// The scale and the minimum, 6 bits each, of one of eight sub-blocks, out of 12 bytes: the first four
/// stand whole in bytes 0-3 and 4-7, the others share bytes 8-11 and the upper bits of the first eight.
fn small_scales(packed: &[u8], idx: usize) -> (f32, f32) {
    let (scale, minimum) = if idx < 4 {
        (packed[idx] & 63, packed[idx + 4] & 63)
    } else {
        let shared = packed[idx + 4];
        (
            shared & 15 | packed[idx - 4] >> 6 << 4,
            shared >> 4 | packed[idx] >> 6 << 4,
        )
    };
    (f32::from(scale), f32::from(minimum))
}

fn q4_k_block(bytes: &[u8], numbers: &mut [f32]) {
    let (d, m) = (half(bytes), half(&bytes[2..]));
    let (scales, quarters) = (&bytes[4..16], bytes[16..].chunks_exact(32));
    // 32 bytes hold two sub-blocks: one in the lower halves, one in the upper ones.
    for (pair, (low, numbers)) in quarters.zip(numbers.chunks_exact_mut(64)).enumerate() {
        for (half_idx, numbers) in numbers.chunks_exact_mut(32).enumerate() {
            let (scale, minimum) = small_scales(scales, 2 * pair + half_idx);
            let (d, m) = (d * scale, m * minimum);
            for (number, byte) in numbers.iter_mut().zip(low) {
                *number = d * f32::from(byte >> (4 * half_idx) & 15) - m;
            }
        }
    }
}

fn q5_k_block(bytes: &[u8], numbers: &mut [f32]) {
    let (d, m) = (half(bytes), half(&bytes[2..]));
    let (scales, high, low) = (&bytes[4..16], &bytes[16..48], &bytes[48..]);
    for (sub, numbers) in numbers.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = small_scales(scales, sub);
        let (d, m) = (d * scale, m * minimum);
        let low = &low[sub / 2 * 32..];
        for (number, (low, high)) in numbers.iter_mut().zip(low.iter().zip(high)) {
            let q = low >> (4 * (sub % 2)) & 15 | (high >> sub & 1) << 4;
            *number = d * f32::from(q) - m;
        }
    }
}

fn q6_k_block(bytes: &[u8], numbers: &mut [f32]) {
    let (low, high, scales) = (&bytes[..128], &bytes[128..192], &bytes[192..208]);
    let d = half(&bytes[208..]);
    for (idx, number) in numbers.iter_mut().enumerate() {
        // 128 numbers take 64 bytes of lower and 32 of upper bits, as four columns of 32.
        let (upper_half, column, row) = (idx / 128, idx / 32 % 4, idx % 32);
        let low = low[64 * upper_half + 32 * (column % 2) + row] >> (4 * (column / 2)) & 15;
        let high = high[32 * upper_half + row] >> (2 * column) & 3;
        let scale = f32::from(scales[idx / 16].cast_signed());
        *number = d * scale * (f32::from(low | high << 4) - 32.0);
    }
}

//! What products and packing need of vectors beside arithmetic: bf16 pairs, bytes, transposes.

use crate::simd::{Portable, Simd, bf16_to_f32, f32_to_bf16};

/// Conversions of one vector width.
///
/// # Safety
/// For all methods: as for [`Simd`].
pub(crate) trait Mixed: Simd {
    /// `LANES` bytes, widened.
    unsafe fn load_i8(from: *const i8) -> Self::V;
    /// Whole numbers from -127 to 127, as bytes.
    unsafe fn store_i8(to: *mut i8, v: Self::V);
    /// The first numbers of `LANES` pairs of bf16, widened.
    unsafe fn load_evens(from: *const u16) -> Self::V;
    /// The second numbers of `LANES` pairs of bf16, widened.
    unsafe fn load_odds(from: *const u16) -> Self::V;
    /// `LANES` pairs of bf16, rounded to the nearest, ties to even.
    unsafe fn store_pairs(to: *mut u16, evens: Self::V, odds: Self::V);
    /// Writes eight rows of eight numbers, `stride` apart, as columns, `to_stride` apart.
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, to_stride: usize);
}

// SAFETY (all blocks): the pointers are valid by the trait's contract.
impl Mixed for Portable {
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> [f32; 8] {
        // SAFETY: valid for eight elements by contract.
        unsafe { from.cast::<[i8; 8]>().read_unaligned() }.map(f32::from)
    }

    #[inline(always)]
    unsafe fn store_i8(to: *mut i8, v: [f32; 8]) {
        // SAFETY: valid for eight elements by contract.
        unsafe { to.cast::<[i8; 8]>().write_unaligned(v.map(|x| x as i8)) }
    }

    #[inline(always)]
    unsafe fn load_evens(from: *const u16) -> [f32; 8] {
        // SAFETY: valid for eight pairs by contract.
        unsafe { from.cast::<[[u16; 2]; 8]>().read_unaligned() }.map(|pair| bf16_to_f32(pair[0]))
    }

    #[inline(always)]
    unsafe fn load_odds(from: *const u16) -> [f32; 8] {
        // SAFETY: valid for eight pairs by contract.
        unsafe { from.cast::<[[u16; 2]; 8]>().read_unaligned() }.map(|pair| bf16_to_f32(pair[1]))
    }

    #[inline(always)]
    unsafe fn store_pairs(to: *mut u16, evens: [f32; 8], odds: [f32; 8]) {
        for (i, (even, odd)) in evens.into_iter().zip(odds).enumerate() {
            let pair = [f32_to_bf16(even), f32_to_bf16(odd)];
            // SAFETY: valid for eight pairs by contract.
            unsafe { to.cast::<[u16; 2]>().add(i).write_unaligned(pair) }
        }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..8 {
            for j in 0..8 {
                // SAFETY: eight rows of eight on both sides by contract.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * stride + j) }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Mixed;
    use crate::simd::{Avx2, Avx512};

    // SAFETY (all blocks): instructions and pointers are the caller's promise, by the trait's contract.
    #[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
    impl Mixed for Avx512 {
        #[inline(always)]
        unsafe fn load_i8(from: *const i8) -> __m512 {
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
        }

        #[inline(always)]
        unsafe fn store_i8(to: *mut i8, v: __m512) {
            unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v))) }
        }

        #[inline(always)]
        unsafe fn load_evens(from: *const u16) -> __m512 {
            unsafe {
                let pairs = _mm512_loadu_si512(from.cast());
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs))
            }
        }

        #[inline(always)]
        unsafe fn load_odds(from: *const u16) -> __m512 {
            unsafe {
                let pairs = _mm512_loadu_si512(from.cast());
                _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(-0x1_0000)))
            }
        }

        #[inline(always)]
        unsafe fn store_pairs(to: *mut u16, evens: __m512, odds: __m512) {
            #[inline(always)]
            unsafe fn round(v: __m512) -> __m512i {
                unsafe {
                    let bits = _mm512_castps_si512(v);
                    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                    _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)))
                }
            }
            unsafe {
                let evens = _mm512_srli_epi32::<16>(round(evens));
                let odds = _mm512_and_si512(round(odds), _mm512_set1_epi32(-0x1_0000));
                _mm512_storeu_si512(to.cast(), _mm512_or_si512(evens, odds));
            }
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
            unsafe { Avx2::transpose(from, stride, to, to_stride) }
        }
    }

    // SAFETY (all blocks): instructions and pointers are the caller's promise, by the trait's contract.
    #[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
    impl Mixed for Avx2 {
        #[inline(always)]
        unsafe fn load_i8(from: *const i8) -> __m256 {
            unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))) }
        }

        #[inline(always)]
        unsafe fn store_i8(to: *mut i8, v: __m256) {
            unsafe {
                let whole = _mm256_cvtps_epi32(v);
                let low = _mm256_castsi256_si128(whole);
                let words = _mm_packs_epi32(low, _mm256_extracti128_si256::<1>(whole));
                _mm_storel_epi64(to.cast(), _mm_packs_epi16(words, words));
            }
        }

        #[inline(always)]
        unsafe fn load_evens(from: *const u16) -> __m256 {
            unsafe {
                let pairs = _mm256_loadu_si256(from.cast());
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs))
            }
        }

        #[inline(always)]
        unsafe fn load_odds(from: *const u16) -> __m256 {
            unsafe {
                let pairs = _mm256_loadu_si256(from.cast());
                _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-0x1_0000)))
            }
        }

        #[inline(always)]
        unsafe fn store_pairs(to: *mut u16, evens: __m256, odds: __m256) {
            #[inline(always)]
            unsafe fn round(v: __m256) -> __m256i {
                unsafe {
                    let bits = _mm256_castps_si256(v);
                    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                    _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)))
                }
            }
            unsafe {
                let evens = _mm256_srli_epi32::<16>(round(evens));
                let odds = _mm256_and_si256(round(odds), _mm256_set1_epi32(-0x1_0000));
                _mm256_storeu_si256(to.cast(), _mm256_or_si256(evens, odds));
            }
        }

        #[inline(always)]
        unsafe fn transpose(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
            unsafe {
                // Rows i and i + 4 share a register for each half, which saves the exchange of halves.
                let halves = |i: usize, right: usize| {
                    let upper = _mm_loadu_ps(from.add((i + 4) * stride + right));
                    let lower = _mm_loadu_ps(from.add(i * stride + right));
                    _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(lower), upper)
                };
                for right in [0, 4] {
                    let rows = [
                        halves(0, right),
                        halves(1, right),
                        halves(2, right),
                        halves(3, right),
                    ];
                    let ab = _mm256_unpacklo_ps(rows[0], rows[1]);
                    let cd = _mm256_unpacklo_ps(rows[2], rows[3]);
                    let ab_high = _mm256_unpackhi_ps(rows[0], rows[1]);
                    let cd_high = _mm256_unpackhi_ps(rows[2], rows[3]);
                    let columns = [
                        _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
                        _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
                        _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high),
                        _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high),
                    ];
                    for (j, column) in columns.into_iter().enumerate() {
                        _mm256_storeu_ps(to.add((right + j) * to_stride), column);
                    }
                }
            }
        }
    }
}

/// Writes `rows` rows of `width` numbers, `stride` apart, as columns, `to_stride` apart.
///
/// # Safety
/// The instructions of `S`; room on both sides.
#[inline(always)]
pub(crate) unsafe fn transpose<S: Mixed>(
    from: *const f32,
    stride: usize,
    [rows, width]: [usize; 2],
    to: *mut f32,
    to_stride: usize,
) {
    let (whole_rows, whole_width) = (rows & !7, width & !7);
    // SAFETY: `i < rows` and `j < width` throughout.
    unsafe {
        // Along the rows first: many rows whose strides are near a power of two would drive each other's
        // lines out of the cache before these are used up.
        for i in (0..whole_rows).step_by(8) {
            for j in (0..whole_width).step_by(8) {
                S::transpose(
                    from.add(i * stride + j),
                    stride,
                    to.add(j * to_stride + i),
                    to_stride,
                );
            }
        }
        for i in 0..rows {
            let done = if i < whole_rows { whole_width } else { 0 };
            for j in done..width {
                *to.add(j * to_stride + i) = *from.add(i * stride + j);
            }
        }
    }
}

//! Vectors of f32 in three widths, so that a loop is written once and compiled for each.
//!
//! A kernel is a generic function over [`Simd`], marked `#[inline(always)]`; [`per_isa!`] makes from it a
//! function that takes an [`Isa`](crate::Isa) and runs the widest form that it allows.

/// Vectors of one width. Every method needs the instructions of its implementor to be there.
///
/// # Safety
/// For all methods: the machine has the instructions; pointers are valid for `LANES` elements (or for
/// `n`, where a method takes it), without any alignment.
pub(crate) trait Simd: Copy {
    /// `LANES` numbers.
    type V: Copy;
    const LANES: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    /// The first `n <= LANES` elements; zeros behind them.
    unsafe fn load_first(from: *const f32, n: usize) -> Self::V;
    unsafe fn store_first(to: *mut f32, n: usize, v: Self::V);
    /// `LANES` bf16 numbers, widened.
    unsafe fn load_bf16(from: *const u16) -> Self::V;
    /// Rounded to the nearest bf16, ties to even. Not for NaN.
    unsafe fn store_bf16(to: *mut u16, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The second where either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The second where either is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// To the nearest whole number.
    unsafe fn round(a: Self::V) -> Self::V;
    /// `a * 2^n` for whole `n` in `-126..=127`.
    unsafe fn scale_by_power(a: Self::V, n: Self::V) -> Self::V;
    /// Sum of the lanes, in an order that is always the same.
    unsafe fn sum(a: Self::V) -> f32;
    /// Largest of the lanes.
    unsafe fn largest(a: Self::V) -> f32;

    /// `e^x` to about 2 units in the last place; 0 below -87, at 88 and above `e^88`, NaN for NaN.
    #[inline(always)]
    unsafe fn exp(x: Self::V) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe {
            // The bounds stand first: of a bound and a NaN, the second is taken.
            let x = Self::min(Self::splat(88.0), x);
            let clamped = Self::max(Self::splat(-87.0), x);
            // x = n ln 2 + r with |r| <= ln 2 / 2, ln 2 in two parts.
            let n = Self::round(Self::mul(clamped, Self::splat(std::f32::consts::LOG2_E)));
            let r = Self::fma(n, Self::splat(-0.693_359_4), clamped);
            let r = Self::fma(n, Self::splat(2.121_944_4e-4), r);
            // Taylor's polynomial to the seventh power: below 2^-26 relative on this range.
            let mut p = Self::splat(1.0 / 5040.0);
            for c in [
                1.0 / 720.0,
                1.0 / 120.0,
                1.0 / 24.0,
                1.0 / 6.0,
                0.5,
                1.0,
                1.0,
            ] {
                p = Self::fma(p, r, Self::splat(c));
            }
            let value = Self::scale_by_power(p, n);
            // At the lower clamp the result is 1.6e-38, as good as the zero that is promised.
            Self::zero_below(value, x, -87.0)
        }
    }

    /// `value` where `bound <= x`, else 0.
    unsafe fn zero_below(value: Self::V, x: Self::V, bound: f32) -> Self::V;
}

/// Plain Rust, eight numbers at a time.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

macro_rules! lanes {
    (|$i:ident| $value:expr) => {{
        let mut v = [0.0_f32; 8];
        let mut $i = 0;
        while $i < 8 {
            v[$i] = $value;
            $i += 1;
        }
        v
    }};
}

// SAFETY (all blocks): the pointers are valid by the trait's contract.
impl Simd for Portable {
    type V = [f32; 8];
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 8] {
        [x; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [f32; 8] {
        // SAFETY: valid for eight elements by contract.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [f32; 8]) {
        // SAFETY: valid for eight elements by contract.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> [f32; 8] {
        lanes!(|i| if i < n {
            // SAFETY: valid for `n` elements by contract.
            unsafe { from.add(i).read_unaligned() }
        } else {
            0.0
        })
    }

    #[inline(always)]
    unsafe fn store_first(to: *mut f32, n: usize, v: [f32; 8]) {
        for (i, x) in v.into_iter().enumerate().take(n) {
            // SAFETY: valid for `n` elements by contract.
            unsafe { to.add(i).write_unaligned(x) }
        }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> [f32; 8] {
        // SAFETY: valid for eight elements by contract.
        lanes!(|i| bf16_to_f32(unsafe { from.add(i).read_unaligned() }))
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, v: [f32; 8]) {
        for (i, x) in v.into_iter().enumerate() {
            // SAFETY: valid for eight elements by contract.
            unsafe { to.add(i).write_unaligned(f32_to_bf16(x)) }
        }
    }

    #[inline(always)]
    unsafe fn add(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanes!(|i| a[i] + b[i])
    }

    #[inline(always)]
    unsafe fn sub(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanes!(|i| a[i] - b[i])
    }

    #[inline(always)]
    unsafe fn mul(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanes!(|i| a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn div(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanes!(|i| a[i] / b[i])
    }

    #[inline(always)]
    unsafe fn fma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        // Two roundings: a fused one would be a library call without the instruction.
        lanes!(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    unsafe fn max(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanes!(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    unsafe fn min(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanes!(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    unsafe fn sqrt(a: [f32; 8]) -> [f32; 8] {
        lanes!(|i| a[i].sqrt())
    }

    #[inline(always)]
    unsafe fn round(a: [f32; 8]) -> [f32; 8] {
        lanes!(|i| a[i].round_ties_even())
    }

    #[inline(always)]
    unsafe fn scale_by_power(a: [f32; 8], n: [f32; 8]) -> [f32; 8] {
        lanes!(|i| a[i] * f32::from_bits(((n[i] as i32 + 127) as u32) << 23))
    }

    #[inline(always)]
    unsafe fn sum(a: [f32; 8]) -> f32 {
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }

    #[inline(always)]
    unsafe fn largest(a: [f32; 8]) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    unsafe fn zero_below(value: [f32; 8], x: [f32; 8], bound: f32) -> [f32; 8] {
        lanes!(|i| if x[i] < bound { 0.0 } else { value[i] })
    }
}

/// A bf16 number, widened exactly.
#[inline(always)]
pub(crate) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest bf16 number, ties to even; a NaN stays one.
#[inline(always)]
pub(crate) fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    let round = 0x7fff + ((bits >> 16) & 1);
    (bits.wrapping_add(round) >> 16) as u16
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Simd;

    /// Eight numbers at a time.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2;

    /// Sixteen numbers at a time.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512;

    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    #[inline(always)]
    fn mask16(n: usize) -> __mmask16 {
        ((1_u32 << n) - 1) as __mmask16
    }

    // SAFETY (all blocks): instructions and pointers are the caller's promise, by the trait's contract.
    #[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
    impl Simd for Avx512 {
        type V = __m512;
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m512) {
            unsafe { _mm512_storeu_ps(to, v) }
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, n: usize) -> __m512 {
            unsafe { _mm512_maskz_loadu_ps(mask16(n), from) }
        }

        #[inline(always)]
        unsafe fn store_first(to: *mut f32, n: usize, v: __m512) {
            unsafe { _mm512_mask_storeu_ps(to, mask16(n), v) }
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> __m512 {
            unsafe {
                let half = _mm256_loadu_si256(from.cast());
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)))
            }
        }

        #[inline(always)]
        unsafe fn store_bf16(to: *mut u16, v: __m512) {
            unsafe {
                let bits = _mm512_castps_si512(v);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let round = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
                let upper = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, round));
                _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(upper));
            }
        }

        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn div(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_div_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn min(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_min_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn sqrt(a: __m512) -> __m512 {
            unsafe { _mm512_sqrt_ps(a) }
        }

        #[inline(always)]
        unsafe fn round(a: __m512) -> __m512 {
            unsafe { _mm512_roundscale_ps::<NEAREST>(a) }
        }

        #[inline(always)]
        unsafe fn scale_by_power(a: __m512, n: __m512) -> __m512 {
            unsafe { _mm512_scalef_ps(a, n) }
        }

        #[inline(always)]
        unsafe fn sum(a: __m512) -> f32 {
            unsafe {
                let low = _mm512_castps512_ps256(a);
                let high = _mm512_extractf32x8_ps::<1>(a);
                Avx2::sum(_mm256_add_ps(low, high))
            }
        }

        #[inline(always)]
        unsafe fn largest(a: __m512) -> f32 {
            unsafe { _mm512_reduce_max_ps(a) }
        }

        #[inline(always)]
        unsafe fn zero_below(value: __m512, x: __m512, bound: f32) -> __m512 {
            unsafe {
                let keep = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(bound));
                _mm512_maskz_mov_ps(keep, value)
            }
        }
    }

    // SAFETY (all blocks): instructions and pointers are the caller's promise, by the trait's contract.
    #[expect(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
    impl Simd for Avx2 {
        type V = __m256;
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(x: f32) -> __m256 {
            unsafe { _mm256_set1_ps(x) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m256) {
            unsafe { _mm256_storeu_ps(to, v) }
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, n: usize) -> __m256 {
            unsafe { _mm256_maskload_ps(from, first(n)) }
        }

        #[inline(always)]
        unsafe fn store_first(to: *mut f32, n: usize, v: __m256) {
            unsafe { _mm256_maskstore_ps(to, first(n), v) }
        }

        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> __m256 {
            unsafe {
                let half = _mm_loadu_si128(from.cast());
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(half)))
            }
        }

        #[inline(always)]
        unsafe fn store_bf16(to: *mut u16, v: __m256) {
            unsafe {
                let bits = _mm256_castps_si256(v);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                let round = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
                let upper = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, round));
                // Pack works within halves: bring the two useful quarters together.
                let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(upper, upper));
                _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(packed));
            }
        }

        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_mul_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn div(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_div_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn max(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_max_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn min(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_min_ps(a, b) }
        }

        #[inline(always)]
        unsafe fn sqrt(a: __m256) -> __m256 {
            unsafe { _mm256_sqrt_ps(a) }
        }

        #[inline(always)]
        unsafe fn round(a: __m256) -> __m256 {
            unsafe { _mm256_round_ps::<NEAREST>(a) }
        }

        #[inline(always)]
        unsafe fn scale_by_power(a: __m256, n: __m256) -> __m256 {
            unsafe {
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
                let power = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent));
                _mm256_mul_ps(a, power)
            }
        }

        #[inline(always)]
        unsafe fn sum(a: __m256) -> f32 {
            unsafe {
                let low = _mm256_castps256_ps128(a);
                let high = _mm256_extractf128_ps::<1>(a);
                let four = _mm_add_ps(low, high);
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                let one = _mm_add_ss(two, _mm_shuffle_ps::<1>(two, two));
                _mm_cvtss_f32(one)
            }
        }

        #[inline(always)]
        unsafe fn largest(a: __m256) -> f32 {
            unsafe {
                let low = _mm256_castps256_ps128(a);
                let high = _mm256_extractf128_ps::<1>(a);
                let four = _mm_max_ps(low, high);
                let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
                let one = _mm_max_ss(two, _mm_shuffle_ps::<1>(two, two));
                _mm_cvtss_f32(one)
            }
        }

        #[inline(always)]
        unsafe fn zero_below(value: __m256, x: __m256, bound: f32) -> __m256 {
            unsafe {
                let keep = _mm256_cmp_ps::<_CMP_NLT_UQ>(x, _mm256_set1_ps(bound));
                _mm256_and_ps(value, keep)
            }
        }
    }

    /// All bits set in the first `n` lanes.
    #[inline(always)]
    fn first(n: usize) -> __m256i {
        const ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(n <= 8);
        // SAFETY: eight elements from `8 - n` are inside the array; the load needs no more than AVX, which
        // the callers have.
        unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(8 - n).cast()) }
    }
}

/// Makes a function that takes an `Isa` from a generic one:
/// `per_isa! { unsafe fn name(x: *const f32, n: usize) -> f32 = name_on; }` calls `name_on::<S>(x, n)`,
/// which must be `#[inline(always)] unsafe fn name_on<S: Simd>(..)`.
macro_rules! per_isa {
    ($($(#[$doc:meta])* $vis:vis unsafe fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $generic:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// The machine has the instructions; beyond that, what the generic function asks for.
        $vis unsafe fn $name(isa: $crate::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                unsafe fn on_avx512($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: the caller's promise.
                    unsafe { $generic::<$crate::simd::Avx512>($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma")]
                unsafe fn on_avx2($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: the caller's promise.
                    unsafe { $generic::<$crate::simd::Avx2>($($arg),*) }
                }
                match isa {
                    $crate::Isa::Portable => {}
                    // SAFETY: the caller's promise.
                    $crate::Isa::Avx2 => return unsafe { on_avx2($($arg),*) },
                    // SAFETY: the caller's promise.
                    _ => return unsafe { on_avx512($($arg),*) },
                }
            }
            let _ = isa;
            // SAFETY: the caller's promise.
            unsafe { $generic::<$crate::simd::Portable>($($arg),*) }
        }
    )*};
}
pub(crate) use per_isa;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[inline(always)]
    unsafe fn exp_on<S: Simd>(x: *const f32, y: *mut f32, n: usize) {
        let mut i = 0;
        while i < n {
            let left = (n - i).min(S::LANES);
            // SAFETY: `left` elements are left of both.
            unsafe { S::store_first(y.add(i), left, S::exp(S::load_first(x.add(i), left))) };
            i += S::LANES;
        }
    }

    #[inline(always)]
    unsafe fn reduce_on<S: Simd>(x: *const f32, sum: *mut f32) {
        // SAFETY: `x` has at least `LANES` elements, `sum` two.
        unsafe {
            *sum = S::sum(S::load(x));
            *sum.add(1) = S::largest(S::load(x));
        }
    }

    #[inline(always)]
    unsafe fn bf16_on<S: Simd>(x: *const f32, y: *mut u16, back: *mut f32) {
        // SAFETY: all have `LANES` elements.
        unsafe {
            S::store_bf16(y, S::load(x));
            S::store(back, S::load_bf16(y));
        }
    }

    per_isa! {
        unsafe fn exp(x: *const f32, y: *mut f32, n: usize) = exp_on;
        unsafe fn reduce(x: *const f32, sum: *mut f32) = reduce_on;
        unsafe fn bf16(x: *const f32, y: *mut u16, back: *mut f32) = bf16_on;
    }

    #[test]
    fn exp_is_within_three_units_in_the_last_place() {
        let x: Vec<f32> = (0..40_003).map(|i| -87.0 + i as f32 * 0.004_37).collect();
        for isa in Isa::available() {
            let mut y = vec![0.0; x.len()];
            // SAFETY: the instructions are there, the lengths equal.
            unsafe { exp(isa, x.as_ptr(), y.as_mut_ptr(), x.len()) };
            for (x, y) in x.iter().zip(&y) {
                let exact = f64::from(x.min(88.0)).exp();
                let error = (f64::from(*y) - exact).abs() / exact;
                assert!(error < 3.6e-7, "{isa}: exp({x}) = {y}, not {exact}");
            }
        }
    }

    #[test]
    fn exp_far_below_is_zero() {
        for isa in Isa::available() {
            let x = [-87.5, -1e4, f32::NEG_INFINITY];
            let mut y = [1.0; 3];
            // SAFETY: the instructions are there, the lengths equal.
            unsafe { exp(isa, x.as_ptr(), y.as_mut_ptr(), 3) };
            assert_eq!(y, [0.0; 3], "{isa}");
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for isa in Isa::available() {
            let x = [0.0, f32::NAN, -1.0];
            let mut y = [1.0; 3];
            // SAFETY: the instructions are there, the lengths equal.
            unsafe { exp(isa, x.as_ptr(), y.as_mut_ptr(), 3) };
            assert!(y[0] == 1.0 && y[1].is_nan() && y[2] < 1.0, "{isa}: {y:?}");
        }
    }

    #[test]
    fn lanes_are_summed_and_compared() {
        let x: Vec<f32> = (0..16).map(|i| ((i * 7) % 11) as f32).collect();
        for isa in Isa::available() {
            let lanes = if isa < Isa::Avx512 { 8 } else { 16 };
            let mut found = [0.0; 2];
            // SAFETY: the instructions are there, sixteen elements are.
            unsafe { reduce(isa, x.as_ptr(), found.as_mut_ptr()) };
            assert_eq!(found[0], x[..lanes].iter().sum::<f32>(), "{isa}");
            assert_eq!(found[1], 10.0, "{isa}");
        }
    }

    #[test]
    fn bf16_rounds_to_the_nearest_and_ties_to_even() {
        let x = [
            1.0,
            1.0 + 1.0 / 256.0, // half way between 1 and the next: down to even
            1.0 + 3.0 / 256.0, // half way, up to even
            -1.005,
            3.389_531_4e38_f32.min(f32::MAX), // rounds to infinity
            1e-40,
            0.0,
            -0.0,
            2.0,
            2.5,
            3.1,
            4.7,
            5.9,
            6.3,
            7.2,
            8.8,
        ];
        let expected: Vec<u16> = x.iter().map(|x| f32_to_bf16(*x)).collect();
        assert_eq!(expected[..4], [0x3f80, 0x3f80, 0x3f82, 0xbf81]);
        for isa in Isa::available() {
            let lanes = if isa < Isa::Avx512 { 8 } else { 16 };
            let (mut y, mut back) = ([0_u16; 16], [0.0_f32; 16]);
            // SAFETY: the instructions are there, sixteen elements are.
            unsafe { bf16(isa, x.as_ptr(), y.as_mut_ptr(), back.as_mut_ptr()) };
            assert_eq!(y[..lanes], expected[..lanes], "{isa}");
            for (bits, back) in expected.iter().zip(&back).take(lanes) {
                assert_eq!(bf16_to_f32(*bits).to_bits(), back.to_bits(), "{isa}");
            }
        }
    }
}

//! Every block type against llama.cpp's own Python package.

use longhand_gguf::{TensorType, dequantise};

/// One block of the bytes `(37 i + 11) % 256`, with sensible scales, has these numbers in these places,
/// and all of its bits together this sum.
///
/// From Python, with the package `gguf` 0.19:
/// ```python
/// for t in "F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K".split():
///     n, b = GGML_QUANT_SIZES[T[t]]
///     if n == 1: n, b = 8, 16
///     x = np.array([(i*37+11) % 256 for i in range(b)], np.uint8)
///     if t not in ("F16", "BF16"):
///         x[-2 if t == "Q6_K" else 0:][:2] = np.array([0.0371], np.float16).view(np.uint8)
///         if t in ("Q4_1", "Q5_1", "Q4_K", "Q5_K"):
///             x[2:4] = np.array([-1.53], np.float16).view(np.uint8)
///     y = dequantize(x, T[t]).astype(np.float32).reshape(-1)
///     h = 0
///     for v in y.view(np.uint32): h = (h*31 + int(v)) % 2**32
///     print(t, len(y), [float(v) for v in y[[0, 1, len(y)//2, -1]]], h)
/// ```
fn check(tensor_type: TensorType, expected: [f32; 4], expected_sum: u32) {
    let (n_numbers, n_bytes) = match tensor_type.block_size() {
        1 => (8, 16),
        n => (n, tensor_type.block_bytes()),
    };
    let mut bytes: Vec<u8> = (0..n_bytes).map(|i| ((i * 37 + 11) % 256) as u8).collect();
    // 0.0371 and -1.53 as 16-bit floats.
    let (scale, minimum) = ([0xc0, 0x28], [0x1f, 0xbe]);
    match tensor_type {
        TensorType::F16 | TensorType::Bf16 => {}
        TensorType::Q6K => bytes[208..].copy_from_slice(&scale),
        _ => bytes[..2].copy_from_slice(&scale),
    }
    if matches!(
        tensor_type,
        TensorType::Q4_1 | TensorType::Q5_1 | TensorType::Q4K | TensorType::Q5K
    ) {
        bytes[2..4].copy_from_slice(&minimum);
    }
    let mut numbers = vec![f32::NAN; n_numbers];
    dequantise(tensor_type, &bytes, &mut numbers);
    let found = [0, 1, n_numbers / 2, n_numbers - 1].map(|idx| numbers[idx]);
    assert_eq!(found, expected, "{}", tensor_type.name());
    let sum = numbers.iter().fold(0_u32, |sum, x| {
        sum.wrapping_mul(31).wrapping_add(x.to_bits())
    });
    assert_eq!(sum, expected_sum, "{}", tensor_type.name());
}

#[test]
fn blocks_are_llama_cpps_to_the_bit() {
    check(
        TensorType::F16,
        [0.126_342_77, 51872.0, 134.375, 0.379_150_4],
        699_727_872,
    );
    check(
        TensorType::Bf16,
        [
            5.056_790_5e-10,
            2.764_898e35,
            787_250_325_487_616.0,
            2.160_668_4e-6,
        ],
        3_450_339_328,
    );
    check(
        TensorType::Q8_0,
        [3.154_296_9, 4.527_343_8, -3.376_953_1, -1.781_25],
        1_375_526_912,
    );
    check(
        TensorType::Q4_0,
        [-0.111_328_125, 0.074_218_75, -0.111_328_125, 0.0],
        3_364_945_920,
    );
    check(
        TensorType::Q4_1,
        [-0.973_632_8, -1.381_835_9, -1.196_289_1, -1.084_960_9],
        1_292_836_864,
    );
    check(
        TensorType::Q5_0,
        [0.333_984_38, -0.074_218_75, 0.519_531_25, 0.037_109_375],
        2_785_640_448,
    );
    check(
        TensorType::Q5_1,
        [-0.825_195_3, -0.639_648_44, -0.825_195_3, -1.344_726_6],
        3_026_092_032,
    );
    check(
        TensorType::Q4K,
        [90.698_24, 78.043_945, 34.283_203, 56.008_79],
        2_407_827_712,
    );
    check(
        TensorType::Q5K,
        [109.104_49, 78.043_945, 57.439_453, 58.235_35],
        4_164_241_664,
    );
    check(
        TensorType::Q6K,
        [-53.103_516, 62.937_5, -13.025_391, -2.226_562_5],
        2_714_499_968,
    );
}

#[test]
fn sixteen_bit_floats_reach_their_ends() {
    // numpy: np.array([...], np.uint16).view(np.float16).astype(np.float32)
    for (bits, expected) in [
        (0x0000_u16, 0.0_f32),
        (0x8000, -0.0),
        (0x0001, 5.960_464_5e-8),
        (0x03ff, 6.097_555e-5),
        (0x0400, 6.103_515_6e-5),
        (0x7bff, 65504.0),
        (0xfc00, f32::NEG_INFINITY),
    ] {
        let mut number = [1.0];
        dequantise(TensorType::F16, &bits.to_le_bytes(), &mut number);
        assert_eq!(number[0].to_bits(), expected.to_bits(), "{bits:#x}");
    }
    let mut number = [1.0];
    dequantise(TensorType::F16, &0x7e00_u16.to_le_bytes(), &mut number);
    assert!(number[0].is_nan());
}

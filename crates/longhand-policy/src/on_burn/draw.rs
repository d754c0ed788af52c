//! One token a row, drawn where the logits are.
//!
//! The rule is the engine's: the first id whose cumulative probability exceeds a uniform number, else the
//! last with any probability; at temperature 0 the most probable id, the lowest among equals. The uniform
//! number and the sums are f32 here: a number in `[0, 1)` is kept to 2⁻²⁵ at worst, sums over a large
//! vocabulary to about 1e-6, so where a number falls that close to the border between two ids, the engine
//! may draw the other.
//!
//! Summed in two levels, blocks and then within the one that is drawn from: burn 0.21 computes a
//! cumulative sum on a GPU with as many reads as the square of its length, and a product with a triangular
//! matrix might be rounded to the 10 bits of TF32.

use burn::tensor::{Int, Tensor};

use crate::backend::Backend;

/// Ids that are summed one by one only when the drawn one is among them.
const BLOCK: usize = 256;

/// A token for each row.
pub(crate) struct Drawn {
    /// `[rows]`
    pub(crate) ids: Tensor<Backend, 1, Int>,
    /// `[rows]`: log-softmax of `logits / temperature` at each id, of temperature 1 for the most probable
    /// one; NaN where the logits hold a NaN or no finite number.
    pub(crate) logprobs: Tensor<Backend, 1>,
}

/// How one id a row is chosen.
pub(crate) enum Choice {
    MostProbable,
    /// At a temperature, by numbers `[rows]` in `[0, 1]`.
    Drawn(f64, Tensor<Backend, 1>),
}

/// Chooses an id of `[rows, n_ids]` logits for each row.
pub(crate) fn draw(logits: Tensor<Backend, 2>, choice: Choice) -> Drawn {
    let [rows, n_ids] = logits.dims();
    let device = logits.device();
    let logits = match choice {
        Choice::MostProbable => logits,
        Choice::Drawn(temperature, _) => logits.div_scalar(temperature),
    };
    let shifted = logits.clone() - logits.clone().max_dim(1);
    let n_blocks = n_ids.div_ceil(BLOCK);
    let mut weights = shifted.clone().exp();
    let missing = n_blocks * BLOCK - n_ids;
    if 0 < missing {
        weights = Tensor::cat(vec![weights, Tensor::zeros([rows, missing], &device)], 1);
    }
    let blocks = weights.reshape([rows * n_blocks, BLOCK]);
    let sums = blocks.clone().sum_dim(1).reshape([rows, n_blocks]);
    let cumulative = sums.cumsum(1);
    let total = last_column(&cumulative);
    let ids = match choice {
        Choice::MostProbable => logits.argmax(1).clamp(0, n_ids as i32 - 1),
        Choice::Drawn(_, uniforms) => {
            let threshold = total.clone() * uniforms.reshape([rows, 1]);
            let block = first_beyond(cumulative.clone(), threshold.clone());
            let first_row: Tensor<Backend, 1, Int> = Tensor::arange(0..rows as i64, &device);
            let first_row = first_row.mul_scalar(n_blocks as i32).reshape([rows, 1]);
            let drawn_from = blocks.select(0, (first_row + block.clone()).reshape([rows]));
            let up_to = Tensor::cat(vec![Tensor::zeros([rows, 1], &device), cumulative], 1);
            let before = up_to.gather(1, block.clone());
            let within = first_beyond(drawn_from.cumsum(1), threshold - before);
            block.mul_scalar(BLOCK as i32) + within
        }
    };
    let logprobs = shifted.gather(1, ids.clone()) - total.log();
    Drawn {
        ids: ids.reshape([rows]),
        logprobs: logprobs.reshape([rows]),
    }
}

/// For each row of ascending sums `[rows, n]`, the place of the first that exceeds the threshold
/// `[rows, 1]`, or else of the first that reaches the last one: nothing after it weighs anything.
fn first_beyond(
    sums: Tensor<Backend, 2>,
    threshold: Tensor<Backend, 2>,
) -> Tensor<Backend, 2, Int> {
    let shape = sums.dims();
    let last = last_column(&sums).expand(shape);
    let passed = sums.clone().lower_equal(threshold.expand(shape));
    passed.bool_and(sums.lower(last)).int().sum_dim(1)
}

/// `[rows, n]` to `[rows, 1]`.
fn last_column(x: &Tensor<Backend, 2>) -> Tensor<Backend, 2> {
    let [rows, n] = x.dims();
    x.clone().slice([0..rows, n - 1..n])
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use longhand_engine::sample_token;
    use longhand_rollout::Sampling;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{Device, on_burn::to_host};

    fn drawn(rows: &[Vec<f32>], choice: impl FnOnce(&Device) -> Choice) -> (Vec<i32>, Vec<f32>) {
        let device = Device::default();
        let (n, n_ids) = (rows.len(), rows[0].len());
        let logits = Tensor::from_data(TensorData::new(rows.concat(), [n, n_ids]), &device);
        let Drawn { ids, logprobs } = draw(logits, choice(&device));
        (ids.into_data().iter::<i32>().collect(), to_host(logprobs))
    }

    fn at(temperature: f64, uniforms: &[f32]) -> impl FnOnce(&Device) -> Choice {
        move |device| Choice::Drawn(temperature, Tensor::from_floats(uniforms, device))
    }

    /// The distance of `u` from the nearest border between two ids, and the id it draws, in f64.
    fn border(logits: &[f32], temperature: f64, u: f64) -> (f64, usize) {
        let weights: Vec<f64> = logits
            .iter()
            .map(|l| (f64::from(*l) / temperature).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        let (mut sum, mut nearest, mut id) = (0.0, f64::INFINITY, None);
        for (i, weight) in weights.iter().enumerate() {
            sum += weight / total;
            nearest = nearest.min((sum - u).abs());
            if u < sum {
                id.get_or_insert(i);
            }
        }
        (nearest, id.unwrap_or(logits.len() - 1))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_number_draws_the_id_that_f64_sums_give_it(
            n_ids in prop::sample::select(vec![1_usize, 7, 256, 300, 1024, 3000]),
            temperature in 0.3_f64..2.0,
            seed in 0_u64..1000,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut row = |_| (0..n_ids).map(|_| rng.random_range(-6.0..6.0)).collect::<Vec<f32>>();
            let rows: Vec<Vec<f32>> = (0..4).map(&mut row).collect();
            let uniforms: [f32; 4] = std::array::from_fn(|_| rng.random());
            let (ids, logprobs) = drawn(&rows, at(temperature, &uniforms));
            for (row, ((u, id), logprob)) in rows.iter().zip(uniforms.iter().zip(ids).zip(logprobs)) {
                let (distance, expected) = border(row, temperature, f64::from(*u));
                prop_assert!(distance < 2e-6 || id as usize == expected, "{id} {expected} {distance}");
                let total: f64 = row.iter().map(|l| (f64::from(*l) / temperature).exp()).sum();
                let exact = f64::from(row[id as usize]) / temperature - total.ln();
                prop_assert!((f64::from(logprob) - exact).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn the_ends_of_the_unit_interval_draw_ids_with_some_probability() {
        let mut row = vec![f32::NEG_INFINITY; 700];
        (row[3], row[300], row[301]) = (1.0, 2.0, 1.0);
        let rows = [row.clone(), row.clone(), row];
        let (ids, _) = drawn(&rows, at(1.0, &[0.0, 1.0, 0.5]));
        assert_eq!(ids, [3, 301, 300]);
    }

    #[test]
    fn the_most_probable_id_is_the_engines() {
        let mut ties = vec![0.0; 600];
        (ties[40], ties[500]) = (3.0, 3.0);
        let rows = [
            ties,
            (0..600).map(|i| ((i * 37) % 600) as f32 / 60.0).collect(),
        ];
        let (ids, logprobs) = drawn(&rows, |_| Choice::MostProbable);
        for (row, (id, logprob)) in rows.iter().zip(ids.into_iter().zip(logprobs)) {
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let token = sample_token(row, &Sampling::GREEDY, &mut rng).unwrap();
            assert_eq!(id as u32, token.id);
            assert!((logprob - token.logprob).abs() < 1e-5);
        }
    }

    #[test]
    fn broken_logits_have_a_nan_for_their_log_probability_and_an_id_that_exists() {
        let broken = [f32::NAN, f32::INFINITY];
        let mut rows: Vec<Vec<f32>> = broken.iter().map(|x| vec![0.0, *x, 1.0]).collect();
        rows.push(vec![f32::NEG_INFINITY; 3]);
        for greedy in [true, false] {
            let (ids, logprobs) = if greedy {
                drawn(&rows, |_| Choice::MostProbable)
            } else {
                drawn(&rows, at(1.0, &[0.5; 3]))
            };
            assert!(ids.iter().all(|id| (0..3).contains(id)), "{ids:?}");
            assert!(
                logprobs.iter().all(|logprob| logprob.is_nan()),
                "{logprobs:?}"
            );
        }
    }
}

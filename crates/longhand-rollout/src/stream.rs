//! Random streams that are keys, not states.
//!
//! Whatever is random in a run draws from a stream named by what it is for. The name *is* the key
//! of a ChaCha8 generator, so streams need no bookkeeping, never run into each other, and any of
//! them can be opened alone.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What a stream is drawn for. Different purposes never share a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Purpose(pub u32);

impl Purpose {
    /// Sampling the tokens of rollouts that are trained on.
    pub const ROLLOUT: Purpose = Purpose(1);
    /// Sampling the tokens of rollouts that are only scored.
    pub const EVALUATION: Purpose = Purpose(2);
    /// What a careless expert forgets.
    pub const EXPERT: Purpose = Purpose(3);
    /// The order in which examples or problems are taken.
    pub const ORDER: Purpose = Purpose(4);
    /// A policy's first weights.
    pub const WEIGHTS: Purpose = Purpose(5);
    /// What an adapter leaves out in training.
    pub const DROPOUT: Purpose = Purpose(6);
    /// Which tokens entropy control picks among its candidates.
    pub const ENTROPY_CONTROL: Purpose = Purpose(7);
}

/// The name of one random stream: exactly the 32 bytes of a ChaCha8 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamKey {
    /// The run's seed.
    pub seed: u64,
    /// What is drawn.
    pub purpose: Purpose,
    /// The training step; 0 where there is none.
    pub step: u32,
    /// The problem's index in its source, not its place in a batch.
    pub problem: u64,
    /// Which attempt at it, from 0.
    pub attempt: u32,
    /// Which turn of the attempt, from 0.
    pub turn: u32,
}

impl StreamKey {
    /// The key: the fields in order, each little-endian.
    pub fn to_bytes(&self) -> [u8; 32] {
        let StreamKey {
            seed,
            purpose,
            step,
            problem,
            attempt,
            turn,
        } = *self;
        let mut bytes = [0; 32];
        bytes[0..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..12].copy_from_slice(&purpose.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&step.to_le_bytes());
        bytes[16..24].copy_from_slice(&problem.to_le_bytes());
        bytes[24..28].copy_from_slice(&attempt.to_le_bytes());
        bytes[28..32].copy_from_slice(&turn.to_le_bytes());
        bytes
    }

    /// The stream, from its beginning.
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.to_bytes())
    }
}

/// The part of a [`StreamKey`] that all turns of one collection share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamBase {
    /// The run's seed.
    pub seed: u64,
    /// What is drawn.
    pub purpose: Purpose,
    /// The training step; 0 where there is none.
    pub step: u32,
}

impl StreamBase {
    /// The key of one turn.
    pub fn key(&self, problem: u64, attempt: u32, turn: u32) -> StreamKey {
        let StreamBase {
            seed,
            purpose,
            step,
        } = *self;
        StreamKey {
            seed,
            purpose,
            step,
            problem,
            attempt,
            turn,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::Rng;

    use super::*;

    const KEY: StreamKey = StreamKey {
        seed: 0x0807_0605_0403_0201,
        purpose: Purpose(0x0c0b_0a09),
        step: 0x100f_0e0d,
        problem: 0x1817_1615_1413_1211,
        attempt: 0x1c1b_1a19,
        turn: 0x201f_1e1d,
    };

    #[test]
    fn the_fields_fill_the_key_without_a_gap() {
        let expect: Vec<u8> = (1..=32).collect();
        assert_eq!(KEY.to_bytes().to_vec(), expect);
    }

    #[test]
    fn an_all_zero_key_gives_the_published_chacha8_stream() {
        // ChaCha8 test vector TC1 (draft-strombergsson-chacha-test-vectors-01): all-zero 256-bit
        // key and nonce; the first keystream bytes are 3e 00 ef 2f.
        let base = StreamBase {
            seed: 0,
            purpose: Purpose(0),
            step: 0,
        };
        assert_eq!(base.key(0, 0, 0).rng().next_u32(), 0x2fef_003e);
    }

    #[test]
    fn every_field_changes_the_stream() {
        let others = [
            StreamKey { seed: 0, ..KEY },
            StreamKey {
                purpose: Purpose::ROLLOUT,
                ..KEY
            },
            StreamKey { step: 0, ..KEY },
            StreamKey { problem: 0, ..KEY },
            StreamKey { attempt: 0, ..KEY },
            StreamKey { turn: 0, ..KEY },
        ];
        for other in others {
            assert_ne!(other.rng().next_u64(), KEY.rng().next_u64(), "{other:?}");
        }
    }

    #[test]
    fn a_base_and_the_place_of_a_turn_make_its_key() {
        let base = StreamBase {
            seed: KEY.seed,
            purpose: KEY.purpose,
            step: KEY.step,
        };
        assert_eq!(base.key(KEY.problem, KEY.attempt, KEY.turn), KEY);
    }
}

//! Random streams that depend on the problem's number alone, never on what was asked before.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::Split;

/// Which problem is being made; also the key of its random streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProblemKey {
    pub(crate) kind: &'static str,
    pub(crate) split: Split,
    pub(crate) seed: u64,
    pub(crate) idx: u64,
}

/// What a stream is drawn for. Separate streams keep the question the same when the length changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Question,
    Filler,
    Placement,
}

impl ProblemKey {
    pub(crate) fn id(&self) -> String {
        format!("{}-{}-{}-{}", self.kind, self.split, self.seed, self.idx)
    }

    /// The stream for one purpose: the key is written into the generator's 32 key bytes as it is.
    pub(crate) fn rng(&self, purpose: Purpose) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&self.idx.to_le_bytes());
        key[16..24].copy_from_slice(&hash(self.kind).to_le_bytes());
        key[24] = self.split as u8;
        key[25] = purpose as u8;
        ChaCha8Rng::from_seed(key)
    }
}

/// A fixed 64-bit hash: FNV-1a, then the SplitMix64 finaliser, which spreads short texts over all
/// bits. The standard library's hasher may change between releases, this one may not.
pub(crate) fn hash(text: &str) -> u64 {
    let mut h: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in text.bytes() {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a of "" is the offset basis; finalised in Python:
    /// `h=0xcbf29ce484222325; h=((h^(h>>30))*0xbf58476d1ce4e5b9)&M; h=((h^(h>>27))*0x94d049bb133111eb)&M; h^(h>>31)`.
    #[test]
    fn the_hash_is_the_same_on_every_release() {
        assert_eq!(hash(""), 0xf52a15e9a9b5e89b);
        assert_eq!(hash("a"), 0x2c0bdbf481420f8);
    }
}

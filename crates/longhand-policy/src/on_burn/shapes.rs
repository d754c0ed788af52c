//! Sizes that are rounded up, so that a run sees few shapes.
//!
//! A GPU's kernels are tuned, and some compiled, for each new shape of a product. Rollouts are all of
//! different lengths, so on GPUs sizes go up to the next power of two or the 1.5-fold between two; what
//! is added is padding, which is masked and changes no result. A CPU would only compute it in vain.

use crate::backend::IS_CPU;

/// The fewest tokens side by side that are told apart, but for a single one.
const SHORTEST: usize = 16;

/// Which sizes are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shapes {
    /// Those that are needed.
    Exact,
    /// Those in a short list.
    Bucketed,
}

impl Shapes {
    /// What the backend does best with.
    pub(crate) const OF_BACKEND: Self = if IS_CPU { Self::Exact } else { Self::Bucketed };

    /// Tokens side by side: 0, 1, 16, 24, 32, 48, 64, …
    pub(crate) fn length(self, n: usize) -> usize {
        match self {
            Self::Bucketed if 1 < n => bucket(n.max(SHORTEST)),
            Self::Exact | Self::Bucketed => n,
        }
    }

    /// Groups, and suffixes of a group: 0, 1, 2, 3, 4, 6, 8, 12, …
    pub(crate) fn count(self, n: usize) -> usize {
        match self {
            Self::Exact => n,
            Self::Bucketed => bucket(n),
        }
    }

    /// Rows that are worked on in chunks of `chunk`, a power of two and at least 16: as few as a length,
    /// or a number of whole chunks.
    pub(crate) fn rows(self, n: usize, chunk: usize) -> usize {
        match self {
            Self::Bucketed if chunk < n => n.next_multiple_of(chunk),
            Self::Exact | Self::Bucketed => self.length(n),
        }
    }
}

/// The least of 0, 1, 2, 3, 4, 6, 8, 12, … that holds `n`.
fn bucket(n: usize) -> usize {
    if n == 0 {
        return 0;
    }
    let power = n.next_power_of_two();
    let between = power / 4 * 3;
    if n <= between { between } else { power }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_bucket_holds_what_it_is_for_and_adds_at_most_half() {
        for n in 0..5000 {
            for size in [Shapes::Bucketed.count(n), Shapes::Bucketed.length(n)] {
                assert!(n <= size, "{n} {size}");
                assert!(size <= n + n / 2 || size == SHORTEST, "{n} {size}");
                assert_eq!(Shapes::Bucketed.length(Shapes::Bucketed.length(n)), {
                    Shapes::Bucketed.length(n)
                });
            }
            assert_eq!((Shapes::Exact.count(n), Shapes::Exact.length(n)), (n, n));
        }
    }

    #[test]
    fn the_buckets_are_few() {
        let sizes = |size: fn(usize) -> usize| (0..=100).map(size).collect::<BTreeSet<_>>();
        let lengths = sizes(|n| Shapes::Bucketed.length(n));
        assert_eq!(Vec::from_iter(lengths), [0, 1, 16, 24, 32, 48, 64, 96, 128]);
        let counts = sizes(|n| Shapes::Bucketed.count(n).min(16));
        assert_eq!(Vec::from_iter(counts), [0, 1, 2, 3, 4, 6, 8, 12, 16]);
    }

    #[test]
    fn rows_fill_chunks() {
        let rows = |n| Shapes::Bucketed.rows(n, 32);
        assert_eq!(
            [0, 1, 2, 17, 32, 33, 65].map(rows),
            [0, 1, 16, 24, 32, 64, 96]
        );
        assert_eq!(Shapes::Exact.rows(33, 32), 33);
    }
}

//! How much work one comparison of answers may take, and the meter that counts it.

use num_rational::BigRational;

/// Limits of one comparison; what exceeds any of them ends as
/// [`Verdict::Unknown`](crate::Verdict::Unknown).
///
/// The default compares what people write as answers and ends within milliseconds on anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of one answer; of longer ones only the identical text is equal.
    pub max_bytes: usize,
    /// How deep brackets, fractions, roots and exponents may nest.
    pub max_depth: usize,
    /// Decimal digits of any whole number, written or computed.
    pub max_digits: usize,
    /// Operations on coefficients of one machine word; operations on longer ones count for more.
    pub n_steps: u64,
}

impl Default for Budget {
    /// 4096 bytes, 32 levels, 1000 digits, 50 000 steps.
    fn default() -> Self {
        Budget {
            max_bytes: 4096,
            max_depth: 32,
            max_digits: 1000,
            n_steps: 50_000,
        }
    }
}

/// Why a comparison ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A limit of the budget was reached.
    OverBudget,
    /// The text is none of the forms that are read, or its value is undefined (a division by zero).
    NotRead,
}

/// What is left of a budget.
#[derive(Debug)]
pub(super) struct Meter {
    steps_left: u64,
    max_bits: u64,
    max_digits: usize,
}

impl Meter {
    pub(super) fn new(budget: &Budget) -> Meter {
        Meter {
            steps_left: budget.n_steps,
            // A digit has 3.33 bits.
            max_bits: (budget.max_digits as u64).saturating_mul(10) / 3 + 1,
            max_digits: budget.max_digits,
        }
    }

    pub(super) fn spend(&mut self, n_steps: u64) -> Result<(), Stop> {
        match self.steps_left.checked_sub(n_steps) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => {
                self.steps_left = 0;
                Err(Stop::OverBudget)
            }
        }
    }

    /// Refuses whole numbers of more bits, before they are computed.
    pub(super) fn check_bits(&self, n_bits: u64) -> Result<(), Stop> {
        match n_bits <= self.max_bits {
            true => Ok(()),
            false => Err(Stop::OverBudget),
        }
    }

    /// Refuses longer digit strings, before they are read.
    pub(super) fn check_digits(&self, n_digits: usize) -> Result<(), Stop> {
        match n_digits <= self.max_digits {
            true => Ok(()),
            false => Err(Stop::OverBudget),
        }
    }

    /// Pays for one operation on two numbers and refuses it when the result could be too long.
    pub(super) fn operate(&mut self, left: &BigRational, right: &BigRational) -> Result<(), Stop> {
        let (left, right) = (n_bits(left), n_bits(right));
        self.check_bits(left.max(right))?;
        // Sums take time in the lengths in words, products and greatest common divisors in their product.
        let (left, right) = (left / 64, right / 64);
        self.spend(1 + left + right + left * right)
    }
}

/// Bits of the longer one of numerator and denominator.
pub(super) fn n_bits(number: &BigRational) -> u64 {
    number.numer().bits().max(number.denom().bits())
}

#[cfg(test)]
mod tests {
    use super::{Budget, Meter, Stop};

    #[test]
    fn what_is_spent_is_gone() {
        let mut meter = Meter::new(&Budget {
            n_steps: 3,
            ..Budget::default()
        });
        assert_eq!(meter.spend(2), Ok(()));
        assert_eq!(meter.spend(2), Err(Stop::OverBudget));
        assert_eq!(meter.spend(1), Err(Stop::OverBudget), "nothing comes back");
    }

    #[test]
    fn digits_are_counted_before_they_are_read() {
        let meter = Meter::new(&Budget {
            max_digits: 3,
            ..Budget::default()
        });
        assert_eq!(meter.check_digits(3), Ok(()));
        assert_eq!(meter.check_digits(4), Err(Stop::OverBudget));
        assert_eq!(meter.check_bits(10), Ok(()), "999 has 10 bits");
        assert_eq!(meter.check_bits(12), Err(Stop::OverBudget));
    }
}

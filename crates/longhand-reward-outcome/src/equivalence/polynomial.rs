//! Sums of rational coefficients times products of atoms with rational exponents.
//!
//! What an atom is, and so how its powers simplify, is for `algebra` to know; here equal polynomials have
//! equal fields, whichever way they were computed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::{BigRational, Ratio};
use num_traits::{One, Signed, Zero};

use super::budget::{Meter, Stop};

/// Which atom, in the order of their making.
pub(super) type AtomIdx = usize;
/// An exponent; numerator and denominator stay below [`MAX_EXPONENT`].
pub(super) type Exponent = Ratio<i64>;

/// Sums and products of two exponents below this fit.
const MAX_EXPONENT: i64 = 1_000_000;

/// Refuses exponents beyond what can be added and multiplied without overflow.
pub(super) fn checked(exponent: Exponent) -> Result<Exponent, Stop> {
    let is_small = exponent.numer().abs() < MAX_EXPONENT && *exponent.denom() < MAX_EXPONENT;
    is_small.then_some(exponent).ok_or(Stop::OverBudget)
}

/// A product of powers of different atoms, none with exponent 0, in order.
pub(super) type Monomial = Vec<(AtomIdx, Exponent)>;

/// A sum of terms, none with coefficient 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Polynomial {
    pub(super) terms: BTreeMap<Monomial, BigRational>,
}

impl Polynomial {
    pub(super) fn zero() -> Polynomial {
        Polynomial::default()
    }

    pub(super) fn constant(number: BigRational) -> Polynomial {
        Polynomial::term(Monomial::new(), number)
    }

    pub(super) fn term(monomial: Monomial, coefficient: BigRational) -> Polynomial {
        let mut polynomial = Polynomial::zero();
        if !coefficient.is_zero() {
            polynomial.terms.insert(monomial, coefficient);
        }
        polynomial
    }

    pub(super) fn is_zero(&self) -> bool {
        self.terms.is_empty()
    }

    /// The number that it is, if it is a rational one.
    pub(super) fn as_number(&self) -> Option<BigRational> {
        match self.terms.len() {
            0 => Some(BigRational::zero()),
            1 => self.terms.get(&Monomial::new()).cloned(),
            _ => None,
        }
    }

    /// Its only term.
    pub(super) fn as_term(&self) -> Option<(&Monomial, &BigRational)> {
        match self.terms.len() {
            1 => self.terms.first_key_value(),
            _ => None,
        }
    }

    pub(super) fn add_term(
        &mut self,
        monomial: Monomial,
        coefficient: BigRational,
        meter: &mut Meter,
    ) -> Result<(), Stop> {
        if coefficient.is_zero() {
            return Ok(());
        }
        match self.terms.entry(monomial) {
            Entry::Vacant(entry) => {
                meter.operate(&coefficient, &coefficient)?;
                entry.insert(coefficient);
            }
            Entry::Occupied(mut entry) => {
                meter.operate(entry.get(), &coefficient)?;
                let sum = entry.get() + coefficient;
                match sum.is_zero() {
                    true => drop(entry.remove()),
                    false => drop(entry.insert(sum)),
                }
            }
        }
        Ok(())
    }

    pub(super) fn add(&mut self, other: &Polynomial, meter: &mut Meter) -> Result<(), Stop> {
        for (monomial, coefficient) in &other.terms {
            self.add_term(monomial.clone(), coefficient.clone(), meter)?;
        }
        Ok(())
    }

    pub(super) fn negated(&self) -> Polynomial {
        let terms = self.terms.iter();
        Polynomial {
            terms: terms.map(|(m, c)| (m.clone(), -c.clone())).collect(),
        }
    }

    pub(super) fn scaled(&self, by: &BigRational, meter: &mut Meter) -> Result<Polynomial, Stop> {
        let mut scaled = Polynomial::zero();
        for (monomial, coefficient) in &self.terms {
            meter.operate(coefficient, by)?;
            scaled.add_term(monomial.clone(), coefficient * by, meter)?;
        }
        Ok(scaled)
    }

    /// The positive number by which dividing leaves whole coefficients without a common divisor; 1 for
    /// zero.
    pub(super) fn content(&self, meter: &mut Meter) -> Result<BigRational, Stop> {
        let mut over = BigInt::zero();
        let mut under = BigInt::one();
        for coefficient in self.terms.values() {
            meter.check_bits(under.bits() + coefficient.denom().bits())?;
            meter.operate(coefficient, coefficient)?;
            over = over.gcd(coefficient.numer());
            under = under.lcm(coefficient.denom());
        }
        match over.is_zero() {
            true => Ok(BigRational::one()),
            false => Ok(BigRational::new(over.abs(), under)),
        }
    }

    /// Whether the coefficient of the last monomial is negative: one of a polynomial and its negative
    /// has this.
    pub(super) fn is_negative(&self) -> bool {
        let last = self.terms.last_key_value();
        last.is_some_and(|(_, coefficient)| coefficient.is_negative())
    }
}

#[cfg(test)]
mod tests {
    use super::{Exponent, Polynomial, checked};
    use crate::equivalence::budget::{Budget, Meter};
    use num_bigint::BigInt;
    use num_rational::BigRational;

    fn ratio(over: i64, under: i64) -> BigRational {
        BigRational::new(BigInt::from(over), BigInt::from(under))
    }

    #[test]
    fn terms_that_cancel_leave_nothing() {
        let mut meter = Meter::new(&Budget::default());
        let monomial = vec![(0, Exponent::from(1))];
        let mut sum = Polynomial::term(monomial.clone(), ratio(1, 2));
        sum.add_term(monomial, ratio(-1, 2), &mut meter).unwrap();
        assert!(sum.is_zero());
        assert_eq!(sum.as_number(), Some(ratio(0, 1)));
    }

    // 4/3 and 2/9: the greatest common divisor of 4 and 2, over the least common multiple of 3 and 9.
    #[test]
    fn the_content_leaves_whole_coefficients() {
        let mut meter = Meter::new(&Budget::default());
        let mut polynomial = Polynomial::constant(ratio(4, 3));
        let x = vec![(0, Exponent::from(1))];
        polynomial.add_term(x, ratio(-2, 9), &mut meter).unwrap();
        assert_eq!(polynomial.content(&mut meter), Ok(ratio(2, 9)));
        assert!(polynomial.is_negative());
        assert!(!polynomial.negated().is_negative());
    }

    #[test]
    fn exponents_are_bounded() {
        assert!(checked(Exponent::new(999_999, 2)).is_ok());
        assert!(checked(Exponent::from(1_000_000)).is_err());
        assert!(checked(Exponent::new(1, 1_000_000)).is_err());
    }
}

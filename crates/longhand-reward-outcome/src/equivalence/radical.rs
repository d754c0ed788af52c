//! Roots of values, in roots of primes as far as possible.

use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, Zero};

use super::algebra::{Algebra, Atom, Value};
use super::budget::Stop;
use super::polynomial::{AtomIdx, Exponent, Monomial, Polynomial, checked};
use super::power::number_power;

/// Divisors that are tried; what is left over counts as prime, which only misses equalities.
const LARGEST_DIVISOR: u32 = 10_000;

impl Algebra<'_> {
    /// The principal root with a whole index of at least 2; of negative numbers the real one, where
    /// there is one.
    pub(super) fn root(&mut self, value: &Value, index: &Value) -> Result<Value, Stop> {
        let index = index.as_number().ok_or(Stop::NotRead)?;
        if !index.is_integer() || index < BigRational::from(BigInt::from(2)) {
            return Err(Stop::NotRead);
        }
        self.rational_power(value, &index.recip(), true)
    }

    pub(super) fn principal_root(
        &mut self,
        base: &Value,
        index: i64,
        is_root: bool,
    ) -> Result<Value, Stop> {
        let Some(polynomial) = base.as_polynomial().cloned() else {
            let name = format!("root {index}");
            return self.applied(&name, vec![base.clone()]);
        };
        let content = polynomial.content(self.meter)?;
        if let Some((monomial, coefficient)) = polynomial.as_term() {
            let sign = match coefficient.is_negative() {
                false => Value::whole(1),
                true if index == 2 && monomial.is_empty() => self.symbol("i")?,
                true if index % 2 == 1 && is_root && monomial.is_empty() => Value::whole(-1),
                true if monomial.is_empty() => return Err(Stop::NotRead),
                true => Value::whole(0),
            };
            if !sign.is_zero()
                && let Some(monomial) = self.split_root(monomial, index)?
            {
                let number = self.number_root(&content, index)?;
                let rest = Value::polynomial(Polynomial::term(monomial, BigRational::one()));
                let product = self.product(&number, &rest)?;
                return self.product(&sign, &product);
            }
        }
        if index == 2
            && let Some(root) = self.denested(&polynomial)?
        {
            return Ok(root);
        }
        let number = self.number_root(&content, index)?;
        let primitive = polynomial.scaled(&content.recip(), self.meter)?;
        let idx = self.atom(Atom::Rooted(primitive))?;
        let monomial = vec![(idx, Exponent::new(1, index))];
        let rest = Value::polynomial(Polynomial::term(monomial, BigRational::one()));
        self.product(&number, &rest)
    }

    /// `sqrt(a + b sqrt(c))` as the sum or difference of two roots, where `a^2 - b^2 c` is a square:
    /// with its root d these are the roots of `(a + d) / 2` and `(a - d) / 2`.
    pub(super) fn denested(&mut self, polynomial: &Polynomial) -> Result<Option<Value>, Stop> {
        let terms: Vec<(&Monomial, &BigRational)> = polynomial.terms.iter().collect();
        let [(whole, a), (root, b)] = terms.as_slice() else {
            return Ok(None);
        };
        let half = Exponent::new(1, 2);
        let is_square_root = |(idx, exponent): &(AtomIdx, Exponent)| {
            matches!(self.atoms[*idx], Atom::Prime(_)) && *exponent == half
        };
        if !whole.is_empty() || !root.iter().all(is_square_root) || !a.is_positive() {
            return Ok(None);
        }
        let (a, b) = ((*a).clone(), (*b).clone());
        let term = Polynomial::term((*root).clone(), b.clone());
        let square = self.multiply(&term, &term)?.as_number();
        self.meter.operate(&a, &a)?;
        let Some(square) = square.map(|square| &a * &a - square) else {
            return Ok(None);
        };
        if square.is_negative() {
            return Ok(None);
        }
        self.meter.operate(&square, &square)?;
        let d = BigRational::new(square.numer().sqrt(), square.denom().sqrt());
        if &d * &d != square {
            return Ok(None);
        }
        let two = BigRational::from(BigInt::from(2));
        let larger = self.root_of_number((&a + &d) / &two)?;
        let smaller = self.root_of_number((&a - &d) / &two)?;
        let smaller = match b.is_negative() {
            true => self.negated(&smaller),
            false => smaller,
        };
        self.sum(&larger, &smaller).map(Some)
    }

    pub(super) fn root_of_number(&mut self, number: BigRational) -> Result<Value, Stop> {
        match number.is_zero() {
            true => Ok(Value::whole(0)),
            false => self.number_root(&number, 2),
        }
    }

    /// The root of a product of powers, where it is the product of their roots: when all but one are
    /// positive, and that one has an exponent above -1 and up to 1.
    pub(super) fn split_root(
        &mut self,
        monomial: &Monomial,
        index: i64,
    ) -> Result<Option<Monomial>, Stop> {
        let mut n_others = 0;
        let mut split = Monomial::new();
        for (idx, exponent) in monomial {
            let is_whole_root = -Exponent::one() < *exponent && *exponent <= Exponent::one();
            match &self.atoms[*idx] {
                _ if self.is_positive(*idx) => {}
                Atom::Symbol(_) | Atom::Rooted(_) if is_whole_root => n_others += 1,
                _ => return Ok(None),
            }
            split.push((*idx, checked(exponent / Exponent::from(index))?));
        }
        Ok((n_others <= 1).then_some(split))
    }

    /// Whether an atom is a positive number for all values of its symbols.
    pub(super) fn is_positive(&self, idx: AtomIdx) -> bool {
        match &self.atoms[idx] {
            Atom::Prime(_) => true,
            Atom::Symbol(name) => name == "e" || name == "\\pi" || name == "°",
            Atom::Raised(base, exponent) => {
                let is_positive = match (base.as_number(), base.over.as_term()) {
                    (Some(number), _) => number.is_positive(),
                    (None, Some((monomial, coefficient))) => {
                        coefficient.is_positive()
                            && monomial.iter().all(|(idx, _)| self.is_positive(*idx))
                    }
                    _ => false,
                };
                is_positive && self.is_plainly_real(exponent)
            }
            _ => false,
        }
    }

    /// Made of numbers, real roots of numbers and symbols.
    pub(super) fn is_plainly_real(&self, value: &Value) -> bool {
        let polynomials = [&value.over, &value.under];
        let mut monomials = polynomials.iter().flat_map(|p| p.terms.keys()).flatten();
        monomials.all(|(idx, exponent)| match &self.atoms[*idx] {
            Atom::Prime(_) => true,
            Atom::Symbol(_) => exponent.is_integer(),
            _ => false,
        })
    }

    /// The root of a positive number, in roots of primes.
    pub(super) fn number_root(&mut self, number: &BigRational, index: i64) -> Result<Value, Stop> {
        let mut root = Value::whole(1);
        for (prime, count) in self.factors(number)? {
            let exponent = checked(Exponent::new(count, index))?;
            let n_whole = exponent.floor().to_integer();
            let base = BigRational::from(BigInt::from(prime.clone()));
            let whole = number_power(&base, n_whole, self.meter)?;
            let left = exponent - Exponent::from(n_whole);
            let monomial = match left.is_zero() {
                true => Monomial::new(),
                false => vec![(self.atom(Atom::Prime(prime))?, left)],
            };
            let factor = Value::polynomial(Polynomial::term(monomial, whole));
            root = self.product(&root, &factor)?;
        }
        Ok(root)
    }

    /// Prime factors of a positive number with their exponents, negative ones for the denominator.
    pub(super) fn factors(&mut self, number: &BigRational) -> Result<Vec<(BigUint, i64)>, Stop> {
        let mut factors = Vec::new();
        for (side, sign) in [(number.numer(), 1), (number.denom(), -1)] {
            if side.sign() != Sign::Plus {
                return Err(Stop::NotRead);
            }
            for (prime, count) in self.whole_factors(side.magnitude().clone())? {
                factors.push((prime, sign * count));
            }
        }
        Ok(factors)
    }

    pub(super) fn whole_factors(&mut self, mut left: BigUint) -> Result<Vec<(BigUint, i64)>, Stop> {
        let mut factors = Vec::new();
        let mut divisor = 2_u32;
        while divisor <= LARGEST_DIVISOR && BigUint::from(divisor * divisor) <= left {
            let mut count = 0;
            loop {
                // Eight divisions of a word cost what one operation does.
                if divisor % 16 < 2 || 64 < left.bits() {
                    self.meter.spend(1 + left.bits() / 64)?;
                }
                let (quotient, rest) = left.div_rem(&BigUint::from(divisor));
                if !rest.is_zero() {
                    break;
                }
                left = quotient;
                count += 1;
            }
            if count != 0 {
                factors.push((BigUint::from(divisor), count));
            }
            divisor += if divisor == 2 { 1 } else { 2 };
        }
        let is_one = left.is_one();
        // What has no small divisor may still be a power.
        let mut count = 1;
        for index in [2_u32, 3, 5, 7] {
            let n_words = left.bits() / 64;
            self.meter.spend(1 + n_words * n_words)?;
            let root = left.nth_root(index);
            if !is_one && Pow::pow(&root, index) == left {
                left = root;
                count *= i64::from(index);
            }
        }
        if !is_one {
            factors.push((left, count));
        }
        Ok(factors)
    }
}

//! Exact arithmetic with rational functions of symbols, roots and functions.
//!
//! A value is a fraction of two polynomials in atoms. Atoms are primes (for roots of numbers), the
//! imaginary unit, symbols, and roots, powers and functions of other values. Two values are proved equal
//! when cross multiplication gives the same polynomial; every rule used on the way is an identity, so
//! values of different numbers are never proved equal. For numbers made of rationals and their real roots
//! the reverse holds too: real roots of different primes are independent over the rationals
//! (Besicovitch 1940).
//!
//! Identities assumed: symbols are real, no division by zero happens for the values that symbols may
//! have, and `i` is the imaginary unit. `sqrt(x^2)` is not `x`, and `sqrt(x y)` is not split.

use num_bigint::{BigInt, BigUint};
use num_rational::BigRational;
use num_traits::{One, Zero};

use super::budget::{Meter, Stop};
use super::polynomial::{AtomIdx, Exponent, Monomial, Polynomial, checked};
use super::power::number_power;

/// Atoms of one comparison.
const MAX_ATOMS: usize = 64;

/// What a polynomial is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Atom {
    /// Exponents from 0 to below 1: whole powers go to the coefficient.
    Prime(BigUint),
    /// Exponent 1: higher powers are signs.
    Imaginary,
    Symbol(String),
    /// A polynomial whose root is no product of roots; exponents from 0 to below 1.
    Rooted(Polynomial),
    /// A base that is no number, or a prime, raised to something that is no number.
    Raised(Value, Value),
    /// A function of values.
    Applied(String, Vec<Value>),
    /// The cosine of what the other atom is the sine of; exponent 1, since its square is known.
    Cosine(AtomIdx),
}

/// A fraction of polynomials; the denominator is 1 or has several terms.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) over: Polynomial,
    pub(super) under: Polynomial,
}

impl Value {
    pub(super) fn number(number: BigRational) -> Value {
        Value::polynomial(Polynomial::constant(number))
    }

    pub(super) fn whole(number: i64) -> Value {
        Value::number(BigRational::from(BigInt::from(number)))
    }

    pub(super) fn polynomial(over: Polynomial) -> Value {
        Value {
            over,
            under: Polynomial::constant(BigRational::one()),
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.over.is_zero()
    }

    /// The number that it is, if it is a rational one.
    pub(super) fn as_number(&self) -> Option<BigRational> {
        let under = self.under.as_number()?;
        Some(self.over.as_number()? / under)
    }

    pub(super) fn n_terms(&self) -> u64 {
        (self.over.terms.len() + self.under.terms.len()) as u64
    }

    pub(super) fn as_polynomial(&self) -> Option<&Polynomial> {
        self.under
            .as_number()
            .is_some_and(|number| number.is_one())
            .then_some(&self.over)
    }
}

/// The atoms of one comparison.
pub(super) struct Algebra<'m> {
    pub(super) atoms: Vec<Atom>,
    pub(super) meter: &'m mut Meter,
}

impl<'m> Algebra<'m> {
    pub(super) fn new(meter: &'m mut Meter) -> Self {
        Algebra {
            atoms: Vec::new(),
            meter,
        }
    }

    /// The place of an atom, which is made when no atom so far is equal to it.
    pub(super) fn atom(&mut self, atom: Atom) -> Result<AtomIdx, Stop> {
        for idx in 0..self.atoms.len() {
            self.meter.spend(1)?;
            let is_same = match (&self.atoms[idx], &atom) {
                (Atom::Raised(base, exponent), Atom::Raised(other, raised)) => {
                    let known = [base.clone(), exponent.clone()];
                    self.all_equal(&known, &[other.clone(), raised.clone()])?
                }
                (Atom::Applied(name, values), Atom::Applied(other, others)) if name == other => {
                    let known = values.clone();
                    self.all_equal(&known, others)?
                }
                (known, atom) => known == atom,
            };
            if is_same {
                return Ok(idx);
            }
        }
        if self.atoms.len() == MAX_ATOMS {
            return Err(Stop::OverBudget);
        }
        self.atoms.push(atom);
        Ok(self.atoms.len() - 1)
    }

    pub(super) fn single(&mut self, atom: Atom) -> Result<Value, Stop> {
        let idx = self.atom(atom)?;
        let monomial = vec![(idx, Exponent::one())];
        Ok(Value::polynomial(Polynomial::term(
            monomial,
            BigRational::one(),
        )))
    }

    pub(super) fn symbol(&mut self, name: &str) -> Result<Value, Stop> {
        match name {
            "i" => self.single(Atom::Imaginary),
            _ => self.single(Atom::Symbol(name.to_owned())),
        }
    }

    /// A function about which nothing is known but its arguments.
    pub(super) fn applied(&mut self, name: &str, values: Vec<Value>) -> Result<Value, Stop> {
        self.single(Atom::Applied(name.to_owned(), values))
    }

    pub(super) fn all_equal(&mut self, left: &[Value], right: &[Value]) -> Result<bool, Stop> {
        for value in left.iter().chain(right) {
            self.meter.spend(value.n_terms())?;
        }
        for (left, right) in left.iter().zip(right) {
            if !self.equal(left, right)? {
                return Ok(false);
            }
        }
        Ok(left.len() == right.len())
    }

    /// Whether the two are proved equal.
    pub(super) fn equal(&mut self, left: &Value, right: &Value) -> Result<bool, Stop> {
        if left == right {
            return Ok(true);
        }
        let forth = self.multiply(&left.over, &right.under)?;
        let back = self.multiply(&right.over, &left.under)?;
        Ok(forth == back)
    }

    pub(super) fn sum(&mut self, left: &Value, right: &Value) -> Result<Value, Stop> {
        if left.under == right.under {
            let mut over = left.over.clone();
            over.add(&right.over, self.meter)?;
            let under = left.under.clone();
            return Ok(Value { over, under });
        }
        let mut over = self.multiply(&left.over, &right.under)?;
        over.add(&self.multiply(&right.over, &left.under)?, self.meter)?;
        let under = self.multiply(&left.under, &right.under)?;
        self.fraction(over, under)
    }

    pub(super) fn negated(&self, value: &Value) -> Value {
        Value {
            over: value.over.negated(),
            under: value.under.clone(),
        }
    }

    pub(super) fn product(&mut self, left: &Value, right: &Value) -> Result<Value, Stop> {
        let over = self.multiply(&left.over, &right.over)?;
        let under = self.multiply(&left.under, &right.under)?;
        self.fraction(over, under)
    }

    /// # Errors
    /// Also when the divisor is zero.
    pub(super) fn inverse(&mut self, value: &Value) -> Result<Value, Stop> {
        self.fraction(value.under.clone(), value.over.clone())
    }

    /// Brings a denominator of one term into the numerator.
    pub(super) fn fraction(&mut self, over: Polynomial, under: Polynomial) -> Result<Value, Stop> {
        if under.is_zero() {
            return Err(Stop::NotRead);
        }
        if over.is_zero() {
            return Ok(Value::polynomial(over));
        }
        let Some((monomial, coefficient)) = under.as_term() else {
            return Ok(Value { over, under });
        };
        let mut inverse = Polynomial::constant(coefficient.recip());
        let mut left_below = Polynomial::constant(BigRational::one());
        for (idx, exponent) in monomial.clone() {
            let power = |exponent| Polynomial::term(vec![(idx, exponent)], BigRational::one());
            let factor = match &self.atoms[idx] {
                // `1 / r^e` is `r^(1-e) / r`.
                Atom::Rooted(radicand) => {
                    let radicand = radicand.clone();
                    left_below = self.multiply(&left_below, &radicand)?;
                    power(Exponent::one() - exponent)
                }
                Atom::Prime(prime) => {
                    let prime = BigRational::from(BigInt::from(prime.clone()));
                    let factor = power(Exponent::one() - exponent);
                    factor.scaled(&prime.recip(), self.meter)?
                }
                Atom::Imaginary => power(exponent).negated(),
                // `1 / cos` is `cos / (1 - sin^2)`.
                Atom::Cosine(sine) => {
                    let square = cosine_square(*sine);
                    left_below = self.multiply(&left_below, &square)?;
                    power(exponent)
                }
                _ => power(-exponent),
            };
            inverse = self.multiply(&inverse, &factor)?;
        }
        Ok(Value {
            over: self.multiply(&over, &inverse)?,
            under: left_below,
        })
    }

    pub(super) fn multiply(
        &mut self,
        left: &Polynomial,
        right: &Polynomial,
    ) -> Result<Polynomial, Stop> {
        let mut product = Polynomial::zero();
        for (left_monomial, left_coefficient) in &left.terms {
            for (right_monomial, right_coefficient) in &right.terms {
                self.meter.operate(left_coefficient, right_coefficient)?;
                let coefficient = left_coefficient * right_coefficient;
                let (monomial, coefficient, rest) =
                    self.monomials(left_monomial, right_monomial, coefficient)?;
                if rest.is_empty() {
                    product.add_term(monomial, coefficient, self.meter)?;
                    continue;
                }
                // A root times itself is what was under it.
                let mut term = Polynomial::term(monomial, coefficient);
                for radicand in rest {
                    term = self.multiply(&term, &radicand)?;
                }
                product.add(&term, self.meter)?;
            }
        }
        Ok(product)
    }

    /// The product of two monomials and a coefficient; what roots leave over stands last.
    pub(super) fn monomials(
        &mut self,
        left: &Monomial,
        right: &Monomial,
        mut coefficient: BigRational,
    ) -> Result<(Monomial, BigRational, Vec<Polynomial>), Stop> {
        self.meter.spend((left.len() + right.len()) as u64)?;
        let mut monomial = Monomial::new();
        let mut rest = Vec::new();
        let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
        loop {
            let (idx, mut exponent) = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some((idx, _)), Some((other, _))) if idx == other => {
                    let (idx, forth) = *left.next().ok_or(Stop::NotRead)?;
                    let (_, back) = *right.next().ok_or(Stop::NotRead)?;
                    (idx, checked(forth + back)?)
                }
                (Some((idx, _)), Some((other, _))) if other < idx => {
                    *right.next().ok_or(Stop::NotRead)?
                }
                (None, Some(_)) => *right.next().ok_or(Stop::NotRead)?,
                (Some(_), _) => *left.next().ok_or(Stop::NotRead)?,
            };
            let n_whole = exponent.floor().to_integer();
            match &self.atoms[idx] {
                Atom::Prime(prime) if n_whole != 0 => {
                    let prime = BigRational::from(BigInt::from(prime.clone()));
                    exponent -= Exponent::from(n_whole);
                    let power = number_power(&prime, n_whole, self.meter)?;
                    self.meter.operate(&coefficient, &power)?;
                    coefficient *= power;
                }
                // Only sums of exponents 0 and 1 occur.
                Atom::Imaginary if n_whole == 2 => {
                    coefficient = -coefficient;
                    exponent = Exponent::zero();
                }
                Atom::Rooted(radicand) if n_whole == 1 => {
                    exponent -= Exponent::one();
                    rest.push(radicand.clone());
                }
                // Only sums of exponents 0 and 1 occur.
                Atom::Cosine(sine) if n_whole == 2 => {
                    exponent = Exponent::zero();
                    rest.push(cosine_square(*sine));
                }
                _ => {}
            }
            if !exponent.is_zero() {
                monomial.push((idx, exponent));
            }
        }
        Ok((monomial, coefficient, rest))
    }

    /// Whether one value is a rational number other than 0 times the other; the number is that one.
    pub(super) fn proportion(
        &mut self,
        left: &Value,
        right: &Value,
    ) -> Result<Option<BigRational>, Stop> {
        if left.is_zero() || right.is_zero() {
            return Ok(None);
        }
        let forth = self.multiply(&left.over, &right.under)?;
        let back = self.multiply(&right.over, &left.under)?;
        let (Some((monomial, over)), Some((other, under))) =
            (forth.terms.last_key_value(), back.terms.last_key_value())
        else {
            return Ok(None);
        };
        if monomial != other {
            return Ok(None);
        }
        self.meter.operate(over, under)?;
        let ratio = over / under;
        let scaled = back.scaled(&ratio, self.meter)?;
        Ok((scaled == forth).then_some(ratio))
    }
}

/// `1 - sin^2`.
fn cosine_square(sine: AtomIdx) -> Polynomial {
    let mut square = Polynomial::constant(BigRational::one());
    let monomial = vec![(sine, Exponent::from(2))];
    square.terms.insert(monomial, -BigRational::one());
    square
}

//! Logarithms, exponentials, sines, cosines and sizes, as far as they are known exactly.

use num_bigint::{BigInt, BigUint};
use num_rational::BigRational;
use num_traits::{One, Signed};

use super::algebra::{Algebra, Atom, Value};
use super::budget::Stop;
use super::polynomial::{AtomIdx, Exponent, Polynomial};

impl Algebra<'_> {
    /// Logarithm of a positive product of numbers and powers of e, in logarithms of primes.
    pub(super) fn logarithm(&mut self, name: &str, value: &Value) -> Result<Value, Stop> {
        let e = self.symbol("e")?;
        let Some((e_idx, _)) = e.over.as_term().and_then(|(monomial, _)| monomial.first()) else {
            return Err(Stop::NotRead);
        };
        let term = value.as_polynomial().and_then(Polynomial::as_term);
        let Some((monomial, coefficient)) = term else {
            return match value.is_zero() {
                true => Err(Stop::NotRead),
                false => self.applied(name, vec![value.clone()]),
            };
        };
        let (monomial, coefficient) = (monomial.clone(), coefficient.clone());
        let is_known = |idx: AtomIdx| {
            matches!(self.atoms[idx], Atom::Prime(_)) || idx == *e_idx && name == "ln"
        };
        if !coefficient.is_positive() || !monomial.iter().all(|(idx, _)| is_known(*idx)) {
            return self.applied(name, vec![value.clone()]);
        }
        let mut sum = Value::whole(0);
        let mut parts: Vec<(Option<BigUint>, Exponent)> = self
            .factors(&coefficient)?
            .into_iter()
            .map(|(prime, count)| (Some(prime), Exponent::from(count)))
            .collect();
        parts.extend(
            monomial
                .iter()
                .map(|(idx, exponent)| match &self.atoms[*idx] {
                    Atom::Prime(prime) => (Some(prime.clone()), *exponent),
                    _ => (None, *exponent),
                }),
        );
        for (prime, exponent) in parts {
            let logarithm = match prime {
                Some(prime) => {
                    let prime = Value::number(BigRational::from(BigInt::from(prime)));
                    self.applied(name, vec![prime])?
                }
                None => Value::whole(1),
            };
            let exponent = BigRational::new(
                BigInt::from(*exponent.numer()),
                BigInt::from(*exponent.denom()),
            );
            let part = self.product(&logarithm, &Value::number(exponent))?;
            sum = self.sum(&sum, &part)?;
        }
        Ok(sum)
    }

    /// The size of a value, whatever its sign.
    pub(super) fn absolute(&mut self, value: &Value) -> Result<Value, Stop> {
        if let Some(number) = value.as_number() {
            return Ok(Value::number(number.abs()));
        }
        let mut value = value.clone();
        for side in [&mut value.over, &mut value.under] {
            if side.is_negative() {
                *side = side.negated();
            }
        }
        let content = value.over.content(self.meter)?;
        value.over = value.over.scaled(&content.recip(), self.meter)?;
        let size = self.applied("abs", vec![value])?;
        self.product(&size, &Value::number(content))
    }

    /// `e^(c ln v)` is `v^c` for numbers, and `e^(c i pi)` a root of 1.
    pub(super) fn known_exponential(
        &mut self,
        exponent: &Value,
        coefficient: &BigRational,
    ) -> Result<Option<Value>, Stop> {
        let Some((monomial, _)) = exponent.over.as_term() else {
            return Ok(None);
        };
        let is_first = monomial.iter().all(|(_, exponent)| exponent.is_one());
        let atoms = monomial.iter().map(|(idx, _)| &self.atoms[*idx]);
        match atoms.collect::<Vec<_>>().as_slice() {
            [Atom::Applied(name, values)] if is_first && name == "ln" => {
                let value = values[0].clone();
                match value.as_number().is_some() || coefficient.is_integer() {
                    true => self.rational_power(&value, coefficient, false).map(Some),
                    false => Ok(None),
                }
            }
            [Atom::Imaginary, Atom::Symbol(pi)] | [Atom::Symbol(pi), Atom::Imaginary]
                if is_first && pi == "\\pi" =>
            {
                let i = self.symbol("i")?;
                let inverse = self.inverse(&i)?;
                let angle = self.product(exponent, &inverse)?;
                let angle = self.product(&angle, &Value::number(coefficient.clone()))?;
                let Some((sine, cosine)) = self.exact_sine_and_cosine(&angle)? else {
                    return Ok(None);
                };
                let imaginary = self.product(&i, &sine)?;
                self.sum(&cosine, &imaginary).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The sine or cosine of an angle; of an angle and its negative they differ in sign only.
    pub(super) fn sine_and_cosine(&mut self, angle: &Value) -> Result<(Value, Value), Stop> {
        let (mut angle, mut is_negative) = (angle.clone(), false);
        for side in [&mut angle.over, &mut angle.under] {
            if side.is_negative() {
                *side = side.negated();
                is_negative = !is_negative;
            }
        }
        let sine = self.atom(Atom::Applied("sin".to_owned(), vec![angle]))?;
        let cosine = self.single(Atom::Cosine(sine))?;
        let monomial = vec![(sine, Exponent::one())];
        let sine = Value::polynomial(Polynomial::term(monomial, BigRational::one()));
        Ok(match is_negative {
            true => (self.negated(&sine), cosine),
            false => (sine, cosine),
        })
    }
}

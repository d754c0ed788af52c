//! Powers of values: whole and rational exponents, and exponents that are no numbers.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, ToPrimitive, Zero};

use super::algebra::{Algebra, Atom, Value};
use super::budget::{Meter, Stop, n_bits};
use super::polynomial::{Exponent, Monomial, Polynomial, checked};

impl Algebra<'_> {
    /// A value raised to another.
    pub(super) fn power(&mut self, base: &Value, exponent: &Value) -> Result<Value, Stop> {
        if let Some(number) = exponent.as_number() {
            return self.rational_power(base, &number, false);
        }
        // A sum as an exponent is a product of powers.
        let Some(polynomial) = exponent.as_polynomial().cloned() else {
            return self.raised(base, exponent);
        };
        let mut product = Value::whole(1);
        for (monomial, coefficient) in &polynomial.terms {
            let factor = match monomial.is_empty() {
                true => self.rational_power(base, coefficient, false)?,
                false => {
                    let monomial = Polynomial::term(monomial.clone(), BigRational::one());
                    self.raised_to_term(base, &Value::polynomial(monomial), coefficient)?
                }
            };
            product = self.product(&product, &factor)?;
        }
        Ok(product)
    }

    /// `base^(coefficient * exponent)`.
    pub(super) fn raised_to_term(
        &mut self,
        base: &Value,
        exponent: &Value,
        coefficient: &BigRational,
    ) -> Result<Value, Stop> {
        let positive = base.as_number().filter(|number| number.is_positive());
        if let Some(number) = positive {
            let mut product = Value::whole(1);
            for (prime, count) in self.factors(&number)? {
                let prime = Value::number(BigRational::from(BigInt::from(prime)));
                let raised = self.raised(&prime, exponent)?;
                let count = BigRational::from(BigInt::from(count)) * coefficient;
                let factor = self.term_power(&raised, &count)?;
                product = self.product(&product, &factor)?;
            }
            return Ok(product);
        }
        let is_e = *base == self.symbol("e")?;
        if is_e && let Some(known) = self.known_exponential(exponent, coefficient)? {
            return Ok(known);
        }
        if is_e || coefficient.is_integer() {
            let raised = self.raised(base, exponent)?;
            return self.term_power(&raised, coefficient);
        }
        let exponent = self.product(exponent, &Value::number(coefficient.clone()))?;
        self.raised(base, &exponent)
    }

    pub(super) fn raised(&mut self, base: &Value, exponent: &Value) -> Result<Value, Stop> {
        if base.is_zero() {
            return Err(Stop::NotRead);
        }
        self.single(Atom::Raised(base.clone(), exponent.clone()))
    }

    /// A single atom of exponent 1, whose powers are its own, raised to a rational number.
    pub(super) fn term_power(
        &mut self,
        value: &Value,
        exponent: &BigRational,
    ) -> Result<Value, Stop> {
        let exponent = small_exponent(exponent)?;
        let Some(([(idx, _)], _)) = value.over.as_term().map(|(m, c)| (m.as_slice(), c)) else {
            return Err(Stop::NotRead);
        };
        let monomial = match exponent.is_zero() {
            true => Monomial::new(),
            false => vec![(*idx, exponent)],
        };
        Ok(Value::polynomial(Polynomial::term(
            monomial,
            BigRational::one(),
        )))
    }

    /// `is_root`: written with the sign of a root, so that odd roots of negative numbers are real.
    pub(super) fn rational_power(
        &mut self,
        base: &Value,
        exponent: &BigRational,
        is_root: bool,
    ) -> Result<Value, Stop> {
        let exponent = small_exponent(exponent)?;
        let n_whole = *exponent.numer();
        let index = *exponent.denom();
        if base.is_zero() {
            // `0^0` and `0^-1` have no value.
            return match exponent.is_positive() {
                true => Ok(Value::whole(0)),
                false => Err(Stop::NotRead),
            };
        }
        let root = match index {
            1 => base.clone(),
            _ => self.principal_root(base, index, is_root)?,
        };
        self.whole_power(&root, n_whole)
    }

    pub(super) fn whole_power(&mut self, base: &Value, exponent: i64) -> Result<Value, Stop> {
        if let Some(number) = base.as_number() {
            return number_power(&number, exponent, self.meter).map(Value::number);
        }
        let mut square = match exponent < 0 {
            true => self.inverse(base)?,
            false => base.clone(),
        };
        let mut power = Value::whole(1);
        let mut left = exponent.unsigned_abs();
        while left != 0 {
            if left % 2 == 1 {
                power = self.product(&power, &square)?;
            }
            left /= 2;
            if left != 0 {
                square = self.product(&square, &square)?;
            }
        }
        Ok(power)
    }
}

/// A number raised to a whole one, refused before it is computed when it would be too long.
pub(super) fn number_power(
    base: &BigRational,
    exponent: i64,
    meter: &mut Meter,
) -> Result<BigRational, Stop> {
    if base.is_zero() && exponent <= 0 {
        return Err(Stop::NotRead);
    }
    if base.is_one() {
        return Ok(base.clone());
    }
    let size = n_bits(base).saturating_mul(exponent.unsigned_abs());
    // Of 1 and -1 all powers are short.
    if 1 < n_bits(base) {
        meter.check_bits(size)?;
        meter.spend(1 + (size / 64) * (size / 64))?;
    }
    let exponent = i32::try_from(exponent).map_err(|_| Stop::OverBudget)?;
    Ok(Pow::pow(base, exponent))
}

pub(super) fn small_exponent(exponent: &BigRational) -> Result<Exponent, Stop> {
    let (Some(over), Some(under)) = (exponent.numer().to_i64(), exponent.denom().to_i64()) else {
        return Err(Stop::OverBudget);
    };
    checked(Exponent::new(over, under))
}

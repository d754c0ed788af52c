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

use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, ToPrimitive, Zero};

use super::budget::{Meter, Stop, n_bits};
use super::polynomial::{AtomIdx, Exponent, Monomial, Polynomial, checked};

/// Divisors that are tried; what is left over counts as prime, which only misses equalities.
const LARGEST_DIVISOR: u32 = 10_000;
/// Atoms of one comparison.
const MAX_ATOMS: usize = 64;

/// What a polynomial is made of.
#[derive(Clone, Debug, PartialEq)]
enum Atom {
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
    over: Polynomial,
    under: Polynomial,
}

impl Value {
    pub(super) fn number(number: BigRational) -> Value {
        Value::polynomial(Polynomial::constant(number))
    }

    pub(super) fn whole(number: i64) -> Value {
        Value::number(BigRational::from(BigInt::from(number)))
    }

    fn polynomial(over: Polynomial) -> Value {
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

    fn n_terms(&self) -> u64 {
        (self.over.terms.len() + self.under.terms.len()) as u64
    }

    fn as_polynomial(&self) -> Option<&Polynomial> {
        self.under
            .as_number()
            .is_some_and(|number| number.is_one())
            .then_some(&self.over)
    }
}

/// The atoms of one comparison.
pub(super) struct Algebra<'m> {
    atoms: Vec<Atom>,
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
    fn atom(&mut self, atom: Atom) -> Result<AtomIdx, Stop> {
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

    fn single(&mut self, atom: Atom) -> Result<Value, Stop> {
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

    fn all_equal(&mut self, left: &[Value], right: &[Value]) -> Result<bool, Stop> {
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
    fn fraction(&mut self, over: Polynomial, under: Polynomial) -> Result<Value, Stop> {
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

    fn multiply(&mut self, left: &Polynomial, right: &Polynomial) -> Result<Polynomial, Stop> {
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
    fn monomials(
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
    fn raised_to_term(
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

    /// `e^(c ln v)` is `v^c` for numbers, and `e^(c i pi)` a root of 1.
    fn known_exponential(
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

    fn raised(&mut self, base: &Value, exponent: &Value) -> Result<Value, Stop> {
        if base.is_zero() {
            return Err(Stop::NotRead);
        }
        self.single(Atom::Raised(base.clone(), exponent.clone()))
    }

    /// A single atom of exponent 1, whose powers are its own, raised to a rational number.
    fn term_power(&mut self, value: &Value, exponent: &BigRational) -> Result<Value, Stop> {
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

    /// The principal root with a whole index of at least 2; of negative numbers the real one, where
    /// there is one.
    pub(super) fn root(&mut self, value: &Value, index: &Value) -> Result<Value, Stop> {
        let index = index.as_number().ok_or(Stop::NotRead)?;
        if !index.is_integer() || index < BigRational::from(BigInt::from(2)) {
            return Err(Stop::NotRead);
        }
        self.rational_power(value, &index.recip(), true)
    }

    /// `is_root`: written with the sign of a root, so that odd roots of negative numbers are real.
    fn rational_power(
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

    fn whole_power(&mut self, base: &Value, exponent: i64) -> Result<Value, Stop> {
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

    fn principal_root(&mut self, base: &Value, index: i64, is_root: bool) -> Result<Value, Stop> {
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
    fn denested(&mut self, polynomial: &Polynomial) -> Result<Option<Value>, Stop> {
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

    fn root_of_number(&mut self, number: BigRational) -> Result<Value, Stop> {
        match number.is_zero() {
            true => Ok(Value::whole(0)),
            false => self.number_root(&number, 2),
        }
    }

    /// The root of a product of powers, where it is the product of their roots: when all but one are
    /// positive, and that one has an exponent above -1 and up to 1.
    fn split_root(&mut self, monomial: &Monomial, index: i64) -> Result<Option<Monomial>, Stop> {
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
    fn is_positive(&self, idx: AtomIdx) -> bool {
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
    fn is_plainly_real(&self, value: &Value) -> bool {
        let polynomials = [&value.over, &value.under];
        let mut monomials = polynomials.iter().flat_map(|p| p.terms.keys()).flatten();
        monomials.all(|(idx, exponent)| match &self.atoms[*idx] {
            Atom::Prime(_) => true,
            Atom::Symbol(_) => exponent.is_integer(),
            _ => false,
        })
    }

    /// The root of a positive number, in roots of primes.
    fn number_root(&mut self, number: &BigRational, index: i64) -> Result<Value, Stop> {
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

    /// Prime factors of a positive number with their exponents, negative ones for the denominator.
    fn factors(&mut self, number: &BigRational) -> Result<Vec<(BigUint, i64)>, Stop> {
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

    fn whole_factors(&mut self, mut left: BigUint) -> Result<Vec<(BigUint, i64)>, Stop> {
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

/// `1 - sin^2`.
fn cosine_square(sine: AtomIdx) -> Polynomial {
    let mut square = Polynomial::constant(BigRational::one());
    let monomial = vec![(sine, Exponent::from(2))];
    square.terms.insert(monomial, -BigRational::one());
    square
}

/// A number raised to a whole one, refused before it is computed when it would be too long.
fn number_power(base: &BigRational, exponent: i64, meter: &mut Meter) -> Result<BigRational, Stop> {
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

fn small_exponent(exponent: &BigRational) -> Result<Exponent, Stop> {
    let (Some(over), Some(under)) = (exponent.numer().to_i64(), exponent.denom().to_i64()) else {
        return Err(Stop::OverBudget);
    };
    checked(Exponent::new(over, under))
}

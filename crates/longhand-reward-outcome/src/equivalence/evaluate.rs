//! The value of a formula, as far as it is known exactly.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, ToPrimitive, Zero};

use super::algebra::{Algebra, Value};
use super::budget::Stop;
use super::syntax::Expression;

/// Factorials up to this one are computed.
const MAX_FACTORIAL: i64 = 400;

impl Algebra<'_> {
    /// The value of a formula. Infinity has none; only its sign is known, to who compares ends of
    /// intervals.
    pub(super) fn value(&mut self, formula: &Expression) -> Result<Value, Stop> {
        self.meter.spend(1)?;
        match formula {
            Expression::Number(number) => Ok(Value::number(number.clone())),
            Expression::Symbol(name) => self.symbol(name),
            Expression::Infinity => Err(Stop::NotRead),
            Expression::Negated(inner) => {
                let inner = self.value(inner)?;
                Ok(self.negated(&inner))
            }
            Expression::Sum(terms) => {
                let mut sum = Value::whole(0);
                for term in terms {
                    let term = self.value(term)?;
                    sum = self.sum(&sum, &term)?;
                }
                Ok(sum)
            }
            Expression::Product(factors) => {
                let mut product = Value::whole(1);
                for (factor, is_inverse) in factors {
                    let mut factor = self.value(factor)?;
                    if *is_inverse {
                        factor = self.inverse(&factor)?;
                    }
                    product = self.product(&product, &factor)?;
                }
                Ok(product)
            }
            Expression::Power(base, exponent) => {
                let base = self.value(base)?;
                let exponent = self.value(exponent)?;
                self.power(&base, &exponent)
            }
            Expression::Root(index, radicand) => {
                let index = self.value(index)?;
                let radicand = self.value(radicand)?;
                self.root(&radicand, &index)
            }
            Expression::Call(name, arguments) => {
                let values: Result<Vec<Value>, Stop> = arguments
                    .iter()
                    .map(|argument| self.value(argument))
                    .collect();
                self.call(name, values?)
            }
        }
    }

    fn call(&mut self, name: &str, mut values: Vec<Value>) -> Result<Value, Stop> {
        let number = values[0].as_number();
        match (name, number) {
            ("abs", _) => self.absolute(&values[0]),
            ("floor", Some(number)) => Ok(Value::number(number.floor())),
            ("ceil", Some(number)) => Ok(Value::number(number.ceil())),
            ("!", Some(number)) => self.factorial(&number),
            ("binom", Some(above)) => match values[1].as_number() {
                Some(below) => self.binomial(&above, &below),
                None => self.applied(name, values),
            },
            ("ln", _) => self.logarithm("ln", &values[0]),
            ("log", _) if values.len() == 2 => {
                let base = values.swap_remove(1);
                if base.as_number().is_some_and(|base| base.is_one()) {
                    return Err(Stop::NotRead);
                }
                let over = self.logarithm("ln", &values[0])?;
                let under = self.logarithm("ln", &base)?;
                let inverse = self.inverse(&under)?;
                self.product(&over, &inverse)
            }
            ("log", _) => self.logarithm("log", &values[0]),
            ("exp", _) => {
                let e = self.symbol("e")?;
                self.power(&e, &values[0])
            }
            ("sin" | "cos" | "tan" | "cot" | "sec" | "csc", _) => self.circular(name, &values[0]),
            _ => self.applied(name, values),
        }
    }

    fn factorial(&mut self, number: &BigRational) -> Result<Value, Stop> {
        let n = match number.is_integer() {
            true => number.to_integer().to_i64(),
            false => None,
        };
        let n = n.filter(|n| 0 <= *n).ok_or(Stop::NotRead)?;
        if MAX_FACTORIAL < n {
            return Err(Stop::OverBudget);
        }
        let mut product = BigRational::one();
        for factor in 2..=n {
            let factor = BigRational::from(BigInt::from(factor));
            self.meter.operate(&product, &factor)?;
            product *= factor;
        }
        Ok(Value::number(product))
    }

    fn binomial(&mut self, above: &BigRational, below: &BigRational) -> Result<Value, Stop> {
        let whole = |number: &BigRational| match number.is_integer() {
            true => number.to_integer().to_i64().filter(|n| 0 <= *n),
            false => None,
        };
        let above = whole(above).ok_or(Stop::NotRead)?;
        let below = whole(below).ok_or(Stop::NotRead)?;
        if above < below {
            return Ok(Value::whole(0));
        }
        let below = below.min(above - below);
        if MAX_FACTORIAL < below {
            return Err(Stop::OverBudget);
        }
        let mut product = BigRational::one();
        for idx in 1..=below {
            let factor = BigRational::new(BigInt::from(above - below + idx), BigInt::from(idx));
            self.meter.operate(&product, &factor)?;
            product *= factor;
        }
        Ok(Value::number(product))
    }

    /// Degree signs as the number they are.
    pub(super) fn in_radians(&mut self, value: &Value) -> Result<Value, Stop> {
        let degree = self.symbol("°")?;
        let inverse = self.inverse(&degree)?;
        let number = self.product(value, &inverse)?;
        match number.as_number() {
            Some(_) => self.degrees(&number),
            None => Ok(value.clone()),
        }
    }

    /// So many degrees, as a number.
    pub(super) fn degrees(&mut self, number: &Value) -> Result<Value, Stop> {
        let pi = self.symbol("\\pi")?;
        let part = Value::number(BigRational::new(BigInt::one(), BigInt::from(180)));
        let degree = self.product(&pi, &part)?;
        self.product(number, &degree)
    }

    /// Which multiple of `pi / 12` an angle is, from 0 to 23, if it is a whole one.
    fn twelfths_of_pi(&mut self, angle: &Value) -> Result<Option<i64>, Stop> {
        let pi = self.symbol("\\pi")?;
        let inverse = self.inverse(&pi)?;
        let in_pi = self.product(angle, &inverse)?;
        let Some(number) = in_pi.as_number() else {
            return Ok(None);
        };
        let twelfths = number * BigRational::from(BigInt::from(12));
        let rest = twelfths.to_integer().mod_floor(&BigInt::from(24));
        Ok(rest.to_i64().filter(|_| twelfths.is_integer()))
    }

    /// A function of an angle, by sine and cosine.
    fn circular(&mut self, name: &str, angle: &Value) -> Result<Value, Stop> {
        let angle = self.in_radians(angle)?;
        let (sine, cosine) = match self.exact_sine_and_cosine(&angle)? {
            Some(known) => known,
            None => self.sine_and_cosine(&angle)?,
        };
        let (over, under) = match name {
            "sin" => return Ok(sine),
            "cos" => return Ok(cosine),
            "tan" => (sine, cosine),
            "cot" => (cosine, sine),
            "sec" => (Value::whole(1), cosine),
            _ => (Value::whole(1), sine),
        };
        let inverse = self.inverse(&under)?;
        self.product(&over, &inverse)
    }

    /// Sine and cosine of an angle, where they are known.
    pub(super) fn exact_sine_and_cosine(
        &mut self,
        angle: &Value,
    ) -> Result<Option<(Value, Value)>, Stop> {
        match self.twelfths_of_pi(angle)? {
            Some(twelfths) => self.known_angle(twelfths),
            None => Ok(None),
        }
    }

    /// Sine and cosine of a multiple of 30 or of 45 degrees.
    fn known_angle(&mut self, twelfths: i64) -> Result<Option<(Value, Value)>, Stop> {
        let sine_of = |twelfths: i64| {
            let twelfths = twelfths.rem_euclid(24);
            let first = match twelfths % 12 {
                twelfth @ 0..=6 => twelfth,
                twelfth => 12 - twelfth,
            };
            // Twice the sine is the root of this.
            let square = match first {
                0 => 0,
                2 => 1,
                3 => 2,
                4 => 3,
                6 => 4,
                _ => return None,
            };
            Some((square, if twelfths < 12 { 1 } else { -1 }))
        };
        let (Some(sine), Some(cosine)) = (sine_of(twelfths), sine_of(twelfths + 6)) else {
            return Ok(None);
        };
        let mut value_of = |(square, sign): (i64, i64)| {
            let root = self.root(&Value::whole(square), &Value::whole(2))?;
            let half = BigRational::new(BigInt::from(sign), BigInt::from(2));
            self.product(&root, &Value::number(half))
        };
        Ok(Some((value_of(sine)?, value_of(cosine)?)))
    }

    /// Whether a value is known to be zero.
    pub(super) fn is_nothing(&mut self, value: &Value) -> bool {
        value.as_number().is_some_and(|number| number.is_zero())
    }
}

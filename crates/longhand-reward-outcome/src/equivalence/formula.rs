//! Formulas: sums of products of powers, roots, functions and mixed numbers.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow, Zero};

use super::budget::{Meter, Stop};
use super::parse::{Parser, is_word};
use super::syntax::Expression;
use super::token::{Literal, Token};

/// Functions of one argument, which needs no brackets.
const FUNCTIONS: [&str; 14] = [
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
    "exp", "abs",
];
const LOGARITHMS: [&str; 3] = ["log", "ln", "lg"];

/// Whether a function takes an angle.
pub(super) fn is_circular(name: &str) -> bool {
    FUNCTIONS[..6].contains(&name)
}

/// The exact value of a number as it was written.
pub(super) fn literal_value(literal: &Literal, meter: &mut Meter) -> Result<BigRational, Stop> {
    let (whole, part, repeating) = (&literal.whole, &literal.part, &literal.repeating);
    meter.check_digits(whole.len() + part.len() + repeating.len())?;
    meter.spend((whole.len() + part.len() + repeating.len()) as u64)?;
    let ten_to = |n: usize| -> BigInt { Pow::pow(&BigInt::from(10), n) };
    let integer = |digits: &str| match digits {
        "" => BigInt::zero(),
        _ => digits.parse().expect("digits only"),
    };
    let mut value = BigRational::new(integer(&format!("{whole}{part}")), ten_to(part.len()));
    if !repeating.is_empty() {
        let nines = ten_to(repeating.len()) - BigInt::one();
        value += BigRational::new(integer(repeating), nines * ten_to(part.len()));
    }
    if let Some(exponent) = &literal.exponent {
        let exponent: i64 = exponent.parse().map_err(|_| Stop::OverBudget)?;
        let size = usize::try_from(exponent.unsigned_abs()).map_err(|_| Stop::OverBudget)?;
        meter.check_digits(size)?;
        let power = BigRational::from(ten_to(size));
        value = match exponent < 0 {
            true => value / power,
            false => value * power,
        };
    }
    Ok(value)
}

impl Parser<'_> {
    /// Terms with signs between, up to what cannot belong to them.
    pub(super) fn sum(&mut self, end: usize) -> Result<Expression, Stop> {
        let mut terms = Vec::new();
        loop {
            let mut is_negative = false;
            let mut n_signs = 0;
            while self.at < end && (self.is_mark(self.at, '-') || self.is_mark(self.at, '+')) {
                is_negative ^= self.is_mark(self.at, '-');
                n_signs += 1;
                self.at += 1;
            }
            if n_signs == 0 && !terms.is_empty() {
                break;
            }
            self.meter.spend(1)?;
            let term = self.product(end)?;
            terms.push(match is_negative {
                true => Expression::Negated(Box::new(term)),
                false => term,
            });
        }
        match terms.len() {
            1 => Ok(terms.swap_remove(0)),
            _ => Ok(Expression::Sum(terms)),
        }
    }

    /// Factors with multiplication or division signs between, or nothing.
    fn product(&mut self, end: usize) -> Result<Expression, Stop> {
        let mut factors = vec![(self.power(end)?, false)];
        let mut only_numbers = self.was_number();
        // Whether the last factor stands behind a slash.
        let mut after_slash = false;
        while self.at < end {
            self.meter.spend(1)?;
            if self.is_mark(self.at, '*') || self.is_mark(self.at, '/') {
                let is_inverse = self.is_mark(self.at, '/');
                self.at += 1;
                // `a/bc` in one word.
                if let Some(Token::Word { text, is_text }) = self.token(self.at)
                    && is_inverse
                    && 1 < text.chars().count()
                    && !is_word(text, *is_text)
                {
                    return Err(Stop::NotRead);
                }
                // As in `2 * -3`.
                let is_negative = self.at < end && self.is_mark(self.at, '-');
                self.at += usize::from(is_negative);
                let factor = self.power(end)?;
                only_numbers &= self.was_number() && !is_negative;
                after_slash = is_inverse;
                let factor = match is_negative {
                    true => Expression::Negated(Box::new(factor)),
                    false => factor,
                };
                factors.push((factor, is_inverse));
            } else if self.begins_factor() {
                if after_slash {
                    // `1/2 x` is half of x; whether `a/b c` divides by c cannot be known.
                    let is_apart = self.tokens[self.at].has_space
                        || matches!(self.token(self.at), Some(Token::Command(name)) if name == "pi");
                    if !only_numbers || factors.len() != 2 || !is_apart {
                        return Err(Stop::NotRead);
                    }
                    after_slash = false;
                }
                // `2^n 3^n`, but not `x 3` or `2 3`.
                let is_power = !self.was_number() && self.is_mark(self.at + 1, '^');
                if matches!(self.token(self.at), Some(Token::Number(_))) && !is_power {
                    return Err(Stop::NotRead);
                }
                only_numbers = false;
                factors.push((self.power(end)?, false));
            } else {
                break;
            }
        }
        match factors.len() {
            1 => Ok(factors.swap_remove(0).0),
            _ => Ok(Expression::Product(factors)),
        }
    }

    /// Whether the last token read is a number.
    fn was_number(&self) -> bool {
        self.at
            .checked_sub(1)
            .is_some_and(|at| matches!(self.token(at), Some(Token::Number(_))))
    }

    fn begins_factor(&self) -> bool {
        match self.token(self.at) {
            Some(Token::Number(_) | Token::Word { .. }) => true,
            Some(Token::Command(name)) => !name.starts_with("end "),
            Some(Token::Mark(mark)) => match mark {
                '|' => self.n_bars == 0,
                mark => ['(', '[', '{', '∞', '⌊', '⌈'].contains(mark),
            },
            None => false,
        }
    }

    /// A factor with what is raised behind it.
    fn power(&mut self, end: usize) -> Result<Expression, Stop> {
        let mut base = self.primary(end)?;
        while self.at < end {
            if self.is_mark(self.at, '!') {
                self.at += 1;
                if self.at < end && self.is_mark(self.at, '!') {
                    return Err(Stop::NotRead);
                }
                base = Expression::Call("!".to_owned(), vec![base]);
            } else if self.is_mark(self.at, '%') {
                self.at += 1;
                let hundredth = BigRational::new(BigInt::one(), BigInt::from(100));
                base = Expression::Product(vec![
                    (base, false),
                    (Expression::Number(hundredth), false),
                ]);
            } else if self.is_mark(self.at, '°') {
                self.at += 1;
                base = Expression::Product(vec![
                    (base, false),
                    (Expression::Symbol("°".to_owned()), false),
                ]);
            } else if self.is_mark(self.at, '^') {
                self.at += 1;
                let exponent = self.exponent(end)?;
                base = Expression::Power(Box::new(base), Box::new(exponent));
                if self.at < end && self.is_mark(self.at, '^') {
                    return Err(Stop::NotRead);
                }
            } else {
                break;
            }
        }
        Ok(base)
    }

    fn exponent(&mut self, end: usize) -> Result<Expression, Stop> {
        let is_negative = self.at < end && self.is_mark(self.at, '-');
        self.at += usize::from(is_negative);
        let mut exponent = match self.closing(self.at) {
            Some(_) => self.primary(end)?,
            None => self.deeper(|parser| parser.primary(end))?,
        };
        // `2^3^2` without braces is the power of a power's exponent.
        if self.at < end && self.is_mark(self.at, '^') {
            self.at += 1;
            let upper = self.deeper(|parser| parser.exponent(end))?;
            exponent = Expression::Power(Box::new(exponent), Box::new(upper));
        }
        Ok(match is_negative {
            true => Expression::Negated(Box::new(exponent)),
            false => exponent,
        })
    }

    /// What is inside the brackets that open at the next token.
    fn group(&mut self, end: usize) -> Result<Expression, Stop> {
        let close = self.closing(self.at).filter(|close| *close < end);
        let close = close.ok_or(Stop::NotRead)?;
        let inner = self.formula(self.at + 1, close)?;
        self.at = close + 1;
        Ok(inner)
    }

    /// The argument of a command: a group, or the next token, of digits the first.
    fn argument(&mut self, end: usize) -> Result<Expression, Stop> {
        if self.at < end && self.is_mark(self.at, '{') {
            return self.group(end);
        }
        if self.at < end
            && let Token::Number(literal) = &self.tokens[self.at].token
            && literal.is_whole()
            && 1 < literal.whole.len()
        {
            let digit = &literal.whole[self.n_digits_used..=self.n_digits_used];
            let digit: BigInt = digit.parse().map_err(|_| Stop::NotRead)?;
            self.n_digits_used += 1;
            if self.n_digits_used == literal.whole.len() {
                self.n_digits_used = 0;
                self.at += 1;
            }
            return Ok(Expression::Number(BigRational::from(digit)));
        }
        self.deeper(|parser| parser.primary(end))
    }

    fn primary(&mut self, end: usize) -> Result<Expression, Stop> {
        // After `\frac123` a digit is left over.
        if end <= self.at || self.n_digits_used != 0 {
            return Err(Stop::NotRead);
        }
        self.meter.spend(1)?;
        match self.tokens[self.at].token.clone() {
            Token::Number(_) => self.number(end),
            Token::Word { text, is_text } => {
                self.at += 1;
                if text.chars().count() == 1 || is_word(&text, is_text) {
                    let name = match is_word(&text, is_text) {
                        true => text.to_lowercase(),
                        false => text,
                    };
                    return self.symbol(name, end);
                }
                // Letters next to each other; a subscript belongs to the last one.
                let mut factors = Vec::new();
                let n_letters = text.chars().count();
                for (idx, letter) in text.chars().enumerate() {
                    let factor = match idx + 1 == n_letters {
                        true => self.symbol(letter.to_string(), end)?,
                        false => Expression::Symbol(letter.to_string()),
                    };
                    factors.push((factor, false));
                }
                match self.at < end && (self.is_mark(self.at, '^') || self.is_mark(self.at, '!')) {
                    false => Ok(Expression::Product(factors)),
                    true => self.product_with_power(factors, end),
                }
            }
            Token::Command(name) => {
                self.at += 1;
                self.command(&name, end)
            }
            Token::Mark('(' | '[' | '{') => self.group(end),
            Token::Mark('∞') => {
                self.at += 1;
                Ok(Expression::Infinity)
            }
            Token::Mark('|') => {
                self.at += 1;
                self.n_bars += 1;
                let inner = self.deeper(|parser| parser.sum(end))?;
                self.n_bars -= 1;
                if end <= self.at || !self.is_mark(self.at, '|') {
                    return Err(Stop::NotRead);
                }
                self.at += 1;
                Ok(Expression::Call("abs".to_owned(), vec![inner]))
            }
            Token::Mark(mark @ ('⌊' | '⌈')) => {
                let name = if mark == '⌊' { "floor" } else { "ceil" };
                Ok(Expression::Call(name.to_owned(), vec![self.group(end)?]))
            }
            Token::Mark(_) => Err(Stop::NotRead),
        }
    }

    /// `xy^2` raises only y.
    fn product_with_power(
        &mut self,
        mut factors: Vec<(Expression, bool)>,
        end: usize,
    ) -> Result<Expression, Stop> {
        let (last, _) = factors.pop().ok_or(Stop::NotRead)?;
        if !self.is_mark(self.at, '^') {
            return Err(Stop::NotRead);
        }
        self.at += 1;
        let exponent = self.exponent(end)?;
        let raised = Expression::Power(Box::new(last), Box::new(exponent));
        factors.push((raised, false));
        Ok(Expression::Product(factors))
    }

    /// A number, or a mixed number: `1 1/2` and `1\frac{1}{2}`.
    fn number(&mut self, end: usize) -> Result<Expression, Stop> {
        let is_whole = |parser: &Self, at: usize| {
            at < end && matches!(parser.token(at), Some(Token::Number(n)) if n.is_whole())
        };
        let value = self.number_at(self.at)?.ok_or(Stop::NotRead)?;
        let can_be_mixed = is_whole(self, self.at);
        self.at += 1;
        if !can_be_mixed {
            return Ok(Expression::Number(value));
        }
        let at = self.at;
        let fraction = if is_whole(self, at) && self.is_mark(at + 1, '/') && is_whole(self, at + 2)
        {
            self.at += 3;
            (at, at + 2)
        } else if matches!(self.token(at), Some(Token::Command(name)) if name == "frac") {
            // Both arguments in braces, or the two digits of one token.
            let is_braced = |parser: &Self, at: usize| {
                parser.is_mark(at, '{') && is_whole(parser, at + 1) && parser.is_mark(at + 2, '}')
            };
            if is_braced(self, at + 1) && is_braced(self, at + 4) {
                self.at += 7;
                (at + 2, at + 5)
            } else if matches!(self.token(at + 1), Some(Token::Number(n)) if n.is_whole() && n.whole.len() == 2)
            {
                return self.mixed_digits(value, end);
            } else if is_whole(self, at + 1) && is_whole(self, at + 2) {
                self.at += 3;
                (at + 1, at + 2)
            } else {
                return Ok(Expression::Number(value));
            }
        } else {
            return Ok(Expression::Number(value));
        };
        let over = self.number_at(fraction.0)?.ok_or(Stop::NotRead)?;
        let under = self.number_at(fraction.1)?.ok_or(Stop::NotRead)?;
        mixed(value, over, under)
    }

    /// `1\frac12`: the next token is the command.
    fn mixed_digits(&mut self, value: BigRational, end: usize) -> Result<Expression, Stop> {
        self.at += 1;
        let mut parts = Vec::new();
        for _ in 0..2 {
            let Expression::Number(part) = self.argument(end)? else {
                return Err(Stop::NotRead);
            };
            parts.push(part);
        }
        let under = parts.pop().ok_or(Stop::NotRead)?;
        let over = parts.pop().ok_or(Stop::NotRead)?;
        mixed(value, over, under)
    }

    /// A symbol with what is written below and behind it.
    fn symbol(&mut self, mut name: String, end: usize) -> Result<Expression, Stop> {
        if self.at < end && self.is_mark(self.at, '_') {
            self.at += 1;
            name.push('_');
            let (start, stop) = match self.closing(self.at).filter(|close| *close < end) {
                Some(close) if self.is_mark(self.at, '{') => (self.at + 1, close),
                _ => (self.at, self.at + 1),
            };
            if end < stop {
                return Err(Stop::NotRead);
            }
            for at in start..stop {
                match &self.tokens[at].token {
                    Token::Number(literal) => name.push_str(&format!("{literal:?}")),
                    Token::Word { text, .. } => name.push_str(text),
                    Token::Command(command) => name.push_str(&format!("\\{command} ")),
                    Token::Mark(mark) => name.push(*mark),
                }
            }
            self.at = if start == self.at { stop } else { stop + 1 };
        }
        while self.at < end && self.is_mark(self.at, '\'') {
            self.at += 1;
            name.push('\'');
        }
        Ok(Expression::Symbol(name))
    }

    fn command(&mut self, name: &str, end: usize) -> Result<Expression, Stop> {
        match name {
            "frac" => {
                let over = self.argument(end)?;
                let under = self.argument(end)?;
                Ok(Expression::Product(vec![(over, false), (under, true)]))
            }
            "binom" => {
                let above = self.argument(end)?;
                let below = self.argument(end)?;
                Ok(Expression::Call("binom".to_owned(), vec![above, below]))
            }
            "sqrt" | "√" => {
                let mut index = Expression::Number(BigRational::from(BigInt::from(2)));
                if self.at < end && self.is_mark(self.at, '[') {
                    index = self.group(end)?;
                }
                // `\sqrt12` is no root of 12 in LaTeX, but may be meant as one.
                let is_long =
                    matches!(self.token(self.at), Some(Token::Number(n)) if 1 < n.whole.len());
                if name == "sqrt" && is_long {
                    return Err(Stop::NotRead);
                }
                let radicand = self.deeper(|parser| parser.primary(end))?;
                Ok(Expression::Root(Box::new(index), Box::new(radicand)))
            }
            _ if FUNCTIONS.contains(&name) => self.call(name, end),
            _ if LOGARITHMS.contains(&name) => self.logarithm(name, end),
            _ if name.starts_with("overline ") || name.starts_with("bar ") => {
                self.symbol(name.replace("bar ", "overline "), end)
            }
            _ if name.contains(' ') => match name.starts_with("begin ") {
                true => Err(Stop::NotRead),
                false => self.symbol(name.to_owned(), end),
            },
            _ if SYMBOLS.contains(&name) => self.symbol(format!("\\{name}"), end),
            _ => Err(Stop::NotRead),
        }
    }

    /// `\sin x`, `\sin(x)`, `\sin^2 x`, `\sin 2x`.
    fn call(&mut self, name: &str, end: usize) -> Result<Expression, Stop> {
        let mut exponent = None;
        if self.at < end && self.is_mark(self.at, '^') {
            self.at += 1;
            // `\sin^{-1}` is the inverse function.
            let is_inverse = self.is_mark(self.at, '-') || self.is_mark(self.at + 1, '-');
            if is_inverse {
                return Err(Stop::NotRead);
            }
            exponent = Some(self.exponent(end)?);
        }
        let argument = self.function_argument(end)?;
        let call = Expression::Call(name.to_owned(), vec![argument]);
        Ok(match exponent {
            Some(exponent) => Expression::Power(Box::new(call), Box::new(exponent)),
            None => call,
        })
    }

    fn logarithm(&mut self, name: &str, end: usize) -> Result<Expression, Stop> {
        let mut arguments = Vec::new();
        if self.at < end && self.is_mark(self.at, '_') {
            self.at += 1;
            arguments.push(match self.is_mark(self.at, '{') {
                true => self.group(end)?,
                false => self.argument(end)?,
            });
        }
        if name == "lg" {
            arguments = vec![Expression::Number(BigRational::from(BigInt::from(10)))];
        }
        arguments.insert(0, self.function_argument(end)?);
        let is_natural = name == "ln" && arguments.len() == 1;
        let function = if is_natural { "ln" } else { "log" };
        Ok(Expression::Call(function.to_owned(), arguments))
    }

    /// What a function without brackets takes: factors up to the next function or sign.
    fn function_argument(&mut self, end: usize) -> Result<Expression, Stop> {
        if self.at < end && (self.is_mark(self.at, '(') || self.is_mark(self.at, '{')) {
            return self.group(end);
        }
        self.deeper(|parser| {
            let is_negative = parser.at < end && parser.is_mark(parser.at, '-');
            parser.at += usize::from(is_negative);
            let mut factors = vec![(parser.power(end)?, false)];
            while parser.at < end && parser.begins_factor() {
                let is_function =
                    |name: &str| FUNCTIONS.contains(&name) || LOGARITHMS.contains(&name);
                match parser.token(parser.at) {
                    Some(Token::Command(name)) if is_function(name) => break,
                    Some(Token::Mark('(' | '[')) | Some(Token::Number(_)) => {
                        return Err(Stop::NotRead);
                    }
                    _ => factors.push((parser.power(end)?, false)),
                }
            }
            let product = Expression::Product(factors);
            Ok(match is_negative {
                true => Expression::Negated(Box::new(product)),
                false => product,
            })
        })
    }
}

/// A whole number and a proper fraction; with an improper one, a product could be meant.
fn mixed(whole: BigRational, over: BigRational, under: BigRational) -> Result<Expression, Stop> {
    if over.is_zero() || under <= over {
        return Err(Stop::NotRead);
    }
    Ok(Expression::Number(whole + over / under))
}

/// Commands that stand for a quantity.
const SYMBOLS: [&str; 36] = [
    "pi",
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "vartheta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "sigma",
    "tau",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Xi",
    "Pi",
    "Sigma",
    "Phi",
    "Psi",
    "Omega",
    "ell",
];

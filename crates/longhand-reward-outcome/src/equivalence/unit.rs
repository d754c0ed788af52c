//! Units of measurement, money and counted things behind a quantity.
//!
//! A unit is a product of powers of base units and an exact factor, so that 100 cm are 1 m. Words that
//! are no unit count things: 7 apples. `units` and `square units` are no unit at all.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow};

use super::parse::is_word;
use super::token::{Spaced, Token};

/// A unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// How many base units one of it is.
    pub(super) factor: BigRational,
    /// What the quantity before it is multiplied by even if the other has no unit: a million.
    pub(super) scale: BigRational,
    /// Powers of base units and of counted things; none is 0.
    pub(super) powers: BTreeMap<String, i32>,
}

/// The base unit of angles.
pub(super) const DEGREE: &str = "degree";
/// The unit of angles in which a full turn is `2 pi`.
pub(super) const RADIAN: &str = "radian";
/// The base unit that a percent sign is where it is read as a sign only.
pub(super) const PERCENT: &str = "percent";

impl Unit {
    /// No unit.
    pub(super) fn none() -> Unit {
        Unit {
            factor: BigRational::one(),
            scale: BigRational::one(),
            powers: BTreeMap::new(),
        }
    }

    pub(super) fn base(name: &str) -> Unit {
        Unit {
            factor: BigRational::one(),
            scale: BigRational::one(),
            powers: BTreeMap::from([(name.to_owned(), 1)]),
        }
    }

    /// Whether it is the first power of this base unit.
    pub(super) fn is(&self, base: &str) -> bool {
        self.powers.len() == 1 && self.powers.get(base) == Some(&1)
    }

    pub(super) fn times(&mut self, other: &Unit, power: i32) {
        self.factor *= Pow::pow(&other.factor, power);
        self.scale *= Pow::pow(&other.scale, power);
        for (name, exponent) in &other.powers {
            let sum = self.powers.entry(name.clone()).or_insert(0);
            *sum += exponent * power;
        }
        self.powers.retain(|_, exponent| *exponent != 0);
    }
}

/// Names, base unit, its power, numerator and denominator of the factor.
type Row = (
    &'static [&'static str],
    &'static [(&'static str, i32)],
    i64,
    i64,
);

const TABLE: &[Row] = &[
    (&["m", "meter", "metre"], &[("m", 1)], 1, 1),
    (&["km", "kilometer", "kilometre"], &[("m", 1)], 1000, 1),
    (&["dm", "decimeter", "decimetre"], &[("m", 1)], 1, 10),
    (&["cm", "centimeter", "centimetre"], &[("m", 1)], 1, 100),
    (&["mm", "millimeter", "millimetre"], &[("m", 1)], 1, 1000),
    (&["nm", "nanometer"], &[("m", 1)], 1, 1_000_000_000),
    (&["in", "inch", "inche"], &[("m", 1)], 254, 10_000),
    (&["ft", "foot", "feet"], &[("m", 1)], 3048, 10_000),
    (&["yd", "yard"], &[("m", 1)], 9144, 10_000),
    (&["mi", "mile"], &[("m", 1)], 1_609_344, 1000),
    (&["mph"], &[("m", 1), ("s", -1)], 1_609_344, 3_600_000),
    (&["kph", "kmh"], &[("m", 1), ("s", -1)], 1000, 3600),
    (&["L", "l", "liter", "litre"], &[("m", 3)], 1, 1000),
    (
        &["mL", "ml", "milliliter", "millilitre"],
        &[("m", 3)],
        1,
        1_000_000,
    ),
    (&["kg", "kilogram"], &[("g", 1)], 1000, 1),
    (&["g", "gram"], &[("g", 1)], 1, 1),
    (&["mg", "milligram"], &[("g", 1)], 1, 1000),
    (&["lb", "pound"], &[("g", 1)], 45_359_237, 100_000),
    (&["oz", "ounce"], &[("g", 1)], 45_359_237, 1_600_000),
    (&["s", "sec", "second"], &[("s", 1)], 1, 1),
    (&["ms", "millisecond"], &[("s", 1)], 1, 1000),
    (&["min", "minute"], &[("s", 1)], 60, 1),
    (&["h", "hr", "hour"], &[("s", 1)], 3600, 1),
    (&["day"], &[("s", 1)], 86_400, 1),
    (&["week"], &[("s", 1)], 604_800, 1),
    (&["month"], &[("month", 1)], 1, 1),
    (&["year", "yr"], &[("month", 1)], 12, 1),
    (&["Hz"], &[("s", -1)], 1, 1),
    (&["N", "newton"], &[("g", 1), ("m", 1), ("s", -2)], 1000, 1),
    (&["J", "joule"], &[("g", 1), ("m", 2), ("s", -2)], 1000, 1),
    (
        &["kJ", "kilojoule"],
        &[("g", 1), ("m", 2), ("s", -2)],
        1_000_000,
        1,
    ),
    (&["W", "watt"], &[("g", 1), ("m", 2), ("s", -3)], 1000, 1),
    (
        &["kW", "kilowatt"],
        &[("g", 1), ("m", 2), ("s", -3)],
        1_000_000,
        1,
    ),
    (&["Pa"], &[("g", 1), ("m", -1), ("s", -2)], 1000, 1),
    (&["V", "volt"], &[("V", 1)], 1, 1),
    (&["A", "amp", "ampere"], &[("A", 1)], 1, 1),
    (&["K", "kelvin"], &[("K", 1)], 1, 1),
    (&["mol", "mole"], &[("mol", 1)], 1, 1),
    (&["rad", RADIAN], &[(RADIAN, 1)], 1, 1),
    (&["$", "dollar", "USD", "buck"], &[("$", 1)], 1, 1),
    (&["cent", "¢"], &[("$", 1)], 1, 100),
    (&["€", "euro", "EUR"], &[("€", 1)], 1, 1),
    (&["£", "GBP"], &[("£", 1)], 1, 1),
    (&["¥", "yen", "JPY"], &[("¥", 1)], 1, 1),
    (&["₹", "rupee"], &[("₹", 1)], 1, 1),
    (&["₩", "won"], &[("₩", 1)], 1, 1),
    (&["₽", "ruble"], &[("₽", 1)], 1, 1),
    (&["unit"], &[], 1, 1),
];

/// Number words.
const SCALES: [(&str, i64); 6] = [
    ("dozen", 12),
    ("hundred", 100),
    ("thousand", 1000),
    ("million", 1_000_000),
    ("billion", 1_000_000_000),
    ("trillion", 1_000_000_000_000),
];

fn known(name: &str) -> Option<Unit> {
    if let Some((_, scale)) = SCALES.iter().find(|(word, _)| *word == name) {
        return Some(Unit {
            scale: BigRational::from(BigInt::from(*scale)),
            ..Unit::none()
        });
    }
    let find = |name: &str| TABLE.iter().find(|row| row.0.contains(&name));
    // Plurals are those of the long names: `ms` is no plural of `m`.
    let singular = name.strip_suffix('s').filter(|name| 2 < name.len());
    let lower = name.to_lowercase();
    let lower_singular = lower.strip_suffix('s').unwrap_or(&lower);
    let row = find(name)
        .or_else(|| singular.and_then(find))
        .or_else(|| find(lower_singular).filter(|_| 3 < name.len()))?;
    let (_, powers, numerator, denominator) = *row;
    Some(Unit {
        factor: BigRational::new(BigInt::from(numerator), BigInt::from(denominator)),
        scale: BigRational::one(),
        powers: powers
            .iter()
            .map(|(base, power)| ((*base).to_owned(), *power))
            .collect(),
    })
}

/// The sign of a currency.
pub(super) fn currency(token: &Token) -> Option<Unit> {
    match token {
        Token::Word { text, .. } if text.chars().all(|c| !c.is_alphabetic()) => known(text),
        _ => None,
    }
}

/// Whether a unit can begin at this token, which has something before it.
pub(super) fn can_begin(spaced: &Spaced) -> bool {
    match &spaced.token {
        Token::Word { text, is_text } => {
            // A lone letter is a symbol unless it stands apart: `5 m`, but `5m`.
            let is_letter = text.chars().count() == 1 && text.chars().all(char::is_alphabetic);
            *is_text || spaced.has_space || !is_letter
        }
        Token::Command(name) => name == "frac",
        Token::Mark(mark) => *mark == '°',
        Token::Number(_) => false,
    }
}

/// A unit that is all of these tokens; `None` when they are something else.
pub(super) fn read(tokens: &[Spaced]) -> Option<Unit> {
    let mut reader = Reader { tokens, at: 0 };
    let unit = reader.product()?;
    (reader.at == tokens.len()).then_some(unit)
}

struct Reader<'a> {
    tokens: &'a [Spaced],
    at: usize,
}

impl Reader<'_> {
    fn token(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|spaced| &spaced.token)
    }

    fn take(&mut self, mark: char) -> bool {
        let is_there = self.token() == Some(&Token::Mark(mark));
        self.at += usize::from(is_there);
        is_there
    }

    fn product(&mut self) -> Option<Unit> {
        let mut unit = self.factor()?;
        loop {
            if self.take('/') || self.take_word(&["per"]) {
                unit.times(&self.factor()?, -1);
            } else if self.take('*')
                || matches!(self.token(), Some(Token::Word { .. } | Token::Mark('°')))
            {
                unit.times(&self.factor()?, 1);
            } else {
                return Some(unit);
            }
        }
    }

    fn take_word(&mut self, names: &[&str]) -> bool {
        let is_there = matches!(
            self.token(), Some(Token::Word { text, .. }) if names.contains(&text.as_str()));
        self.at += usize::from(is_there);
        is_there
    }

    fn factor(&mut self) -> Option<Unit> {
        let power = if self.take_word(&["square", "sq"]) {
            self.take('.');
            2
        } else if self.take_word(&["cubic", "cu"]) {
            self.take('.');
            3
        } else {
            1
        };
        let mut unit = Unit::none();
        match self.token()?.clone() {
            Token::Word { text, is_text } => {
                self.at += 1;
                let found = known(&text).or_else(|| counted(&text, is_text))?;
                unit.times(&found, power);
            }
            Token::Mark('°') => {
                self.at += 1;
                let scale = ["C", "Celsius", "F", "Fahrenheit"];
                let text = match self.token() {
                    Some(Token::Word { text, .. }) if scale.contains(&text.as_str()) => {
                        Some(text[..1].to_owned())
                    }
                    _ => None,
                };
                self.at += usize::from(text.is_some());
                unit.times(&Unit::base(text.as_deref().unwrap_or(DEGREE)), power);
            }
            Token::Command(name) if name == "frac" => {
                // `\frac{m}{s}` of letters is a fraction of symbols.
                let first = self.tokens.get(self.at + 2).map(|spaced| &spaced.token);
                if !matches!(first, Some(Token::Word { is_text: true, .. })) {
                    return None;
                }
                self.at += 1;
                unit.times(&self.group()?, 1);
                unit.times(&self.group()?, -1);
            }
            _ => return None,
        }
        if self.take('^') {
            let exponent = self.exponent()?;
            let base = std::mem::replace(&mut unit, Unit::none());
            unit.times(&base, exponent);
        }
        Some(unit)
    }

    fn group(&mut self) -> Option<Unit> {
        let unit = self.take('{').then(|| self.product())??;
        self.take('}').then_some(unit)
    }

    /// From -9 to 9.
    fn exponent(&mut self) -> Option<i32> {
        let is_group = self.take('{');
        let sign = if self.take('-') { -1 } else { 1 };
        let Some(Token::Number(literal)) = self.token() else {
            return None;
        };
        if !literal.is_whole() || literal.whole.len() != 1 {
            return None;
        }
        let exponent: i32 = literal.whole.parse().ok()?;
        self.at += 1;
        (!is_group || self.take('}')).then_some(sign * exponent)
    }
}

/// A thing that is counted, in the singular; words of two letters are products of symbols.
fn counted(word: &str, is_text: bool) -> Option<Unit> {
    let is_letters = word.chars().all(char::is_alphabetic);
    let is_long = is_text || 3 < word.chars().count();
    if !is_letters || !is_long || !is_word(word, is_text) {
        return None;
    }
    let lower = word.to_lowercase();
    let singular = lower.strip_suffix('s').unwrap_or(&lower);
    Some(Unit::base(singular))
}

//! From tokens to the tree of an answer: entries, brackets, relations and quantities.
//!
//! Formulas inside of them are read in `formula`. What could be read in two ways, such as `a/bc`, is not
//! read.

use num_rational::BigRational;
use num_traits::One;

use super::budget::{Budget, Meter, Stop};
use super::formula::{is_circular, literal_value};
use super::syntax::{Answer, Expression, Relation};
use super::token::{Spaced, Token};
use super::unit::{self, Unit};

/// How percent signs are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Percent {
    /// `50%` is `1/2`, and not `50`.
    #[default]
    Hundredth,
    /// `50%` is `50` with a sign that may be left out, and not `1/2`: MATH's convention.
    Sign,
}

/// The tree of an answer.
pub(super) fn parse(
    tokens: Vec<Spaced>,
    percent: Percent,
    budget: &Budget,
    meter: &mut Meter,
) -> Result<Answer, Stop> {
    if tokens.is_empty() {
        return Err(Stop::NotRead);
    }
    if let Some(words) = text(&tokens) {
        return Ok(Answer::Text(words));
    }
    let mut tokens = tokens;
    // `B)` names a choice.
    if let [first, last] = tokens.as_slice()
        && matches!(first.token, Token::Word { .. })
        && last.token == Token::Mark(')')
    {
        tokens.pop();
    }
    let closing = closing_brackets(&tokens, budget.max_depth)?;
    let end = tokens.len();
    let mut parser = Parser {
        tokens,
        closing,
        at: 0,
        n_digits_used: 0,
        depth: 0,
        n_bars: 0,
        max_depth: budget.max_depth,
        percent,
        meter,
    };
    parser.answer(0, end)
}

pub(super) struct Parser<'m> {
    pub(super) tokens: Vec<Spaced>,
    /// For every opening bracket the place where it closes.
    closing: Vec<Option<usize>>,
    /// The next token of the formula that is being read.
    pub(super) at: usize,
    /// How many digits of the next token are arguments already, as in `\frac12`.
    pub(super) n_digits_used: usize,
    pub(super) depth: usize,
    /// Bars of absolute values that are open.
    pub(super) n_bars: usize,
    max_depth: usize,
    percent: Percent,
    pub(super) meter: &'m mut Meter,
}

impl Parser<'_> {
    pub(super) fn token(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at).map(|spaced| &spaced.token)
    }

    pub(super) fn is_mark(&self, at: usize, mark: char) -> bool {
        self.token(at) == Some(&Token::Mark(mark))
    }

    pub(super) fn mark(&self, at: usize) -> Option<char> {
        match self.token(at) {
            Some(Token::Mark(mark)) => Some(*mark),
            _ => None,
        }
    }

    pub(super) fn closing(&self, at: usize) -> Option<usize> {
        self.closing.get(at).copied().flatten()
    }

    pub(super) fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        if self.depth == self.max_depth {
            return Err(Stop::OverBudget);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Places of marks outside of brackets.
    pub(super) fn places(
        &mut self,
        start: usize,
        end: usize,
        marks: &[char],
    ) -> Result<Vec<usize>, Stop> {
        self.meter.spend((end - start) as u64 / 16 + 1)?;
        let mut places = Vec::new();
        let mut at = start;
        while at < end {
            if self.mark(at).is_some_and(|mark| marks.contains(&mark)) {
                places.push(at);
            }
            at = self.closing(at).unwrap_or(at) + 1;
        }
        Ok(places)
    }

    /// Reads what is between places, each perhaps empty.
    pub(super) fn between(start: usize, end: usize, places: &[usize]) -> Vec<(usize, usize)> {
        let starts = std::iter::once(start).chain(places.iter().map(|place| place + 1));
        let ends = places.iter().copied().chain([end]);
        starts.zip(ends).collect()
    }

    /// Entries with separators between; one entry is itself.
    pub(super) fn answer(&mut self, start: usize, end: usize) -> Result<Answer, Stop> {
        let mut entries = self.entries(start, end, &[',', ';', '∧', '∨'])?;
        let are_inequalities = entries.iter().all(|entry| match entry {
            Answer::Relation(_, relations) => {
                let is_order = |r: &Relation| !matches!(r, Relation::Equal | Relation::In);
                relations.iter().all(is_order)
            }
            _ => false,
        });
        let has_and = !self.places(start, end, &['∧'])?.is_empty();
        let has_or = !self.places(start, end, &['∨'])?.is_empty();
        match entries.len() {
            0 => Err(Stop::NotRead),
            1 => Ok(entries.swap_remove(0)),
            _ if are_inequalities && has_or && has_and => Err(Stop::NotRead),
            _ if are_inequalities && has_or => Ok(Answer::Either(entries)),
            _ if are_inequalities && has_and => Ok(Answer::Both(entries)),
            _ => Ok(Answer::List(entries)),
        }
    }

    pub(super) fn entries(
        &mut self,
        start: usize,
        end: usize,
        marks: &[char],
    ) -> Result<Vec<Answer>, Stop> {
        if start == end {
            return Ok(Vec::new());
        }
        self.deeper(|parser| {
            let places = parser.places(start, end, marks)?;
            let mut entries = Vec::new();
            let ranges = Parser::between(start, end, &places);
            for (start, end) in ranges {
                // `1, and 2` has two separators.
                if start == end && parser.mark(end).is_some_and(|m| m == '∧' || m == '∨') {
                    continue;
                }
                parser.signed_entries(start, end, &mut entries)?;
            }
            Ok(entries)
        })
    }

    /// An entry with the sign of plus or minus is two entries.
    fn signed_entries(
        &mut self,
        start: usize,
        end: usize,
        entries: &mut Vec<Answer>,
    ) -> Result<(), Stop> {
        // Inside of a set's braces the signs make entries of that set.
        let mut signs: Vec<(usize, char)> = Vec::new();
        let mut at = start;
        while at < end {
            match self.mark(at) {
                Some(sign @ ('±' | '∓')) => signs.push((at, sign)),
                Some('⦃') => at = self.closing(at).unwrap_or(at),
                _ => {}
            }
            at += 1;
        }
        if signs.is_empty() {
            entries.push(self.entry(start, end)?);
            return Ok(());
        }
        for upper in [true, false] {
            for (at, sign) in &signs {
                let mark = if (*sign == '±') == upper { '+' } else { '-' };
                self.tokens[*at].token = Token::Mark(mark);
            }
            let entry = self.entry(start, end);
            entries.push(entry?);
        }
        Ok(())
    }

    /// A relation, or something that can be a side of one.
    pub(super) fn entry(&mut self, start: usize, end: usize) -> Result<Answer, Stop> {
        // What is only about the same is no part of the answer.
        let end = self
            .places(start, end, &['≈'])?
            .first()
            .copied()
            .unwrap_or(end);
        if start == end {
            return Err(Stop::NotRead);
        }
        let mut unions = self.places(start, end, &['∪'])?;
        // `x in A u B` is about the union, `x < 1 u x > 2` has relations in its parts.
        if let Some(first) = self.places(start, end, &['∈'])?.first() {
            unions.retain(|union| union < first);
        }
        if !unions.is_empty() {
            let mut parts = Vec::new();
            for (start, end) in Parser::between(start, end, &unions) {
                parts.push(self.entry(start, end)?);
            }
            return Ok(Answer::Union(parts));
        }
        let places = self.places(start, end, &['=', '≠', '<', '>', '≤', '≥', '∈'])?;
        if places.is_empty() {
            return self.side(start, end);
        }
        let relations = places.iter().map(|at| match self.mark(*at) {
            Some('≠') => Relation::Unequal,
            Some('<') => Relation::Less,
            Some('≤') => Relation::LessOrEqual,
            Some('>') => Relation::Greater,
            Some('≥') => Relation::GreaterOrEqual,
            Some('∈') => Relation::In,
            _ => Relation::Equal,
        });
        let relations = relations.collect();
        let mut sides = Vec::new();
        for (start, end) in Parser::between(start, end, &places) {
            let side = match self.applied_symbol(start, end) {
                Some(name) => Answer::Quantity(Expression::Symbol(name), None),
                None if self.places(start, end, &['∪'])?.is_empty() => self.side(start, end)?,
                None => self.deeper(|parser| parser.entry(start, end))?,
            };
            sides.push(side);
        }
        Ok(Answer::Relation(sides, relations))
    }

    /// The name of `f(x)` before or behind an equals sign.
    fn applied_symbol(&self, start: usize, end: usize) -> Option<String> {
        let word = |at: usize| match self.token(at)? {
            Token::Word { text, .. } if text.chars().count() == 1 => Some(text.clone()),
            _ => None,
        };
        let is_applied = end - start == 4
            && self.is_mark(start + 1, '(')
            && self.is_mark(end - 1, ')')
            && !self.tokens[start + 1].has_space;
        let name = word(start).filter(|_| is_applied)?;
        Some(format!("{name}({})", word(start + 2)?))
    }

    /// Unions, differences, brackets, matrices, ratios, quantities.
    pub(super) fn side(&mut self, start: usize, end: usize) -> Result<Answer, Stop> {
        if start == end {
            return Err(Stop::NotRead);
        }
        if let Some(&place) = self.places(start, end, &['∖'])?.last() {
            let (left, right) = (self.side(start, place)?, self.side(place + 1, end)?);
            return Ok(Answer::Difference(Box::new(left), Box::new(right)));
        }
        if let Some(brackets) = self.brackets(start, end)? {
            return Ok(brackets);
        }
        let colons = self.places(start, end, &[':'])?;
        if !colons.is_empty() {
            let mut entries = Vec::new();
            for (start, end) in Parser::between(start, end, &colons) {
                entries.push(self.side(start, end)?);
            }
            return Ok(Answer::Ratio(entries));
        }
        match (self.token(start), end - start) {
            (Some(Token::Mark('∅')), 1) => Ok(Answer::Set(Vec::new())),
            (Some(Token::Command(name)), 1) if name == "mathbb R" => Ok(Answer::Tuple {
                open: '(',
                close: ')',
                entries: vec![
                    Answer::Quantity(Expression::Negated(Box::new(Expression::Infinity)), None),
                    Answer::Quantity(Expression::Infinity, None),
                ],
            }),
            (Some(Token::Command(name)), 1) if name.starts_with("mathbb ") => {
                Ok(Answer::Named(name.clone()))
            }
            _ => self.quantity(start, end),
        }
    }

    /// A formula with a currency before it, or a unit behind it.
    fn quantity(&mut self, start: usize, end: usize) -> Result<Answer, Stop> {
        // `-$5` and `$-5`.
        let sign = usize::from(self.is_mark(start, '-') || self.is_mark(start, '+'));
        let mut unit: Option<Unit> = None;
        if let Some(currency) = self.token(start + sign).and_then(unit::currency)
            && start + sign + 1 < end
        {
            unit = Some(currency);
            self.tokens[start..=start + sign].rotate_right(1);
            self.closing[start..=start + sign].fill(None);
        }
        let start = start + usize::from(unit.is_some());
        let mut formula_end = end;
        if self.percent == Percent::Sign && start + 1 < end && self.is_mark(end - 1, '%') {
            unit = Some(Unit::base(unit::PERCENT));
            formula_end -= 1;
        } else {
            let mut at = start;
            let mut is_angle = false;
            while at < end {
                is_angle |=
                    matches!(self.token(at), Some(Token::Command(name)) if is_circular(name));
                // The degrees of `\sin 30^\circ` belong to the function.
                let is_of_function = is_angle && self.is_mark(at, '°');
                if at != start && !is_of_function && unit::can_begin(&self.tokens[at]) {
                    self.meter.spend(1)?;
                    if let Some(found) = unit::read(&self.tokens[at..end]) {
                        let mut whole = unit.take().unwrap_or_else(Unit::none);
                        whole.times(&found, 1);
                        unit = Some(whole);
                        formula_end = at;
                        break;
                    }
                }
                at = self.closing(at).unwrap_or(at) + 1;
            }
        }
        let mut formula = self.formula(start, formula_end)?;
        if let Some(unit) = &mut unit
            && !unit.scale.is_one()
        {
            let scale = std::mem::replace(&mut unit.scale, BigRational::one());
            formula =
                Expression::Product(vec![(formula, false), (Expression::Number(scale), false)]);
        }
        let unit = unit.filter(|unit| !unit.powers.is_empty());
        Ok(Answer::Quantity(formula, unit))
    }

    /// All of the tokens as one formula.
    pub(super) fn formula(&mut self, start: usize, end: usize) -> Result<Expression, Stop> {
        if start == end {
            return Err(Stop::NotRead);
        }
        if let Some(number) = self.number_in_base(start, end)? {
            return Ok(Expression::Number(number));
        }
        let mut place = start;
        while place < end && !self.is_fraction_bar(place) {
            place = self.closing(place).unwrap_or(place) + 1;
        }
        if place < end {
            return self.deeper(|parser| parser.around_bar(start, place, end));
        }
        let (outer_at, outer_bars) = (self.at, self.n_bars);
        (self.at, self.n_bars) = (start, 0);
        self.n_digits_used = 0;
        let formula = self.deeper(|parser| parser.sum(end));
        let reached = std::mem::replace(&mut self.at, outer_at);
        self.n_bars = outer_bars;
        match reached == end {
            true => formula,
            false => formula.and(Err(Stop::NotRead)),
        }
    }

    fn is_fraction_bar(&self, at: usize) -> bool {
        matches!(self.token(at), Some(Token::Command(name)) if name == "over" || name == "choose")
    }

    /// `a \over b` and `a \choose b`.
    fn around_bar(&mut self, start: usize, place: usize, end: usize) -> Result<Expression, Stop> {
        let is_fraction = self.token(place) == Some(&Token::Command("over".to_owned()));
        let above = self.formula(start, place)?;
        let below = self.formula(place + 1, end)?;
        Ok(match is_fraction {
            true => Expression::Product(vec![(above, false), (below, true)]),
            false => Expression::Call("binom".to_owned(), vec![above, below]),
        })
    }

    /// `1011_2` and `2A_{16}`.
    fn number_in_base(&mut self, start: usize, end: usize) -> Result<Option<BigRational>, Stop> {
        let Some(under) = (start..end).find(|at| self.is_mark(*at, '_')) else {
            return Ok(None);
        };
        let base_at = match (end - under, self.is_mark(under + 1, '{')) {
            (2, false) => under + 1,
            (4, true) => under + 2,
            _ => return Ok(None),
        };
        let Some(Token::Number(base)) = self.token(base_at) else {
            return Ok(None);
        };
        let base: u32 = match base.is_whole().then(|| base.whole.parse()) {
            Some(Ok(base)) if (2..=36).contains(&base) => base,
            _ => return Ok(None),
        };
        let mut digits = String::new();
        for spaced in &self.tokens[start..under] {
            match &spaced.token {
                Token::Number(literal) if literal.is_whole() => digits.push_str(&literal.whole),
                Token::Word { text, .. } if text.bytes().all(|b| b.is_ascii_uppercase()) => {
                    digits.push_str(text);
                }
                _ => return Ok(None),
            }
        }
        let begins_with_digit = digits.starts_with(|c: char| c.is_ascii_digit());
        if !begins_with_digit || !digits.chars().all(|c| c.is_digit(base)) {
            return Ok(None);
        }
        // At most 36 in each digit, which has 5.2 bits.
        self.meter.check_digits(digits.len() * 2)?;
        let number = num_bigint::BigInt::parse_bytes(digits.as_bytes(), base);
        Ok(number.map(BigRational::from))
    }

    /// The value of the number at a place, when there is one.
    pub(super) fn number_at(&mut self, at: usize) -> Result<Option<BigRational>, Stop> {
        match self.tokens.get(at).map(|spaced| &spaced.token) {
            Some(Token::Number(literal)) => literal_value(literal, self.meter).map(Some),
            _ => Ok(None),
        }
    }
}

/// The words of an answer that has nothing but words and punctuation, in lower case.
fn text(tokens: &[Spaced]) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for spaced in tokens {
        match &spaced.token {
            Token::Word { text, .. } => words.push(text.to_lowercase()),
            Token::Mark('∧') => words.push("and".to_owned()),
            Token::Mark('∨') => words.push("or".to_owned()),
            Token::Mark(',' | ';' | '.' | '(' | ')' | '-' | '\'' | '!' | '?' | ':' | '"') => {}
            _ => return None,
        }
    }
    let has_word = tokens.iter().any(|spaced| match &spaced.token {
        Token::Word { text, is_text } => is_word(text, *is_text),
        _ => false,
    });
    // `a, b` are two symbols, and so is `xy` a product.
    has_word.then_some(words)
}

/// Whether letters next to each other are a word rather than a product of symbols.
pub(super) fn is_word(text: &str, is_text: bool) -> bool {
    const SHORT_WORDS: [&str; 9] = ["no", "ok", "on", "up", "am", "pm", "it", "he", "we"];
    /// Letters that are used as symbols together.
    const SYMBOLS: [&str; 6] = ["abcd", "xyzw", "pqrs", "mnk", "rst", "uvw"];
    match text.chars().count() {
        1 => false,
        _ if is_text => true,
        2 => SHORT_WORDS.contains(&text.to_lowercase().as_str()),
        _ => !SYMBOLS
            .iter()
            .any(|symbols| text.chars().all(|c| symbols.contains(c))),
    }
}

/// For every opening bracket the place where it closes; brackets that do not match are not read.
fn closing_brackets(tokens: &[Spaced], max_depth: usize) -> Result<Vec<Option<usize>>, Stop> {
    let mut closing = vec![None; tokens.len()];
    let mut open: Vec<(usize, &str)> = Vec::new();
    for (at, spaced) in tokens.iter().enumerate() {
        let ends = match &spaced.token {
            // Intervals may be open on one side.
            Token::Mark('(' | '[') => ")]",
            Token::Mark('{') => "}",
            Token::Mark('⦃') => "⦄",
            Token::Mark('⟨') => "⟩",
            Token::Mark('⌊') => "⌋",
            Token::Mark('⌈') => "⌉",
            Token::Mark(mark @ (')' | ']' | '}' | '⦄' | '⟩' | '⌋' | '⌉')) => {
                let (start, ends) = open.pop().ok_or(Stop::NotRead)?;
                if !ends.contains(*mark) {
                    return Err(Stop::NotRead);
                }
                closing[start] = Some(at);
                continue;
            }
            _ => continue,
        };
        if open.len() == max_depth {
            return Err(Stop::OverBudget);
        }
        open.push((at, ends));
    }
    match open.is_empty() {
        true => Ok(closing),
        false => Err(Stop::NotRead),
    }
}

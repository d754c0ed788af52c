//! Answers as a list of tokens: LaTeX, plain text and the signs of Unicode become the same marks.
//!
//! Spaces, `\left`, `\right`, `$`, `\displaystyle` and the like leave no token; fonts and `\text` leave
//! the words inside of them. A comma, a space or `{,}` between groups of three digits belongs to the
//! number, except a plain comma inside brackets, where it divides entries.

use super::budget::Stop;

/// How deep `\text{\text{...}}` may nest.
const MAX_TEXT_DEPTH: usize = 8;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Digits, perhaps with a point, perhaps with repeating digits, perhaps with an exponent.
    Number(Literal),
    /// A run of letters; of one letter: a symbol.
    Word {
        text: String,
        /// It stood in `\text{...}` or a font, where letters next to each other are a word.
        is_text: bool,
    },
    /// A backslash and letters that are no mark: a function, a Greek letter, an accent with what is
    /// under it, an environment. Also names of functions without a backslash.
    Command(String),
    /// Anything else, with one character for all its spellings.
    Mark(char),
}

/// A number as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) whole: String,
    pub(super) part: String,
    pub(super) repeating: String,
    /// As in `e5`.
    pub(super) exponent: Option<String>,
}

impl Literal {
    pub(super) fn is_whole(&self) -> bool {
        self.part.is_empty() && self.repeating.is_empty() && self.exponent.is_none()
    }
}

/// A token and whether a space stood before it.
#[derive(Clone, Debug)]
pub(super) struct Spaced {
    pub(super) token: Token,
    pub(super) has_space: bool,
}

/// The tokens of an answer.
pub(super) fn tokenise(text: &str) -> Result<Vec<Spaced>, Stop> {
    // Escaped twice, as in a file; in matrices the doubled backslash ends a row.
    let text = match text.contains("\\begin") {
        true => text.to_owned(),
        false => text.replace("\\\\", "\\"),
    };
    let n_dollars = text
        .match_indices('$')
        .filter(|(at, _)| !text[..*at].ends_with('\\'))
        .count();
    let mut lexer = Lexer {
        tokens: Vec::new(),
        n_open: 0,
        has_space: false,
        dollars_are_delimiters: n_dollars % 2 == 0,
    };
    lexer.read(&text, false, 0)?;
    let mut tokens = lexer.tokens;
    let is_point = |spaced: Option<&Spaced>| spaced.is_some_and(|s| s.token == Token::Mark('.'));
    if is_point(tokens.last()) && !is_point(tokens.iter().rev().nth(1)) {
        tokens.pop();
    }
    Ok(tokens)
}

struct Lexer {
    tokens: Vec<Spaced>,
    /// Round, square and set brackets that are open.
    n_open: usize,
    has_space: bool,
    dollars_are_delimiters: bool,
}

impl Lexer {
    fn push(&mut self, token: Token) {
        let has_space = std::mem::take(&mut self.has_space);
        self.tokens.push(Spaced { token, has_space });
    }

    fn mark(&mut self, mark: char) {
        match mark {
            '(' | '[' | '⦃' => self.n_open += 1,
            ')' | ']' | '⦄' => self.n_open = self.n_open.saturating_sub(1),
            _ => {}
        }
        self.push(Token::Mark(mark));
    }

    fn last(&self) -> Option<&Token> {
        self.tokens.last().map(|spaced| &spaced.token)
    }

    fn read(&mut self, text: &str, is_text: bool, depth: usize) -> Result<(), Stop> {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            rest = match c {
                '\\' => self.command(after, depth)?,
                '0'..='9' => self.number(rest)?,
                '.' if after.starts_with(|c: char| c.is_ascii_digit()) => self.number(rest)?,
                '$' => {
                    let is_amount = after
                        .trim_start()
                        .starts_with(|c: char| c.is_ascii_digit() || c == '.');
                    if is_text || !self.dollars_are_delimiters && is_amount {
                        self.word("$", true);
                    }
                    after
                }
                '~' => {
                    self.has_space = true;
                    after
                }
                c if c.is_whitespace() => {
                    self.has_space = true;
                    after
                }
                c if c.is_alphabetic() && greek(c).is_none() => {
                    let is_letter = |c: char| c.is_alphabetic() && greek(c).is_none();
                    let end = rest.find(|c| !is_letter(c)).unwrap_or(rest.len());
                    self.letters(&rest[..end], &rest[end..], is_text);
                    &rest[end..]
                }
                '*' if after.starts_with('*') => {
                    self.mark('^');
                    &after[1..]
                }
                '<' if after.starts_with('=') => {
                    self.mark('≤');
                    &after[1..]
                }
                '>' if after.starts_with('=') => {
                    self.mark('≥');
                    &after[1..]
                }
                '!' if after.starts_with('=') => {
                    self.mark('≠');
                    &after[1..]
                }
                _ => {
                    self.sign(c);
                    after
                }
            };
        }
        Ok(())
    }

    /// One character that is no letter, digit or space.
    fn sign(&mut self, c: char) {
        if let Some(name) = greek(c) {
            return self.push(Token::Command(name.to_owned()));
        }
        match c {
            '−' | '–' => self.mark('-'),
            '·' | '×' | '∗' | '⋅' => self.mark('*'),
            '÷' | '⁄' | '∕' => self.mark('/'),
            '√' => self.push(Token::Command("√".to_owned())),
            '⩽' => self.mark('≤'),
            '⩾' => self.mark('≥'),
            '²' | '³' => {
                self.mark('^');
                let whole = if c == '²' { "2" } else { "3" };
                self.push(Token::Number(Literal {
                    whole: whole.to_owned(),
                    ..Literal::default()
                }));
            }
            '€' | '£' | '¥' | '₹' | '₩' | '₽' => self.word(&c.to_string(), true),
            '’' | '′' => self.mark('\''),
            'ℝ' => self.push(Token::Command("mathbb R".to_owned())),
            _ => self.mark(c),
        }
    }

    fn word(&mut self, text: &str, is_text: bool) {
        self.push(Token::Word {
            text: text.to_owned(),
            is_text,
        });
    }

    /// A run of letters.
    fn letters(&mut self, run: &str, rest: &str, is_text: bool) {
        match run {
            "x" | "X" if matches!(self.last(), Some(Token::Number(_))) && is_power_of_ten(rest) => {
                self.mark('*');
            }
            "and" => self.mark('∧'),
            "or" => self.mark('∨'),
            "percent" | "percentage" | "pct" => self.mark('%'),
            "infinity" | "infty" | "inf" | "oo" | "Infinity" => self.mark('∞'),
            "degrees" | "degree" | "deg" => self.mark('°'),
            _ if !is_text && PLAIN_NAMES.contains(&run) => {
                self.push(Token::Command(run.to_owned()));
            }
            _ => self.word(run, is_text),
        }
    }

    /// What follows a backslash; returns the rest behind it.
    fn command<'t>(&mut self, after: &'t str, depth: usize) -> Result<&'t str, Stop> {
        let n_letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (name, rest) = after.split_at(n_letters);
        if name.is_empty() {
            let Some(c) = after.chars().next() else {
                return Ok(after);
            };
            match c {
                '$' => self.word("$", true),
                '{' => self.mark('⦃'),
                '}' => self.mark('⦄'),
                '%' => self.mark('%'),
                '\\' => self.mark('↵'),
                '!' | '(' | ')' | '[' | ']' => {}
                ',' | ';' | ':' | '>' => self.has_space = true,
                c if c.is_whitespace() => self.has_space = true,
                _ => self.mark(c),
            }
            return Ok(&after[c.len_utf8()..]);
        }
        match name {
            "left" | "right" | "big" | "Big" | "bigg" | "Bigg" | "bigl" | "bigr" | "Bigl"
            | "Bigr" => {
                // An invisible bracket is written as a point.
                return Ok(rest.trim_start().strip_prefix('.').unwrap_or(rest));
            }
            "displaystyle" | "textstyle" | "limits" | "boxed" | "fbox" | "rm" | "bf" => {}
            "quad" | "qquad" | "enspace" | "thinspace" | "space" => self.has_space = true,
            "hspace" | "vspace" | "phantom" => return Ok(argument(rest)?.1),
            "text" | "textnormal" | "textbf" | "textit" | "textrm" | "textsf" | "texttt"
            | "mathrm" | "mathbf" | "mathit" | "mathsf" | "mbox" | "boldsymbol" => {
                let (inner, rest) = argument(rest)?;
                if depth == MAX_TEXT_DEPTH {
                    return Err(Stop::OverBudget);
                }
                self.read(inner, true, depth + 1)?;
                return Ok(rest);
            }
            "operatorname" => {
                let (inner, rest) = argument(rest)?;
                self.push(Token::Command(inner.trim().to_owned()));
                return Ok(rest);
            }
            "mathbb" | "mathcal" | "mathscr" | "mathfrak" | "vec" | "hat" | "bar" | "tilde"
            | "overline" | "underline" | "overrightarrow" | "widehat" => {
                let (inner, rest) = argument(rest)?;
                let inner: String = inner.split_whitespace().collect();
                self.push(Token::Command(format!("{name} {inner}")));
                return Ok(rest);
            }
            "begin" | "end" => {
                let (environment, rest) = argument(rest)?;
                self.push(Token::Command(format!("{name} {environment}")));
                if name == "begin" && environment == "array" {
                    return Ok(argument(rest)?.1);
                }
                return Ok(rest);
            }
            _ => match named_mark(name) {
                Some('°') => return Ok(self.degree(name, rest)),
                Some(mark) => self.mark(mark),
                None => match name {
                    "euro" => self.word("€", true),
                    "pounds" => self.word("£", true),
                    "dfrac" | "tfrac" | "cfrac" => self.push(Token::Command("frac".to_owned())),
                    "dbinom" | "tbinom" => self.push(Token::Command("binom".to_owned())),
                    _ => self.push(Token::Command(name.to_owned())),
                },
            },
        }
        Ok(rest)
    }

    /// `^\circ`, `^{\circ}` and `\degree`; a circle that is not raised joins functions.
    fn degree<'t>(&mut self, name: &str, rest: &'t str) -> &'t str {
        let is = |at: usize, mark| {
            let spaced = self.tokens.iter().rev().nth(at);
            spaced.is_some_and(|spaced| spaced.token == Token::Mark(mark))
        };
        let (n_before, rest) = match rest.trim_start().strip_prefix('}') {
            Some(behind) if is(0, '{') && is(1, '^') => (2, behind),
            _ if is(0, '^') => (1, rest),
            _ => (0, rest),
        };
        self.tokens.truncate(self.tokens.len() - n_before);
        match n_before == 0 && name == "circ" {
            true => self.push(Token::Command(name.to_owned())),
            false => self.mark('°'),
        }
        rest
    }

    /// A number at the beginning of the text; returns the rest behind it.
    fn number<'t>(&mut self, text: &'t str) -> Result<&'t str, Stop> {
        let n_digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, mut rest) = text.split_at(n_digits(text));
        let mut literal = Literal {
            whole: whole.to_owned(),
            ..Literal::default()
        };
        if matches!(whole.len(), 1..=3) && !whole.starts_with('0') {
            while let Some((group, behind)) = self.thousands(rest) {
                literal.whole.push_str(group);
                rest = behind;
            }
        }
        if let Some(behind) = rest.strip_prefix('.') {
            let n = n_digits(behind);
            let repeating = ["\\overline{", "\\bar{"]
                .iter()
                .find_map(|command| behind[n..].strip_prefix(command));
            let n_repeating = repeating.map_or(0, n_digits);
            if let Some(repeating) = repeating
                && n_repeating != 0
                && repeating[n_repeating..].starts_with('}')
            {
                literal.part = behind[..n].to_owned();
                literal.repeating = repeating[..n_repeating].to_owned();
                rest = &repeating[n_repeating + 1..];
            } else if n != 0 {
                literal.part = behind[..n].to_owned();
                rest = &behind[n..];
            }
        }
        if let Some(behind) = rest.strip_prefix(['e', 'E']) {
            let unsigned = behind.strip_prefix(['+', '-', '−']).unwrap_or(behind);
            let n = n_digits(unsigned);
            let is_end = !unsigned[n..].starts_with(|c: char| c.is_alphanumeric() || c == '.');
            if n != 0 && is_end {
                let sign = if unsigned.len() == behind.len() || behind.starts_with('+') {
                    ""
                } else {
                    "-"
                };
                literal.exponent = Some(format!("{sign}{}", &unsigned[..n]));
                rest = &unsigned[n..];
            }
        }
        self.push(Token::Number(literal));
        Ok(rest)
    }

    /// Three more digits of the same number behind a separator.
    fn thousands<'t>(&self, text: &'t str) -> Option<(&'t str, &'t str)> {
        const SEPARATORS: [&str; 9] = [
            "{,}", ",\\!", "\\,", "\\;", "\\ ", "\u{a0}", "\u{2009}", "\u{202f}", " ",
        ];
        let comma = text.strip_prefix(',').filter(|_| self.n_open == 0);
        let separated = SEPARATORS.iter().find_map(|s| text.strip_prefix(s));
        let digits = match text.starts_with(",\\!") || text.starts_with("{,}") {
            true => separated?.trim_start(),
            false => separated.or(comma)?,
        };
        let is_group = 3 <= digits.len() && digits.bytes().take(3).all(|b| b.is_ascii_digit());
        let (group, rest) = digits.split_at_checked(3).filter(|_| is_group)?;
        let is_end = !rest.starts_with(|c: char| c.is_ascii_digit());
        // `12 345/2` could be a mixed number.
        let is_mixed = text.starts_with(' ') && rest.trim_start().starts_with('/');
        (is_end && !is_mixed).then_some((group, rest))
    }
}

/// The text of a command's argument in braces, or its first character, and what follows.
fn argument(text: &str) -> Result<(&str, &str), Stop> {
    let text = text.trim_start();
    let Some(inner) = text.strip_prefix('{') else {
        let n = text.chars().next().ok_or(Stop::NotRead)?.len_utf8();
        return Ok(text.split_at(n));
    };
    let mut depth = 0_usize;
    let mut is_escaped = false;
    for (idx, byte) in inner.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'{' => depth += 1,
            b'}' if depth == 0 => return Ok((&inner[..idx], &inner[idx + 1..])),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    Err(Stop::NotRead)
}

/// Whether a text begins with `10^`.
fn is_power_of_ten(text: &str) -> bool {
    let rest = text.trim_start().strip_prefix("10").unwrap_or("");
    let rest = rest.trim_start();
    rest.starts_with('^') || rest.starts_with("**")
}

/// Names that need no backslash.
const PLAIN_NAMES: [&str; 19] = [
    "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "log", "ln",
    "exp", "pi", "abs", "theta", "alpha", "beta", "lambda",
];

/// Commands that are marks.
fn named_mark(name: &str) -> Option<char> {
    Some(match name {
        "cdot" | "times" | "ast" => '*',
        "div" => '/',
        "le" | "leq" | "leqslant" => '≤',
        "ge" | "geq" | "geqslant" => '≥',
        "lt" => '<',
        "gt" => '>',
        "ne" | "neq" => '≠',
        "in" => '∈',
        "approx" => '≈',
        "cup" => '∪',
        "cap" => '∩',
        "setminus" | "backslash" => '∖',
        "pm" => '±',
        "mp" => '∓',
        "circ" | "degree" => '°',
        "infty" => '∞',
        "emptyset" | "varnothing" => '∅',
        "lbrace" => '⦃',
        "rbrace" => '⦄',
        "langle" => '⟨',
        "rangle" => '⟩',
        "lfloor" => '⌊',
        "rfloor" => '⌋',
        "lceil" => '⌈',
        "rceil" => '⌉',
        "vert" | "lvert" | "rvert" | "mid" => '|',
        "colon" => ':',
        "prime" => '\'',
        "land" | "wedge" => '∧',
        "lor" | "vee" => '∨',
        "lbrack" => '[',
        "rbrack" => ']',
        _ => return None,
    })
}

/// The command of a Greek letter.
fn greek(c: char) -> Option<&'static str> {
    Some(match c {
        'α' => "alpha",
        'β' => "beta",
        'γ' => "gamma",
        'δ' => "delta",
        'ε' => "epsilon",
        'θ' => "theta",
        'λ' => "lambda",
        'μ' | 'µ' => "mu",
        'π' => "pi",
        'ρ' => "rho",
        'σ' => "sigma",
        'τ' => "tau",
        'φ' | 'ϕ' => "phi",
        'ψ' => "psi",
        'ω' => "omega",
        _ => return None,
    })
}

//! How the keys of an experiment file are described: name, what they accept, default, meaning.

use std::fmt;

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Default,
    /// One line for the documentation and for messages about a missing key.
    pub(crate) meaning: &'static str,
}

/// What a key accepts.
#[derive(Debug)]
pub(crate) enum Kind {
    Text,
    Flag,
    /// A whole number from `low` to `high`.
    Integer {
        low: i64,
        high: i64,
    },
    /// A whole number from `low` to `high`, or the word `name`.
    IntegerOrName {
        low: i64,
        high: i64,
        name: &'static str,
    },
    Number(Interval),
    /// A number, or the word "none" where it can be switched off.
    NumberOrNone(Interval),
    Choice(&'static [&'static str]),
    Table(&'static [Key]),
    /// A table, or a bare text which stands for the table `{ <shorthand> = text }`.
    TextOrTable {
        shorthand: &'static str,
        keys: &'static [Key],
    },
    /// A table whose `kind` decides its other keys; a bare text stands for `{ kind = text }`.
    Tagged(&'static [Variant]),
    /// One or more of these.
    List(&'static Kind),
    /// One or more of `names`, none twice, or the word `name` for all of them.
    NamesOrAll {
        names: &'static [&'static str],
        name: &'static str,
    },
    /// A table whose keys and values are not for this crate to know.
    FreeTable,
}

/// What happens when a key is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    /// That is an error.
    Required,
    /// The feature is off, or the value follows from others as the text says.
    Absent(&'static str),
    /// This TOML literal is taken.
    Literal(&'static str),
    /// A table of defaults is taken.
    Section,
}

/// One value of `kind` in a tagged table.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) keys: &'static [Key],
}

/// A range of finite numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: Bound,
    pub(crate) high: Bound,
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    Closed(f64),
    Open(f64),
    None,
}

/// From 1 upwards; the limit keeps products of several counts far from overflow.
pub(crate) const COUNT: Kind = Kind::Integer {
    low: 1,
    high: 1_000_000_000,
};
/// From 0 upwards.
pub(crate) const COUNT_OR_ZERO: Kind = Kind::Integer {
    low: 0,
    high: 1_000_000_000,
};
/// Any seed that TOML can write.
pub(crate) const SEED: Kind = Kind::Integer {
    low: 0,
    high: i64::MAX,
};
/// Above 0.
pub(crate) const POSITIVE: Kind = Kind::Number(Interval {
    low: Bound::Open(0.0),
    high: Bound::None,
});
/// 0 or above.
pub(crate) const NOT_NEGATIVE: Kind = Kind::Number(Interval {
    low: Bound::Closed(0.0),
    high: Bound::None,
});
/// From 0 to 1.
pub(crate) const SHARE: Kind = Kind::Number(Interval {
    low: Bound::Closed(0.0),
    high: Bound::Closed(1.0),
});
/// From 0, below 1.
pub(crate) const BELOW_ONE: Kind = Kind::Number(Interval {
    low: Bound::Closed(0.0),
    high: Bound::Open(1.0),
});
/// Above 0, up to 1.
pub(crate) const POSITIVE_SHARE: Kind = Kind::Number(Interval {
    low: Bound::Open(0.0),
    high: Bound::Closed(1.0),
});

pub(crate) const fn required(name: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key {
        name,
        kind,
        default: Default::Required,
        meaning,
    }
}

pub(crate) const fn defaults_to(
    name: &'static str,
    kind: Kind,
    literal: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default: Default::Literal(literal),
        meaning,
    }
}

/// A key that may be absent; `otherwise` says what happens then.
pub(crate) const fn optional(
    name: &'static str,
    kind: Kind,
    otherwise: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default: Default::Absent(otherwise),
        meaning,
    }
}

/// A table that need not be written because its keys have defaults (or report themselves missing).
pub(crate) const fn section(
    name: &'static str,
    keys: &'static [Key],
    meaning: &'static str,
) -> Key {
    Key {
        name,
        kind: Kind::Table(keys),
        default: Default::Section,
        meaning,
    }
}

impl Default {
    /// Whether the default is the text `name`.
    pub(crate) fn is_name(self, name: &str) -> bool {
        matches!(self, Self::Literal(literal) if literal.trim_matches('"') == name)
    }
}

impl Interval {
    pub(crate) fn contains(self, x: f64) -> bool {
        let above = match self.low {
            Bound::Closed(low) => low <= x,
            Bound::Open(low) => low < x,
            Bound::None => true,
        };
        let below = match self.high {
            Bound::Closed(high) => x <= high,
            Bound::Open(high) => x < high,
            Bound::None => true,
        };
        x.is_finite() && above && below
    }
}

/// What is expected, as it completes "expected ...".
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text in quotes"),
            Self::Flag => f.write_str("true or false"),
            Self::Integer { low, high } => write!(f, "a whole number from {low} to {high}"),
            Self::IntegerOrName { low, high, name } => {
                write!(f, "a whole number from {low} to {high} or \"{name}\"")
            }
            Self::Number(interval) => write!(f, "a number{interval}"),
            Self::NumberOrNone(interval) => write!(f, "a number{interval} or \"none\""),
            Self::Choice(names) => write!(f, "one of {}", quoted(names.iter().copied())),
            Self::Table(_) => f.write_str("a table"),
            Self::TextOrTable { shorthand, .. } => write!(f, "a {shorthand} name or a table"),
            Self::Tagged(variants) => {
                let names = quoted(variants.iter().map(|variant| variant.name));
                write!(f, "a table with `kind` one of {names}")
            }
            Self::List(item) => write!(f, "a list, each entry {item}"),
            Self::NamesOrAll { names, name } => {
                let names = quoted(names.iter().copied());
                write!(f, "\"{name}\" or a list of {names}")
            }
            Self::FreeTable => f.write_str("a table of any keys and values"),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.low {
            Bound::Closed(low) => write!(f, " from {low}")?,
            Bound::Open(low) => write!(f, " above {low}")?,
            Bound::None => {}
        }
        match self.high {
            Bound::Closed(high) => write!(f, " to {high}"),
            Bound::Open(high) => write!(f, ", below {high}"),
            Bound::None => Ok(()),
        }
    }
}

/// `"a", "b", "c"`.
pub(crate) fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

//! What a method on the wire takes: one table per method, from which both the reader and the
//! schema are made, so that neither can know a name or a default that the other does not.

use serde_json::Value;

use crate::error::LineError;
use crate::inputs::Inputs;
use crate::outputs::Outputs;

/// One name on the wire.
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) fields: &'static [Field],
    /// In groups, so that methods can share some.
    pub(crate) options: &'static [&'static [OptionEntry]],
    pub(crate) gives: &'static [Field],
    pub(crate) evaluate: fn(&Inputs) -> Result<Outputs, LineError>,
}

/// One field of a line.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: &'static str,
    pub(crate) is_required: bool,
}

/// One entry of `options`.
pub(crate) struct OptionEntry {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) accepts: Accepts,
    pub(crate) preset: Preset,
}

/// The values an option can have; null is accepted where it is the default.
#[derive(Clone, Copy)]
pub(crate) enum Accepts {
    AtLeast(f64),
    Above(f64),
    Between(f64, f64),
    Finite,
    /// Above 0, at most 1; not percent.
    Fraction,
    /// A whole number of at least 0.
    Count,
    /// A list of numbers, one per reward.
    Weights,
    /// A list of conditions or nulls, one per reward.
    Conditions,
    /// PPO's bounds: both alike, one of each, those of the options, or none.
    Clip,
    Flag,
    Names(&'static [&'static str]),
}

/// The value an option has when it is not given.
#[derive(Clone, Copy)]
pub(crate) enum Preset {
    Number(f64),
    /// A number that null switches off.
    NumberOrNull(f64),
    Count(u32),
    Flag(bool),
    Name(&'static str),
    Null,
}

impl Method {
    pub(crate) fn option(&self, name: &str) -> Option<&'static OptionEntry> {
        self.option_entries().find(|option| option.name == name)
    }

    pub(crate) fn option_entries(&self) -> impl Iterator<Item = &'static OptionEntry> {
        self.options.iter().flat_map(|group| group.iter())
    }
}

impl Preset {
    pub(crate) fn value(self) -> Value {
        match self {
            Preset::Number(number) | Preset::NumberOrNull(number) => Value::from(number),
            Preset::Count(count) => Value::from(count),
            Preset::Flag(flag) => Value::from(flag),
            Preset::Name(name) => Value::from(name),
            Preset::Null => Value::Null,
        }
    }

    pub(crate) fn allows_null(self) -> bool {
        matches!(self, Preset::Null | Preset::NumberOrNull(_))
    }
}

impl Accepts {
    pub(crate) fn describe(self) -> String {
        match self {
            Accepts::AtLeast(bound) => format!("a number of at least {bound}"),
            Accepts::Above(bound) => format!("a number above {bound}"),
            Accepts::Between(low, high) => format!("a number from {low} to {high}"),
            Accepts::Finite => "a number".to_owned(),
            Accepts::Fraction => {
                "a fraction above 0 and at most 1, which is not percent".to_owned()
            }
            Accepts::Weights => "a list of one number per reward".to_owned(),
            Accepts::Conditions => {
                "a list with, for each reward, null or {\"reward\": the index of another, \"at_least\": \
                 a number}"
                    .to_owned()
            }
            Accepts::Clip => {
                "\"none\", a bound for both sides, [low, high], or \"bounds\" for clip_low and \
                 clip_high"
                    .to_owned()
            }
            Accepts::Count => "a whole number from 0 to 4294967295".to_owned(),
            Accepts::Flag => "true or false".to_owned(),
            Accepts::Names(names) => format!("one of {}", names.join(", ")),
        }
    }
}

/// A field that must be there.
pub(crate) const fn required(name: &'static str, shape: &'static str) -> Field {
    Field {
        name,
        shape,
        is_required: true,
    }
}

/// A field that may be left out.
pub(crate) const fn optional(name: &'static str, shape: &'static str) -> Field {
    Field {
        name,
        shape,
        is_required: false,
    }
}

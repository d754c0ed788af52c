//! Where in a line a value stands, built only when an error needs it.

use std::fmt;

/// A field, or an entry of a list further up.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Field(&'a str),
    Option(&'a str),
    Entry(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Path::Field(name) => formatter.write_str(name),
            Path::Option(name) => write!(formatter, "options.{name}"),
            Path::Entry(list, idx) => write!(formatter, "{list}[{idx}]"),
        }
    }
}

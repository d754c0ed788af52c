//! What an answer says, as a tree, before anything is computed.

use num_rational::BigRational;

use super::unit::Unit;

/// A whole answer or an entry of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// Words only, in lower case.
    Text(Vec<String>),
    /// An expression, perhaps with a unit.
    Quantity(Expression, Option<Unit>),
    /// `first R second R third ...`
    Relation(Vec<Answer>, Vec<Relation>),
    /// Entries with commas, `and` or `or` between: in no order, each counted.
    List(Vec<Answer>),
    /// Inequalities with `or` between.
    Either(Vec<Answer>),
    /// Inequalities with `and` between.
    Both(Vec<Answer>),
    /// In braces: in no order, each counted once.
    Set(Vec<Answer>),
    /// Entries between brackets, in order: a point, a vector, an interval.
    Tuple {
        open: char,
        close: char,
        entries: Vec<Answer>,
    },
    /// Parts with the sign of a union between.
    Union(Vec<Answer>),
    /// All of the left without the right.
    Difference(Box<Answer>, Box<Answer>),
    /// A set that has a name, such as `Z`.
    Named(String),
    /// Rows of entries; whether it stands between bars, for its determinant.
    Matrix(bool, Vec<Vec<Answer>>),
    /// Entries with colons between.
    Ratio(Vec<Answer>),
}

/// What two sides of a relation are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

/// A formula whose value is one number, or one function of its symbols.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Number(BigRational),
    Symbol(String),
    Infinity,
    Negated(Box<Expression>),
    Sum(Vec<Expression>),
    /// Factors, each perhaps inverted.
    Product(Vec<(Expression, bool)>),
    Power(Box<Expression>, Box<Expression>),
    /// The principal root with this index.
    Root(Box<Expression>, Box<Expression>),
    /// A function of its arguments.
    Call(String, Vec<Expression>),
}

impl Answer {
    /// The symbol that a quantity without a unit is.
    pub(super) fn symbol(&self) -> Option<&str> {
        match self {
            Answer::Quantity(Expression::Symbol(name), None) => Some(name),
            _ => None,
        }
    }
}

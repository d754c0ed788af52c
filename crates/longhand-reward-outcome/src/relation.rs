//! Which answers count as the same, chosen by name.

use crate::{Equivalence, numeric};

/// When two answers are one. In files: the name in kebab case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum AnswerRelation {
    /// `equivalence`: written differently, and proved to mean the same ([`Equivalence`]).
    #[default]
    Equivalence,
    /// `numeric`: equal as exact numbers, [`numeric`].
    Numeric,
    /// `string`: equal to the byte.
    String,
}

impl AnswerRelation {
    /// Every relation, in the order of the documentation.
    pub const ALL: [AnswerRelation; 3] = [
        AnswerRelation::Equivalence,
        AnswerRelation::Numeric,
        AnswerRelation::String,
    ];

    /// The name used in files.
    pub fn name(self) -> &'static str {
        match self {
            AnswerRelation::Equivalence => "equivalence",
            AnswerRelation::Numeric => "numeric",
            AnswerRelation::String => "string",
        }
    }

    /// Whether two answers are the same; `equivalence` is asked where it is the relation.
    pub fn holds(self, left: &str, right: &str, equivalence: &Equivalence) -> bool {
        match self {
            AnswerRelation::Equivalence => equivalence.holds(left, right),
            AnswerRelation::Numeric => numeric(left, &[right.to_owned()]) == 1.0,
            AnswerRelation::String => left == right,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AnswerRelation;
    use crate::Equivalence;

    #[test]
    fn each_relation_joins_more_than_the_next() {
        let joined = |left: &str, right: &str| {
            AnswerRelation::ALL.map(|relation| relation.holds(left, right, &Equivalence::default()))
        };
        assert_eq!(joined("7", "7"), [true, true, true]);
        assert_eq!(joined("1,000", "1000.0"), [true, true, false]);
        assert_eq!(joined(r"\frac{1}{2}", "0.5"), [true, false, false]);
        assert_eq!(joined("7", "8"), [false, false, false]);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn names_are_those_of_files() {
        for relation in AnswerRelation::ALL {
            let name = serde_json::to_value(relation).unwrap();
            assert_eq!(name, relation.name());
        }
    }
}
